"""The CPU engine against the plain network: logits, ids, texts; int8 alone and in a batch; drafts against one token a step."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.cpu import engine, graph
from handler.cpu.engine import Engine
from handler.cpu.graph import layer_names
from handler.decoding import proposers
from handler.decoding.lexicon import Alignment, Lexicon
from handler.decoding.sampling import choose
from handler.errors import ArtifactError
from handler.language.word_classes import ROWS
from handler.model.network import EOS
from handler.wire.request import CATALOGUE, read_request
from scripts.common import artifact_files
from tests.cpu.steps import TEMPLATES, calibrated, encode, logits_of, verify
from tests.factories import PICNIC, RAIN, parse_constraint, parse_processors, random_net, text_constraint, text_processors, tiny_artifact
from tests.reference import inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny artifact with drafts and ranges."""
    folder = tiny_artifact(tmp_path_factory.mktemp("engine") / "tiny")
    calibrated(folder)
    return folder


@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.slow
def test_logits_equal_the_plain_networks(folder, attend_pads):
    config = dataclasses.replace(artifacts.verify(folder).paraphraser, attend_pads=attend_pads, max_steps=48)
    net = random_net(config, 1)
    bag, syntax = inputs(config, 5)
    tokens = torch.randint(5, config.vocab_size, (5, 40), generator=torch.Generator().manual_seed(1))  # padded the first capacity
    with torch.inference_mode():
        expected, found = logits_of(net, bag, syntax, tokens), logits_of(Engine(net), bag, syntax, tokens)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        cut = Engine(net, output_vocab_size=20, input_vocab_size=config.vocab_size)
        torch.testing.assert_close(
            logits_of(cut, bag, syntax, tokens % 20), logits_of(net, bag, syntax, tokens % 20)[..., :20], atol=2e-5, rtol=1e-4
        )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_several_tokens_at_once_equal_one_at_a_time(folder, precision):
    paraphraser = artifacts.load(folder, precision=precision)
    net = paraphraser.text_generator.net
    bag, syntax = inputs(net.config, 3)
    tokens = torch.randint(5, net.config.vocab_size, (3, 12), generator=torch.Generator().manual_seed(2))
    close = {"fp32": dict(atol=2e-5, rtol=1e-4), "int8": dict(atol=0, rtol=0)}[precision]
    with torch.inference_mode():
        expected = logits_of(net, bag, syntax, tokens)
        cache = encode(net, bag, syntax)
        torch.testing.assert_close(verify(net, tokens[:, :5], cache, [0, 0, 0]), expected[:, :5], **close)
        # rows of different lengths; what was padded them is overwritten
        found = verify(net, torch.stack([tokens[0, 5:8], tokens[1, 2:5], tokens[2, 3:6]]), cache, [5, 2, 3])
        torch.testing.assert_close(found, torch.stack([expected[0, 5:8], expected[1, 2:5], expected[2, 3:6]]), **close)


def test_int8_rows_do_not_depend_on_their_neighbours(folder):
    net = artifacts.load(folder, precision="int8").text_generator.net
    bag, syntax = inputs(net.config, 4)
    tokens = torch.randint(5, net.config.vocab_size, (4, 6), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together = logits_of(net, bag, syntax, tokens)
        for i in range(4):
            assert torch.equal(logits_of(net, bag[i : i + 1], syntax[i : i + 1], tokens[i : i + 1])[0], together[i])


def test_int8_is_near_fp32(folder):
    one, two = (artifacts.load(folder, precision=precision).text_generator.net for precision in ("fp32", "int8"))
    bag, syntax = inputs(one.config, 4)
    tokens = torch.randint(5, one.config.vocab_size, (4, 6), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected, found = logits_of(one, bag, syntax, tokens), logits_of(two, bag, syntax, tokens)
    assert 0 < (found - expected).abs().mean() < 0.2 * expected.std()


def test_int8_attention_sums_alike_however_wide_the_batch_is(folder):
    """A width of its own for every neighbour: sums in another order would differ in their last bits, and be rounded apart."""
    net = artifacts.load(folder, precision="int8").text_generator.net
    tokens = torch.randint(5, net.config.vocab_size, (1, 8), generator=torch.Generator().manual_seed(5))
    bag, syntax = inputs(net.config, 1)
    with torch.inference_mode():
        alone = logits_of(net, bag, syntax, tokens)
        for more in range(1, 40, 3):
            wide_bag, wide_syntax = (torch.nn.functional.pad(ids, (0, more)) for ids in (bag, syntax))
            assert torch.equal(logits_of(net, wide_bag, wide_syntax, tokens), alone)


@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.slow
def test_what_is_encoded_once_is_what_each_row_would_get_alone(tmp_path, attend_pads, precision, monkeypatch):
    folder = tiny_artifact(tmp_path / "tiny", attend_pads=attend_pads)
    calibrated(folder)
    paraphraser = artifacts.load(folder, precision=precision)
    tokens = torch.randint(5, paraphraser.parse_generator.output_vocab_size, (5, 6), generator=torch.Generator().manual_seed(2))
    exact = precision == "int8"
    for net, remembers in ((paraphraser.parse_generator.net, True), (paraphraser.text_generator.net, False)):
        assert (net.remembered is not None) == remembers
        bag, syntax = inputs(net.config, 4)
        bag, syntax = bag[[0, 1, 1, 2, 3]], syntax[[2, 1, 0, 2, 0]]  # sentences and targets come twice
        calls, encoder = [], net.encoder
        monkeypatch.setattr(net, "encoder", lambda x, bias: calls.append(len(x)) or encoder(x, bias))
        first, again = logits_of(net, bag, syntax, tokens), logits_of(net, bag, syntax, tokens)
        assert calls == ([4, 1, 1, 1, 4] if remembers else [4, 3, 4, 3])
        assert torch.equal(first, again)
        monkeypatch.setattr(net, "remembered", None)  # or what was remembered would be held against itself
        for i in range(5):
            alone = logits_of(net, bag[i : i + 1], syntax[i : i + 1], tokens[i : i + 1])[0]
            torch.testing.assert_close(alone, first[i], **(dict(atol=0, rtol=0) if exact else dict(atol=2e-5, rtol=1e-4)))
        monkeypatch.undo()


def test_the_longest_unused_templates_are_forgotten(monkeypatch):
    monkeypatch.setattr(engine, "REMEMBERED_BYTES", 100)
    remembered, memory = engine.EncoderCache(), np.zeros(10, np.float32)  # 40 bytes
    for key in (b"a", b"b"):
        remembered.add(key, memory)
    assert remembered.get(b"a") is not None and remembered.get(b"c") is None
    remembered.add(b"c", memory)
    assert list(remembered.entries) == [b"a", b"c"] and remembered.bytes == 80
    remembered.add(b"d", np.zeros(199, np.float32))  # more than all room: it is kept, alone
    assert list(remembered.entries) == [b"d"]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 3.0])
@pytest.mark.slow
def test_drafts_change_no_token(folder, temperature):
    fast, plain = artifacts.load(folder, precision="fp32"), artifacts.load(folder, compiled=False)
    net = fast.parse_generator.net
    rows = fast.plan(read_request({**PICNIC, "tmpl": TEMPLATES, "temperature": temperature, "seed": 3, "candidates": 2}))
    slow = plain.generate_parses(rows)
    assert fast.parse_generator.ngrams
    calls, original = [], net.verify
    net.verify = lambda *args: calls.append(args[0].shape) or original(*args)
    for some in (slice(None), slice(0, 1), slice(3, 5)):  # how long drafts are depends on how many rows there are
        calls.clear()
        found = fast.generate_parses(rows[some])
        assert [(d.ids, d.ended) for d in found] == [(d.ids, d.ended) for d in slow[some]]
        assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in slow[some]], abs=1e-2)
    assert len(calls) < max(len(d.ids) for d in found)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("max_steps", [60, 12])
@pytest.mark.slow
def test_drafts_change_no_word(tmp_path, temperature, max_steps):
    """Steps that run out, rows that end at different times, rows whose tags are not known; log-probabilities too."""
    folder = tiny_artifact(tmp_path / "tiny", tag_weight=1.0, order_bonus=2.0)
    calibrated(folder)
    fast, plain = artifacts.load(folder, precision="fp32"), artifacts.load(folder, compiled=False)
    for paraphraser in (fast, plain):
        paraphraser.config = dataclasses.replace(paraphraser.config, source_bonus=9.0, repetition_penalty=2.0)
        net = paraphraser.text_generator.net
        (net if paraphraser is fast else net.net).config = dataclasses.replace(net.config, max_steps=max_steps)
    request = {**PICNIC, "temperature": temperature, "seed": 3, "details": True}
    rows = plain.plan(read_request({**request, "tmpl": TEMPLATES}))
    rows += [
        dataclasses.replace(row, tagged_words=[])
        for row in plain.plan(read_request({**request, "sent": RAIN["sent"], "synt": RAIN["synt"]}))
    ]
    parses = plain.generate_parses(rows)
    calls, original = [], fast.text_generator.net.verify
    fast.text_generator.net.verify = lambda *args: calls.append(args[0].shape) or original(*args)
    for some in (slice(None), slice(0, 1), slice(3, 6)):  # how long drafts are depends on how many rows there are
        calls.clear()
        expected, found = plain.generate_texts(rows[some], parses[some]), fast.generate_texts(rows[some], parses[some])
        assert [(d.ids, d.ended) for d in found] == [(d.ids, d.ended) for d in expected]
        assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in expected], abs=1e-3)
        if max_steps == 60 and some != slice(None):
            assert len(calls) < max(len(d.ids) for d in found) and max(width for _, width in calls) > 1


def test_guesses_are_the_rest_of_a_word_then_words_of_the_sentence_that_fit_the_leaves(folder):
    paraphraser = artifacts.load(folder)
    ids, size = paraphraser.vocabulary.ids, len(paraphraser.text_grammar.words)
    words = [ids[word] for word in ("the", "x", "is", "a", "y")]
    DT, NN, VBZ, JJ = (ROWS[tag] for tag in ("DT", "NN", "VBZ", "JJ"))
    counts = np.zeros((len(ROWS), size), np.uint16)
    counts[JJ - 1, ids["z"]] = 3
    lexicon = Lexicon(counts, 1.0)
    seen = list(zip(words, (DT, NN, VBZ, DT, NN)))

    def processors(leaves, seen=seen, order=1.0):
        return text_processors(paraphraser.text_grammar, [words], 20, 1.0, 1.0, order, alignment=Alignment(lexicon, [leaves], [seen]))

    the, x, is_, a, y = words
    assert processors([NN, VBZ, DT, JJ, NN]).propose(0, 9) == [x, is_, a, ids["z"], y, EOS]
    assert processors([NN, VBZ, DT, JJ, NN]).propose(0, 2) == [x, is_]
    moved = processors([DT, NN, NN, DT])
    moved.accept(torch.tensor([a]))  # after it comes `y`; then the noun and the article that are left
    assert moved.propose(0, 9) == [y, x, the, EOS]
    assert processors([DT, NN], order=0.0).propose(0, 9) == [the, x, EOS]
    assert processors([], []).propose(0, 9) == []  # no leaves to go by
    rain, ing = ids["rain@@"], ids["ing"]
    split = text_processors(
        paraphraser.text_grammar,
        [[is_, rain, ing]],
        20,
        1.0,
        1.0,
        1.0,
        alignment=Alignment(lexicon, [[NN, VBZ]], [[(is_, VBZ), (rain, NN)]]),
    )
    assert split.propose(0, 9) == [rain, ing, is_, EOS]  # a word of two pieces is one leaf's


@pytest.mark.parametrize("steps", [24, 60])
@pytest.mark.slow
def test_processors_give_the_scores_of_the_tensors(folder, steps):
    paraphraser = artifacts.load(folder)
    g = torch.Generator().manual_seed(4)
    rows = paraphraser.plan(read_request({**PICNIC, "tmpl": [t for t in TEMPLATES if len(t) < 30], "seed": 1}))
    planner = paraphraser.planner
    sentences = [planner.encode_words(planner.tokens(read_request(request))) for request in (PICNIC, RAIN)]
    for size, one, two, count in (
        (
            len(paraphraser.parse_grammar.is_phrase),
            parse_constraint(paraphraser.parse_grammar, [row.syntax for row in rows], steps),
            parse_processors(paraphraser.parse_grammar, [row.syntax for row in rows], steps),
            len(rows),
        ),
        (
            len(paraphraser.text_grammar.words),
            text_constraint(paraphraser.text_grammar, sentences, steps, 2.0, 1.5),
            text_processors(paraphraser.text_grammar, sentences, steps, 2.0, 1.5),
            len(sentences),
        ),
    ):
        open_rows, dropped = torch.ones(count, dtype=torch.bool), False
        for step in range(steps):
            logits = torch.randn(len(open_rows), size, generator=g)
            expected, found = one.process(logits), two.process(logits)
            assert torch.equal(expected[open_rows], found[open_rows])
            drawn = torch.rand(len(logits), generator=g, dtype=torch.double).tolist()
            tokens = torch.tensor(choose(expected.numpy(), [1.0] * len(logits), drawn))
            one.accept(tokens)
            two.accept(tokens)
            open_rows &= tokens != 2
            if step == steps // 2 and open_rows.any() and not dropped:
                kept = open_rows.nonzero()[:, 0]
                one.select_rows(kept)
                two.select_rows(kept)
                open_rows, dropped = open_rows[kept], True


def test_a_guess_is_the_likeliest_follower_of_the_longest_known_context():
    table = proposers.NgramProposer(*proposers.learn([bytes([1, 7, 8, 9, 2])] * 3 + [bytes([1, 6, 8, 5, 2])] * 4, least=3))
    anything = frozenset(range(20))
    assert table.propose(bytes([1, 7, 8]), anything) == 9 and table.propose(bytes([1, 6, 8]), anything) == 5
    assert table.propose(bytes([8]), anything) == 5 and table.propose(bytes([1, 7, 8]), anything - {9}) == 5
    assert table.propose(bytes([17]), anything) is None
    assert len(proposers.learn([bytes([1, 7, 8])], least=2)[1]) == 0


@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.slow
def test_a_text_is_the_same_in_every_engine(tmp_path, attend_pads):
    folder = tiny_artifact(tmp_path / "tiny", attend_pads=attend_pads)
    calibrated(folder)
    request = {**PICNIC, "tmpl": list(CATALOGUE), "temperature": 0.8, "seed": 5}
    answers = []
    for options in (dict(compiled=False), dict(precision="fp32"), dict(precision="fp32", drafts=False)):
        paraphraser = artifacts.load(folder, **options)
        answers.append([(p.parse, p.text) for p in paraphraser.run(paraphraser.plan(read_request(request)))])
    assert answers[0] == answers[1] == answers[2]


def test_what_a_folder_cannot_do_is_refused(folder, tmp_path):
    bare = tiny_artifact(tmp_path / "bare")
    assert artifacts.load(bare).text_generator.precision == "fp32"
    with pytest.raises(ArtifactError, match="ranges.json: expected a file"):
        artifacts.load(bare, precision="int8")
    with pytest.raises(ValueError, match="precision must be auto or one of fp32, int8"):
        artifacts.load(bare, precision="fp8")
    good = json.loads((folder / artifacts.RANGES).read_text())
    assert set(good["paraphraser"]) == layer_names(artifacts.verify(folder).paraphraser)
    for bad in ({**good, "paraphraser": {"logits": [0, 1]}}, {**good, "parse_generator": {**good["parse_generator"], "logits": [1, 1]}}):
        artifact_files.write_json(bare / artifacts.RANGES, bad)
        artifact_files.write_manifest(bare)
        with pytest.raises(ArtifactError, match="ranges.json"):
            artifacts.load(bare)
    (bare / artifacts.RANGES).unlink()
    (bare / artifacts.DRAFTS).write_bytes(b"x")
    artifact_files.write_manifest(bare)
    with pytest.raises(ArtifactError, match="drafts.safetensors: expected a safetensors file"):
        artifacts.load(bare)


def test_quantised_weights_are_quantised_to_themselves():
    """What an archive carries in int8 gives the engine the same weights and the same scales, to the last bit."""
    weight = np.random.default_rng(4).standard_normal((500, 70), np.float32) * np.geomspace(1e-12, 1e6, 500, dtype=np.float32)[:, None]
    weight[3] = 0.0
    rounded, scales = graph.quantised(weight)
    again = graph.quantised(rounded.astype(np.float32) * scales[:, None])
    assert np.array_equal(again[0], rounded) and np.array_equal(again[1], scales)
    assert np.abs(rounded).max() == 127 and (np.abs(weight - rounded * scales[:, None]) <= 0.501 * scales[:, None]).all()
