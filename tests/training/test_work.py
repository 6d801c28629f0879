"""A damaged file of a WORK folder is one sentence: a checkpoint that was changed or cut, a corpus, a record."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scripts.common.command import InputError
from scripts.training.work import read_arrays, read_checkpoint, read_json, resume


@pytest.fixture
def training():
    net = torch.nn.Linear(64, 64)
    return SimpleNamespace(net=net, optimizer=torch.optim.AdamW(net.parameters()), step=3)


@pytest.fixture
def checkpoint(training, tmp_path):
    state = {"net": training.net.state_dict(), "optimizer": training.optimizer.state_dict(), "step": 7}
    torch.save(state, tmp_path / "net.pt")
    return tmp_path / "net.pt"


def test_a_whole_checkpoint_is_continued_from(training, checkpoint):
    weight = training.net.weight.detach().clone()
    torch.nn.init.zeros_(training.net.weight)
    resume(training, checkpoint, ["step"])
    assert training.step == 7 and torch.equal(training.net.weight, weight)


def flipped(training, data: bytes) -> bytes:
    place = data.index(training.net.weight.detach().numpy().tobytes()) + 100
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage, why",
    [
        (flipped, r"\S+ does not match its checksum"),
        (lambda _, data: data[:-200], "File is not a zip file"),
        (lambda _, data: b"", "File is not a zip file"),
        (lambda _, data: b"text", "File is not a zip file"),
    ],
    ids=["flipped", "cut", "empty", "text"],
)
def test_a_damaged_checkpoint_is_one_sentence(training, checkpoint, damage, why):
    checkpoint.write_bytes(damage(training, checkpoint.read_bytes()))
    with pytest.raises(InputError, match=rf"^\S+/net\.pt cannot be continued from: {why}; remove it to train from the beginning\.$"):
        resume(training, checkpoint, ["step"])
    assert training.step == 3


def test_a_checkpoint_of_something_else_is_one_sentence(training, checkpoint):
    with pytest.raises(InputError, match="cannot be continued from: it has no epoch; "):
        read_checkpoint(checkpoint, ["step", "epoch"])
    other = SimpleNamespace(net=torch.nn.Linear(3, 3), optimizer=training.optimizer)
    with pytest.raises(InputError, match="cannot be continued from: it is of another network; "):
        resume(other, checkpoint, ["step"])
    torch.save([1], checkpoint)
    with pytest.raises(InputError, match="cannot be continued from: it has no step; "):
        read_checkpoint(checkpoint, ["step"])
    with pytest.raises(FileNotFoundError):
        read_checkpoint(checkpoint.with_name("none.pt"), ["step"])


def test_damaged_arrays_are_one_sentence(tmp_path):
    file = tmp_path / "train.npz"
    np.savez(file, ids=np.arange(1000))
    assert np.array_equal(read_arrays(file)["ids"], np.arange(1000))
    whole = file.read_bytes()
    place = whole.index(np.arange(1000).tobytes()) + 500
    for data in whole[:place] + b"\xff" + whole[place + 1 :], whole[:-100], b"text", b"":
        file.write_bytes(data)
        with pytest.raises(
            InputError, match=rf"^\S+/train\.npz is damaged: .+; remove {re.escape(str(tmp_path))} to prepare the corpus again\.$"
        ):
            read_arrays(file)


@pytest.mark.parametrize(
    "text, why", [("[" * 100_000, "it is nested too deep"), ("{", "Expecting .*"), ("", "Expecting value.*")], ids=range(3)
)
def test_json_that_cannot_be_read_is_one_sentence(tmp_path, text, why):
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(InputError, match=rf"^\S+/corpus\.json is not JSON in UTF-8: {why}\.$"):
        read_json(tmp_path / "corpus.json")
