"""What someone thinks of a statement, or who made it, as a phrase before it: `I hope that it rains` as `hopefully , it rains`."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.trees import Tree
from handler.language.wordlists import CERTAIN, OPINIONS, SAID_AS, STANCES
from handler.movement.agreement import ACCUSATIVE, in_case
from handler.movement.clauses import (
    Clause,
    finite,
    head_lemma,
    inner,
    is_negation,
    leaf,
    main_lemma,
    node,
    read_clause,
    said,
    verb_at,
)

SOURCES = frozenset("NNP NNPS NN NNS PRP".split())  # tags of who can be the one who says so


def stances(clause: Clause) -> Iterator[tuple[Tree, Clause]]:
    """Phrases of stance, and the statement that each stands before."""
    below = _stated(clause)
    if below is None:
        return
    vp, who, verb = clause.vp, said(clause.subject), main_lemma(clause.vp)
    quality = next((child for child in vp.children if child.label == "ADJP"), None)
    if verb == "be" and quality is not None:
        word = STANCES.get(head_lemma(quality), "") if who == "it" else "certainly" if who == "i" and head_lemma(quality) in CERTAIN else ""
        if word and len(quality.children) - any(child.label == "SBAR" for child in quality.children) == 1:
            yield _adverb(word), below
    elif who == "it" and verb in ("seem", "appear"):
        yield _adverb("apparently"), below
    elif who == "i" and verb in STANCES:
        yield _adverb(STANCES[verb]), below
    elif who in ("i", "we") and verb in OPINIONS:
        owner = leaf("PRP$", "my" if who == "i" else "our")
        yield node("PP", leaf("IN", "in"), node("NP", owner, leaf("NN", "opinion"))), below
    elif (
        verb in SAID_AS | {"think", "believe"}
        and head_leaf(clause.subject).label in ("NNP", "NN", "NNS", "NNPS", "PRP")
        and who not in ("i", "we", "you")
    ):
        to = node("PP", leaf("TO", "to"), in_case(clause.subject, ACCUSATIVE))
        yield node("PP", leaf("VBG", "according"), to), below


def _adverb(word: str) -> Tree:
    return node("ADVP", leaf("RB", word))


def _stated(clause: Clause) -> Clause | None:
    """The statement at the end of a clause that says only what someone says or thinks of it."""
    vp, verb = clause.vp, finite(clause.vp)
    if clause.front or verb is None or verb.label not in ("VBP", "VBZ", "VBD") or verb_at(vp) is None or inner(vp) is not None:
        return None
    if any(map(is_negation, vp.children)) or {"undo_question", "should", "wonder"} & set(clause.moves):
        return None
    last = vp.children[-1]
    inside = last.children if last.label == "ADJP" and last.children else [last]
    sbar = inside[-1]
    extra = [child for child in vp.children if child is not last and child is not verb and child.label != "ADJP"]
    if extra or sbar.label != "SBAR" or sbar.children[-1].label != "S" or said(Tree("X", sbar.children[:-1])) not in ("", "that"):
        return None
    below = read_clause(sbar.children[-1])
    return below if below is not None and not below.front else None
