"""Which phrases of a verb phrase can stand before its subject: those that it does not need.

A tree does not say which of its phrases a verb needs. Here the preposition, the verb and what else there is tell, with a score from 0 to 1;
what lies within a noun phrase or in what someone says is never taken out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from handler.language.heads import head_leaf
from handler.language.relations import TIMES, coordinated
from handler.language.trees import Tree, memoized
from handler.language.wordlists import (
    ADVERBIAL,
    ASKING,
    CHOSEN,
    COMPOUND,
    FREE,
    FRONTABLE,
    LOCATED,
    MOTION,
    PATHS,
    POSTURES,
    PURPOSEFUL,
    SAYING,
    STAYING,
    SURE,
)
from handler.movement.clauses import first_word, head_lemma, inner, is_negation, is_time, leaf, main_lemma, main_vp, node, said, verb_at
from handler.movement.voice import is_agent

LEAST = 0.4  # score from which a phrase is moved
KNOWN = 0.42  # score of what someone knows


@dataclass(frozen=True)
class Adjunct:
    """A phrase that can be moved."""

    piece: Tree  # as it is in the tree
    moved: Tree  # as it stands in front: ADVP, PP or SBAR
    score: float


@memoized
def adjuncts(vp: Tree) -> list[Adjunct]:
    """What can be moved, best first; of equals the last in the sentence."""
    found = list(_adjuncts(vp))
    if any(map(is_negation, vp.children)):  # what one does not think cannot be said as if one did
        found = [one for one in found if not is_reported(one) and said(one.piece) != "often"]
    return sorted(reversed([one for one in found if one.score >= LEAST]), key=lambda one: -one.score)


def is_reported(one: Adjunct) -> bool:
    """Whether it is what someone says or knows, rather than when or why."""
    if one.moved.label != "SBAR":
        return False
    return one.score == KNOWN or [child.label for child in one.moved.children[:1]] in (["S"], ["WHNP"], ["WHADJP"])


def _adjuncts(vp: Tree) -> Iterator[Adjunct]:
    verb, place = verb_at(vp), inner(vp)
    if place is not None:
        for i, child in enumerate(vp.children):
            if i not in (verb, place) and not is_negation(child):
                yield from _phrase(vp, child, i < place, 0.8)
        yield from _adjuncts(vp.children[place])
        return
    if verb is None or coordinated(vp):  # joined verb phrases: only what belongs to all of them
        if verb is None and not coordinated(vp):
            for child in vp.children:
                if child.label == "VP" and not coordinated(child):
                    yield from _adjuncts(child)
                else:
                    yield from _phrase(vp, child, False, 0.8)
        return
    filled = False  # has the verb what it needs?
    for i, child in enumerate(vp.children):
        if i == verb or is_negation(child):
            continue
        yield from _phrase(vp, child, i < verb or filled, 0.0, filled)
        there = child.label == "ADVP" and said(child) in ("here", "there", "home", "back", "away", "out")
        filled |= i > verb and (there or child.label in ("ADJP", "S", "SBAR", "PP", "VP") or child.label == "NP" and not is_time(child))
    yield from _below(vp)


def _below(vp: Tree) -> Iterator[Adjunct]:
    """Adverbial clauses and times at the right edge of an infinitive: `he wants to leave because …`, `to see you on Monday`."""
    last = next((child for child in reversed(vp.children) if child.label not in (",", "ADVP", "RB")), None)
    if last is not None and last.label == "S" and last.children and last.children[-1].label == "VP":
        inside = last.children[-1]
        while inside.children[-1].label == "VP":
            inside = inside.children[-1]
        piece = inside.children[-1]
        if coordinated(inside) or len(inside.children) < 2:
            return
        if piece.label == "SBAR" and first_word(piece) in ADVERBIAL:
            yield Adjunct(piece, piece, 0.7)
        elif piece.label in ("PP", "NP", "ADVP"):
            yield from (
                one
                for one in _phrase(inside, piece, True, 0.0)
                if one.score >= 0.8 and (piece.label != "ADVP" or said(piece) in ("today", "tomorrow", "now", "tonight", "sometimes"))
            )


def _phrase(vp: Tree, child: Tree, free: bool, least: float, filled: bool = True) -> Iterator[Adjunct]:
    """The phrase as an adjunct, if it is one. free: the verb does not wait for it."""
    if child.label in ("ADVP", "RB"):
        at = next(i for i, one in enumerate(vp.children) if one is child)
        degree = at + 1 < len(vp.children) and vp.children[at + 1].label in ("ADJP", "ADVP", "JJ") and said(child) not in FRONTABLE
        score = 0.0 if degree else adverb_score(child)
        if score and (vp.children[-1] is not child or main_lemma(vp) != "be" or len(vp.children) > 2):
            yield Adjunct(child, child if child.label == "ADVP" else node("ADVP", child), score)
    elif child.label == "NP" and is_time(child):
        if not (main_lemma(vp) == "be" and not filled):
            yield Adjunct(child, node("ADVP", child), 0.8)
            if first_word(child) in "monday tuesday wednesday thursday friday saturday sunday".split():
                yield Adjunct(child, node("PP", leaf("IN", "on"), child), 0.8)
    elif child.label == "PP":
        yield Adjunct(child, child, max(least, phrase_score(vp, child, free, filled)))
    elif child.label == "SBAR":
        score, moved = clause_score(vp, child)
        yield Adjunct(child, moved, score)
    elif child.label == "S" and said(child).startswith(("to ", "in order to ")) and len(vp.children) > 2:
        objects = [one for one in vp.children if one.label == "NP" and not is_time(one)]
        if main_lemma(vp) in PURPOSEFUL:
            yield Adjunct(child, node("SBAR", leaf("IN", "in"), leaf("NN", "order"), child), 0.6 if objects else 0.5)


def adverb_score(child: Tree) -> float:
    """How well an adverb, with what belongs to it, stands in front."""
    words = said(child).split()
    if not words or any(one.label in ("IN", "CC") or one.label == "VP" for one in _all(child)) and words[0] != "at":
        return 0.0
    if len(words) == 1:
        if words[0] in STAYING:
            return 0.0
        return 0.9 if words[0].endswith("ly") or words[0] in FRONTABLE else 0.5
    if any(one.label == "NP" and head_lemma(one) not in TIMES for one in child.children):
        return 0.0
    if words[-1] == "ago" or words[:2] == ["at", "first"] or words[-1] in ("later", "earlier", "soon", "now", "again"):
        return 0.9
    if words[0] in "very so too as more most any no not all right just even only back how much".split():
        return 0.0
    return 0.5 if words[-1].endswith("ly") or words[-1] in ("often", "today", "tomorrow") else 0.0


def _all(tree: Tree) -> Iterator[Tree]:
    yield tree
    for child in tree.children:
        yield from _all(child)


def phrase_score(vp: Tree, pp: Tree, free: bool, filled: bool) -> float:
    """How sure it is that a prepositional phrase is no part of what the verb needs."""
    word, verb = first_word(pp), main_lemma(vp)
    if pp.children[0].label not in ("IN", "TO", "VBG", "ADVP", "RB", "NP", "JJ") or len(pp.children) < 2 or len(pp.leaves()) < 2:
        return 0.0
    if said(pp).startswith(COMPOUND) and not (verb == "be" and not filled):
        return 0.9
    if pp.children[0].label != "IN":
        word = first_word(next((child for child in pp.children if child.label in ("IN", "TO")), pp))
    noun = next((child for child in pp.children if child.label == "NP"), None)
    dated = noun is not None and head_leaf(noun).label == "CD" and word in ("in", "at", "since", "before", "by")
    when = noun is not None and head_lemma(noun) in TIMES or dated
    if verb == "be" and not filled:
        return 0.0
    if word == "by" and noun is not None and len(noun.leaves()) == 1 and head_leaf(noun).label == "NN" or word == "for" and noun is None:
        return 0.1  # by day, by car; for doing it
    if when and word not in ("of", "for", "from", "to", "than", "as", "like"):
        return 0.95
    lasting = noun is not None and (
        head_leaf(noun).label == "NNS" or first_word(noun) in ("a", "an", "over", "about", "almost", "nearly", "such")
    )
    if when and word == "for" and lasting and (word not in CHOSEN.get(verb, ()) or verb in ("wait", "play", "work")):
        return 0.7  # for two weeks
    if verb in ("be", "remain", "seem", "become", "look", "feel") and filled and word in "for with to from about of at on by".split():
        return 0.3  # what an adjective goes with: good at it, ready for it
    if word in ("while", "when") and pp.children[-1].label == "S":
        return 0.9  # while skiing
    if verb in LOCATED and word in ("in", "on", "at", "near") and len(pp.children) == 2 and _beside(vp, pp):
        return 0.45
    if is_agent(pp) or word == "by" and noun is None and pp.children[-1].label != "S" or _belongs(vp, pp):
        return 0.3
    if word in ("of", "than", "as", "like", "per", "to", "into", "onto", "about", "toward", "towards", "out", "off", "up", "down"):
        return 0.1
    if noun is not None and said(noun) in "me you him her it us them that this himself herself itself themselves myself".split():
        return 0.2
    chosen = verb in CHOSEN and word in CHOSEN[verb]
    if noun is not None and word in ("in", "on", "at", "by") and len(noun.leaves()) == 1 and head_leaf(noun).label == "NN":
        return 0.3  # in line, on fire, at work, day by day
    if word == "without" and verb == "go" or verb in MOTION and word in PATHS:
        return 0.3
    if word in SURE:
        return 0.3 if chosen else 0.9
    if chosen and verb in LOCATED and word in ("in", "on", "at", "near") and _beside(vp, pp):
        return 0.45
    if chosen:
        return 0.45 if word in ("on", "in", "at") and verb in POSTURES else 0.1
    return loose_score(vp, pp, word, free)


def _belongs(vp: Tree, pp: Tree) -> bool:
    """Whether what stands beside a phrase goes with it: `with her eyes open`, `without so much as …`, `on his bed to rest`."""
    at = next((i for i, child in enumerate(vp.children) if child is pp), None)
    after = vp.children[at + 1] if at is not None and at + 1 < len(vp.children) else None
    before = vp.children[at - 1] if at else None
    if (
        before is not None
        and (before.label == "PRT" or said(before) in "up down out off away back forward".split())
        and (first_word(pp) in "on with to from for of".split())
    ):
        return True  # look down on, run out of
    if before is not None and before.label == "PP" and first_word(before) == "with" and any(one.label == "PRP$" for one in pp.leaves()):
        return True  # with a bag on her back
    return (
        after is not None
        and (
            after.label == "ADJP"
            or first_word(after) in ("as", "than", "of")
            or after.label == "PP"
            and not (first_word(after) in SURE or head_lemma(after.children[-1]) in TIMES or first_word(pp) in SURE)
        )
        or any(one.label == "S" and first_word(one) == "to" for one in _all(pp))
    )


def _beside(vp: Tree, pp: Tree) -> bool:
    """Whether a verb has another phrase of place, company or role, so that this one may go."""
    return any(
        child.label in ("PP", "ADVP") and child is not pp and first_word(child) in ("with", "as", "for", "at", "there")
        for child in vp.children
    )


def chooses(vp: Tree, pp: Tree) -> bool:
    """Whether the verb is known to go with the preposition."""
    return first_word(pp) in CHOSEN.get(main_lemma(vp), ()) or first_word(pp) in ("to", "into", "onto", "out", "off")


def loose_score(vp: Tree, pp: Tree, word: str, free: bool) -> float:
    """Of a phrase that the verb does not choose: behind an object it may be part of that, unless the object is a pronoun or a name."""
    at = next((i for i, child in enumerate(vp.children) if child is pp), 0)
    before = vp.children[at - 1] if at else pp
    near = before.label == "NP" and head_leaf(before).label in ("NN", "NNS") and not is_time(before)
    if word in ("for", "from", "with"):
        return 0.3 if not free else 0.42 if word == "with" and near else 0.3 if near else 0.6
    if word in FREE:
        return 0.5 if not free else 0.6 if near else 0.75
    return 0.3


def clause_score(vp: Tree, sbar: Tree) -> tuple[float, Tree]:
    """Score of a subordinate clause and the form it takes in front."""
    word, verb = first_word(sbar), main_lemma(vp)
    at = next((i for i, child in enumerate(vp.children) if child is sbar), 0)
    if at and said(vp.children[at - 1]) in "even just only especially right long soon shortly except".split():
        return 0.0, sbar  # these belong to it
    bare = sbar.children[0].label == "S"  # its `that`, if it begins with one, is the subject: `I think that 's in my mind`
    if word == "that" or bare:
        spoken = Tree("SBAR", sbar.children if bare else sbar.children[1:])
        alone = main_vp(vp).children[-1] is sbar and not any(map(is_negation, vp.children))
        finite = sbar.children[-1].label == "S" and len(sbar.children[-1].children) > 1
        return (0.45 if verb in SAYING and alone and finite and len(spoken.children) == 1 else 0.0), spoken
    if word in ("so", "such") and len(sbar.leaves()) > 1 and said(sbar).startswith("so that"):
        return 0.45, sbar
    if word in ADVERBIAL or said(sbar).startswith(("as soon as", "as long as")):
        if word in ("if", "when") and verb in ASKING and not _has_object(vp):
            return 0.1, sbar
        return 0.9, sbar
    if word in ("as", "where"):
        measured = [one for one in vp.leaves() if (one.word or "").lower() in ("as", "so", "such", "same")]
        return (0.45 if word == "where" or len(measured) == 1 else 0.0), sbar
    if sbar.children[0].label.startswith("WH") and verb in ("know", "understand", "remember", "wonder", "see"):
        return KNOWN, sbar
    return 0.0, sbar


def _has_object(vp: Tree) -> bool:
    return any(child.label == "NP" and not is_time(child) for child in main_vp(vp).children)
