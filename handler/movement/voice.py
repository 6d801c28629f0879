"""Active to passive and back."""

from handler.language.heads import head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import TIMES, coordinated
from handler.language.trees import Tree
from handler.language.wordlists import GIVING, NO_AGENTS, NO_PASSIVE, TELLING
from handler.movement.agreement import ACCUSATIVE, NOMINATIVE, agreed, in_case
from handler.movement.clauses import (
    Clause,
    head_lemma,
    inner,
    is_negation,
    is_time,
    leaf,
    main_verb,
    main_vp,
    node,
    said,
    swapped,
    verb_at,
)


def activated(clause: Clause) -> Clause | None:
    """`the man was bitten by the dog` as `the dog bit the man`."""
    found = _active(clause.vp, in_case(clause.subject, ACCUSATIVE))
    if found is None:
        return None
    vp, agent = found
    agent = in_case(agent, NOMINATIVE)
    return clause.but("active", subject=agent, vp=agreed(vp, agent))


def _active(vp: Tree, patient: Tree) -> tuple[Tree, Tree] | None:
    """The verb phrase in the active and who did it."""
    verb, place = verb_at(vp), inner(vp)
    if verb is None or place is None:
        return None
    below, be = vp.children[place], vp.children[verb]
    at = verb_at(below)
    if lemma(be.word or "", be.label) != "be" or at is None or below.children[at].label != "VBN":
        deeper = _active(below, patient)
        return deeper and (swapped(vp, place, deeper[0]), deeper[1])
    by = next((child for child in below.children if is_agent(child)), None)
    if by is None or coordinated(below):
        return None
    word = lemma(below.children[at].word or "", "VBN")
    rest = [child for child in below.children[at + 1 :] if child is not by]
    if below.children[at + 1 :][:1] and below.children[at + 1].label == "PRT":
        inside = [rest[0], patient, *rest[1:]] if said(patient) not in ACCUSATIVE.values() else [patient, *rest]
    else:
        inside = [patient, *rest]
    between, after = vp.children[verb + 1 : place], vp.children[place + 1 :]
    before = [*vp.children[:verb], *below.children[:at]]
    if between and is_negation(between[0]) and be.label != "VB":
        bare = node("VP", *below.children[:at], leaf("VB", word), *inside)
        auxiliary = leaf(be.label, inflect("do", be.label))
        return node("VP", *vp.children[:verb], auxiliary, *between, bare, *after), by.children[-1]
    return node("VP", *before, *between, leaf(be.label, inflect(word, be.label)), *inside, *after), by.children[-1]


def is_agent(pp: Tree) -> bool:
    """Whether a PP is the `by` phrase that says who did it."""
    if pp.label != "PP" or len(pp.children) != 2 or said(pp.children[0]) != "by" or pp.children[1].label != "NP":
        return False
    noun = pp.children[1]
    head = head_leaf(noun)
    bare = head.label in ("NN", "CD") and len(noun.leaves()) == 1
    return not (bare or head.label in ("VBG", "CD") or head_lemma(noun) in TIMES | NO_AGENTS or said(noun).endswith(("self", "selves")))


def passivated(clause: Clause) -> Clause | None:
    """`the dog bit the man` as `the man was bitten by the dog`."""
    main, verb = main_vp(clause.vp), main_verb(clause.vp)
    if verb is None or coordinated(main) or said(clause.subject) in ("there", "it", "that", "this", "what", "who", "which"):
        return None
    at = verb_at(main) or 0
    after = main.children[at + 1 :]
    particle = [after.pop(0)] if after and after[0].label == "PRT" else []
    patient = after[0] if after else None
    if patient is None or patient.label != "NP" or is_time(patient) or lemma(verb.word or "", verb.label) in NO_PASSIVE:
        return None
    if any(one.label == "PRP$" or (one.word or "").endswith(("self", "selves", "other")) for one in patient.leaves()):
        return None
    rest = after[1:]
    if any(child.label in ("S", "VP", "ADJP") for child in rest) and lemma(verb.word or "", verb.label) not in TELLING:
        return None
    if any(child.label == "NP" and not is_time(child) for child in rest) and (
        head_lemma(patient) in TIMES or lemma(verb.word or "", verb.label) not in TELLING | GIVING
    ):
        return None
    vp = _passive(clause.vp, in_case(clause.subject, ACCUSATIVE), particle, rest)
    if vp is None:
        return None
    subject = in_case(patient, NOMINATIVE)
    return clause.but("passive", subject=subject, vp=agreed(vp, subject))


def _passive(vp: Tree, agent: Tree, particle: list[Tree], rest: list[Tree]) -> Tree | None:
    verb, place = verb_at(vp), inner(vp)
    if verb is None:
        return None
    word = vp.children[verb]
    name = lemma(word.word or "", word.label)
    if place is None:
        participle = leaf("VBN", inflect(name, "VBN"))
        by = node("PP", leaf("IN", "by"), agent)
        below = node("VP", participle, *particle, *_placed(by, rest))
        return node("VP", *vp.children[:verb], leaf(word.label, inflect("be", word.label)), below)
    below = vp.children[place]
    deeper = below.children[verb_at(below) or 0]
    if name == "do":  # does not bite: is not bitten
        inside = _passive(below, agent, particle, rest)
        if inside is None:
            return None
        be, *others = [child for child in inside.children if child.label != "ADVP"]
        adverbs = [child for child in inside.children if child.label == "ADVP"]
        children = [leaf(word.label, inflect(be.word or "be", word.label)) if child is word else child for child in vp.children[:place]]
        return node("VP", *children, *adverbs, *others, *vp.children[place + 1 :])
    if name == "be" and word.label not in ("VBZ", "VBP", "VBD") and deeper.label == "VBG":
        return None  # will be being bitten
    if name == "be" and deeper.label == "VBN" or name == "get":
        return None
    inside = _passive(below, agent, particle, rest)
    return inside and swapped(vp, place, inside)


def _placed(by: Tree, rest: list[Tree]) -> list[Tree]:
    """The parts of a passive with the `by` phrase in them: behind what the verb needs."""
    place = 0
    while place < len(rest) and (
        rest[place].label == "NP"
        and not is_time(rest[place])
        or rest[place].label == "ADVP"
        and len(rest[place].leaves()) == 1
        or rest[place].label == "PP"
        and place == 0
        and said(rest[place].children[0]) in ("to into on onto from of with as off".split())
        and head_lemma(rest[place].children[-1]) not in TIMES
    ):
        place += 1
    return [*rest[:place], by, *rest[place:]]
