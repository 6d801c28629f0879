"""How the source parser is trained: the data, interruptions, the commands, what they refuse and record."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.language.trees import read_tree, words
from handler.parsing.parser import shape
from scripts import train_parser
from scripts.training import parser as training
from scripts.training.parser_data import encode, make_batch, plan, read_trees
from scripts.training.parser_scores import score
from tests.factories import tiny_artifact
from tests.parsing.tiny_parser import RECIPE, TREES, files


def test_training_says_where_it_is_and_goes_on(trained, tmp_path):
    said = (trained / "said").read_text(encoding="utf-8").splitlines()
    assert "12 trees of train" in said[0] and "min left" in said[2] and "loss" in said[2]
    work, lines = tmp_path / "work", []
    half = replace(RECIPE, epochs=2)
    once = tmp_path / "once"
    training.train(once, files(trained), trained / "encoder", half)
    training.prepare(work, files(trained), trained / "encoder", half)
    interrupted = training.Training(work, trained / "encoder", half)
    interrupted.run(lines.append, stop=3)
    assert interrupted.step == 3
    training.train(work, files(trained), trained / "encoder", half, say=lines.append)
    a, b = (torch.load(folder / "parser.pt", weights_only=True)["net"] for folder in (once, work))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_waits_while_it_is_asked_to(trained, tmp_path, monkeypatch):
    pause, slept = tmp_path / "QUIET", []
    pause.touch()
    monkeypatch.setattr(training.time, "sleep", lambda seconds: slept.append(seconds) if len(slept) < 3 else pause.unlink())
    training.Training(trained / "work", trained / "encoder", RECIPE, pause).wait()
    assert len(slept) == 3 and not pause.exists()


def test_a_hurried_training_ends_by_the_clock(trained, tmp_path, monkeypatch):
    work, now = tmp_path / "work", [1000.0]
    training.prepare(work, files(trained), trained / "encoder", RECIPE, say=lambda text: None)
    hurried = training.Training(work, trained / "encoder", RECIPE, minutes=10)
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    assert hurried.left(100) == 1.0
    now[0] += 300
    assert hurried.left(100) == 0.5
    hurried.step = 80
    assert hurried.left(100) == 0.2  # never behind the steps
    now[0] += 300
    hurried.run(lambda text: None)
    assert hurried.step == 80 and hurried.hurries == [[0, 10]]


def small_corpus(trained):
    settings = json.loads((trained / "work" / "corpus.json").read_text(encoding="utf-8"))
    ids = {piece: i for i, piece in enumerate(settings["pieces"])}
    return encode(read_trees(trained / "train.tsv"), ids, settings["tags"], settings["labels"])


def test_an_epoch_has_the_copies_of_the_recipe(trained):
    corpus = small_corpus(trained)
    one, two = (plan(corpus, replace(RECIPE, weights={"hand": 2.5}, batch=40), epoch) for epoch in (0, 1))
    counts = np.bincount(np.concatenate(one))
    assert counts.sum() == 30 and set(counts) == {2, 3} and [b.tolist() for b in one] != [b.tolist() for b in two]
    sizes = corpus.piece_counts() + 2
    assert max(sizes[batch].max() * len(batch) for batch in one if len(batch) > 1) <= 40


def test_some_sentences_are_read_in_lower_case_and_without_their_final_mark(trained):
    corpus, all_of_it = small_corpus(trained), np.arange(12)
    plain, changed = (
        make_batch(corpus, all_of_it, replace(RECIPE, lower=1.0, no_stop=share), np.random.default_rng(0)) for share in (0, 1)
    )
    sizes = np.array([len(words(read_tree(text))) for text in TREES])
    assert plain[3].tolist() == sizes.tolist()
    assert changed[3].tolist() == [n - (n > 3) for n in sizes.tolist()]  # all end in a mark; what is left of `Oh !` is too little
    assert not set(changed[0][1].ravel().tolist()) & {shape("Tom"), shape("A")}
    first = changed[1][:6]  # the spans of "The cat sat": the sentence is S and the last word VP
    names = json.loads((trained / "work" / "corpus.json").read_text(encoding="utf-8"))["labels"]
    assert [names[label] for label in first] == ["", "NP", "S", "", "", "VP"]


def test_the_command_measures_and_records(trained, capsys):
    out = trained / "measured.safetensors"
    dev = str(trained / "dev.tsv")
    assert train_parser.main([str(trained / "work"), "--export", str(out), "--dev", dev, "--test", dev]) == 0
    record = json.loads(out.with_suffix(".record.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out)["test"] == record["test"]
    assert record["test"]["hand"] == {"sentences": 12, "f1": 100.0, "exact": 100.0, "words": 67, "tags": 100.0}
    assert record["bytes"] == out.stat().st_size and len(record["data"]["train"]["sha256"]) == len(record["encoder"]["sha256"]) == 64
    assert out.read_bytes() == (trained / "parser.safetensors").read_bytes()


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "No such file or directory"),
        ("", "expected parses, found none that can be read; the file is empty"),
        ("x\t(ROOT (FOO x))\n", "expected parses, found none that can be read; train.tsv:1: label 2 of the tree .*"),
        ("x\t(ROOT (S (NP )))\n", "expected parses, found none that can be read; no tree has a word at each leaf"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(trained, tmp_path, capsys, content, said):
    train = tmp_path / "train.tsv"
    if content is not None:
        train.write_text(content, encoding="utf-8")
    more = ["--dev", str(trained / "dev.tsv"), "--encoder", str(trained / "encoder")]
    assert train_parser.main([str(tmp_path / "w"), "--train", str(train), *more]) == 1
    assert re.fullmatch(rf".*train\.tsv: {said}\.\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("tokenizer.json", b"", "tokenizer.json has no vocabulary of word pieces"),
        (
            "tokenizer.json",
            b'{"model": {"vocab": {"a": 0}}}',
            "model.safetensors has no embeddings.word_embeddings.weight of 1 word pieces",
        ),
        ("model.safetensors", b"", "A file of tensors could not be read or written: .*"),
    ],
)
def test_a_broken_encoder_is_refused(trained, tmp_path, capsys, name, content, said):
    shutil.copytree(trained / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder" / name).write_bytes(content)
    data = str(trained / "dev.tsv")
    assert train_parser.main([str(tmp_path / "w"), "--train", data, "--dev", data, "--encoder", str(tmp_path / "encoder")]) == 1
    assert re.search(rf"{said}\.\n$", capsys.readouterr().err)


def test_the_command_says_how_it_is_called(tmp_path, capsys):
    for more, said in (
        ([], "give --train or --export"),
        (["--train", "x"], "--train needs --dev and --encoder"),
        (["--train", "x", "--dev", "x", "--encoder", "x", "--test", "x"], "--test needs --export"),
    ):
        with pytest.raises(SystemExit):
            train_parser.main([str(tmp_path / "w"), *more])
        assert said in capsys.readouterr().err


def test_a_damaged_checkpoint_is_one_sentence(trained, tmp_path, capsys):
    work = shutil.copytree(trained / "work", tmp_path / "work")
    data = bytearray((work / "parser.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (work / "parser.pt").write_bytes(data)
    arguments = [
        str(work),
        "--train",
        str(trained / "train.tsv"),
        "--dev",
        str(trained / "train.tsv"),
        "--encoder",
        str(trained / "encoder"),
    ]
    for command in arguments, [str(work), "--export", str(tmp_path / "p.safetensors")]:
        assert train_parser.main(command) == 1
        assert re.fullmatch(
            r"\S+/parser\.pt cannot be continued from: .*; remove it to train from the beginning\.\n", capsys.readouterr().err
        )


def test_an_exported_parser_is_part_of_its_artifact(trained, tmp_path):
    folder = tiny_artifact(tmp_path / "artifact")
    assert train_parser.main([str(trained / "work"), "--export", str(folder / "parser.safetensors")]) == 0
    assert "parser.safetensors" in artifacts.members(folder)


def test_figures_are_of_brackets_without_root_and_tags(trained):
    class Fixed:
        def parse(self, tokens):
            return read_tree("(ROOT (S (NP (DT the) (JJ cat)) (VP (VBD sat))))")

    found = score(Fixed(), [(read_tree("(ROOT (S (NP (NP (DT the)) (NN cat)) (VP (VBD sat))))"), "x")])
    assert found["all"] == found["x"] == {"sentences": 1, "f1": 85.71, "exact": 0.0, "words": 3, "tags": 66.67}
