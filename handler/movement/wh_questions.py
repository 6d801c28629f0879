"""A wh-question asked in other ways: `can you tell me what …`, `what is the reason …`, `how about telling me …`."""

from collections.abc import Iterator

from handler.language.trees import Tree
from handler.movement.clauses import leaf, main_lemma, node, said
from handler.movement.fronting import Variant
from handler.movement.sources import embedded, unquoted

NOUNS = {"why": "reason", "where": "place", "when": "time"}
PRICES = frozenset("cost weigh pay charge owe".split())  # verbs of which one asks `how much` or `what`


def of_wh_question(top: Tree) -> Iterator[Variant]:
    """The question reworded, then under a verb of telling or knowing."""
    asked = embedded(top)
    if asked is None:
        return
    yield from _reworded(top, asked)
    tell = node("VP", leaf("VB", "tell"), node("NP", leaf("PRP", "me")), asked)
    yield node("SQ", leaf("MD", "can"), node("NP", leaf("PRP", "you")), tell), "?", ("tell_me",)
    yield node("S", tell), ".", ("tell_me",)
    telling = node("SQ", node("PP", leaf("IN", "about"), node("S", node("VP", leaf("VBG", "telling"), *tell.children[1:]))))
    yield node("SBARQ", node("WHADVP", leaf("WRB", "how")), telling), "?", ("how_about",)
    yield node("SBARQ", node("WHNP", leaf("WP", "what")), telling), "?", ("how_about",)
    do, you = leaf("VBP", "do"), node("NP", leaf("PRP", "you"))
    know = node("SQ", do, you, node("VP", leaf("VB", "know"), asked))
    yield node("SBARQ", node("WHADVP", leaf("WRB", "how")), know), "?", ("do_you_know",)
    about = node("SQ", do, you, node("VP", leaf("VB", "know"), node("PP", leaf("IN", "about"), asked)))
    yield node("SBARQ", node("WHNP", leaf("WP", "what")), about), "?", ("do_you_know",)
    question = node("NP", leaf("DT", "the"), leaf("NN", "question"))
    yield node("NP", question, node("PP", leaf("IN", "of"), asked)), ".", ("question_of",)


def _reworded(top: Tree, asked: Tree) -> Iterator[Variant]:
    """With another wh-phrase: `what is the reason` for `why`, `when` for `what time`, `what number of` for `how many`."""
    children = [child for child in unquoted(top) if child.label not in ("CC", "INTJ", ",")]
    wh, clause = children[0], children[1]
    word, moves = said(wh), ("reword",)
    if word in NOUNS:
        noun = node("NP", node("NP", leaf("DT", "the"), leaf("NN", NOUNS[word])), node("SBAR", *asked.children[word == "why" :]))
        yield node("SBARQ", node("WHNP", leaf("WP", "what")), node("SQ", leaf("VBZ", "is"), noun)), "?", moves
    if word in ("what time", "what day", "which day", "what date", "which year", "what year"):
        yield node("SBARQ", node("WHADVP", leaf("WRB", "when")), clause), "?", moves
    if word.startswith("how many ") and wh.label == "WHNP":
        of = node("PP", leaf("IN", "of"), Tree("NP", wh.leaves()[2:]))
        yield node("SBARQ", node("WHNP", node("WHNP", leaf("WDT", "what"), leaf("NN", "number")), of), clause), "?", moves
    if word == "how much" and any(main_lemma(child) in PRICES for child in clause.children if child.label == "VP"):
        yield node("SBARQ", node("WHNP", leaf("WP", "what")), clause), "?", moves
