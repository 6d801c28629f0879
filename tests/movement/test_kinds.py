"""A move is made only for templates that it can meet, and proposals are compared only as far as they are alike."""

import pytest

from handler.language.heads import CACHED_CHILDREN, head_child
from handler.language.trees import Tree, memoized, read_tree
from handler.movement.kinds import MOVES, outline
from handler.movement.propose import Mover, ranked
from handler.wire.request import CATALOGUE

SOURCES = (
    "(ROOT (S (PP (IN In) (NP (NNP May))) (, ,) (NP (DT the) (NN dog)) (VP (VBD bit) (NP (DT the) (NN man))) (. .)))",
    "(ROOT (S (NP (PRP She)) (ADVP (RB often)) (VP (VBZ sings) (SBAR (IN as) (S (NP (PRP she)) (VP (VBZ is) (ADJP (JJ glad)))))) (. .)))",
    "(ROOT (S (S (NP (PRP He)) (VP (VBD sat))) (, ,) (CC and) (S (NP (PRP she)) (VP (VBD stood))) (. .)))",
    "(ROOT (S (VP (VB Open) (NP (DT the) (NN door))) (. .)))",
    "(ROOT (S (NP (PRP I)) (VP (MD would) (VP (VB like) (NP (DT some) (NN tea)))) (. .)))",
    "(ROOT (S (NP (PRP I)) (VP (VBP live) (PP (IN in) (NP (NNP Rome))) (PP (IN since) (NP (NNP May)))) (. .)))",
    "(ROOT (SQ (MD Could) (NP (PRP you)) (VP (VB close) (NP (DT the) (NN window))) (. ?)))",
    "(ROOT (SQ (VBZ Is) (NP (DT the) (NN bus)) (ADJP (JJ late)) (. ?)))",
    "(ROOT (SBARQ (WHNP (WP What)) (SQ (VBD did) (NP (PRP she)) (VP (VB say))) (. ?)))",
    "(ROOT (NP (NP (DT A) (NN man)) (VP (VBG riding) (NP (DT a) (NN horse)) (PP (IN in) (NP (DT a) (NN field)))) (. .)))",
    "(ROOT (SINV (S (NP (PRP It)) (VP (VBZ rains))) (, ,) (VP (VBD said)) (NP (NNP Tom)) (. .)))",
)
TEMPLATES = [read_tree(template) for template in CATALOGUE.values()]


@pytest.mark.parametrize("text", SOURCES)
def test_variants_have_the_outlines_that_their_kinds_name(text):
    for kind in Mover(read_tree(text)).kinds:
        assert all(kind.may_be(outline(top)) for top, _, _ in kind.variants), kind.tops


def test_each_kind_of_move_is_tried():
    """Else the test above would say nothing of it."""
    made = {kind.make.func for text in SOURCES for kind in Mover(read_tree(text)).kinds if hasattr(kind.make, "func") and kind.variants}
    assert made == {getattr(make, "func", make) for _, make in MOVES}


def test_what_no_template_asks_for_is_not_made():
    mover = Mover(read_tree(SOURCES[0]))
    assert mover.propose(TEMPLATES[list(CATALOGUE).index("two_clauses")])
    made = {kind.tops.pattern for kind in mover.kinds if "variants" in vars(kind)}
    assert made == {".*", "S S CC S"}


class Asked:
    """A proposal that notes when its relations are asked for."""

    def __init__(self, name, resort, missing, kept, moves=()):
        self.name, self.resort, self.missing, self.made_up, self.share, self.moves, self.asked = (
            name,
            resort,
            missing,
            0,
            kept,
            moves,
            False,
        )

    @property
    def kept(self):
        self.asked = True
        return self.share


def test_relations_decide_only_between_proposals_that_are_equal_before_them():
    given = [
        Asked("frame", 8, 0, 1.0),
        Asked("loses", 0, 2, 1.0),
        Asked("far", 0, 1, 0.7),
        Asked("longer", 0, 1, 0.9, ("unfront", "passive")),
        Asked("near", 0, 1, 0.9, ("passive",)),
        Asked("nearest", 0, 1, 0.95, ("unfront", "passive")),
    ]
    assert [one.name for one in ranked(given)] == ["nearest", "near", "longer", "far", "loses", "frame"]
    assert {one.name for one in given if one.asked} == {"nearest", "near", "longer", "far"}


def test_a_tree_is_asked_once():
    asked = []

    @memoized
    def label(tree: Tree) -> str:
        asked.append(tree)
        return tree.label

    one, other = read_tree("(NP (NN tea))"), read_tree("(NP (NN tea))")
    assert [label(tree) for tree in (one, one, other)] == ["ROOT"] * 3 and len(asked) == 2
    assert one == other and repr(one) == repr(other) and str(one) == str(other)


def test_long_expansions_have_heads_as_short_ones():
    noun = [Tree("DT"), *[Tree("JJ")] * CACHED_CHILDREN, Tree("NN"), Tree("PP")]
    assert head_child(Tree("NP", noun)) == head_child(Tree("NP", noun[-3:])) + CACHED_CHILDREN
