"""Training that begins from an artifact: what it keeps of it, what it learns, when it stops."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from handler import artifacts, weights
from handler.wire.request import read_request
from scripts import train
from scripts.common import artifact_files
from scripts.common.command import UserError
from scripts.common.paths import DEMO
from scripts.training import calibration, corpus, export, initial_weights, trainer
from tests.factories import PICNIC, tiny_artifact
from tests.training.small_corpus import SENTENCES, lexicon_of, run


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
    artifact_files.write_manifest(small / "first")
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
    curves = {"parse_generator": {"curve": [{"epoch": 1, "loss": 3.0}]}, "paraphraser": {"curve": []}}
    artifact_files.write_json(base / "training.json", curves)
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
