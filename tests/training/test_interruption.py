"""A training that is killed or stopped in the middle of an epoch goes on as if nothing had happened; what is said meanwhile."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from scripts import train
from scripts.common.paths import ROOT
from scripts.training import progress, trainer
from tests.factories import tiny_artifact

NOUNS = "ball cat dog house tree".split()
SENTENCES = [f"(ROOT (S (VP (VB {verb}) (NP (NN {noun}))) (. .)))" for verb in ("take", "see") for noun in NOUNS]

# A training with a checkpoint after each step, slow enough to be caught in the middle of an epoch.
PROGRAM = """
import sys, time
from scripts import train
from scripts.training import trainer
trainer.CHECKPOINT_SECONDS = 0.0
learn = trainer.Training.learn
def slowly(self, *arguments):
    time.sleep(0.1)
    return learn(self, *arguments)
trainer.Training.learn = slowly
trainer.RECIPES["paraphraser"] = trainer.replace(trainer.RECIPES["paraphraser"], tokens=60)
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture
def arguments(tmp_path):
    """Of a training of a tiny paraphraser: two epochs of five batches."""
    base = tiny_artifact(tmp_path / "base")
    for name, lines in (("train", SENTENCES), ("dev", SENTENCES[::5])):
        (tmp_path / f"{name}.tsv").write_text("".join(f"x\t{parse}\n" for parse in lines))
    files = ["--train", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv"), "--from", str(base)]
    return [*files, "--net", "paraphraser", "--epochs", "2", "--threads", "1", "--no-stop", "0.5", "--distractors", "0.5"]


def start(work, arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(work), *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def state_of(work) -> dict:
    return torch.load(work / "paraphraser.pt", weights_only=True)


def until_a_checkpoint(work, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not (work / "paraphraser.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_goes_on_in_the_middle_of_an_epoch(tmp_path, arguments, how, monkeypatch):
    process = start(tmp_path / "work", arguments)
    until_a_checkpoint(tmp_path / "work", process)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130 and said.endswith("\nStopped; the same command goes on from the last checkpoint.\n")
        assert "Traceback" not in said
    state = state_of(tmp_path / "work")
    assert state["epoch"] == 0 and 0 < state["next_batch"] == state["step"] < 5
    monkeypatch.setitem(trainer.RECIPES, "paraphraser", replace(trainer.RECIPES["paraphraser"], tokens=60))
    for work in (tmp_path / "work", tmp_path / "whole"):
        assert train.main([str(work), *arguments]) == 0
    again, whole = state_of(tmp_path / "work"), state_of(tmp_path / "whole")
    assert again["step"] == whole["step"] == 10 and again["epoch"] == 2
    for name, tensor in whole["net"].items():
        torch.testing.assert_close(again["net"][name], tensor)


def test_what_is_said_of_steps():
    now, said = 0.0, []
    report = progress.Report("paraphraser", 100, said.append, clock=lambda: now)
    for step in range(1, 8):
        now += 2.0
        report.add((torch.tensor(3.0), torch.tensor(1), 2, 4), step, 0, 1e-3)
    assert said == ["paraphraser: step 3/100 epoch 0 loss 1.500 accuracy 0.500 rate 0.001 2 sentences/s, 3 min left"]  # after 6 s
    assert [progress.duration(seconds) for seconds in (40, 150, 7500)] == ["40 s", "2 min", "2 h 05 min"]


def test_reading_a_large_file_says_how_far_it_is():
    now, said = 0.0, []
    for _ in progress.counted(range(5), "train.tsv, lines read", said.append, clock=lambda: now):
        now += 5.0
    assert said == ["train.tsv, lines read: 2", "train.tsv, lines read: 4"]


def test_the_second_interruption_is_not_waited_for():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), progress.Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.asked
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interruption_is_written_before_it_ends_the_training(tmp_path, arguments, monkeypatch, capsys):
    learn = trainer.Training.learn

    def interrupted(self, *given):
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)
        return learn(self, *given)

    monkeypatch.setattr(trainer.Training, "learn", interrupted)
    assert train.main([str(tmp_path / "work"), *arguments]) == 130
    assert capsys.readouterr().err.endswith("Stopped; the same command goes on from the last checkpoint.\n")
    assert state_of(tmp_path / "work")["step"] == 2  # the step that was begun is whole
