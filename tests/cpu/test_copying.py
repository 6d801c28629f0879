"""Copied words on a CPU: the same as the plain network, alone and in any batch, in int8, and with drafts."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.cpu.engine import Engine
from handler.cpu.graph import layer_names
from handler.decoding.sampling import DecodingOptions
from handler.model.copying import to_extended_ids
from handler.model.network import EOS, SynPG
from handler.wire.request import read_request
from scripts.training.recording import record
from tests.cpu.steps import TEMPLATES, calibrated, encode, logits_of, verify
from tests.factories import PICNIC, RAIN, TOKENS, WRITTEN, generate, random_net, tiny_artifact
from tests.reference import inputs, tiny_config

W = 60  # freely written, of the 140 tokens of a tiny network


def copying_net(tie: str):
    """A random network that likes to copy, and to end."""
    net = random_net(tiny_config(tie=tie, generation_vocab_size=W), 2)
    with torch.no_grad():
        net.linear.bias[W:] += 2.5
        net.linear.bias[EOS] += 2.0
    return net.requires_grad_(False)


def batch_of(net, rows=6):
    """Sentences with common and rare tokens, some of them twice."""
    bag, syntax = inputs(net.config, rows)
    bag[:, 1] = bag[:, 0]
    return bag, syntax


def measured(net: SynPG):
    """The ranges of a network's inputs."""
    watched = copy.deepcopy(net)
    ranges = record(watched)
    generate(watched, *batch_of(net), [DecodingOptions(1.0, i) for i in range(6)], "x")
    return ranges


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("tie", ["none", "output", "all"])
@pytest.mark.slow
def test_copied_tokens_are_those_of_the_plain_network_alone_and_in_a_batch(tie, temperature):
    net = copying_net(tie)
    fast, options = Engine(net), [DecodingOptions(temperature, i) for i in range(6)]
    assert fast.output_vocab_size == W
    bag, syntax = batch_of(net)
    expected, found = (generate(each, bag, syntax, options, "x") for each in (net, fast))
    assert [(d.ids, d.ended) for d in found] == [(d.ids, d.ended) for d in expected]
    assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in expected], abs=1e-3)
    assert sum(token >= W for d in expected for token in d.ids) > 5 and (not temperature or len({len(d.ids) for d in expected}) > 1)
    for i in range(6):
        width = int((bag[i] != 0).sum())  # as narrow as it can be: another number of columns
        for each in (net, fast):
            [alone] = generate(each, bag[i : i + 1, :width], syntax[i : i + 1], options[i : i + 1], "x")
            assert alone.ids == expected[i].ids


@pytest.mark.parametrize("tie", ["none", "all"])
@pytest.mark.slow
def test_copies_in_int8_do_not_depend_on_neighbours_and_are_near_fp32(tie):
    net = copying_net(tie)
    exact, rounded = Engine(net), Engine(net, "int8", measured(net))
    assert (rounded.copy_weights[0].data_ptr() == rounded.decoder_embedding[W:].data_ptr()) == (tie != "none")  # not twice in memory
    bag, syntax = batch_of(net)
    tokens = to_extended_ids(bag, bag[:, [0, 0, 0]], W)
    with torch.inference_mode():
        together, expected = (logits_of(each, bag, syntax, tokens) for each in (rounded, exact))
        copied = expected[..., W:].isfinite()
        assert together.dtype == torch.float32 and torch.equal(together.isfinite(), expected.isfinite()) and copied.any()
        assert 0 < (together - expected)[..., W:][copied].abs().mean() < 0.2 * expected[..., W:][copied].std()
        for i in range(6):
            width = int((bag[i] != 0).sum())
            alone = logits_of(rounded, bag[i : i + 1, :width], syntax[i : i + 1], tokens[i : i + 1])[0]
            assert torch.equal(alone[:, : W + width], together[i, :, : W + width]) and not together[i, :, W + width :].isfinite().any()
    options = [DecodingOptions(1.0, i) for i in range(6)]
    decoded = generate(rounded, bag, syntax, options, "x")
    assert any(token >= W for d in decoded for token in d.ids)
    for i in range(6):
        assert generate(rounded, bag[i : i + 1], syntax[i : i + 1], options[i : i + 1], "x")[0].ids == decoded[i].ids


@pytest.mark.parametrize("generation_vocab_size", [W, 140])
def test_several_copied_tokens_at_once_equal_one_at_a_time(generation_vocab_size):
    net = random_net(tiny_config(generation_vocab_size=generation_vocab_size), 2).requires_grad_(False)
    fast, (bag, syntax) = Engine(net), batch_of(net, 3)
    tokens = to_extended_ids(bag, bag[:, [0, 0, 0, 0]], generation_vocab_size)
    with torch.inference_mode():
        expected = logits_of(net, bag, syntax, tokens)
        cache = encode(fast, bag, syntax)
        torch.testing.assert_close(verify(fast, tokens[:, :3], cache, [0, 0, 0]), expected[:, :3], atol=2e-5, rtol=1e-4)
        cache.select_rows(np.array([2, 0]))
        found = verify(fast, tokens[[2, 0], 2:], cache, [2, 2])
        torch.testing.assert_close(found, expected[[2, 0], 2:], atol=2e-5, rtol=1e-4)
        ranges = record(net)  # what calibration looks at
        assert torch.equal(logits_of(net, bag, syntax, tokens), expected) and set(ranges) == layer_names(net.config)


@pytest.fixture(scope="module", params=["none", "all"])
def limited(request, tmp_path_factory):
    """A tiny artifact whose rare words are only copied, and often."""
    folder = tiny_artifact(
        tmp_path_factory.mktemp("limited") / "tiny",
        tie=request.param,
        tag_weight=1.0,
        order_bonus=2.0,
        copy_odds=2.0,
        generation_vocab_size=WRITTEN,
    )
    calibrated(folder)
    return folder


RARE = {"sent": "the x is n y", "synt": "(ROOT (S (NP (DT the) (NN x)) (VP (VBZ is) (NP (NNP n) (NN y)))))"}


def rows_of(paraphraser, **more):
    rows = paraphraser.plan(read_request({**PICNIC, "tmpl": TEMPLATES[:4], "seed": 3, "details": True, **more}))
    for request in (RAIN, RARE):
        whole = {"sent": request["sent"], "synt": request["synt"], "parse": [request["synt"], RARE["synt"]], "details": True}
        rows += paraphraser.plan(read_request({**whole, "seed": 4, "num_paraphrases": 3, **more}))
    return [*rows, dataclasses.replace(rows[-1], tagged_words=[])]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 3.0])
@pytest.mark.slow
def test_drafts_change_no_copied_word(limited, temperature):
    plain, stepped, drafted = (
        artifacts.load(limited, **options)
        for options in (dict(compiled=False), dict(precision="fp32", drafts=False), dict(precision="fp32"))
    )
    rows = rows_of(plain, temperature=temperature)
    parses = plain.generate_parses([row for row in rows if not row.target.whole])
    parses += [dataclasses.replace(parses[0], ids=[*row.syntax, EOS]) for row in rows if row.target.whole]
    calls, original = [], drafted.text_generator.net.verify
    drafted.text_generator.net.verify = lambda *args: calls.append(args[0].shape) or original(*args)
    copied = 0
    for some in (slice(None), slice(0, 1), slice(3, 6), slice(-2, None)):
        expected = plain.generate_texts(rows[some], parses[some])
        for found in (stepped.generate_texts(rows[some], parses[some]), drafted.generate_texts(rows[some], parses[some])):
            assert [(d.ids, d.ended) for d in found] == [(d.ids, d.ended) for d in expected]
            assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in expected], abs=1e-3)
        copied += sum(token >= WRITTEN for d in expected for token in d.ids)
    assert copied > 10 and max(width for _, width in calls) > 1


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.slow
def test_answers_with_copied_words_are_the_same_alone_and_in_any_batch(limited, precision):
    """The answers are words: what a row numbers anew has been put back."""
    paraphraser = artifacts.load(limited, precision=precision)
    rows = rows_of(paraphraser, temperature=1.0)
    together = paraphraser.run(rows)
    assert [done.text for done in together] == [paraphraser.run([row])[0].text for row in rows]
    turned = paraphraser.run(rows[::-1], 5)
    assert [done.text for done in turned[::-1]] == [done.text for done in together]
    rare, found = set(TOKENS[WRITTEN:]), set()
    for row, done in zip(rows, together):
        own = set(paraphraser.vocabulary.decode_text(row.pieces).split())
        assert set(done.text.split()) & rare <= own
        found |= set(done.text.split()) & rare
    assert len(found & {"x", "n", "y"}) > 1
    assert all(len(done.text.split()) == 5 for done in together[-4:])
