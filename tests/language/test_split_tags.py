"""Tags by where they stand in a parse."""

import pytest

from handler.language.split_tags import NONE, SPLIT, content_tags, split_tags
from handler.language.trees import read_tree, syntax_tokens


def places(parse: str) -> list[str]:
    return ["" if number == NONE else SPLIT[number][1] for number in split_tags(syntax_tokens(read_tree(parse)))]


@pytest.mark.parametrize(
    "parse, expected",
    [
        ("(S (NP (DT the) (NNS dogs)) (VP (VBD were) (VP (VBN fed))))", ["of many", "", "aux of many", "alone"]),
        ("(S (NP (DT the) (NN dog)) (VP (VBD bit) (NP (PRP him))))", ["of one", "", "object of one", "object"]),
        ("(S (NP (PRP she)) (VP (VBZ is) (ADJP (JJ tall))))", ["before VBZ", "adjective", "predicate"]),
        ("(S (NP (PRP they)) (VP (VBP say) (SBAR (IN that) (S (NP (PRP it)) (VP (VBD rained))))))", None),
        ("(SQ (VBD was) (NP (DT the) (NN dog)) (VP (VBN fed)) (. ?))", ["aux of one", "of one", "", "alone", ""]),
        ("(S (NP (NP (DT a) (NN man)) (PP (IN of) (NP (NNS words)))) (VP (VBD left)))", ["of one", "", "of a noun", "", "alone of one"]),
        ("(SBARQ (WHNP (WP who)) (SQ (VP (VBZ sings))) (. ?))", ["question", "alone", ""]),
        ("(NP (NP (NN man)) (SBAR (WHNP (WP who)) (S (VP (VBZ sings)))))", ["", "relative", "alone"]),
    ],
)
def test_the_place_of_a_leaf_is_read_from_its_tree(parse, expected):
    expected = expected or ["before VBP", "clause", "clause", "before another", "alone"]
    assert places(parse) == expected


def test_an_auxiliary_takes_no_content_word():
    parse = "(S (NP (PRP it)) (VP (MD will) (VP (VB be) (VP (VBN fed)))))"
    assert content_tags(syntax_tokens(read_tree(parse))) == ["PRP", "VBN"]
