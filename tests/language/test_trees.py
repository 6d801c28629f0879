"""Bracketed trees: reading, printing, and the error messages for bad ones."""

import random

import pytest

from handler.errors import RequestError, SyntaxTreeError
from handler.language.trees import (
    FLATTENED,
    LABELS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    PHRASES,
    SYNONYMS,
    SYNTAX_TOKENS,
    TAGS,
    Tree,
    canonical_label,
    from_syntax_tokens,
    read_tree,
    syntax_tokens,
    tags,
    template_of,
    words,
)

RAINS = "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))"
TEMPLATE = "(ROOT (S (NP ) (VP ) (. )))"


def reason(text: str) -> str:
    with pytest.raises(SyntaxTreeError) as caught:
        read_tree(text)
    return caught.value.reason


@pytest.mark.parametrize(
    "text, printed",
    [
        (RAINS, RAINS),
        (TEMPLATE, TEMPLATE),
        ("(ROOT(S(NP)(VP)(.)))", TEMPLATE),
        ("\n ( ROOT\t(S (NP  )\r\n(VP\u00a0) (. ) ) ) \n", TEMPLATE),
        # the top
        ("(S (NP ) (VP ) (. ))", TEMPLATE),
        ("(TOP (S (NP ) (VP ) (. )))", TEMPLATE),
        ("(S1 (S (NP ) (VP ) (. )))", TEMPLATE),
        ("( (S (NP ) (VP ) (. )))", TEMPLATE),
        ("((S (NP )) (S (VP )))", "(ROOT (S (NP )) (S (VP )))"),
        ("(NN dog)", "(ROOT (NN dog))"),
        ("(NP )", "(ROOT (NP ))"),
        # function tags, co-indices and combined labels
        ("(S (NP-SBJ-1 (PRP it)) (VP-TPC (VBZ rains)))", "(ROOT (S (NP (PRP it)) (VP (VBZ rains))))"),
        ("(S=2 (ADVP|PRT (RB up)) (NP=1-LOC ))", "(ROOT (S (ADVP (RB up)) (NP )))"),
        # traces, and phrases of nothing but traces
        ("(S (NP-SBJ (-NONE- *T*-1)) (VP (VB go) (NP (-NONE- *))) (. !))", "(ROOT (S (VP (VB go)) (. !)))"),
        # labels of other treebanks
        ("(S (NP (NML (NN a) (HYPH -) (NN b)) (NN c)) (EDITED (NP (GW d))))", "(ROOT (S (NP (NN a) (: -) (NN b) (NN c)) (NP (FW d))))"),
        ("(NML (NP ) (VP ))", "(ROOT (NP ) (VP ))"),
        ('(NP (PRP-S my) (" x) (-LSB- -LSB-) (AFX pre) (ADD www.x.y))', "(ROOT (NP (PRP$ my) ('' x) (-LRB- [) (JJ pre) (NN www.x.y)))"),
        # labels that begin like function tags
        (
            "(NP (-LRB- -LRB-) (# #) ($ $) (WP$ whose) (`` ``) ('' '') (: --) (, ,))",
            "(ROOT (NP (-LRB- -LRB-) (# #) ($ $) (WP$ whose) (`` \") ('' \") (: --) (, ,)))",
        ),
        # any script
        ("(NP (NNP Köln) (NN 東京) (UH 🙂))", "(ROOT (NP (NNP Köln) (NN 東京) (UH 🙂)))"),
    ],
)
def test_read_and_print(text, printed):
    tree = read_tree(text)
    assert str(tree) == printed
    assert read_tree(printed) == tree


@pytest.mark.parametrize(
    "leaf, word",
    [
        ("-LRB-", "("),
        ("-RRB-", ")"),
        ("-LSB-", "["),
        ("-RSB-", "]"),
        ("-LCB-", "{"),
        ("-RCB-", "}"),
        ("``", '"'),
        ("''", '"'),
        ("1\\/2", "1/2"),
        ("\\*", "*"),
        ("\\*\\*", "**"),
        (":-RRB-", ":)"),
        ("it", "it"),
        ("\\", "\\"),
        ("'", "'"),
    ],
)
def test_penn_treebank_escapes(leaf, word):
    tree = read_tree(f"(ROOT (NP (NN {leaf})))")
    assert words(tree) == [word]
    assert words(read_tree(str(tree))) == [word]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "there is no tree"),
        (" \n ", "there is no tree"),
        ("zebra", "there is text outside the brackets"),
        ("(ROOT (NP )) zebra", "there is text outside the brackets"),
        ("(ROOT (NP ))) (S )", "a closing bracket has no opening one"),
        (")", "a closing bracket has no opening one"),
        ("(", "1 opening bracket has no closing one"),
        ("(ROOT (S (NP ", "3 opening brackets have no closing one"),
        ("(ROOT (S )) (ROOT (S )) (ROOT (S ))", "there are 3 trees, one is expected: send one sentence at a time"),
        ("()", "a pair of brackets has no label"),
        ("(ROOT ())", "a pair of brackets has no label"),
        ("(ROOT ((NN x)))", "a pair of brackets has no label"),
        ("(ROOT (S (ZEBRA x)))", "label 3 of the tree is not one of the Penn Treebank's"),
        ("(ROOT (np ))", "label 2 of the tree is not one of the Penn Treebank's"),
        ("(-SBJ x)", "label 1 of the tree is not one of the Penn Treebank's"),
        ("(ROOT (NN zebra zebra))", "the node NN has more than one word"),
        ("(ROOT (NP (NN a) zebra))", "the node NP has both a word and children"),
        ("(ROOT (NP-SBJ zebra (NN a)))", "the node NP has both a word and children"),
        ("((NN a) zebra)", "the node without a label has both a word and children"),
        ("(ROOT (NP (-NONE- *)))", "there is nothing but traces in the tree"),
        ("(-NONE- *)", "there is nothing but traces in the tree"),
        ("(ROOT (S (NML ) (VP )))", "the node NML has no children"),
        ("(ROOT (EDITED zebra))", "the node EDITED has no children"),
        ("(" * (MAX_DEPTH + 1), f"a tree may be {MAX_DEPTH} levels deep"),
        ("(NN " + "x" * MAX_CHARACTERS, f"a tree may have {MAX_CHARACTERS} characters, this one has {MAX_CHARACTERS + 4}"),
    ],
)
def test_refused(text, message):
    assert reason(text) == message


def test_an_error_in_a_tree_is_the_clients():
    with pytest.raises(RequestError) as caught:
        read_tree("(")
    assert (caught.value.status, caught.value.field) == (400, None)


def chain(levels: int) -> str:
    return "(S " * (levels - 1) + "(NN x)" + ")" * (levels - 1)


def test_depth_limit():
    tree = read_tree(chain(MAX_DEPTH))
    assert tree.depth() == MAX_DEPTH + 1  # ROOT was added
    assert [str(tree).count("("), len(tree.leaves()), len(syntax_tokens(tree))] == [MAX_DEPTH + 1, 1, 3 * (MAX_DEPTH + 1)]
    assert template_of(tree, 1000) == read_tree(chain(MAX_DEPTH).replace("x", ""))
    assert reason(chain(MAX_DEPTH + 1)) == reason(chain(4000)) == f"a tree may be {MAX_DEPTH} levels deep"


def test_size_limit():
    text = "(NN " + "x" * (MAX_CHARACTERS - 5) + ")"
    assert len(text) == MAX_CHARACTERS and len(words(read_tree(text))[0]) == MAX_CHARACTERS - 5
    wide = "(S " + "(NN x) " * ((MAX_CHARACTERS - 4) // 7) + ")"
    assert tags(read_tree(wide)) == ["NN"] * ((MAX_CHARACTERS - 4) // 7)


def test_tags_and_words():
    tree = read_tree("(S (NP (PRP$ my) (NN dog)) (VP ) (. .))")
    assert tags(tree) == ["PRP$", "NN", "VP", "."]
    assert words(tree) == ["my", "dog", "."]


@pytest.mark.parametrize(
    "depth, printed",
    [
        (1, "(ROOT )"),
        (2, "(ROOT (S ))"),
        (3, TEMPLATE),
        (4, "(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))"),
        (9, "(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))"),
    ],
)
def test_template_of(depth, printed):
    tree = read_tree(RAINS)
    assert str(template_of(tree, depth)) == printed
    assert str(tree) == RAINS
    assert template_of(tree) == template_of(tree, 3)


def test_syntax_tokens_there_and_back():
    tokens = "( ROOT ( S ( NP ( PRP ) ) ( VP ( VBZ ) ) ( . ) ) )".split()
    assert syntax_tokens(read_tree(RAINS)) == tokens
    assert from_syntax_tokens(tokens) == "(ROOT (S (NP (PRP)) (VP (VBZ)) (.)))"
    assert syntax_tokens(read_tree(from_syntax_tokens(tokens))) == tokens
    assert from_syntax_tokens([]) == ""
    assert from_syntax_tokens(") NP ( (".split()) == ") NP (("  # ill-formed is no error


def test_the_label_sets_fit_each_other():
    assert len(SYNTAX_TOKENS) == len(set(SYNTAX_TOKENS)) == 104  # ids 5 to 108 of the published vocabulary
    assert (SYNTAX_TOKENS[0], SYNTAX_TOKENS[-1]) == ("PAD", "EOP")
    assert PHRASES < LABELS < set(SYNTAX_TOKENS) and TAGS == LABELS - PHRASES
    assert {"ROOT", "S", "NN", ".", ",", ":", "$", "#", "``", "''", "-LRB-", "-RRB-", "PRP$", "WP$"} < LABELS
    assert not LABELS & {"PAD", "(", ")", "EOP", "-NONE-", "-SBJ", "*"}
    assert set(SYNONYMS.values()) < LABELS and not LABELS & SYNONYMS.keys() and not LABELS & FLATTENED
    assert all(canonical_label(label) == label for label in LABELS)
    assert all(canonical_label(other) == label for other, label in SYNONYMS.items())


def random_text(rng: random.Random) -> str:
    """Brackets, labels and words of every kind, well-formed most of the time."""
    labels = [*SYNTAX_TOKENS, *SYNONYMS, *FLATTENED, "-NONE-", "NP-SBJ", "NP=1", "", "=", "|", "-"] + ["S", "NP", "NN"] * 40

    def node(depth: int) -> str:
        inside = (
            rng.choice(["", "zebra", "-LRB-", "*"])
            if depth > 3 or rng.random() < 0.3
            else " ".join(node(depth + 1) for _ in range(rng.randint(1, 3)))
        )
        return f"({rng.choice(labels)} {inside})"

    text = node(0)
    if rng.random() < 0.3:
        cut = rng.randrange(len(text))
        text = text[:cut] + rng.choice("() x") + text[cut + rng.randint(0, 1) :]
    return text


def test_whatever_is_read_has_known_labels_only():
    rng, read = random.Random(0), 0
    for _ in range(3000):
        text = random_text(rng)
        try:
            tree = read_tree(text)
        except SyntaxTreeError as error:
            assert "zebra" not in str(error)
            continue
        read += 1
        assert tree.label == "ROOT" and set(syntax_tokens(tree)) <= LABELS | {"(", ")"}
        assert read_tree(str(tree)) == tree
        assert syntax_tokens(read_tree(from_syntax_tokens(syntax_tokens(tree)))) == syntax_tokens(tree)
        assert all(isinstance(leaf, Tree) and not leaf.children for leaf in tree.leaves())
    assert read > 300
