"""The lexicon: tags of one form, what the place of a tag adds, rare words, counts that fit their type."""

import math

import numpy as np
import pytest

from handler.decoding.lexicon import FLOOR, Lexicon, learn, packed
from handler.language.split_tags import SPLIT
from handler.language.word_classes import KIN, NO_TAG, ROWS
from tests.factories import random_counts


def test_kinds_are_those_of_one_form():
    assert {a for a, kin in KIN.items() if ROWS["NN"] in kin} == {ROWS["NN"], ROWS["NNP"]} == set(KIN[ROWS["NNP"]])
    assert not {NO_TAG, *(ROWS[tag] for tag in ("DT", "IN", "PRP", ".", "MD"))} & KIN.keys()
    assert all(set(KIN[b]) == set(kin) for kin in KIN.values() for b in kin)  # of a word and of a leaf: the same question
    seen = [[(7, ROWS["NN"]), (9, ROWS["DT"]), (7, ROWS["VB"])], [(9, ROWS["NNS"])]]
    lexicon = Lexicon(random_counts(), 1.5)
    (pieces, _), kin = lexicon.own(seen), lexicon.kin(seen)
    assert pieces.tolist() == [[7, 9], [9, 0]] and kin.shape == (2, 1 + len(ROWS), 2)
    of = {tuple(place) for place in np.argwhere(kin).tolist()}
    assert of == {*((0, ROWS[tag], 0) for tag in ("NN", "NNP", "VB", "VBP")), *((1, ROWS[tag], 0) for tag in ("NNS", "NNPS"))}


def test_the_place_of_a_tag_adds_to_a_word_what_it_says_of_it():
    counts, split_counts = np.zeros((len(ROWS), 3), int), np.zeros((len(SPLIT), 3), int)
    main, aux = (SPLIT.index(("VBD", place)) for place in ("object", "aux"))
    counts[ROWS["VBD"] - 1, :2] = split_counts[main, 0] = split_counts[aux, 1] = 100
    lexicon, plain = Lexicon(counts, 1.0, 0, split_counts, 0.5), Lexicon(counts, 1.0)
    added = lexicon.table[1 + len(ROWS) :] - plain.table[ROWS["VBD"]]
    assert added[main, 0] > 0 > added[main, 1] and added[main, 2] == 0  # of the third word nothing is known
    assert added[main, 0] == pytest.approx(0.5 * math.log(2), abs=0.1) and added[aux, 1] > 0 > added[aux, 0]
    assert lexicon.tag_of[1 + len(ROWS) + main] == ROWS["VBD"] and lexicon.common[1 + len(ROWS) + aux] == 1
    (pieces, own), kin = lexicon.own([[(1, ROWS["VBD"])]]), lexicon.kin([[(1, ROWS["VBD"])]])
    assert pieces.tolist() == [[1]] and own.shape == kin.shape == (1, len(lexicon.table), 1)
    assert own[0, 1 + len(ROWS) + aux, 0] - own[0, ROWS["VBD"], 0] == pytest.approx(added[aux, 1])
    assert kin[0, 1 + len(ROWS) + main, 0] and not kin[0, 1 + len(ROWS) + SPLIT.index(("DT", "alone")), 0]
    assert Lexicon(counts, 1.0, 0, split_counts, 0.0).splits is None


def test_rare_words_are_known_by_those_like_them_and_counts_fit_their_type():
    counts = np.zeros((len(ROWS), 4), dtype=int)
    counts[ROWS["NN"] - 1, 0], counts[ROWS["JJ"] - 1, 1], counts[ROWS["DT"] - 1, 2] = 3, 1, 1000
    table = np.exp(Lexicon(counts, 1.0).table)
    assert table[ROWS["NN"], 3].item() == pytest.approx(3 / 4) and table[ROWS["JJ"], 3].item() == pytest.approx(1 / 4)
    assert table[ROWS["NN"], 0].item() == pytest.approx((3 + 3 / 4) / 4) and table[ROWS["NN"], 2].item() == pytest.approx(math.exp(FLOOR))
    assert Lexicon(counts[:, 2:3], 1.0).table[ROWS["NN"], 0].item() == pytest.approx(FLOOR)  # no rare word at all
    assert (table[NO_TAG] == 1).all()
    learned = learn(np.array([2, 2, 0, 1]), np.array([ROWS["NN"], ROWS["NN"], NO_TAG, ROWS["DT"]]), 4)
    assert learned.shape == counts.shape and learned.sum() == 3 and learned[ROWS["NN"] - 1, 2] == 2
    counts[:, 1] *= 70_000
    counts[ROWS["NN"] - 1, 1] = 140_000
    small, halves = packed(counts, counts // 2)
    assert halves[ROWS["NN"] - 1, 1] in (32767, 32768)  # scaled as the counts of the word's tags are
    assert small.dtype == np.uint16 and small[ROWS["NN"] - 1, 1] == 65535 and small[ROWS["JJ"] - 1, 1] in (32767, 32768)
    assert np.array_equal(small[:, [0, 2, 3]], counts[:, [0, 2, 3]])
