"""Training in miniature: the loss falls, an interruption changes nothing, the artifact answers."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.wire.request import read_request
from scripts import train
from scripts.common.command import InputError
from scripts.training import corpus, trainer
from tests.factories import PICNIC
from tests.training.small_corpus import SENTENCES, run, vocabulary_of


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


def test_files_that_cannot_be_learned_from_are_named(small, tmp_path, capsys):
    (small / "dev.tsv").write_text("x\t(ROOT (FOO x))\n")
    assert run(small) == 1
    assert capsys.readouterr().err == (
        "dev.tsv: no sentence is left to learn from; dev.tsv:1: label 2 of the tree is not one of the Penn Treebank's.\n"
    )
    assert train.main([str(tmp_path / "w"), "--from", str(small), "--train", "a", "--dev", "b"]) == 1
    with pytest.raises(InputError, match="vectors.txt: no word of the vocabulary has a vector in it"):
        vocabulary_of(tmp_path, ["2 2", "Paris 1 2", ", 3 4"])
