"""Marks of words: new, moved, in another form, missing."""

import pytest

from handler.language.trees import read_tree
from scripts.playground import marking

PICNIC = (
    "(ROOT (S (NP (PRP We)) (VP (MD will) (VP (VB have) (NP (DT a) (NN picnic))"
    " (SBAR (IN if) (S (NP (PRP it)) (VP (VBZ is) (ADJP (JJ sunny))))))) (. .)))"
)
PICNIC_FIRST = "(ROOT (S (SBAR (IN) (S (NP (PRP)) (VP (VBZ) (ADJP (JJ))))) (,) (NP (PRP)) (VP (MD) (VP (VB) (NP (DT) (NN)))) (.)))"
THANKED = "(ROOT (S (NP (DT The) (NN lawyer)) (VP (VBD thanked) (NP (DT the) (NNS scientists))) (. .)))"
WERE_THANKED = "(ROOT (S (NP (DT) (NNS)) (VP (VBD) (VP (VBN) (PP (IN) (NP (DT) (NN))))) (.)))"
SLEPT = "(ROOT (S (NP (DT The) (NN cat)) (VP (VBD slept) (PP (IN on) (NP (DT the) (NN sofa)))) (. .)))"
DID_SLEEP = "(ROOT (SQ (MD) (NP (DT) (NN)) (VP (VB) (PP (IN) (NP (DT) (NN)))) (.)))"


def marked(sentence, parse, paraphrase, other) -> tuple[str, str]:
    """Both texts with their marks around the pieces: `[moved:if it rains]`."""
    texts = [marking.read(text, read_tree(tree) if tree else None) for text, tree in ((sentence, parse), (paraphrase, other))]
    return tuple(
        "".join(f"[{mark}:{piece}]" if mark else piece for piece, mark in marking.pieces(text, read.tokens, marks))
        for text, read, marks in zip((sentence, paraphrase), texts, marking.compare(*texts))
    )


@pytest.mark.parametrize(
    "sentence, parse, paraphrase, other, before, after",
    [
        (  # the clause moves, not the main one, which has as many words
            "We will have a picnic if it is sunny.",
            PICNIC,
            "If it is sunny, we will have a picnic.",
            PICNIC_FIRST,
            "We will have a picnic [moved:if it is sunny].",
            "[moved:If it is sunny], we will have a picnic.",
        ),
        (  # both change places around the verb
            "The lawyer thanked the scientists.",
            THANKED,
            "The scientists were thanked by the lawyer.",
            WERE_THANKED,
            "[moved:The lawyer] thanked [moved:the scientists].",
            "[moved:The scientists] [new:were] thanked [new:by] [moved:the lawyer].",
        ),
        (
            "The cat slept on the sofa.",
            SLEPT,
            "Did the cat sleep on the sofa?",
            DID_SLEEP,
            "The cat slept on the sofa.",
            "[new:Did] the cat [form:sleep] on the sofa?",
        ),
        (  # without parts of speech another form is another word
            "The cat slept on the sofa.",
            None,
            "Did the cat sleep on the sofa?",
            None,
            "The cat [missing:slept] on the sofa.",
            "[new:Did] the cat [new:sleep] on the sofa?",
        ),
        ("It rains.", None, "It rains.", None, "It rains.", "It rains."),
        ("It rains.", None, "Bo sings!", None, "[missing:It rains].", "[new:Bo sings]!"),
    ],
)
def test_marks(sentence, parse, paraphrase, other, before, after):
    assert marked(sentence, parse, paraphrase, other) == (before, after)


def test_a_parse_that_does_not_fit_is_not_used():
    text = marking.read("It rains.", read_tree("(ROOT (NP (NN)))"))
    assert text == marking.Text(["It", "rains", "."], [])


def test_pieces_are_the_whole_text():
    for text in ("“It’s  here,” she said … – and left.", "  A  B ", "don't!"):
        tokens = marking.read(text, None).tokens
        for marks in ([""] * len(tokens), ["new", "moved"] * len(tokens)):
            assert "".join(piece for piece, _ in marking.pieces(text, tokens, marks[: len(tokens)])) == text
    assert marking.pieces("a b", ["other", "words"], ["new", "new"]) == [("a b", "")]
