"""What moves share: clauses that are read and folded, phrases taken out, voices, agreement."""

import pytest

from handler.language.trees import read_tree, words
from handler.movement.agreement import person
from handler.movement.clauses import copula_at, folded, read_clause, without
from handler.movement.sources import clauses_of
from handler.movement.voice import activated, passivated
from tests.movement.golden import SOURCES


def test_commas_go_with_what_they_set_off():
    vp = read_tree("(VP (VBD left) (, ,) (PP (IN in) (NP (NNP May))) (, ,) (S (VP (VBG smiling))))").children[0]
    assert " ".join(words(without(vp, vp.children[2]))) == "left smiling"
    vp = read_tree("(VP (VBD left) (PP (IN in) (NP (NNP May))) (, ,) (S (VP (VBG smiling))))").children[0]
    assert " ".join(words(without(vp, vp.children[1]))) == "left , smiling"
    assert " ".join(words(without(vp, vp.children[3]))) == "left in May"
    assert without(vp, read_tree("(NP (NN tea))")) is None


def test_voices_are_undone_by_each_other():
    for text_ in (
        "(S (NP (DT The) (NN dog)) (VP (VBD bit) (NP (PRP me))))",
        "(S (NP (PRP She)) (VP (VBZ has) (VP (VBN opened) (NP (NNS shops)))))",
        "(S (NP (PRP They)) (VP (MD will) (VP (VB build) (NP (DT a) (NN dam)))))",
        "(S (NP (PRP We)) (VP (VBP are) (VP (VBG painting) (NP (DT the) (NN wall)))))",
        "(S (NP (PRP He)) (VP (VBZ does) (RB n't) (VP (VB trust) (NP (PRP them)))))",
    ):
        clause = read_clause(read_tree(text_).children[0])
        passive = passivated(clause)
        back = activated(passive)
        assert (str(back.subject).lower(), str(back.vp)) == (str(clause.subject).lower(), str(clause.vp))
        assert str(passive.vp) != str(clause.vp)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("(NP (PRP I))", "i"),
        ("(NP (PRP you))", "plural"),
        ("(NP (DT the) (NNS dogs))", "plural"),
        ("(NP (DT the) (NN dog))", "singular"),
        ("(NP (NP (NNP Ann)) (CC and) (NP (NNP Bo)))", "plural"),
        ("(NP (NP (NNP Ann)) (CC or) (NP (NNP Bo)))", "singular"),
        ("(NP (DT these))", "plural"),
        ("(NP (DT this))", "singular"),
        ("(NP (NNS people))", "plural"),
        ("(NP (NP (DT a) (NN group)) (PP (IN of) (NP (NNS boys))))", "plural"),
        ("(NP (DT the) (NNS news))", "singular"),
    ],
)
def test_person(noun, expected):
    assert person(read_tree(noun).children[0]) == expected


@pytest.mark.parametrize(
    "vp, at",
    [
        ("(VP (VBZ is) (ADJP (JJ tired)))", 0),
        ("(VP (ADVP (RB now)) (VBZ is) (NP (NN night)))", 1),
        ("(VP (VBZ has) (VP (VBN been) (ADJP (JJ tired))))", None),
        ("(VP (VBZ is) (RB n't) (ADJP (JJ tired)))", None),
        ("(VP (VBZ sleeps))", None),
    ],
)
def test_a_verb_phrase_whose_only_verb_is_be(vp, at):
    [tree] = read_tree(f"(ROOT {vp})").children
    assert copula_at(tree) == at


def test_folding_keeps_what_a_clause_says():
    clause = clauses_of(read_tree(SOURCES["though"]).children[0], ".")[0]
    assert clause.front and not folded(clause).front
    assert "snowed" in str(folded(clause).vp)
