"""Bags that do not fit their targets: each kind by itself, and the same batch again for the same seed."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from handler.language.trees import TAGS, read_tree, words
from handler.language.vocabulary import SPECIALS, Vocabulary
from scripts import train
from scripts.training import corpus, moved_pairs, trainer
from scripts.training.mismatch import MOST_DISTRACTORS, Bags, Mismatch, other_forms

LABELS = [f"<{label}>" for label in ("(", ")", "ROOT", *sorted(TAGS))]
VOCABULARY = Vocabulary([*SPECIALS, *LABELS, *"the dog dogs sees saw see ze@@ bra . is by tall taller tallest".split()])
IDS, TAG_IDS = VOCABULARY.ids, VOCABULARY.syntax_ids
ROW = "the dog sees ze@@ bra .".split()
TAGGED = ["DT", "NN", "VBZ", "NN", "."]
PLAIN = "(ROOT (S (NP (DT the) (NN dog)) (VP (VBD slept) (PP (IN in) (NP (DT the) (NN garden)))) (. .)))"


def changed(rows=400, seed=1, words=ROW, tags=TAGGED, **how) -> list[list[str]]:
    """The same sentence many times, each with another bag."""
    bags = [np.array([IDS[piece] for piece in words])] * rows
    labels = [np.array([TAG_IDS[tag] for tag in tags])] * rows
    found = Bags(Mismatch(**how), VOCABULARY, most=8).changed(bags, labels, np.random.default_rng(seed))
    return [[VOCABULARY.tokens[i] for i in row] for row in found]


def test_without_shares_bags_stay_as_they_are():
    assert changed(rows=5) == [ROW] * 5


def test_the_same_seed_draws_the_same_bags():
    how = dict(distractors=0.5, omitted=0.5, inflected=0.5, no_stop=0.5)
    assert changed(**how) == changed(**how) != changed(seed=2, **how)


def test_final_marks_are_left_out_of_their_share_of_bags():
    without = [row for row in changed(no_stop=0.3) if row != ROW]
    assert all(row == ROW[:-1] for row in without) and 0.2 < len(without) / 400 < 0.4


def test_words_are_left_out_whole():
    found = changed(omitted=1.0)
    assert all(("ze@@" in row) == ("bra" in row) for row in found)
    assert 0.6 < np.mean([len(set(row) - {"ze@@"}) / 5 for row in found]) < 0.73  # a third is left out
    assert all(found) and changed(rows=50, words=["dog"], tags=["NN"], omitted=1.0) == [["dog"]] * 50  # a bag is never empty


ADDED = {"ze@@ bra", *(" ".join(pair) for pair in itertools.product(("the", "dog", "sees"), repeat=2))}  # whole words, no marks


def test_distractors_are_words_of_the_batch_and_the_bag_keeps_its_own():
    for row in changed(distractors=1.0):
        assert row[: len(ROW)] == ROW and len(row) <= 8
        assert " ".join(row[len(ROW) :]) in ADDED | {"the", "dog", "sees"}
    bags = Bags(Mismatch(distractors=1.0), VOCABULARY, most=100)
    ids, tags = [np.array([IDS["is"], IDS["by"]])] * 200, [np.array([TAG_IDS["VBZ"], TAG_IDS["IN"]])] * 200
    lengths = {len(row) - 2 for row in bags.changed(ids, tags, np.random.default_rng(0))}
    assert lengths == set(range(1, MOST_DISTRACTORS + 1))


def test_auxiliaries_are_function_words():
    bags = Bags(Mismatch(), VOCABULARY, most=8)
    function, content = bags.pools([[[IDS["is"]], [IDS["sees"]], [IDS["by"]], [IDS["."]]]], [["VBZ", "VBZ", "IN", "."]])
    assert function == [[IDS["is"]], [IDS["by"]]] and content == [[IDS["sees"]]]


def test_words_stand_in_other_forms_of_their_own():
    found = changed(inflected=1.0)
    assert {row[1] for row in found} == {"dogs"} and {row[2] for row in found} == {"see", "saw"}
    assert all(row[0] == "the" and row[3:] == ROW[3:] for row in found)  # `zebra` is two pieces
    assert {row[0] for row in changed(words=["taller"], tags=["JJR"], inflected=1.0)} == {"tall", "tallest"}
    assert other_forms("is", "VBZ") == () and other_forms("condemned", "VBN") == ("condemn", "condemning", "condemns")


def test_shares_are_checked(tmp_path, capsys):
    for wrong in (dict(omitted=1.5), dict(distractors=-0.1), dict(moved=1.0)):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a share from 0 to"):
            Mismatch(**wrong)
    with pytest.raises(SystemExit):
        train.main([str(tmp_path / "work"), "--distractors", "2"])
    assert "distractors must be a share from 0 to 1, not 2" in capsys.readouterr().err


def test_moved_sentences_say_the_same_in_another_order():
    source = read_tree(PLAIN)
    found = [moved_pairs.moved(source, np.random.default_rng(seed)) for seed in range(20)]
    said = {" ".join(words(one[0])): one[1] for one in found if one}
    assert said["in the garden , the dog slept ."] == "front_pp" and " ".join(words(source)) not in said
    assert None not in found and all({"dog", "garden"} <= set(text.split()) for text in said)
    assert moved_pairs.moved(source, np.random.default_rng(3)) == found[3]
    assert moved_pairs.moved(read_tree("(ROOT (INTJ (UH ouch)))"), np.random.default_rng(1)) is None
    asked = moved_pairs.moved(read_tree("(ROOT (S (NP (PRP He)) (VP (VBZ sleeps)) (. .)))"), np.random.default_rng(1))
    assert asked and words(asked[0])[-4:] == "does he sleep ?".split()  # for want of anything else


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder with files of fifty and ten sentences, to train a tiny network on."""
    shape = dict(d_model=16, n_heads=2, d_feedforward=32, n_encoder_layers=1, n_decoder_layers=1)
    monkeypatch.setitem(trainer.SHAPES, "paraphraser", {**trainer.SHAPES["paraphraser"], **shape})
    for name, nouns in (("train", "dog cat bird horse mouse".split()), ("dev", ["cow"])):
        parses = [
            PLAIN.replace("dog", noun).replace("garden", place)
            for noun in nouns
            for place in "tree house barn river garden shed yard field town wood".split()
        ]
        (tmp_path / f"{name}.tsv").write_text("".join(f"{' '.join(words(read_tree(parse)))}\t{parse}\n" for parse in parses))
    return tmp_path


def run(folder, *more):
    files = ["--train", str(folder / "train.tsv"), "--dev", str(folder / "dev.tsv"), "--merges", "40", "--threads", "1"]
    return train.main([str(folder / "work"), *files, "--net", "paraphraser", "--epochs", "0.01", *more])


def test_moved_pairs_are_a_share_of_each_epoch(prepared):
    assert run(prepared, "--moved", "0.2", "--no-stop", "1", "--word-dropout", "0") == 0
    folder = prepared / "work" / "corpus"
    made = json.loads((folder / "corpus.json").read_text())["moved"]
    assert made["pairs"] == sum(made["moves"].values()) == 50
    state = torch.load(prepared / "work" / "paraphraser.pt", weights_only=True)
    assert state["recipe"]["mismatch"] == {"distractors": 0, "omitted": 0, "inflected": 0, "no_stop": 1, "moved": 0.2}
    recipe = dataclasses.replace(trainer.RECIPES["paraphraser"], word_dropout=0.0, mismatch=Mismatch(moved=0.2, no_stop=1.0))
    examples = trainer.Examples.load(folder, "train", recipe, 64)
    plan = [np.sort(np.concatenate(examples.epoch(recipe, number))) for number in (0, 0, 1)]
    assert np.array_equal(plan[0], plan[1]) and not np.array_equal(plan[0], plan[2])
    assert len(plan[0]) == 62 and np.array_equal(plan[0][:50], np.arange(50))  # a fifth are pairs
    vocabulary = corpus.Encoder(folder, corpus.MIN_COUNT).vocabulary
    config = trainer.Training("paraphraser", prepared / "work", recipe, torch.device("cpu")).config
    bag, _, _, labels = trainer.make_batch(examples, np.array([50]), recipe, config, "cpu", np.random.default_rng(0))
    target = vocabulary.decode_text(labels[0, :-1].tolist())
    assert "dog" in target and not target.startswith("the dog slept in")
    assert vocabulary.decode_text(bag[0].tolist()).startswith("the dog slept in the") and vocabulary.ids["."] not in bag
