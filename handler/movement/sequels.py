"""A clause as two, of which the second says more of what the first names or states: `I have a sister , and she lives in Rome`.

Each function yields the first clause, a conjunction, the second clause and the name of the move, as in `unpacking`.
"""

from collections.abc import Callable, Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import inflect
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import KNOWING, NEVER_SAID, RELATIVES, UNASKED, VAGUE, WONDERING
from handler.movement.agreement import agreed, agreeing, person, pronoun, taken_up, with_article
from handler.movement.clauses import (
    Clause,
    copula_at,
    finite,
    first_word,
    head_lemma,
    inner,
    is_negation,
    is_time,
    leaf,
    main_lemma,
    main_vp,
    node,
    read_clause,
    said,
    swapped,
    verb_at,
    with_main,
    without,
)
from handler.movement.unpacking import Two, s

HAVERS = {"my": "I", "your": "you", "his": "he", "her": "she", "our": "we", "their": "they"}


def sequels(clause: Clause) -> Iterator[Two]:
    if {"undo_question", "should", "wonder"} & set(clause.moves) or verb_at(clause.vp) is None:
        return
    yield from _had(clause)
    yield from _told_so(clause)
    yield from _unknown(clause)
    yield from _too(clause)
    yield from _one(clause)
    yield from _object_quality(clause)
    yield from _role(clause)


def _had(clause: Clause) -> Iterator[Two]:
    """`my sister sings` as `I have a sister , and she sings`."""
    noun = clause.subject
    first, head = noun.leaves()[0], head_leaf(noun)
    if first.label != "PRP$" or said(first) not in HAVERS or any(child.children for child in noun.children):
        return
    if head.label not in ("NN", "NNS") or head_lemma(noun) not in RELATIVES or any(map(is_negation, clause.vp.children)):
        return
    again, owner, rest = taken_up(noun), pronoun(HAVERS[said(first)]), noun.children[1:]
    if said(again) == said(owner):
        again = node("NP", leaf("DT", "the"), *rest)  # his brother: he has a brother , and the brother …
    what = with_article(node("NP", leaf("DT", "a"), *rest)) if head.label == "NN" else Tree("NP", rest)
    have = node("VP", agreeing(leaf("VBP", "have"), owner), what)
    yield s(owner, have), "and", s(again, agreed(clause.vp, again)), "had"


def _told_so(clause: Clause) -> Iterator[Two]:
    """`she told me that she was tired` as `she was tired , and she told me so`; what one knows is taken up by `it`."""
    main = main_vp(clause.vp)
    last, name = main.children[-1], main_lemma(clause.vp)
    rest = without(clause.vp, last)
    if last.label != "SBAR" or rest is None or any(map(is_negation, clause.vp.children)) or coordinated(main):
        return
    inside = last.children[-1]
    below = read_clause(inside) if inside.label == "S" else None
    if below is None or below.front or said(Tree("X", last.children[:-1])) not in ("", "that"):
        return
    labels = [child.label for child in main.children[:-1] if child.label != "ADVP"]
    if name == "tell" and labels[1:] == ["NP"]:
        again = node("ADVP", leaf("RB", "so"))
    elif name in KNOWING and len(labels) == 1 and clause.vp.leaves()[0].label != "MD":
        again = pronoun("it")
    else:
        return
    yield inside, "and", s(clause.subject, with_main(rest, lambda vp: Tree("VP", [*vp.children, again]))), "told_so"


def _unknown(clause: Clause) -> Iterator[Two]:
    """`nobody knows what happened` as `something happened , but nobody knows what`."""
    main = main_vp(clause.vp)
    last = main.children[-1]
    if last.label != "SBAR" or len(last.children) != 2 or main_lemma(clause.vp) not in WONDERING or coordinated(main):
        return
    wh, inside = last.children
    word, rest = said(wh), without(clause.vp, last)
    if word not in UNASKED or rest is None or inside.label != "S":
        return
    labels, below = [child.label for child in inside.children], read_clause(inside)
    if labels == ["VP"] and wh.label == "WHNP" and finite(inside.children[0]) is not None:
        known = s(node("NP", leaf("NN", UNASKED[word])), inside.children[0])
    elif word in ("where", "how") and below is not None and not below.front and main_lemma(below.vp) != "be":
        adverb = node("ADVP", leaf("RB", UNASKED[word]))
        known = s(below.subject, with_main(below.vp, lambda vp: Tree("VP", [*vp.children, adverb])))
    else:
        return
    negated = any(map(is_negation, clause.vp.children)) or first_word(clause.subject) in ("nobody", "no", "few")
    alone = node("SBAR", wh)
    other = s(clause.subject, with_main(rest, lambda vp: Tree("VP", [*vp.children, alone])))
    yield known, "but" if negated or main_lemma(clause.vp) == "wonder" else "and", other, "unknown"


def _too(clause: Clause) -> Iterator[Two]:
    """`I am too tired to go` as `I am very tired , so I can not go`; `so cold that we left` likewise."""
    found = degree_of(clause)
    if found is not None:
        yield s(clause.subject, found[2]("very")), "so", found[1], "too"


def degree_of(clause: Clause) -> tuple[str, Tree, Callable[[str], Tree]] | None:
    """Of `too tired to go`, `so cold that we left`: the word of degree, what follows from it as a clause, and the verb phrase without
    that, with whichever word of degree."""
    vp = clause.vp
    if copula_at(vp) is None:
        return None
    place = next((i for i, child in enumerate(vp.children) if child.label == "ADJP" and first_word(child) in ("too", "so")), None)
    if place is None:
        return None
    degree, after = vp.children[place], vp.children[place + 1 :]
    result = next((part for part in [*degree.children, *after] if part.label in ("S", "SBAR")), None)
    adjective = [part for part in degree.children[1:] if part is not result]
    if result is None or [part.label for part in adjective] != ["JJ"]:
        return None
    others = [part for part in after if part is not result]
    told = _consequence(clause, result, first_word(degree))
    if told is None:
        return None
    before = vp.children[:place]
    return first_word(degree), told, lambda word: Tree("VP", [*before, node("ADJP", leaf("RB", word), *adjective), *others])


def _consequence(clause: Clause, result: Tree, degree: str) -> Tree | None:
    """What follows from too much of something, as a clause."""
    inside = result.children[-1]
    if degree == "so":
        stated = result.label == "SBAR" and inside.label == "S" and said(Tree("X", result.children[:-1])) in ("that", "")
        return inside if stated and read_clause(inside) else None
    small = inside if result.label == "SBAR" else result
    if [part.label for part in small.children] != ["VP"] or first_word(small) != "to" or len(small.children[0].children) != 2:
        return None
    who = pronoun("you") if said(clause.subject) in ("it", "this", "that") else taken_up(clause.subject)
    verb = finite(clause.vp)
    can = leaf("MD", "could" if verb is not None and verb.label == "VBD" else "can")
    return s(who, node("VP", can, leaf("RB", "not"), small.children[0].children[1]))


def _one(clause: Clause) -> Iterator[Two]:
    """`he is a good doctor` as `he is a doctor , and he is a good one`."""
    vp, at = clause.vp, copula_at(clause.vp)
    if at is None or len(vp.children) != at + 2:
        return
    noun = vp.children[at + 1]
    if noun.label != "NP" or head_leaf(clause.subject).label == "EX" or said(clause.subject) == "it" or first_word(noun) not in ("a", "an"):
        return
    quality = _quality(noun)
    if quality is None:
        return
    bare, adjective = quality
    again = taken_up(clause.subject)
    one = with_article(Tree("NP", [leaf("DT", "a"), *adjective, leaf("NN", "one")]))
    yield s(clause.subject, swapped(vp, at + 1, bare)), "and", s(again, agreed(swapped(vp, at + 1, one), again)), "quality"


def _object_quality(clause: Clause) -> Iterator[Two]:
    """`she bought a red car` as `she bought a car , and it was red`."""
    main = main_vp(clause.vp)
    at, verb = verb_at(main), finite(clause.vp)
    if at is None or verb is None or at + 1 >= len(main.children) or main_lemma(clause.vp) == "be" or coordinated(main):
        return
    noun = main.children[at + 1]
    quality = _quality(noun) if noun.label == "NP" and not is_time(noun) else None
    if quality is None or any(map(is_negation, clause.vp.children)) or first_word(noun) in ("no", "any", "what"):
        return
    if any(child.label in ("NP", "S", "SBAR", "ADJP") and not is_time(child) for child in main.children[at + 2 :]):
        return
    bare, adjective = quality
    again = pronoun("they" if person(noun) == "plural" else "it")
    if said(again) == said(clause.subject) or verb.label == "MD" and said(verb) not in ("will", "would", "'ll"):
        return
    be = agreeing(leaf(verb.label, inflect("be", verb.label)), again) if verb.label != "MD" else leaf("VB", "be")
    copula = node("VP", be, Tree("ADJP", adjective))
    whole = with_main(clause.vp, lambda inside: swapped(inside, at + 1, bare))
    yield s(clause.subject, whole), "and", s(again, node("VP", verb, copula) if verb.label == "MD" else copula), "quality"


def _role(clause: Clause) -> Iterator[Two]:
    """`he works as a teacher at a school` as `he is a teacher , and he works at a school`."""
    main, verb = main_vp(clause.vp), finite(clause.vp)
    role = next((child for child in main.children if child.label == "PP" and first_word(child) == "as" and len(child.children) == 2), None)
    if role is not None and [child.label for child in role.children[1].children] == ["NP", "PP"]:  # as [a nurse in London]
        what, where = role.children[1].children
        place = next(i for i, child in enumerate(main.children) if child is role)
        apart = node("PP", role.children[0], what), where
        yield from _role(clause.but(vp=with_main(clause.vp, lambda vp: swapped(vp, place, *apart))))
        return
    rest = role and without(clause.vp, role)
    if verb is None or verb.label == "MD" or role is None or rest is None or main_lemma(clause.vp) not in ("work", "serve"):
        return
    if len(main_vp(rest).children) < 2 or inner(clause.vp) is not None or role.children[1].label != "NP":
        return
    be = agreeing(leaf(verb.label, inflect("be", verb.label)), clause.subject)
    again = taken_up(clause.subject)
    yield s(clause.subject, node("VP", be, role.children[1])), "and", s(again, agreed(rest, again)), "role"


def _quality(noun: Tree) -> tuple[Tree, list[Tree]] | None:
    """A noun phrase without its adjective, and that with its adverb: `a very red car`."""
    flat = [part for child in noun.children for part in (child.children if child.label == "ADJP" else [child])]
    labels = " ".join(part.label for part in flat)
    kinds = ("DT JJ NN", "DT RB JJ NN", "DT JJ NN NN", "JJ NNS", "CD JJ NNS", "DT JJ NNS")
    if labels not in kinds or any(part.children for part in flat):
        return None
    if said(flat[-1]) in VAGUE:
        return None
    at = next(i for i, part in enumerate(flat) if part.label == "JJ")
    word = said(flat[at])
    new = flat[0].label != "DT" or said(flat[0]) in ("a", "an", "some")
    if word in NEVER_SAID or not new or "-" in word or len(word) > 4 and word.endswith(("ed", "al", "ic", "an", "ese", "ish")):
        return None
    start = at - 1 if at and flat[at - 1].label == "RB" else at
    return with_article(Tree("NP", [*flat[:start], *flat[at + 1 :]])), flat[start : at + 1]
