"""Training in miniature: the loss falls, an interruption changes nothing, the artifact answers."""

import dataclasses
import errno
import json
import os
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from handler import artifacts, weights
from handler.model.network import EOS, PAD, SOS
from handler.wire.request import read_request
from scripts import train
from scripts.common.command import InputError, UserError
from scripts.common.paths import DEMO
from scripts.training import calibration, corpus, export, initial_weights, progress, staging, trainer
from tests.factories import PICNIC, tiny_artifact
from tests.reference import random_net, tiny_config

SENTENCES = [
    f"(ROOT (S (NP (DT the) (NN {noun})) (VP (VBZ {verb}) (NP (DT a) (NN {other}))) (. .)))"
    for noun in ("dog", "cat", "bird", "horse")
    for verb in ("sees", "likes", "finds")
    for other in ("tree", "house", "ball", "river")
]
SENTENCES += [f"(ROOT (S (VP (VB {verb}) (NP (DT the) (NN {noun}))) (. .)))" for verb in ("take", "see") for noun in ("ball", "cat")]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Tiny shapes, short recipes, and a corpus of fifty sentences; the folder of the work."""
    for name in trainer.NETS:
        shape = dict(d_model=16, n_heads=2, d_feedforward=32, n_encoder_layers=1, n_decoder_layers=1)
        monkeypatch.setitem(trainer.SHAPES, name, {**trainer.SHAPES[name], **shape})
        monkeypatch.setitem(
            trainer.RECIPES, name, dataclasses.replace(trainer.RECIPES[name], tokens=300, warmup=5, peak_rate=1e-2, epochs=4)
        )
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "MEASURE_STEPS", 10)
    for name, lines in (("train", SENTENCES[::2] + SENTENCES[1::4]), ("dev", SENTENCES[3::8])):
        (tmp_path / f"{name}.tsv").write_text(
            "".join(" ".join(word.rstrip(")") for word in parse.split() if word.endswith(")")) + f"\t{parse}\n" for parse in lines)
        )
    return tmp_path


def run(folder, *more):
    return train.main(
        [
            str(folder / "work"),
            "--train",
            str(folder / "train.tsv"),
            "--dev",
            str(folder / "dev.tsv"),
            "--merges",
            "40",
            "--threads",
            "1",
            *more,
        ]
    )


def lexicon_of(folder):
    """Counts of tags of an artifact's lexicon, or of the sentences of a prepared corpus."""
    vocabulary = artifacts.read_vocabulary(folder / "vocab.json")
    if (folder / artifacts.LEXICON).is_file():
        return artifacts.load_lexicon(folder / artifacts.LEXICON, len(vocabulary))[0]
    return calibration.counts_of(vocabulary, corpus.Split.load(folder / "train.npz"))[0]


@pytest.mark.slow
def test_loss_falls_and_the_artifact_answers(small, capsys):
    assert run(small) == 0
    assert re.search(r"parse_generator: step 1/\d+ epoch 0 loss .* rate .* left\n", capsys.readouterr().out)
    assert run(small, "--export", str(small / "artifact")) == 0
    record = json.loads((small / "artifact" / "training.json").read_text())
    for name in trainer.NETS:
        curve = record[name]["curve"]
        assert curve[-1]["loss"] < 0.7 * curve[0]["loss"] and curve[-1]["epoch"] == 4
    paraphraser = artifacts.load(small / "artifact")
    assert paraphraser.config.constrained and paraphraser.config.tag_weight == paraphraser.lexicon.weight > 0
    [row] = paraphraser.plan(read_request({**PICNIC, "seed": 1}))
    assert paraphraser.run([row])[0].text


def test_a_damaged_checkpoint_ends_training_and_export_with_one_sentence(small, capsys):
    assert run(small, "--epochs", "0.1") == 0
    for name in trainer.NETS:
        (small / "work" / f"{name}.pt").write_bytes(b"damaged")
    capsys.readouterr()
    said = r"\S+/parse_generator\.pt cannot be continued from: File is not a zip file; remove it to train from the beginning\.\n"
    for more in (), ("--export", str(small / "artifact")):
        assert run(small, *more) == 1
        assert re.fullmatch(said, capsys.readouterr().err)
    (small / "work" / "corpus" / "train.npz").write_bytes(b"damaged")
    assert run(small) == 1
    corpus = re.escape(str(small / "work" / "corpus"))
    said = rf"{corpus}/train\.npz is damaged: .*; remove {corpus} to prepare the corpus again\.\n"
    assert re.fullmatch(said, capsys.readouterr().err)


@pytest.mark.slow
def test_going_on_after_an_interruption_changes_nothing(small, monkeypatch):
    run(small, "--net", "paraphraser")
    whole = torch.load(small / "work" / "paraphraser.pt", weights_only=True)
    (small / "work" / "paraphraser.pt").unlink()

    class Stop(Exception):
        pass

    learn = trainer.Training.learn

    def stopping(self, *arguments):
        if self.step == 13:
            raise Stop
        return learn(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Training, "learn", stopping)
        with pytest.raises(Stop):
            run(small, "--net", "paraphraser")
    assert torch.load(small / "work" / "paraphraser.pt", weights_only=True)["step"] == 10
    run(small, "--net", "paraphraser")
    again = torch.load(small / "work" / "paraphraser.pt", weights_only=True)
    assert again["step"] == whole["step"] > 13
    for name, tensor in whole["net"].items():
        torch.testing.assert_close(again["net"][name], tensor)
    assert [p["step"] for p in again["curve"]] == [p["step"] for p in whole["curve"]]


def test_part_of_an_epoch_is_recorded_as_such_and_can_be_gone_on_from(small):
    run(small, "--net", "paraphraser", "--epochs", "0.6")
    state = torch.load(small / "work" / "paraphraser.pt", weights_only=True)
    assert 0 < state["next_batch"] and state["epoch"] == 0 and 0.3 < state["curve"][-1]["epoch"] <= 0.6
    run(small, "--net", "paraphraser", "--epochs", "2")
    state = torch.load(small / "work" / "paraphraser.pt", weights_only=True)
    assert (state["epoch"], state["next_batch"], state["curve"][-1]["epoch"]) == (2, 0, 2.0)


def test_word_dropout_is_per_row_and_only_when_training(small):
    run(small, "--net", "paraphraser", "--epochs", "0.01")
    split = corpus.Split.load(small / "work" / "corpus" / "train.npz")
    recipe = dataclasses.replace(trainer.RECIPES["paraphraser"], word_dropout=0.5)
    config = trainer.Training("paraphraser", small / "work", recipe, torch.device("cpu")).config
    rows = np.array([0, 0, 0, 0])  # the same sentence four times
    dropped = trainer.make_batch(split, rows, recipe, config, "cpu", np.random.default_rng(1))[0]
    assert len({tuple(row) for row in dropped.tolist()}) > 1
    plain = trainer.make_batch(split, rows, recipe, config, "cpu", None)[0]
    assert (plain != 0).all() and len({tuple(row) for row in plain.tolist()}) == 1


def test_templates_are_capped_and_left_out_sentences_counted(small):
    (small / "train.tsv").write_text((small / "train.tsv").read_text() + "x\t(ROOT (FOO x))\n" + "y\t(ROOT (NN y)\n")
    run(small, "--net", "paraphraser", "--epochs", "0.01")
    record = json.loads((small / "work" / "corpus" / "corpus.json").read_text())["splits"]["train"]
    assert sum(record["left_out"].values()) == 2 and record["sentences"] == len(SENTENCES[::2] + SENTENCES[1::4])
    split = corpus.Split.load(small / "work" / "corpus" / "train.npz")
    chosen = corpus.cap_templates(split, 0.1, np.random.default_rng(0))
    assert 0 < len(chosen) <= 2 * int(0.1 * len(split)) + 1
    assert len(corpus.cap_templates(split, 1.0, np.random.default_rng(0))) == len(split)


def test_schedule_warms_up_holds_and_falls():
    recipe = dataclasses.replace(trainer.RECIPES["paraphraser"], warmup=10, decay=0.25, peak_rate=1.0)
    rates = [trainer.schedule(step, 100, recipe) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:75] == [1.0] * 66 and rates[100] == 0 and rates[90] == pytest.approx(0.4)


def test_a_new_folder_needs_data(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main([str(tmp_path / "new")])
    assert "needs --train and --dev" in capsys.readouterr().err
    assert train.main([str(tmp_path / "new"), "--export", str(tmp_path / "out")]) == 1
    assert "train the parse generator first" in capsys.readouterr().err


def test_what_fine_tuning_began_with_is_no_reason_to_stop():
    training = trainer.Training.__new__(trainer.Training)
    training.recipe = dataclasses.replace(trainer.RECIPES["paraphraser"], patience=2)
    training.curve = [{"step": step, "loss": loss} for step, loss in ((0, 0.5), (10, 0.9), (20, 0.8), (30, 0.7), (40, 0.8))]
    assert not training.stopped_early()
    training.curve.append({"step": 50, "loss": 0.75})
    assert training.stopped_early()


@pytest.mark.slow
def test_fine_tuning_goes_on_from_an_artifact_and_stops_when_it_no_longer_helps(small, monkeypatch, capsys):
    run(small)
    run(small, "--export", str(small / "first"))
    shutil.copyfile(DEMO / artifacts.TAGGER, small / "first" / artifacts.TAGGER)
    artifacts.write_manifest(small / "first")
    before = artifacts.read_config(small / "first" / "config.json")
    monkeypatch.setitem(trainer.FINE_TUNE, "peak_rate", 3e-3)
    monkeypatch.setitem(trainer.RECIPES, "paraphraser", dataclasses.replace(trainer.RECIPES["paraphraser"], patience=2, epochs=400))
    other = [sentence.replace("the)", "this)").replace(" a)", " that)") for sentence in SENTENCES]
    for name, lines in (("train", other[::2] + SENTENCES[:2]), ("dev", other[1::4])):
        (small / f"{name}.tsv").write_text("".join(f"x\t{parse}\n" for parse in lines))
    tune = [str(small / "tuned"), "--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--threads", "1"]
    assert train.main([*tune, "--from", str(small / "first")]) == 0
    assert train.main([str(small / "tuned"), "--export", str(small / "second")]) == 0
    after, record = artifacts.verify(small / "second"), json.loads((small / "second" / "training.json").read_text())
    assert after == before
    assert (small / "second" / "vocab.json").read_bytes() == (small / "first" / "vocab.json").read_bytes()
    assert (small / "second" / artifacts.TAGGER).read_bytes() == (DEMO / artifacts.TAGGER).read_bytes()
    was, now, new = (lexicon_of(small / folder) for folder in ("first", "second", "tuned/corpus"))
    assert was.any() and new.any() and np.array_equal(now, was + new)  # what was learned before is not forgotten
    curve = [point["loss"] for point in record["paraphraser"]["curve"]]
    assert min(curve) < 0.9 * curve[0]  # the first is the artifact's own, before any step
    assert record["begun_from"]["paraphraser"]["curve"]
    assert record["paraphraser"]["epoch"] < 400 and min(curve[-2:]) > min(curve)  # stopped early
    best = torch.load(small / "tuned" / "paraphraser.pt", weights_only=True)["best"]["linear.bias"]
    stored = weights.load_net(small / "second" / "paraphraser.safetensors", after.paraphraser, torch.device("cpu")).linear.bias
    torch.testing.assert_close(stored, best.half().float())
    with pytest.raises(SystemExit):
        run(small, "--from", str(small / "first"))
    assert "begun without --from" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuning_with_a_larger_vocabulary_keeps_what_the_artifact_knows(small):
    run(small, "--merges", "10")
    run(small, "--export", str(small / "first"))
    tune = [str(small / "tuned"), "--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--threads", "1"]
    train.main([*tune, "--from", str(small / "first"), "--merges", "70", "--epochs", "0.2"])
    old, new = (json.loads((small / folder / "vocab.json").read_text()) for folder in ("first", "tuned/corpus"))
    assert (word := next(token for token in new if token not in old and "@@" not in token))
    base, corpus = small / "tuned" / "base", small / "tuned" / "corpus"
    first = weights.load_net(base / "paraphraser.safetensors", artifacts.verify(base).paraphraser, torch.device("cpu"))
    begun = initial_weights.begin_from(base, "paraphraser", corpus)
    known = [i for i, token in enumerate(new) if token in old]
    torch.testing.assert_close(begun.embedding_decoder.weight[known], first.embedding_decoder.weight[[old.index(new[i]) for i in known]])
    pieces = artifacts.read_pieces(base / "bpe.codes", base / "bpe.vocab.txt", 5).split([word])
    assert len(pieces) > 1
    torch.testing.assert_close(
        begun.embedding_decoder.weight[new.index(word)], first.embedding_decoder.weight[[old.index(piece) for piece in pieces]].mean(0)
    )
    assert begun.config.vocab_size == len(new) and begun.linear.weight is begun.embedding_encoder.weight
    assert train.main([str(small / "tuned"), "--export", str(small / "second")]) == 0
    assert artifacts.load(small / "second").run(artifacts.load(small / "second").plan(read_request({**PICNIC, "seed": 1})))
    assert np.array_equal(lexicon_of(small / "second"), lexicon_of(small / "tuned/corpus"))  # the base's has other pieces


def test_fine_tuning_keeps_attended_pads(small, tmp_path):
    base = tiny_artifact(tmp_path / "base", attend_pads=True)
    assert (
        train.main(
            [
                str(small / "tuned"),
                "--from",
                str(base),
                "--train",
                str(small / "train.tsv"),
                "--dev",
                str(small / "dev.tsv"),
                "--epochs",
                "0.2",
                "--net",
                "paraphraser",
            ]
        )
        == 0
    )
    split = corpus.Split.load(small / "tuned" / "corpus" / "dev.npz")
    config = artifacts.verify(base).paraphraser
    bag, syntax, *_ = trainer.make_batch(split, np.array([0]), trainer.RECIPES["paraphraser"], config, "cpu", None)
    assert (bag.shape[1], syntax.shape[1]) == (config.bag_width, config.syntax_width)


@pytest.mark.slow
def test_a_network_that_was_not_trained_is_that_of_the_artifact_begun_from(small, tmp_path):
    base = tiny_artifact(tmp_path / "base")
    artifacts.write_json(base / "training.json", {"parse_generator": {"curve": [{"epoch": 1, "loss": 3.0}]}, "paraphraser": {"curve": []}})
    tune = ["--from", str(base), "--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--epochs", "1"]
    out = small / "out"
    assert train.main([str(small / "one"), *tune, "--net", "paraphraser"]) == 0
    assert train.main([str(small / "one"), "--export", str(out)]) == 0
    before, after, record = artifacts.verify(base), artifacts.verify(out), json.loads((out / "training.json").read_text())
    assert after.parse_generator == before.parse_generator
    kept, stored = (load_file(folder / "parse_generator.safetensors") for folder in (base, out))
    assert kept.keys() == stored.keys() and all(torch.equal(kept[name], stored[name]) for name in kept)
    assert record["unchanged"] == ["parse_generator"] and record["paraphraser"]["step"] > 0
    assert record["parse_generator"] == {"curve": [{"epoch": 1, "loss": 3.0}]}
    assert artifacts.load(out).run(artifacts.load(out).plan(read_request({**PICNIC, "seed": 1})))
    assert train.main([str(small / "one"), "--export", str(small / "mean"), "--average", "0.25"]) == 0
    begun, ended, mean = (load_file(folder / "paraphraser.safetensors") for folder in (base, out, small / "mean"))
    for key, tensor in mean.items():
        torch.testing.assert_close(tensor.float(), 0.75 * begun[key].float() + 0.25 * ended[key].float(), atol=1e-3, rtol=1e-2)
    assert json.loads((small / "mean" / "training.json").read_text())["paraphraser"]["averaged"] == 0.25
    (small / "one" / "base" / "training.json").unlink()
    assert train.main([str(small / "one"), "--export", str(out)]) == 0
    assert "parse_generator" not in json.loads((out / "training.json").read_text())
    (small / "one" / "paraphraser.pt").unlink()
    with pytest.raises(UserError, match="train the parse generator first"):
        export.export(small / "one", out)  # nothing is new
    assert train.main([str(small / "two"), *tune, "--net", "paraphraser", "--merges", "40"]) == 0
    with pytest.raises(UserError, match="--average needs a training with --from that keeps the vocabulary"):
        export.export(small / "two", out, 0.5)
    assert train.main([str(small / "two"), "--export", str(out)]) == 0  # other words, but the parse generator reads none
    kept, stored = (load_file(folder / "parse_generator.safetensors") for folder in (base, out))
    assert artifacts.verify(out).parse_generator == before.parse_generator and all(torch.equal(kept[name], stored[name]) for name in kept)
    assert (
        artifacts.verify(out).paraphraser.vocab_size == len(artifacts.read_vocabulary(out / "vocab.json")) != before.paraphraser.vocab_size
    )
    assert artifacts.load(out).run(artifacts.load(out).plan(read_request({**PICNIC, "seed": 1})))
    # What the parse generator reads has other ids; or there is a new parse generator, and the paraphraser knows other words.
    vocabulary = json.loads((small / "two" / "corpus" / "vocab.json").read_text())
    turned = [*vocabulary[:5], *vocabulary[5:109][::-1], *vocabulary[109:]]
    (small / "two" / "corpus" / "vocab.json").write_text(json.dumps(turned))
    with pytest.raises(UserError, match="train the parse generator first"):
        export.export(small / "two", out)
    (small / "two" / "corpus" / "vocab.json").write_text(json.dumps(vocabulary))
    (small / "two" / "paraphraser.pt").rename(small / "two" / "parse_generator.pt")
    with pytest.raises(UserError, match="train the paraphraser first"):
        export.export(small / "two", out)


def test_export_says_which_weights_it_writes():
    points = [{"step": step, "loss": loss} for step, loss in ((0, 2.0), (10, 1.5), (20, 1.75))]
    assert export.exported("paraphraser", points) == "paraphraser: weights of step 10 of 20, held-out loss 1.5000"
    assert export.exported("paraphraser", [points[0], {"step": 10, "loss": 2.5}]).endswith(
        "step 0 of 10, held-out loss 2.0000; they are those that training began from, because no later measurement was better"
    )


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(), (export.DECODING["tag_weight"], export.DECODING["order_bonus"])),
        (dict(constrained=False), (0.0, 0.0)),
        (dict(tokenization="raw"), (0.0, 0.0)),
        (dict(tag_weight=0.5), (0.5, 0.0)),
    ],
)  # has a lexicon, and so its own opinion
def test_an_artifact_that_could_not_choose_gets_the_settings_of_a_new_one(tmp_path, options, expected):
    base = tiny_artifact(tmp_path / "base", **options)
    pipeline = export.pipeline_of(base, 7)
    assert (pipeline.tag_weight, pipeline.order_bonus, pipeline.source_bonus, pipeline.bpe_threshold) == (*expected, 0, 7)
    assert export.pipeline_of(tmp_path / "none", 7).source_bonus == export.DECODING["source_bonus"]


def vocabulary_of(folder, lines, merges=300):
    """What `learn_vocabulary` makes of a training file and a file of word vectors: tokens, W, the vectors it kept."""
    (folder / "t.tsv").write_text(
        "".join(
            f"{sentence}\t(X x)\n" * times
            for sentence, times in (("The cat is here", 30), ("the dog is there", 10), ("the owl", 2), ("cats", 25), ("it's", 1))
        )
    )
    (folder / "vectors.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    generation_vocab_size = corpus.learn_vocabulary(folder, folder / "t.tsv", merges, folder / "vectors.txt")
    tokens = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    with np.load(folder / corpus.VECTORS, allow_pickle=False) as arrays:
        ids, vectors = arrays["ids"], arrays["vectors"]
    assert (np.diff(ids) > 0).all() and vectors.dtype == np.float32
    return tokens, generation_vocab_size, {tokens[i]: vector.tolist() for i, vector in zip(ids, vectors)}


LINES = ["the 1 2", "Paris 9 9", "dog 0.5 -3e-1", "ümlaut 9 9", "unseen 3 4", "route66 9 9", "o'clock 5 6", ", 9 9", "well-known 7 8"]


@pytest.mark.parametrize("header", [[], ["9 2"]])
def test_words_with_vectors_are_tokens_and_those_seldom_seen_come_last(tmp_path, header):
    tokens, generation_vocab_size, vectors = vocabulary_of(tmp_path, [*header, *LINES])
    assert set(tokens[generation_vocab_size:]) == {"dog", "there", "unseen", "o'clock", "well-known"}  # seen 10 times, or never
    assert {"the", "is", "cat", "here", "cats"} <= set(tokens[:generation_vocab_size])
    assert (
        tokens.index("the")
        < tokens.index("cat")
        < tokens.index("cats")
        < generation_vocab_size
        <= tokens.index("dog")
        < tokens.index("unseen")
    )
    assert not {"Paris", "paris", "ümlaut", "route66", ",", "9", "owl", "it's"} & set(tokens)
    assert vectors == {"the": [1, 2], "dog": [0.5, pytest.approx(-0.3)], "unseen": [3, 4], "o'clock": [5, 6], "well-known": [7, 8]}
    pieces = artifacts.read_pieces(tmp_path / "bpe.codes", tmp_path / "bpe.vocab.txt", corpus.MIN_COUNT)
    assert pieces.split(["unseen", "well-known", "the"]) == ["unseen", "well-known", "the"] and len(pieces.split(["owl"])) > 1


def test_only_so_many_of_the_commonest_words_are_taken_for_their_vectors_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "VECTOR_WORDS", 5)  # lines, as they come
    tokens, _, vectors = vocabulary_of(tmp_path, ["9 2", *LINES, "cat 7 7"])
    assert "unseen" in tokens and "o'clock" not in tokens
    assert vectors["cat"] == [7, 7]  # a token anyway, and its vector is known


@pytest.fixture
def vectors_of_tokens(tmp_path, monkeypatch):
    """A prepared corpus's vectors (N, D) of 32 of 40 tokens, of which 25 are freely written; rows that are a linear map of them."""
    monkeypatch.setattr(initial_weights, "RIDGE", 1e-9)
    g = torch.Generator().manual_seed(1)
    vectors, ids = torch.randn(40, 3, generator=g), torch.tensor([i for i in range(40) if i % 5])
    np.savez(tmp_path / corpus.VECTORS, ids=ids.numpy(), vectors=vectors[ids].numpy())
    rows = {}
    for key in ("embedding_encoder.weight", "embedding_decoder.weight", "linear.weight"):
        rows[key] = vectors @ torch.randn(3, 6, generator=g) + torch.randn(6, generator=g)
    return tmp_path, ids, rows


def test_rare_rows_begin_where_a_linear_map_takes_their_vectors(vectors_of_tokens):
    corpus, ids, rows = vectors_of_tokens
    state, known = {key: table.clone() for key, table in rows.items()}, torch.ones(40, dtype=torch.bool)
    known[[3, 4]] = False
    g = torch.Generator().manual_seed(2)
    for table in state.values():  # rows that say nothing of the map: rare ones, those new to the network, and those without a vector
        for i in [*range(25, 40), 3, 4, 10]:
            table[i] = torch.randn(6, generator=g) * 9
    state["linear.bias"] = torch.randn(40, generator=g)
    before = {key: table.clone() for key, table in state.items()}
    initial_weights.begin_at_vectors(state, corpus, 25, known)
    common = [i for i in ids.tolist() if i < 25 and i not in (3, 4)]
    for key in rows:
        assert torch.equal(state[key][:25], before[key][:25])
        length = initial_weights.RARE_LENGTH * rows[key][common].norm(dim=1).mean()
        for i in range(25, 40):  # one without a vector keeps its direction
            row = rows[key][i] if i % 5 else before[key][i]
            torch.testing.assert_close(state[key][i], row * length / row.norm(), atol=1e-4, rtol=1e-4)
    assert torch.equal(state["linear.bias"][:25], before["linear.bias"][:25])
    assert (state["linear.bias"][25:] == initial_weights.RARE_BIAS).all()


@pytest.mark.parametrize("generation_vocab_size", [100, 140])
@torch.no_grad()
def test_the_loss_is_over_what_each_row_may_write(generation_vocab_size):
    net = random_net(tiny_config(generation_vocab_size=generation_vocab_size), 4)
    bag = torch.tensor([[7, 120, 101, 120], [110, PAD, 9, PAD]])
    syntax = torch.tensor([[SOS, 106, 6, EOS], [SOS, 50, EOS, PAD]])
    targets = torch.tensor([[SOS, 120, 7, 120, 101, EOS], [SOS, 9, 130, 110, EOS, PAD]])  # 130 was dropped from its bag
    loss, right, count = trainer.loss_of(net, bag, syntax, targets[:, :-1], targets[:, 1:])
    states = net(bag, syntax, targets[:, :-1])
    expected, hits, counted = 0.0, 0, 0
    for i, row in enumerate(bag.tolist()):
        choices = [*range(generation_vocab_size), *dict.fromkeys(token for token in row if token >= generation_vocab_size)]
        for position, label in enumerate(targets[i, 1:].tolist()):
            if label == PAD or label not in choices:
                continue
            scores = net.linear(states[i, position])[choices].log_softmax(-1)
            expected -= scores[choices.index(label)].item()
            hits += choices[scores.argmax()] == label
            counted += 1
    assert count == counted == (8 if generation_vocab_size == 100 else 9) and int(right) == hits
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    labels = targets[:, 1:].clone()
    labels[labels == 130] = PAD
    assert (generation_vocab_size == 140) == (
        trainer.loss_of(net, bag, syntax, targets[:, :-1], labels)[0].item() != pytest.approx(expected, rel=1e-5)
    )


def test_a_loss_over_copied_words_teaches_their_rows():
    net = random_net(tiny_config(generation_vocab_size=100, tie="all"), 4)
    bag, syntax = torch.tensor([[7, 120, 101]]), torch.tensor([[SOS, 106, EOS]])
    loss, *_ = trainer.loss_of(net, bag, syntax, torch.tensor([[SOS, 120]]), torch.tensor([[120, EOS]]))
    loss.backward()
    moved = net.linear.weight.grad.abs().sum(1) > 0
    assert moved[[120, 101]].all() and not moved[[119, 121, 139]].any() and net.linear.bias.grad[[120, 101]].ne(0).all()


def test_vectors_are_refused_where_they_cannot_be_used(small, tmp_path, capsys):
    (tmp_path / "vectors.txt").write_text("dog 1 2\n")
    files = ["--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--vectors", str(tmp_path / "vectors.txt")]
    with pytest.raises(SystemExit) as caught:
        train.main([str(small / "w0"), *files, "--from", str(tiny_artifact(tmp_path / "base"))])
    assert caught.value.code == 2 and "--vectors with --from needs --merges" in capsys.readouterr().err
    attended = tiny_artifact(tmp_path / "attended", attend_pads=True)
    with pytest.raises(SystemExit) as caught:
        train.main([str(small / "w1"), *files, "--merges", "40", "--from", str(attended)])
    assert caught.value.code == 2 and "--vectors needs an artifact that masks pads" in capsys.readouterr().err
    assert not any((small / f"w{i}").exists() for i in range(2))  # nor is anything left that a next run would go on from


@pytest.mark.slow
def test_words_seldom_seen_are_copied_after_fine_tuning_with_vectors(small, tmp_path):
    base = tiny_artifact(tmp_path / "base", tie="all")
    words = "the a . dog cat bird horse sees likes finds tree house ball river take see zebra giraffe".split()
    g = np.random.default_rng(1)
    (small / "vectors.txt").write_text("".join(f"{word} {' '.join(map(str, g.normal(size=4).round(3)))}\n" for word in words))
    data = ["--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--net", "paraphraser"]
    tune = ["--from", str(base), *data, "--merges", "90", "--vectors", str(small / "vectors.txt"), "--epochs", "1"]
    out, corpus = small / "out", small / "one" / "corpus"
    assert train.main([str(small / "one"), *tune]) == 0
    assert train.main([str(small / "one"), "--export", str(out)]) == 0
    record, config = json.loads((corpus / "corpus.json").read_text()), artifacts.verify(out)
    tokens, generation_vocab_size = artifacts.read_vocabulary(out / "vocab.json").tokens, config.paraphraser.generation_vocab_size
    assert (
        record["generation_vocab_size"] == generation_vocab_size
        and record["vectors"]["file"] == "vectors.txt"
        and len(record["vectors"]["sha256"]) == 64
    )
    assert {"the", "a", "."} <= set(tokens[:generation_vocab_size]) and {"dog", "zebra", "giraffe"} <= set(tokens[generation_vocab_size:])
    assert config.parse_generator == artifacts.verify(base).parse_generator and config.parse_generator.generation_vocab_size is None
    kept, stored = (load_file(folder / "parse_generator.safetensors") for folder in (base, out))
    assert kept.keys() == stored.keys() and all(torch.equal(kept[name], stored[name]) for name in kept)
    begun = initial_weights.begin_from(base, "paraphraser", corpus)
    assert begun.config.generation_vocab_size == generation_vocab_size and begun.linear.weight is begun.embedding_encoder.weight
    lengths = begun.linear.weight[generation_vocab_size:].norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths))
    assert (begun.linear.bias[generation_vocab_size:] == initial_weights.RARE_BIAS).all() and not (
        begun.linear.bias[:generation_vocab_size] == initial_weights.RARE_BIAS
    ).any()
    counts = artifacts.load_lexicon(out / artifacts.LEXICON, generation_vocab_size)[0]
    assert counts.any() and np.array_equal(counts, lexicon_of(corpus)[:, :generation_vocab_size])

    settings = json.loads((out / "config.json").read_text())
    settings["pipeline"]["copy_odds"] = 50
    artifacts.write_json(out / "config.json", settings)
    artifacts.write_manifest(out)
    parse = "(ROOT (S (NP (DT the) (NN zebra)) (VP (VBZ likes) (NP (DT a) (NN giraffe))) (. .)))"
    for options in (dict(compiled=False), dict(precision="fp32"), dict(precision="int8")):
        paraphraser = artifacts.load(out, **options)
        rows = paraphraser.plan(
            read_request({"sent": "the zebra likes a giraffe .", "synt": parse, "parse": parse, "seed": 1, "num_paraphrases": 8})
        )
        assert sum(i >= generation_vocab_size for i in rows[0].pieces) == 3
        texts = [done.text.split() for done in paraphraser.run(rows)]
        assert all({text[1], text[4]} == {"zebra", "giraffe"} for text in texts)  # at the nouns' leaves, one each
        assert not any({"dog", "cat", "bird", "horse"} & set(text) for text in texts)

    # With the vocabulary kept, what is written stays; with another one that has no vectors, everything is.
    assert train.main([str(small / "two"), "--from", str(out), *data, "--epochs", "0.1"]) == 0
    assert train.main([str(small / "two"), "--export", str(small / "again")]) == 0
    assert artifacts.verify(small / "again").paraphraser.generation_vocab_size == generation_vocab_size
    now = artifacts.load_lexicon(small / "again" / artifacts.LEXICON, generation_vocab_size)[0]
    assert np.array_equal(now, counts + lexicon_of(small / "two" / "corpus")[:, :generation_vocab_size])
    assert train.main([str(small / "three"), "--from", str(out), *data, "--epochs", "0.1", "--merges", "40"]) == 0
    assert initial_weights.begin_from(out, "paraphraser", small / "three" / "corpus").config.generation_vocab_size is None


@pytest.mark.slow
def test_what_an_untrained_network_cannot_read_is_left_out_of_its_ranges(small, tmp_path):
    base = tiny_artifact(tmp_path / "base")
    leaves = artifacts.verify(base).parse_generator.max_steps // 3
    long = f"(ROOT (S (VP {' '.join(['(NN dog)'] * leaves)}) (. .)))"
    with open(small / "train.tsv", "a") as lines:
        lines.write(f"dog\t{long}\n" * 5)
    tune = ["--from", str(base), "--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--epochs", "0.1"]
    assert train.main([str(small / "one"), *tune, "--net", "paraphraser", "--merges", "40"]) == 0
    split = corpus.Split.load(small / "one" / "corpus" / "train.npz")
    assert split.lengths("parse").max() > artifacts.verify(base).parse_generator.max_steps + 1
    assert train.main([str(small / "one"), "--export", str(small / "out")]) == 0
    artifacts.load(small / "out", precision="int8")
    assert calibration.calibrate(small / "out", split)["sentences"] == len(split) - 5


def test_files_that_cannot_be_learned_from_are_named(small, tmp_path, capsys):
    (small / "dev.tsv").write_text("x\t(ROOT (FOO x))\n")
    assert run(small) == 1
    assert capsys.readouterr().err == (
        "dev.tsv: no sentence is left to learn from; dev.tsv:1: label 2 of the tree is not one of the Penn Treebank's.\n"
    )
    assert train.main([str(tmp_path / "w"), "--from", str(small), "--train", "a", "--dev", "b"]) == 1
    with pytest.raises(InputError, match="vectors.txt: no word of the vocabulary has a vector in it"):
        vocabulary_of(tmp_path, ["2 2", "Paris 1 2", ", 3 4"])


def test_an_export_that_breaks_off_leaves_the_artifact_as_it_was(small, monkeypatch, capsys):
    run(small, "--epochs", "0.1")
    out = small / "out"
    assert run(small, "--export", str(out)) == 0
    (out / "notes.txt").write_text("mine")
    (out / "more").mkdir()
    (out / "more" / "figures.txt").write_text("mine too")
    before = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}

    def full(folder, *_):
        assert (folder / "manifest.json").is_file() and not (folder / artifacts.RANGES).exists()  # no derived file of before
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def spoiled(folder, *_):
        (folder / "vocab.json").write_text("[]")

    for broken, said in (full, "No space left on device.\n"), (spoiled, r"vocab\.json: expected .* bytes, found 2\.\n"):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(calibration, "calibrate", broken)
            assert run(small, "--export", str(out)) == 1
        assert re.fullmatch(said, capsys.readouterr().err)
        assert {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
        assert not list(small.glob(".out-*"))
    assert run(small, "--export", str(out)) == 0
    artifacts.verify(out)
    assert (out / "notes.txt").read_text() == "mine" and (out / "more" / "figures.txt").read_text() == "mine too"


def test_a_folder_that_cannot_be_renamed_into_place_gives_the_old_one_back(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    with pytest.raises(FileNotFoundError):
        staging.replace_folder(tmp_path / "out", tmp_path / "none", tmp_path / "before")
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "old.txt"]
