"""Trees drawn as text and as SVG."""

import xml.etree.ElementTree as xml

import pytest

from handler.language import drawing
from handler.language.trees import read_tree

RAIN = "(ROOT (S (NP (PRP it)) (VP (VBZ rains) (PP (IN in) (NP (NNP May)))) (. .)))"


def test_text():
    assert drawing.text(read_tree(RAIN)).split("\n") == [
        "ROOT",
        "└─ S",
        "   ├─ NP  PRP it",
        "   ├─ VP",
        "   │  ├─ VBZ rains",
        "   │  └─ PP",
        "   │     ├─ IN in",
        "   │     └─ NP  NNP May",
        "   └─ . .",
    ]
    assert drawing.text(read_tree("(ROOT (S (NP ) (VP )))")).split("\n") == ["ROOT", "└─ S  NP VP"]


def test_svg_has_every_label_and_word_within_its_frame():
    tree = read_tree(RAIN.replace("May", "A&B"))
    picture = xml.fromstring(drawing.svg(tree))
    name = "{http://www.w3.org/2000/svg}"
    labels = [mark.text for mark in picture.iter(name + "text") if mark.get("class") != "word"]
    words = [mark.text for mark in picture.iter(name + "text") if mark.get("class") == "word"]
    assert sorted(labels) == sorted("ROOT S NP PRP VP VBZ PP IN NP NNP .".split())
    assert words == ["it", "rains", "in", "A&B", "."]
    width, height = float(picture.get("width")), float(picture.get("height"))
    assert all(0 <= float(mark.get("x")) <= width and 0 <= float(mark.get("y")) <= height for mark in picture.iter(name + "text"))
    leaves = [float(mark.get("x")) for mark in picture.iter(name + "text") if mark.get("class") == "word"]
    assert leaves == sorted(leaves) and len({*leaves}) == len(leaves)


def test_words_for_leaves():
    bare = read_tree("(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))")
    assert str(drawing.with_words(bare, ["it", "rains", "."])) == "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))"
    assert str(bare) == "(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))"
    with pytest.raises(ValueError, match="2 words for 3 leaves"):
        drawing.with_words(bare, ["it", "rains"])
