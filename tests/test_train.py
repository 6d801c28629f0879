"""Training in miniature: loss falls, an interruption changes nothing, the artifact answers."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from handler import artifacts
from handler.request import read_request
from handler.text import Vocabulary
from scripts import _corpus, calibrate, train
from tests.factories import PICNIC, tiny_artifact

SENTENCES = [
    f"(ROOT (S (NP (DT the) (NN {noun})) (VP (VBZ {verb}) (NP (DT a) (NN {other}))) (. .)))"
    for noun in ("dog", "cat", "bird", "horse") for verb in ("sees", "likes", "finds") for other in ("tree", "house", "ball", "river")]
SENTENCES += [f"(ROOT (S (VP (VB {verb}) (NP (DT the) (NN {noun}))) (. .)))" for verb in ("take", "see") for noun in ("ball", "cat")]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Tiny shapes, short recipes, and a corpus of fifty sentences; the folder of the work."""
    for name in train.NETS:
        shape = dict(d_model=16, n_heads=2, d_feedforward=32, n_encoder_layers=1, n_decoder_layers=1)
        monkeypatch.setitem(train.SHAPES, name, {**train.SHAPES[name], **shape})
        monkeypatch.setitem(train.RECIPES, name, dataclasses.replace(
            train.RECIPES[name], tokens=300, warmup=5, peak_rate=1e-2, epochs=4))
    monkeypatch.setattr(train, "REPORT_STEPS", 5)
    monkeypatch.setattr(train, "CHECKPOINT_STEPS", 10)
    for name, lines in (("train", SENTENCES[::2] + SENTENCES[1::4]), ("dev", SENTENCES[3::8])):
        (tmp_path / f"{name}.tsv").write_text("".join(
            " ".join(word.rstrip(")") for word in parse.split() if word.endswith(")")) + f"\t{parse}\n" for parse in lines))
    return tmp_path


def run(folder, *more):
    return train.main([str(folder / "work"), "--train", str(folder / "train.tsv"), "--dev", str(folder / "dev.tsv"),
                       "--merges", "40", "--threads", "1", *more])


def lexicon_of(folder):
    """Counts of an artifact's lexicon, or of the sentences of a prepared corpus."""
    vocabulary = Vocabulary.load(folder / "vocab.json")
    if (folder / artifacts.LEXICON).is_file():
        return artifacts.load_lexicon(folder / artifacts.LEXICON, len(vocabulary))
    return calibrate.counts_of(vocabulary, _corpus.Split.load(folder / "train.npz"))


def test_loss_falls_and_the_artifact_answers(small, capsys):
    assert run(small) == 0
    assert "min left" in capsys.readouterr().out
    assert run(small, "--export", str(small / "artifact")) == 0
    record = json.loads((small / "artifact" / "training.json").read_text())
    for name in train.NETS:
        curve = record[name]["curve"]
        assert curve[-1]["loss"] < 0.7 * curve[0]["loss"] and curve[-1]["epoch"] == 4
    paraphraser = artifacts.load(small / "artifact")
    assert paraphraser.config.constrained and paraphraser.config.tag_weight == paraphraser.lexicon.weight > 0
    [row] = paraphraser.plan(read_request({**PICNIC, "seed": 1}))
    assert paraphraser.run([row])[0].text


def test_going_on_after_an_interruption_changes_nothing(small, monkeypatch):
    run(small, "--net", "paraphraser")
    whole = torch.load(small / "work" / "paraphraser.pt", weights_only=True)
    (small / "work" / "paraphraser.pt").unlink()

    class Stop(Exception):
        pass
    learn = train.Training.learn

    def stopping(self, *arguments):
        if self.step == 13:
            raise Stop
        return learn(self, *arguments)
    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "learn", stopping)
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
    split = _corpus.Split.load(small / "work" / "corpus" / "train.npz")
    recipe = dataclasses.replace(train.RECIPES["paraphraser"], word_dropout=0.5)
    config = train.Training("paraphraser", small / "work", recipe, torch.device("cpu")).config
    rows = np.array([0, 0, 0, 0])  # the same sentence four times
    dropped = train.make_batch(split, rows, recipe, config, "cpu", np.random.default_rng(1))[0]
    assert len({tuple(row) for row in dropped.tolist()}) > 1
    plain = train.make_batch(split, rows, recipe, config, "cpu", None)[0]
    assert (plain != 0).all() and len({tuple(row) for row in plain.tolist()}) == 1


def test_templates_are_capped_and_left_out_sentences_counted(small):
    (small / "train.tsv").write_text((small / "train.tsv").read_text() + "x\t(ROOT (FOO x))\n" + "y\t(ROOT (NN y)\n")
    run(small, "--net", "paraphraser", "--epochs", "0.01")
    record = json.loads((small / "work" / "corpus" / "corpus.json").read_text())["splits"]["train"]
    assert sum(record["left_out"].values()) == 2 and record["sentences"] == len(SENTENCES[::2] + SENTENCES[1::4])
    split = _corpus.Split.load(small / "work" / "corpus" / "train.npz")
    chosen = _corpus.cap_templates(split, 0.1, np.random.default_rng(0))
    assert 0 < len(chosen) <= 2 * int(0.1 * len(split)) + 1
    assert len(_corpus.cap_templates(split, 1.0, np.random.default_rng(0))) == len(split)


def test_schedule_warms_up_holds_and_falls():
    recipe = dataclasses.replace(train.RECIPES["paraphraser"], warmup=10, decay=0.25, peak_rate=1.0)
    rates = [train.schedule(step, 100, recipe) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:75] == [1.0] * 66 and rates[100] == 0 and rates[90] == pytest.approx(0.4)


def test_a_new_folder_needs_data(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main([str(tmp_path / "new")])
    assert "needs --train and --dev" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="train the parse generator first"):
        train.main([str(tmp_path / "new"), "--export", str(tmp_path / "out")])


def test_what_fine_tuning_began_with_is_no_reason_to_stop():
    training = train.Training.__new__(train.Training)
    training.recipe = dataclasses.replace(train.RECIPES["paraphraser"], patience=2)
    training.curve = [{"step": step, "loss": loss} for step, loss in ((0, 0.5), (10, 0.9), (20, 0.8), (30, 0.7), (40, 0.8))]
    assert not training.stopped_early()
    training.curve.append({"step": 50, "loss": 0.75})
    assert training.stopped_early()


def test_fine_tuning_goes_on_from_an_artifact_and_stops_when_it_no_longer_helps(small, monkeypatch, capsys):
    run(small)
    run(small, "--export", str(small / "first"))
    (small / "first" / "tagger.safetensors").write_bytes(b"kept as it is")
    artifacts.write_manifest(small / "first")
    before = artifacts.read_config(small / "first" / "config.json")
    monkeypatch.setitem(train.FINE_TUNE, "peak_rate", 3e-3)
    monkeypatch.setitem(train.RECIPES, "paraphraser", dataclasses.replace(train.RECIPES["paraphraser"], patience=2, epochs=400))
    other = [sentence.replace("the)", "this)").replace(" a)", " that)") for sentence in SENTENCES]
    for name, lines in (("train", other[::2] + SENTENCES[:2]), ("dev", other[1::4])):
        (small / f"{name}.tsv").write_text("".join(f"x\t{parse}\n" for parse in lines))
    tune = [str(small / "tuned"), "--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--threads", "1"]
    assert train.main([*tune, "--from", str(small / "first")]) == 0
    assert train.main([str(small / "tuned"), "--export", str(small / "second")]) == 0
    after, record = artifacts.verify(small / "second"), json.loads((small / "second" / "training.json").read_text())
    assert after == before
    assert (small / "second" / "vocab.json").read_bytes() == (small / "first" / "vocab.json").read_bytes()
    assert (small / "second" / "tagger.safetensors").read_bytes() == b"kept as it is"
    was, now, new = (lexicon_of(small / folder) for folder in ("first", "second", "tuned/corpus"))
    assert was.any() and new.any() and np.array_equal(now, was + new)  # what was learned before is not forgotten
    curve = [point["loss"] for point in record["paraphraser"]["curve"]]
    assert min(curve) < 0.9 * curve[0]  # the first is the artifact's own, before any step
    assert record["begun_from"]["paraphraser"]["curve"]
    assert record["paraphraser"]["epoch"] < 400 and min(curve[-2:]) > min(curve)  # stopped early
    best = torch.load(small / "tuned" / "paraphraser.pt", weights_only=True)["best"]["linear.bias"]
    stored = artifacts.load_net(small / "second" / "paraphraser.safetensors", after.paraphraser, torch.device("cpu")).linear.bias
    torch.testing.assert_close(stored, best.half().float())
    with pytest.raises(SystemExit):
        run(small, "--from", str(small / "first"))
    assert "begun without --from" in capsys.readouterr().err


def test_fine_tuning_with_a_larger_vocabulary_keeps_what_the_artifact_knows(small):
    run(small, "--merges", "10")
    run(small, "--export", str(small / "first"))
    tune = [str(small / "tuned"), "--train", str(small / "train.tsv"), "--dev", str(small / "dev.tsv"), "--threads", "1"]
    train.main([*tune, "--from", str(small / "first"), "--merges", "70", "--epochs", "0.2"])
    old, new = (json.loads((small / folder / "vocab.json").read_text()) for folder in ("first", "tuned/corpus"))
    assert (word := next(token for token in new if token not in old and "@@" not in token))
    base, corpus = small / "tuned" / "base", small / "tuned" / "corpus"
    first = artifacts.load_net(base / "paraphraser.safetensors", artifacts.verify(base).paraphraser, torch.device("cpu"))
    begun = train.begin_from(base, "paraphraser", corpus)
    known = [i for i, token in enumerate(new) if token in old]
    torch.testing.assert_close(begun.embedding_decoder.weight[known],
                               first.embedding_decoder.weight[[old.index(new[i]) for i in known]])
    pieces = train.WordPieces(base / "bpe.codes", base / "bpe.vocab.txt", 5).split([word])
    assert len(pieces) > 1
    torch.testing.assert_close(begun.embedding_decoder.weight[new.index(word)],
                               first.embedding_decoder.weight[[old.index(piece) for piece in pieces]].mean(0))
    assert begun.config.vocab_size == len(new) and begun.linear.weight is begun.embedding_encoder.weight
    assert train.main([str(small / "tuned"), "--export", str(small / "second")]) == 0
    assert artifacts.load(small / "second").run(artifacts.load(small / "second").plan(read_request({**PICNIC, "seed": 1})))
    assert np.array_equal(lexicon_of(small / "second"), lexicon_of(small / "tuned/corpus"))  # the base's has other pieces


def test_fine_tuning_keeps_attended_pads(small, tmp_path):
    base = tiny_artifact(tmp_path / "base", attend_pads=True)
    assert train.main([str(small / "tuned"), "--from", str(base), "--train", str(small / "train.tsv"), "--dev",
                       str(small / "dev.tsv"), "--epochs", "0.2", "--net", "paraphraser"]) == 0
    split = _corpus.Split.load(small / "tuned" / "corpus" / "dev.npz")
    config = artifacts.verify(base).paraphraser
    bag, syntax, *_ = train.make_batch(split, np.array([0]), train.RECIPES["paraphraser"], config, "cpu", None)
    assert (bag.shape[1], syntax.shape[1]) == (config.bag_width, config.syntax_width)


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
    (small / "one" / "base" / "training.json").unlink()
    assert train.main([str(small / "one"), "--export", str(out)]) == 0
    assert "parse_generator" not in json.loads((out / "training.json").read_text())
    (small / "one" / "paraphraser.pt").unlink()
    with pytest.raises(SystemExit, match="train the parse generator first"):
        train.main([str(small / "one"), "--export", str(out)])  # nothing is new
    assert train.main([str(small / "two"), *tune, "--net", "paraphraser", "--merges", "40"]) == 0
    assert train.main([str(small / "two"), "--export", str(out)]) == 0  # other words, but the parse generator reads none
    kept, stored = (load_file(folder / "parse_generator.safetensors") for folder in (base, out))
    assert artifacts.verify(out).parse_generator == before.parse_generator and all(torch.equal(kept[name], stored[name]) for name in kept)
    assert artifacts.verify(out).paraphraser.vocab_size == len(Vocabulary.load(out / "vocab.json")) != before.paraphraser.vocab_size
    assert artifacts.load(out).run(artifacts.load(out).plan(read_request({**PICNIC, "seed": 1})))
    # What the parse generator reads has other ids; or there is a new parse generator, and the paraphraser knows other words.
    vocabulary = json.loads((small / "two" / "corpus" / "vocab.json").read_text())
    turned = [*vocabulary[:5], *vocabulary[5:109][::-1], *vocabulary[109:]]
    (small / "two" / "corpus" / "vocab.json").write_text(json.dumps(turned))
    with pytest.raises(SystemExit, match="train the parse generator first"):
        train.main([str(small / "two"), "--export", str(out)])
    (small / "two" / "corpus" / "vocab.json").write_text(json.dumps(vocabulary))
    (small / "two" / "paraphraser.pt").rename(small / "two" / "parse_generator.pt")
    with pytest.raises(SystemExit, match="train the paraphraser first"):
        train.main([str(small / "two"), "--export", str(out)])


@pytest.mark.parametrize("options, expected", [
    (dict(), (train.DECODING["tag_weight"], train.DECODING["order_bonus"])),
    (dict(constrained=False), (0.0, 0.0)), (dict(tokenization="raw"), (0.0, 0.0)),
    (dict(tag_weight=0.5), (0.5, 0.0))])  # has a lexicon, and so its own opinion
def test_an_artifact_that_could_not_choose_gets_the_settings_of_a_new_one(tmp_path, options, expected):
    base = tiny_artifact(tmp_path / "base", **options)
    pipeline = train.pipeline_of(base, 7)
    assert (pipeline.tag_weight, pipeline.order_bonus, pipeline.source_bonus, pipeline.bpe_threshold) == (*expected, 0, 7)
    assert train.pipeline_of(tmp_path / "none", 7).source_bonus == train.DECODING["source_bonus"]


def test_files_that_cannot_be_learned_from_are_named(small, tmp_path):
    (small / "dev.tsv").write_text("x\t(ROOT (FOO x))\n")
    with pytest.raises(SystemExit, match="dev.tsv: no sentence is left"):
        run(small)
    assert train.main([str(tmp_path / "w"), "--from", str(small), "--train", "a", "--dev", "b"]) == 1
