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


NAME = "{http://www.w3.org/2000/svg}"
LONG = (
    "(ROOT (S (NP (DT the) (NN dog)) (VP (VBZ sleeps) (PP (IN in) (NP (NP (DT the) (NN kitchen)) (PP (IN of) (NP (DT the) (NN house))))))))"
)
QUESTION = (
    "(ROOT (SBARQ (WHADVP (WRB I)) (WHADVP (WRB I)) (WHADJP (JJ a)) (WHNP (WP a)) (SQ (ADVP (RB l)) (ADJP (JJ i))) (. ?)))"  # narrow words
)


def texts(picture: str) -> list[tuple[str, str | None, float, float]]:
    """Text, class and place of every label and word."""
    return [
        (mark.text, mark.get("class"), float(mark.get("x")), float(mark.get("y"))) for mark in xml.fromstring(picture).iter(NAME + "text")
    ]


@pytest.mark.parametrize("sideways", [False, True])
def test_svg_has_every_label_and_word_within_its_frame(sideways):
    picture = drawing.svg(read_tree(RAIN.replace("May", "A&B")), sideways=sideways)
    found = texts(picture)
    assert sorted(text for text, kind, *_ in found if kind is None) == sorted("ROOT S NP PRP VP VBZ PP IN NP NNP .".split())
    words = [(x, y) for _, kind, x, y in found if kind == "word"]
    assert [text for text, kind, *_ in found if kind == "word"] == ["it", "rains", "in", "A&B", "."]
    along, across = zip(*(place[::-1] if sideways else place for place in words))
    assert list(along) == sorted(set(along)) and len(set(across)) == 1
    root = xml.fromstring(picture)
    width, height = float(root.get("width")), float(root.get("height"))
    assert root.get("viewBox") == f"0 0 {width:.0f} {height:.0f}"
    assert all(0 <= x <= width and 0 <= y <= height for _, _, x, y in found)


@pytest.mark.parametrize("sideways", [False, True])
@pytest.mark.parametrize("tree", [RAIN, LONG, QUESTION, "(ROOT (S (WHADVP ) (WHADVP ) (, ) (. )))"])
def test_nothing_overlaps(tree, sideways):
    """In letters of eight pixels, narrow ones five: what is on a level, or on a line, keeps its distance."""
    boxes = []
    for text, _, x, y in texts(drawing.svg(read_tree(tree), sideways=sideways)):
        width = sum(5 if letter in "fijlrt.,?" else 8 for letter in text)
        boxes.append((y, x if sideways else x - width / 2, x + width if sideways else x + width / 2, text))
    for one in boxes:
        for other in boxes:
            if one is not other and abs(one[0] - other[0]) < 12:
                assert one[2] + 2 <= other[1] or other[2] + 2 <= one[1], (one, other)


def test_a_wide_tree_is_drawn_sideways():
    wide = "(ROOT (S " + LONG[6:-1] * 8 + "))"
    root = xml.fromstring(drawing.svg(read_tree(wide)))
    assert float(root.get("width")) < drawing.WIDEST < float(xml.fromstring(drawing.svg(read_tree(wide), sideways=False)).get("width"))
    assert drawing.svg(read_tree(LONG)) == drawing.svg(read_tree(LONG), sideways=False)


def test_a_tree_without_words_has_no_row_for_them():
    bare, said = (drawing.svg(read_tree(tree)) for tree in ("(ROOT (NP (NN )))", "(ROOT (NP (NN rain)))"))
    assert float(xml.fromstring(said).get("height")) - float(xml.fromstring(bare).get("height")) == drawing.LEVEL


def test_words_can_be_marked():
    for sideways in False, True:
        found = texts(drawing.svg(read_tree(RAIN), ["", "new", 'a"b'], sideways))
        assert [kind for _, kind, *_ in found if kind] == ["word", "word new", 'word a"b', "word", "word"]


def test_svg_is_xml_and_changes_nothing_around_it():
    """Rules of a style element would hold for all other pictures of a page; control characters are not XML."""
    picture = drawing.svg(read_tree("(ROOT (NP (NN a\x01\x1b\u202eb) (NN <script>&\"') (NN \U0001f600)))"))
    assert [text for text, kind, *_ in texts(picture) if kind] == ["a\ufffd\ufffd\ufffdb", "<script>&\"'", "\U0001f600"]
    assert not list(xml.fromstring(picture).iter(NAME + "style"))


def test_words_for_leaves():
    bare = read_tree("(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))")
    assert str(drawing.with_words(bare, ["it", "rains", "."])) == "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))"
    assert str(bare) == "(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))"
    with pytest.raises(ValueError, match="2 words for 3 leaves"):
        drawing.with_words(bare, ["it", "rains"])
