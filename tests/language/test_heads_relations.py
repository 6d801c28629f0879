"""Heads of constituents and relations of trees: golden trees, and what must hold for all."""

import random

import pytest

from handler.language.heads import head, head_child, heads
from handler.language.relations import Relation, content, kept, made_up, missing, relations
from handler.language.trees import LABELS, PHRASES, Tree, read_tree, words

HEADS = [  # tree, head word
    ("(S (NP (DT The) (NN dog)) (VP (VBD bit) (NP (DT the) (NN man))) (. .))", "bit"),
    ("(S (NP (NNP Ann)) (VP (MD will) (VP (VB come))))", "come"),
    ("(NP (NP (DT the) (NN roof)) (PP (IN of) (NP (DT the) (NN barn))))", "roof"),
    ("(NP (NP (NNP Ann) (POS 's)) (NN hat))", "hat"),
    ("(NP (NP (NN salt)) (CC and) (NP (NN pepper)))", "salt"),
    ("(NP (NN salt) (CC and) (NN pepper))", "salt"),
    ("(NP (DT the) (JJ old) (NN stone) (NN bridge))", "bridge"),
    ("(PP (IN in) (NP (DT the) (NN garden)))", "in"),
    ("(SBAR (IN because) (S (NP (PRP it)) (VP (VBD rained))))", "rained"),
    ("(SBARQ (WHNP (WP What)) (SQ (VBD did) (NP (PRP she)) (VP (VB say))) (. ?))", "say"),
    ("(SQ (VBZ Is) (NP (PRP he)) (NP (DT a) (NN baker)) (. ?))", "baker"),
    ("(SINV (ADVP (RB Here)) (VP (VBZ comes)) (NP (DT the) (NN rain)))", "comes"),
    ("(ADJP (RB very) (JJ tired))", "tired"),
    ("(ADVP (RB so) (RB slowly))", "slowly"),
    ("(QP (IN about) (CD ten))", "ten"),
    ("(WHNP (WDT which) (NN road))", "road"),
    ("(FRAG (ADVP (RB Then)) (NP (NN silence)))", "silence"),
    ("(X (SYM +) (. .))", "+"),
    ("(UCP (ADJP (JJ ill)) (CC and) (PP (IN in) (NP (NN bed))))", "ill"),
    ("(PRN (, ,) (S (NP (PRP I)) (VP (VBP think))) (, ,))", "think"),
    ("(VP (VP (VBD came)) (CC and) (VP (VBD went)))", "came"),
    ("(ROOT (NP (DT The) (NN end)))", "end"),
    ("(INTJ (UH oh))", "oh"),
    ("(CONJP (RB as) (RB well) (IN as))", "well"),
    ("(. .)", "."),
]

RELATIONS = [  # what it is about, tree, pairs
    ("active", "(S (NP (DT The) (NN dog)) (VP (VBD bit) (NP (DT the) (NN man))) (. .))", "bite subject dog, bite object man"),
    (
        "passive",
        "(S (NP (DT The) (NN man)) (VP (VBD was) (VP (VBN bitten) (PP (IN by) (NP (DT the) (NN dog))))) (. .))",
        "bite subject dog, bite object man",
    ),
    ("passive with get", "(S (NP (DT The) (NN cup)) (VP (VBD got) (VP (VBN broken))) (. .))", "break object cup"),
    (
        "by and a time",
        "(S (NP (DT The) (NN bread)) (VP (VBD was) (VP (VBN baked) (PP (IN by) (NP (NN noon))))) (. .))",
        "bake object bread, bake other noon",
    ),
    ("owner of what is done", "(NP (S (NP (PRP$ My)) (VP (VBG eating) (NP (NNS plums)))))", "eat subject i, eat object plum"),
    ("perfect", "(S (NP (PRP She)) (VP (VBZ has) (VP (VBN eaten) (NP (NNS plums)))) (. .))", "eat subject she, eat object plum"),
    (
        "passive question",
        "(SQ (VBD Was) (NP (DT the) (NN man)) (VP (VBN bitten) (PP (IN by) (NP (DT the) (NN dog)))) (. ?))",
        "bite subject dog, bite object man",
    ),
    ("question", "(SQ (VBZ Does) (NP (NNP Ann)) (VP (VB grow) (NP (NNS roses))) (. ?))", "grow subject ann, grow object rose"),
    ("do under MD", "(SQ (MD Does) (NP (NNP Ann)) (VP (VB grow) (NP (NNS roses))) (. ?))", "grow subject ann, grow object rose"),
    ("modal", "(S (NP (PRP We)) (VP (MD can) (VP (VB wait))) (. .))", "wait subject we, wait other can"),
    ("wh-object", "(SBARQ (WHNP (WP What)) (SQ (VBD did) (NP (PRP she)) (VP (VB paint))) (. ?))", "paint subject she, paint object what"),
    ("wh-subject", "(SBARQ (WHNP (WP Who)) (SQ (VP (VBD called) (NP (PRP him)))) (. ?))", "call subject who, call object he"),
    ("copula", "(S (NP (PRP$ My) (NN uncle)) (VP (VBZ is) (NP (DT a) (NN baker))) (. .))", "uncle other my, baker subject uncle"),
    ("copula and adjective", "(SQ (VBP Are) (NP (PRP you)) (ADJP (RB very) (JJ tired)) (. ?))", "tired subject you, tired other very"),
    (
        "copula and place",
        "(S (PP (IN In) (NP (NN fact))) (, ,) (NP (PRP he)) (VP (VBZ is) (PP (IN at) (NP (NN home)))) (. .))",
        "home subject he, home other fact",
    ),
    (
        "there is",
        "(S (NP (EX There)) (VP (VBZ is) (NP (NP (DT a) (NN mill)) (PP (IN by) (NP (DT the) (NN river))))) (. .))",
        "mill other river",
    ),
    ("joined nouns", "(S (NP (NP (NNP Ann)) (CC and) (NP (NNP Bo))) (VP (VBD sang)) (. .))", "sing subject ann, sing subject bo"),
    (
        "joined verbs",
        "(S (NP (PRP He)) (VP (VP (VBD sat)) (CC and) (VP (VBD ate) (NP (NN soup)))) (. .))",
        "sit subject he, eat subject he, eat object soup, sit other eat",
    ),
    (
        "joined clauses",
        "(S (S (NP (PRP He)) (VP (VBD sang))) (, ,) (CC and) (S (NP (PRP she)) (VP (VBD danced))) (. .))",
        "sing subject he, dance subject she, sing other dance",
    ),
    ("possessor", "(NP (NP (NNP Ann) (POS 's)) (JJ green) (NN hat))", "hat other ann, hat other green"),
    ("preposition", "(S (NP (PRP He)) (VP (VBD slept) (PP (IN in) (NP (DT the) (NN barn)))) (. .))", "sleep subject he, sleep other barn"),
    (
        "control by the subject",
        "(S (NP (PRP She)) (VP (VBZ wants) (S (VP (TO to) (VP (VB leave))))) (. .))",
        "want subject she, want other leave, leave subject she",
    ),
    (
        "control by the object",
        "(S (NP (PRP She)) (VP (VBD told) (NP (PRP him)) (S (VP (TO to) (VP (VB leave))))) (. .))",
        "tell subject she, tell object he, tell other leave, leave subject he",
    ),
    ("relative, subject", "(NP (NP (DT the) (NN man)) (SBAR (WHNP (WP who)) (S (VP (VBD called)))))", "call subject man"),
    (
        "relative, object",
        "(NP (NP (DT the) (NN man)) (SBAR (WHNP (WP whom)) (S (NP (PRP we)) (VP (VBD met)))))",
        "meet subject we, meet object man",
    ),
    ("participle", "(NP (NP (DT a) (NN poem)) (VP (VBN written) (PP (IN by) (NP (NNP Bo)))))", "write object poem, write subject bo"),
    (
        "adverbial clause",
        "(S (SBAR (IN When) (S (NP (PRP it)) (VP (VBZ rains)))) (, ,) (NP (PRP we)) (VP (VBP stay)) (. .))",
        "stay subject we, stay other rain, rain subject it",
    ),
    ("time", "(S (NP (PRP They)) (VP (VBD left) (NP (JJ last) (NN week))) (. .))", "leave subject they, leave other week, week other last"),
    ("negation", "(S (NP (PRP They)) (VP (VBD did) (RB n't) (VP (VB leave))) (. .))", "leave subject they, leave other not"),
    (
        "cleft of a phrase",
        "(S (NP (PRP It)) (VP (VBD was) (PP (IN in) (NP (NNP May))) (SBAR (IN that) (S (NP (PRP she)) (VP (VBD left))))) (. .))",
        "leave subject she, leave other may",
    ),
    (
        "cleft of the subject",
        "(S (NP (PRP It)) (VP (VBD was) (NP (NNP Ann)) (SBAR (WHNP (WP who)) (S (VP (VBD left))))) (. .))",
        "leave subject ann",
    ),
    (
        "no cleft",
        "(S (NP (PRP It)) (VP (VBZ is) (NP (DT a) (NN shame)) (SBAR (IN that) (S (NP (PRP he)) (VP (VBD left))))) (. .))",
        "shame subject it, shame other leave, leave subject he",
    ),
    (
        "phrase behind a clause",
        "(NP (NP (NP (DT the) (NN cat)) (SBAR (WHNP (WDT that)) (S (VP (VBD slept))))) (PP (IN on) (NP (DT the) (NN sofa))))",
        "sleep subject cat, sleep other sofa",
    ),
    ("a determiner alone", "(S (NP (DT That)) (VP (VBZ helps)) (. .))", "help subject that"),
]


def pairs(text: str) -> list[Relation]:
    return [Relation(*pair.split()) for pair in text.split(", ")]


@pytest.mark.parametrize(("tree", "word"), HEADS)
def test_head(tree, word):
    tree = read_tree(tree)
    assert tree.leaves()[head(tree)].word == word


@pytest.mark.parametrize("label", sorted(PHRASES))
def test_every_label_and_every_mixture_has_a_head(label):
    random.seed(label)
    for _ in range(200):
        node = Tree(label, [Tree(random.choice(sorted(LABELS))) for _ in range(random.randint(1, 6))])
        assert 0 <= head_child(node) < len(node.children)


def test_every_node_has_the_head_of_its_head_child():
    tree = read_tree("(ROOT (S (NP (DT The) (NN dog)) (VP (VBD bit) (NP (DT the) (NN man))) (. .)))")
    found = heads(tree)
    assert [found[id(leaf)] for leaf in tree.leaves()] == list(range(6))
    assert found[id(tree)] == found[id(tree.children[0].children[1])] == 2


@pytest.mark.parametrize(("tree", "expected"), [pytest.param(tree, pairs(text), id=name) for name, tree, text in RELATIONS])
def test_relations(tree, expected):
    assert sorted(map(repr, relations(read_tree(tree)))) == sorted(map(repr, expected))


def test_words_may_be_given_apart():
    with_words = read_tree(RELATIONS[0][1])
    bare = read_tree("(S (NP (DT ) (NN )) (VP (VBD ) (NP (DT ) (NN ))) (. ))")
    assert relations(bare) == []
    assert relations(bare, words(with_words)) == relations(with_words)
    swapped = "The man bit the dog .".split()
    assert relations(with_words, swapped) == relations(bare, swapped) == pairs("bite subject man, bite object dog")


def test_kept():
    active, passive = (relations(read_tree(tree)) for _, tree, _ in RELATIONS[:2])
    assert kept(active, passive) == 1
    reversed_roles = pairs("bite subject man, bite object dog")
    assert kept(active, reversed_roles) == 0.5  # the pairs are there, the classes are not
    assert kept(active, pairs("bite subject dog")) == pytest.approx(2 / 3)
    assert kept(active, pairs("see subject cat")) == kept(active, []) == 0
    assert kept([], []) == 1


def test_made_up_and_missing():
    source = content(read_tree("(S (NP (DT The) (NNS dogs)) (VP (VBD were) (VP (VBN bitten) (PP (IN by) (NP (NNS dogs))))) (. .))"))
    answer = content(read_tree("(S (NP (DT The) (NN dog)) (VP (VBD did) (RB n't) (VP (VB bite) (NP (JJ old) (NNS men)))) (. .))"))
    assert source == {"dog": 2, "bite": 1}
    assert made_up(source, answer) == 3  # old, man, not
    assert missing(source, answer) == 1
