"""What a phrase says as a clause of its own: `the man who called is rich` as `the man called , and he is rich`.

Each function yields the first clause, a conjunction, the second clause and the name of the move.
"""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import TIMES, coordinated
from handler.language.trees import Tree
from handler.language.wordlists import (
    DATIVES,
    DESCRIBING,
    DONE,
    NOT_ASKED,
    PREDICATIVE,
    QUALITIES,
    SENTENCE_ADVERBS,
    STATES,
    UNCOUNTED,
)
from handler.movement.adjuncts import adjuncts
from handler.movement.agreement import ACCUSATIVE, agreed, agreeing, in_case, is_animate, person, pronoun, taken_up, with_article
from handler.movement.clauses import (
    FINITE,
    Clause,
    finite,
    first_word,
    head_lemma,
    inner,
    is_negation,
    is_passive,
    is_time,
    leaf,
    main_lemma,
    main_vp,
    node,
    said,
    swapped,
    verb_at,
    with_main,
    without,
)
from handler.movement.restating import is_new

Two = tuple[Tree, str, Tree, str]  # the first clause, a conjunction, the second clause, the move


def s(subject: Tree, vp: Tree) -> Tree:
    return node("S", subject, vp)


def relative(clause: Clause) -> Iterator[Two]:
    """`the man who lives here is rich` as `the man lives here , and he is rich`."""
    found = relative_of(clause.subject)
    if found and verb_at(clause.vp) is not None:
        noun, vp = found
        again = taken_up(noun)
        yield s(noun, agreed(vp, noun)), "and", s(again, agreed(clause.vp, again)), "relative"
    gapped = relative_object(clause.subject)
    if gapped and verb_at(clause.vp) is not None:
        noun, first = gapped
        again = taken_up(noun)
        yield first, "and", s(again, agreed(clause.vp, again)), "relative"
    main = main_vp(clause.vp)
    last = main.children[-1]
    found = relative_of(last) if last.label == "NP" and len(main.children) > 1 and said(clause.subject) != "it" else None
    negated = any(map(is_negation, clause.vp.children))
    if found and not coordinated(main) and not negated:
        noun, vp = found
        whole = without(clause.vp, last)
        if whole is not None:
            vp_one = with_main(clause.vp, lambda inside: swapped(inside, len(inside.children) - 1, noun))
            again = taken_up(noun)
            yield s(clause.subject, vp_one), "and", s(again, agreed(vp, again)), "relative"


def relative_of(noun: Tree) -> tuple[Tree, Tree] | None:
    """A noun without its relative clause, and what that says of it."""
    if len(noun.children) < 2 or noun.children[0].label != "NP" or noun.children[-1].label != "SBAR":
        return None
    sbar = noun.children[-1]
    if len(sbar.children) != 2 or said(sbar.children[0]) not in ("who", "which", "that") or sbar.children[0].label != "WHNP":
        return None
    inside = sbar.children[1]
    vp = next((child for child in inside.children if child.label == "VP"), None)
    if vp is None or len(inside.children) != 1 or finite(vp) is None or (finite(vp) or vp).label not in FINITE:
        return None
    rest = [child for child in noun.children[:-1] if child.label != ","]
    if (
        head_lemma(noun) in ("something", "anything", "someone", "everything", "nothing", "one", "way")
        or head_leaf(noun).label in ("NNP", "DT", "PRP", "CD", "JJ", "JJS")
        or said(noun).startswith(("no ", "any", "every", "all ", "each "))
    ):
        return None
    return (rest[0] if len(rest) == 1 else Tree("NP", rest)), vp


def relative_object(noun: Tree) -> tuple[Tree, Tree] | None:
    """A noun without its relative clause, and that clause with the noun as the object that it lacks: `you lent me the book`."""
    if [child.label for child in noun.children] != ["NP", "SBAR"] or head_leaf(noun).label not in ("NN", "NNS"):
        return None
    bare, sbar = noun.children
    marker, inside = sbar.children[:-1], sbar.children[-1]
    if said(Tree("X", marker)) not in ("", "that", "which") or first_word(bare) not in ("the", "this", "these", "those"):
        return None
    if [child.label for child in inside.children] != ["NP", "VP"] or head_lemma(bare) in TIMES | NOT_ASKED:
        return None
    who, vp = inside.children
    main, at = main_vp(vp), verb_at(main_vp(vp))
    if at is None or coordinated(main) or (finite(vp) or vp).label not in FINITE or is_passive(vp) or main_lemma(vp) == "be":
        return None
    after = main.children[at + 1 :]
    whom = 1 if after and after[0].label == "NP" and not is_time(after[0]) and main_lemma(vp) in DATIVES else 0
    if any(child.label not in ("PP", "ADVP", "NP") or len(child.children) < 2 and child.label == "PP" for child in after[whom:]):
        return None
    if any(child.label == "NP" and not is_time(child) for child in after[whom:]):
        return None
    filled = Tree("VP", [*main.children[: at + 1 + whom], bare, *after[whom:]])
    return bare, s(who, with_main(vp, lambda _: filled))


def described(clause: Clause) -> Iterator[Two]:
    """What a noun phrase says of the subject: `a tall man runs` as `a man runs , and he is tall`; `a man with a hat` has one."""
    noun, verb = clause.subject, finite(clause.vp)
    if verb is None or verb_at(clause.vp) is None or coordinated(noun) or any(one.label in ("PRP$", "POS", "NNP") for one in noun.leaves()):
        return
    if not is_animate(noun):
        yield from _described_thing(clause, verb)
        return
    tag = verb.label if verb.label in ("VBZ", "VBP", "VBD") else "VBZ"
    if [child.label for child in noun.children] == ["NP", "PP"] and len(noun.children[1].children) == 2:
        bare, phrase = noun.children
        again = taken_up(bare)
        if said(phrase.children[0]) == "with":
            has = agreeing(leaf(tag, inflect("have", tag)), bare)
            yield s(bare, node("VP", has, phrase.children[1])), "and", s(again, agreed(clause.vp, again)), "described"
        elif said(phrase.children[0]) in PREDICATIVE:
            be = agreeing(leaf(tag, inflect("be", tag)), bare)
            yield s(bare, node("VP", be, phrase)), "and", s(again, agreed(clause.vp, again)), "described"
    place = next((i for i, child in enumerate(noun.children) if child.label == "JJ" and said(child) in DESCRIBING), None)
    if place is not None and noun.children[0].label in ("DT", "CD", "NNS", "JJ") and not any(map(is_negation, clause.vp.children)):
        bare = with_article(Tree("NP", [child for i, child in enumerate(noun.children) if i != place]))
        again = taken_up(bare)
        be = agreeing(leaf(tag, inflect("be", tag)), again)
        yield s(bare, clause.vp), "and", s(again, node("VP", be, node("ADJP", noun.children[place]))), "described"


def _described_thing(clause: Clause, verb: Tree) -> Iterator[Two]:
    """`the new phone rang` as `the phone rang , and it was new`."""
    noun = clause.subject
    place = next((i for i, child in enumerate(noun.children) if child.label == "JJ" and said(child) in QUALITIES), None)
    known = noun.children and said(noun.children[0]) in ("the", "this", "that", "these", "those", "a", "an")
    if place is None or not known or head_leaf(noun).label not in ("NN", "NNS") or head_lemma(noun) in TIMES | NOT_ASKED:
        return
    if any(map(is_negation, clause.vp.children)) or any(child.children for child in noun.children) or place + 1 == len(noun.children):
        return
    bare = with_article(Tree("NP", [child for i, child in enumerate(noun.children) if i != place]))
    again = pronoun("they" if person(noun) == "plural" else "it")
    tag = verb.label if verb.label in ("VBZ", "VBP", "VBD") else "VBZ"
    be = agreeing(leaf(tag, inflect("be", tag)), again)
    yield s(bare, clause.vp), "and", s(again, node("VP", be, node("ADJP", noun.children[place]))), "described"


def placed(clause: Clause) -> Iterator[Two]:
    """Someone doing something somewhere: `a man is riding a horse , and he is in a field`."""
    verb = finite(clause.vp)
    place = inner(clause.vp)
    subject = head_leaf(clause.subject)
    if verb is None or verb_at(clause.vp) is None:
        return
    if subject.label == "EX":
        yield from _there(clause)
        return
    progressive = (
        place is not None and lemma(verb.word or "", verb.label) == "be" and (clause.vp.children[place].children[0].label == "VBG")
    )
    if not progressive or not is_animate(clause.subject) or any(map(is_negation, clause.vp.children)):
        return
    for adjunct in adjuncts(clause.vp):
        noun = adjunct.piece.children[-1] if adjunct.piece.children else adjunct.piece
        if (
            adjunct.piece.label == "PP"
            and said(adjunct.piece.children[0]) in PREDICATIVE
            and noun.label == "NP"
            and (head_lemma(noun) not in TIMES)
            and not behind_phrase(clause.vp, adjunct.piece)
        ):
            vp = without(clause.vp, adjunct.piece)
            again = taken_up(clause.subject)
            if vp is not None and len(main_vp(vp).children) > 0:
                be = leaf(verb.label, inflect("be", verb.label))
                yield s(clause.subject, vp), "and", s(again, node("VP", agreeing(be, again), adjunct.piece)), "place"
                return


def behind_phrase(vp: Tree, piece: Tree) -> bool:
    """Whether a phrase follows a prepositional one, to whose noun it may belong."""
    main = main_vp(vp).children
    at = next((i for i, child in enumerate(main) if child is piece), 0)
    return at > 0 and main[at - 1].label == "PP" or at + 1 < len(main) and main[at + 1].label == "PP"


def _there(clause: Clause) -> Iterator[Two]:
    """`there is a man in the house` as `there is a man , and he is in the house`."""
    vp = clause.vp
    at = verb_at(vp) or 0
    rest = vp.children[at + 1 :]
    if len(rest) == 1 and rest[0].label == "NP" and len(rest[0].children) == 2:
        noun, phrase = rest[0].children
    elif len(rest) == 2:
        noun, phrase = rest
    else:
        return
    if (
        noun.label != "NP"
        or phrase.label not in ("PP", "VP")
        or phrase.label == "PP"
        and said(phrase.children[0]) not in PREDICATIVE
        or (phrase.label == "VP" and phrase.children[0].label not in ("VBG", "VBN"))
        or said(noun).startswith(("no", "nothing", "any"))
    ):
        return
    again = taken_up(noun)
    one = Tree("VP", [*vp.children[: at + 1], noun])
    yield s(clause.subject, one), "and", s(again, node("VP", agreeing(vp.children[at], again), phrase)), "place"


def caused(clause: Clause) -> Iterator[Two]:
    """`we stayed because of the rain` as `there was rain , so we stayed`."""
    for adjunct in adjuncts(clause.vp):
        cause = what_there_was(clause, adjunct.piece)
        rest = without(clause.vp, adjunct.piece)
        if cause is not None and rest is not None and verb_at(rest) is not None:
            yield cause, "so", s(clause.subject, rest), "there_was"
            return


def what_there_was(clause: Clause, piece: Tree) -> Tree | None:
    """The cause in `because of the rain` as a clause: `there was rain`; None where the phrase gives none, or a known one."""
    verb = finite(clause.vp)
    if verb is None or piece.label != "PP" or not said(piece).startswith(("because of ", "due to ")):
        return None
    noun = next((one for one in _phrases(piece) if one.label == "NP"), None)
    if noun is None or coordinated(noun) or said(noun).startswith(("this ", "that ", "these ", "those ", "it ")):
        return None
    head = head_leaf(noun)
    if head.label not in ("NN", "NNS") or any(one.label in ("PRP$", "POS", "PRP") for one in noun.leaves()):
        return None
    flat = noun.children[0].label == "DT"
    if said(noun).startswith("the "):
        if not flat:
            return None
        rest = noun.children[1:]
        counted = head.label == "NN" and head_lemma(noun) not in UNCOUNTED
        noun = with_article(Tree("NP", [leaf("DT", "a"), *rest])) if counted else Tree("NP", rest)
    tag = verb.label if verb.label == "VBD" else "VBZ"
    be = agreeing(leaf(tag, inflect("be", tag)), noun)
    return s(node("NP", leaf("EX", "there")), node("VP", be, noun))


def _phrases(tree: Tree) -> Iterator[Tree]:
    for child in tree.children:
        if child.children:
            yield child
            yield from _phrases(child)


def introduced(clause: Clause) -> Iterator[Two]:
    """Something new said to be there first: `a man sings` as `there is a man , and he sings`; the object likewise."""
    verb, vp = finite(clause.vp), clause.vp
    if verb is None or verb_at(vp) is None or verb.label == "MD" or coordinated(vp) or any(map(is_negation, vp.children)):
        return
    place = inner(vp)
    past = verb.label == "VBD"
    tag = "VBD" if past else "VBZ"
    there = node("NP", leaf("EX", "there"))
    if main_lemma(vp) == "be" and inner(vp) is None:
        return
    if is_new(clause.subject):
        again = taken_up(clause.subject)
        be = agreeing(leaf(tag, inflect("be", tag)), clause.subject)
        yield s(there, node("VP", be, clause.subject)), "and", s(again, agreed(vp, again)), "introduce"
    main = main_vp(vp)
    at = verb_at(main)
    if at is None or coordinated(main) or is_passive(vp) or (place is not None and verb.label == "VBD") or main_lemma(vp) in STATES - DONE:
        return
    noun = main.children[at + 1] if at + 1 < len(main.children) else None
    others = [child for child in main.children[at + 2 :] if child.label in ("NP", "S", "SBAR") and not is_time(child)]
    if noun is not None and is_new(noun) and not others:
        again = in_case(taken_up(noun), ACCUSATIVE)
        whole = with_main(vp, lambda inside: swapped(inside, at + 1, again))
        be = agreeing(leaf(tag, inflect("be", tag)), noun)
        yield s(there, node("VP", be, noun)), "and", s(clause.subject, whole), "introduce_object"


def done_so(clause: Clause) -> Iterator[Two]:
    """An adjunct in a clause of its own: `she left , and she did so in May`."""
    vp = clause.vp
    verb, at, place = finite(vp), verb_at(vp), inner(vp)
    if (
        verb is None
        or at is None
        or coordinated(main_vp(vp))
        or main_lemma(vp) in STATES - DONE
        or any(map(is_negation, vp.children))
        or (not is_animate(clause.subject) or said(clause.subject) in ("it", "nobody", "nothing") or is_passive(vp))
    ):
        return
    for adjunct in adjuncts(vp):
        rest = without(vp, adjunct.piece)
        if (
            adjunct.score < 0.5
            or rest is None
            or verb_at(rest) is None
            or adjunct.moved.label == "SBAR"
            or said(adjunct.piece) in SENTENCE_ADVERBS
        ):
            continue
        again = taken_up(clause.subject)
        tail = adjunct.piece if adjunct.piece.label != "RB" else adjunct.moved
        if verb.label == "MD":
            again_vp = node("VP", verb, node("VP", leaf("VB", "do"), node("ADVP", leaf("RB", "so")), tail))
        elif place is not None and lemma(verb.word or "", verb.label) == "be" and vp.children[place].children[0].label == "VBG":
            again_vp = node(
                "VP",
                agreeing(leaf(verb.label, inflect("be", verb.label)), again),
                node("VP", leaf("VBG", "doing"), node("ADVP", leaf("RB", "so")), tail),
            )
        elif lemma(verb.word or "", verb.label) == "have" and place is not None:
            again_vp = node("VP", agreeing(leaf(verb.label, inflect("have", verb.label)), again), *_done(vp.children[place], tail))
        elif place is None:
            again_vp = node("VP", agreeing(leaf(verb.label, inflect("do", verb.label)), again), node("ADVP", leaf("RB", "so")), tail)
        else:
            continue
        yield s(clause.subject, rest), "and", s(again, again_vp), "do_so"
        return


def _done(vp: Tree, tail: Tree) -> list[Tree]:
    """What stands for the rest of a perfect: `done so`, `been doing so`."""
    so = node("ADVP", leaf("RB", "so"))
    if lemma(vp.children[0].word or "", vp.children[0].label) == "be" and inner(vp) is not None:
        return [node("VP", leaf("VBN", "been"), node("VP", leaf("VBG", "doing"), so, tail))]
    return [node("VP", leaf("VBN", "done"), so, tail)]


def happened(clause: Clause) -> Iterator[Two]:
    """What nobody is said to do: `the shop was closed , and this happened in May`."""
    vp, verb = clause.vp, finite(clause.vp)
    if verb is None or verb_at(vp) is None or verb.label != "VBD" or coordinated(main_vp(vp)) or any(map(is_negation, vp.children)):
        return
    event = is_passive(vp) or inner(vp) is None and main_lemma(vp) not in STATES and not is_animate(clause.subject)
    if not event or said(clause.subject) in ("it", "there"):
        return
    for adjunct in adjuncts(vp):
        rest = without(vp, adjunct.piece)
        if adjunct.score < 0.5 or rest is None or verb_at(rest) is None or not (adjunct.piece.label == "PP" or is_time(adjunct.piece)):
            continue
        again = s(node("NP", leaf("DT", "this")), node("VP", leaf("VBD", "happened"), adjunct.piece))
        yield s(clause.subject, rest), "and", again, "happened"
        return
