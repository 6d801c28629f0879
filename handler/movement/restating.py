"""A clause said in another way under the same top: to whom something is given, particles, adverbs, short forms, and clefts."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import DATIVES, NOT_ASKED, NOT_WHO, SENTENCE_ADVERBS, SEPARABLE, STAYING
from handler.movement.adjuncts import adjuncts
from handler.movement.agreement import ACCUSATIVE, agreeing, is_animate, pronoun
from handler.movement.clauses import (
    Clause,
    based,
    expanded,
    finite,
    first_word,
    head_lemma,
    inner,
    is_auxiliary,
    is_negation,
    is_time,
    leaf,
    main_lemma,
    main_vp,
    node,
    read_clause,
    reformed,
    said,
    swapped,
    verb_at,
    with_main,
    without,
)

SURE_ADJUNCT = 0.5  # score from which a phrase is made the focus of a cleft


def restated(clause: Clause) -> Iterator[Clause]:
    """Statements with the content of a clause that has nothing in front, the plainest first."""
    main = main_vp(clause.vp)
    for move, changed in (("shift_particle", _particle(main)), ("shift_adverb", _adverb(main))):
        if changed is not None:
            yield clause.but(move, vp=_with_main(clause.vp, changed))
    yield from existential(clause)
    yield from clefts(clause)
    full = _in_full(clause.vp)
    if full != clause.vp:
        yield clause.but("full_form", vp=full)


def dative(clause: Clause) -> Clause | None:
    """`he gave her a book` as `he gave a book to her`, and back."""
    main = main_vp(clause.vp)
    verb = verb_at(main)
    word = DATIVES.get(main_lemma(clause.vp))
    if verb is None or word is None or coordinated(main):
        return None
    after = main.children[verb + 1 :]
    if [child.label for child in after[:2]] == ["NP", "NP"] and not is_time(after[1]):
        to_whom, what = after[:2]
        if (
            said(what) in ("it", "them", "this", "that")
            or len(what.leaves()) > 4
            or not (is_animate(to_whom) or head_leaf(to_whom).label == "PRP")
        ):
            return None
        given = [what, node("PP", leaf("TO" if word == "to" else "IN", word), to_whom)]
    elif [child.label for child in after[:2]] == ["NP", "PP"] and said(after[1].children[0]) == word and len(after[1].children) == 2:
        what, to_whom = after[0], after[1].children[1]
        whom = said(to_whom) in ACCUSATIVE.values() or said(to_whom) == "you" or len(to_whom.leaves()) < 3 and is_animate(to_whom)
        if to_whom.label != "NP" or not whom or head_leaf(what).label == "PRP" or word == "for":
            return None
        given = [to_whom, what]
    else:
        return None
    new = Tree("VP", [*main.children[: verb + 1], *given, *after[2:]])
    return clause.but("dative", vp=_with_main(clause.vp, new))


def lowered_negation(clause: Clause) -> Clause | None:
    """`I do n't think he sleeps` as `I think he does n't sleep`."""
    vp, last, place = clause.vp, main_vp(clause.vp).children[-1], inner(clause.vp)
    at = verb_at(vp)
    if main_lemma(vp) not in ("think", "believe", "suppose", "expect") or at is None or place is None or last.label != "SBAR":
        return None
    negation, inside = [child for child in vp.children if is_negation(child)], last.children[-1]
    below = read_clause(inside) if inside.label == "S" else None
    verb = vp.children[at]
    if lemma(verb.word or "", verb.label) != "do" or not negation or below is None or any(map(is_negation, below.vp.children)):
        return None
    lower = negated(below.vp)
    upper = reformed(vp.children[place], "VB", verb.label)
    if lower is None or upper is None or len(vp.children) != 3 or below.front or len(upper.children) != 2:
        return None
    said_so = Tree("SBAR", [*last.children[:-1], node("S", below.subject, lower)])
    return clause.but("lower_negation", vp=Tree("VP", [*upper.children[:-1], said_so]))


def negated(vp: Tree) -> Tree | None:
    """A verb phrase with `not` behind its auxiliary, or with `do n't`."""
    at = verb_at(vp)
    if at is None or finite(vp) is None or coordinated(vp):
        return None
    if is_auxiliary(vp):
        full = expanded(vp)
        return Tree("VP", [*full.children[: at + 1], leaf("RB", "not"), *full.children[at + 1 :]])
    bare, tag = based(vp), vp.children[at].label
    return None if bare is None else node("VP", leaf(tag, inflect("do", tag)), leaf("RB", "n't"), bare)


def _with_main(vp: Tree, new: Tree) -> Tree:
    return with_main(vp, lambda main: new)


def _particle(main: Tree) -> Tree | None:
    """`turn off the light` as `turn the light off`, and back."""
    verb = verb_at(main)
    if verb is None or coordinated(main) or main_lemma(main) not in SEPARABLE:
        return None
    for i in range(verb + 1, len(main.children) - 1):
        one, other = main.children[i : i + 2]
        pair = {one.label, other.label}
        noun = one if one.label == "NP" else other
        if pair == {"NP", "PRT"} and head_leaf(noun).label in ("NN", "NNS") and len(noun.leaves()) < 4 and not is_time(noun):
            return Tree("VP", [*main.children[:i], other, one, *main.children[i + 2 :]])
    return None


def _adverb(main: Tree) -> Tree | None:
    """`she quietly closed the door` as `she closed the door quietly`, and back."""
    verb = verb_at(main)
    if verb is None or coordinated(main) or main_lemma(main) == "be":
        return None
    objects = [child for child in main.children[verb + 1 :] if child.label != "ADVP"]
    if [child.label for child in objects] not in (["NP"], ["PRT", "NP"], []) or any(map(is_time, objects)):
        return None
    for i, child in enumerate(main.children):
        word = said(child)
        if child.label == "ADVP" and word.endswith("ly") and " " not in word and word not in STAYING | SENTENCE_ADVERBS:
            rest = main.children[:i] + main.children[i + 1 :]
            if i < verb:
                return Tree("VP", [*rest, child])
            if i == len(main.children) - 1 and objects:
                return Tree("VP", [*rest[:verb], child, *rest[verb:]])
    return None


def _in_full(vp: Tree) -> Tree:
    """With `is` for 's and `not` for n't."""
    full, verb = expanded(vp), verb_at(vp)
    if verb is None or verb + 1 >= len(full.children) or said(full.children[verb + 1]) not in ("n't", "n’t"):
        return full
    return swapped(full, verb + 1, leaf("RB", "not"))


def is_new(noun: Tree) -> bool:
    """Whether a noun phrase brings something in: `a man`, `two dogs in a park`."""
    if noun.label != "NP" or coordinated(noun) or is_time(noun) or head_leaf(noun).label not in ("NN", "NNS"):
        return False
    if head_lemma(noun) in NOT_ASKED | {"someone", "something"}:
        return False
    first = noun.leaves()[0]
    return first_word(noun) in ("a", "an", "some", "several") or first.label == "CD" and head_leaf(noun).label == "NNS"


def existential(clause: Clause) -> Iterator[Clause]:
    """`a man is singing` as `there is a man singing`, `a man sings` as `there is a man who sings`."""
    verb, place = finite(clause.vp), inner(clause.vp)
    if verb is None or verb_at(clause.vp) != 0 or verb.label == "MD" or not is_new(clause.subject):
        return
    if any(map(is_negation, clause.vp.children)) or {"should", "wonder"} & {*clause.moves}:
        return
    be = lemma(verb.word or "", verb.label) == "be"
    if be and place is None:
        return
    tag = "VBD" if verb.label == "VBD" else "VBZ"
    there = agreeing(leaf(tag, inflect("be", tag)), clause.subject)
    if be and place == 1 and len(clause.vp.children) == 2:
        noun = node("NP", clause.subject, clause.vp.children[1])
    else:
        noun = node("NP", clause.subject, _who(clause))
    yield clause.but("there_is", subject=node("NP", leaf("EX", "there")), vp=node("VP", there, noun))


def _who(clause: Clause) -> Tree:
    """A clause as a relative clause of its subject."""
    person = is_animate(clause.subject) and head_lemma(clause.subject) not in NOT_WHO
    return node("SBAR", node("WHNP", leaf("WP", "who") if person else leaf("WDT", "that")), node("S", clause.vp))


def clefts(clause: Clause) -> Iterator[Clause]:
    """`it was in May that she left` of each phrase that is sure not to belong to the verb, then `it was Ann that left`."""
    verb = finite(clause.vp)
    light = ("it", "there", "i", "you", "he", "she", "we", "they", "this", "that", "nothing", "nobody", "someone", "something")
    if verb is None or verb_at(clause.vp) is None or any(map(is_negation, clause.vp.children)) or {"should", "wonder"} & {*clause.moves}:
        return
    be = leaf("VBD", "was") if verb.label == "VBD" else leaf("VBZ", "is")
    if said(clause.subject) not in ("it", "there"):
        for adjunct in adjuncts(clause.vp):
            rest = without(clause.vp, adjunct.piece)
            if not _focus(adjunct.piece) or adjunct.score < SURE_ADJUNCT or rest is None or verb_at(rest) is None:
                continue
            that = node("SBAR", leaf("IN", "that"), node("S", clause.subject, rest))
            yield clause.but("cleft", subject=pronoun("it"), vp=node("VP", be, adjunct.piece, that))
    if (
        said(clause.subject) not in light
        and not is_new(clause.subject)
        and not any(one.label in ("CC", ",") for one in clause.subject.leaves())
    ):
        if main_lemma(clause.vp) == "be" and inner(clause.vp) is None:
            return  # it is Ann that is a nurse
        yield clause.but("cleft_subject", subject=pronoun("it"), vp=node("VP", be, clause.subject, _who(clause)))


def _focus(piece: Tree) -> bool:
    """Whether a phrase can be what a cleft is about: a time, a place, a reason."""
    if piece.label == "SBAR":
        return first_word(piece) in ("because", "when", "after", "before") and len(piece.children) == 2
    return piece.label == "PP" and first_word(piece) not in ("since", "for") or is_time(piece)
