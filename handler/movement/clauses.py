"""What a clause is made of, and the small changes to it that movements share: auxiliaries, forms of verbs, phrases taken out or put back.

Trees are never changed: what is new is built, what is old is shared. A change brings in few words of its own. All others are the
source's, some of them in another form.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from handler.language.heads import CONJUNCTIONS, head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import HAVE_PARTICIPLES, TIMES, VERBAL, coordinated, subject_of
from handler.language.trees import Tree
from handler.language.wordlists import LEADS, SAYING, SENTENCE_ADVERBS

FINITE = frozenset("MD VBZ VBP VBD".split())
QUOTES = frozenset({"``", "''"})
MARKS = frozenset({".", ":", ","})
FULL_FORMS = {
    "ca": "can",
    "wo": "will",
    "sha": "shall",
    "'ll": "will",
    "'m": "am",
    "'re": "are",
    "'ve": "have",
    "ll": "will",
}


@dataclass(frozen=True)
class Clause:
    """A declarative clause, whatever it stood in."""

    subject: Tree
    vp: Tree  # with a finite verb
    front: tuple[Tree, ...] = ()  # phrases before the subject
    mark: str = "."
    moves: tuple[str, ...] = ()  # that led to it

    def but(self, *moves: str, **changes: Any) -> "Clause":
        return replace(self, moves=self.moves + moves, **changes)


def leaf(label: str, word: str) -> Tree:
    return Tree(label, [], word)


def node(label: str, *children: Tree) -> Tree:
    return Tree(label, list(children))


def said(tree: Tree) -> str:
    """The words of a constituent, lower-cased."""
    return " ".join((one.word or "").lower() for one in tree.leaves())


def first_word(tree: Tree) -> str:
    return (tree.first_leaf().word or "").lower()


def head_lemma(tree: Tree) -> str:
    found = head_leaf(tree)
    return lemma(found.word or "", found.label)


def is_negation(tree: Tree) -> bool:
    return tree.label == "RB" and lemma(tree.word or "", "RB") == "not"


def is_time(tree: Tree) -> bool:
    """A noun phrase that says when: `last week`, `tomorrow`, not `the night` of `spent the night`."""
    if tree.label != "NP" or head_lemma(tree) not in TIMES:
        return False
    first = first_word(tree)
    return (
        first in ("this last next every each one all that some these").split()
        or len(tree.leaves()) == 1
        and head_lemma(tree) in ("today tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday".split())
        or first in ("tomorrow", "yesterday", "today", "tonight")
    )


# Verb phrases


def verb_at(vp: Tree) -> int | None:
    """Where among its children a verb phrase has its verb."""
    for i, child in enumerate(vp.children):
        if child.label in VERBAL:
            return i
    return None


def inner(vp: Tree) -> int | None:
    """Where a verb phrase has the one that its auxiliary goes with."""
    verb = verb_at(vp)
    places = [i for i, child in enumerate(vp.children) if child.label == "VP"]
    if verb is None or not places or places[0] < verb or len(places) > 1 or coordinated(vp):
        return None
    word = lemma(vp.children[verb].word or "", vp.children[verb].label)
    return places[0] if vp.children[verb].label == "MD" or word in ("be", "have", "do", "get") else None


def main_vp(vp: Tree) -> Tree:
    """The verb phrase of the main verb, under those of auxiliaries."""
    place = inner(vp)
    return vp if place is None else main_vp(vp.children[place])


def with_main(vp: Tree, change: Callable[[Tree], Tree]) -> Tree:
    """The same with the verb phrase of the main verb changed."""
    place = inner(vp)
    if place is None:
        return change(vp)
    return swapped(vp, place, with_main(vp.children[place], change))


def swapped(tree: Tree, place: int, *new: Tree) -> Tree:
    """The same with other children in the place of one."""
    return Tree(tree.label, [*tree.children[:place], *new, *tree.children[place + 1 :]])


def main_verb(vp: Tree) -> Tree | None:
    within = main_vp(vp)
    verb = verb_at(within)
    return None if verb is None else within.children[verb]


def main_lemma(vp: Tree) -> str:
    verb = main_verb(vp)
    return lemma(verb.word or "", verb.label) if verb else ""


def copula_at(vp: Tree) -> int | None:
    """Where a verb phrase has its `be`, if that is its only verb and not negated."""
    at = verb_at(vp)
    plain = at is not None and main_lemma(vp) == "be" and inner(vp) is None and not any(map(is_negation, vp.children))
    return at if plain else None


def finite(vp: Tree) -> Tree | None:
    """The finite verb, that of the first member of a coordination."""
    verb = verb_at(vp)
    if verb is not None:
        return vp.children[verb]
    below = next((child for child in vp.children if child.label == "VP"), None)
    return finite(below) if below else None


def is_auxiliary(vp: Tree) -> bool:
    """Whether the verb of a verb phrase inverts."""
    verb = vp.children[verb_at(vp) or 0]
    word = lemma(verb.word or "", verb.label)
    if (verb.word or "").lower() == "'s" and inner(vp) is None:
        return True
    return verb.label == "MD" or word == "be" or word in ("have", "do") and inner(vp) is not None


def full_form(verb: Tree, vp: Tree) -> Tree:
    """An auxiliary that can stand alone: `is` for 's, `can` for ca."""
    word = (verb.word or "").lower().replace("’", "'")
    place = inner(vp)
    after = first_verb(vp.children[place]) if place is not None else None
    if word == "'s":
        perfect = after is not None and (after.label == "VBD" or after.label == "VBN" and (after.word or "").lower() in HAVE_PARTICIPLES)
        return leaf("VBZ", "has" if perfect else "is")
    if word == "'d":
        had = verb.label != "MD" or after is not None and after.label in ("VBN", "VBD")
        return leaf("VBD", "had") if had else leaf("MD", "would")
    return leaf(verb.label, FULL_FORMS.get(word, word))


def expanded(vp: Tree) -> Tree:
    """With its finite auxiliary in full."""
    at = verb_at(vp)
    if at is None or not is_auxiliary(vp):
        return vp
    return swapped(vp, at, full_form(vp.children[at], vp))


def first_verb(vp: Tree) -> Tree | None:
    return next((child for child in vp.leaves() if child.label in VERBAL), None)


def based(vp: Tree) -> Tree | None:
    """A finite verb phrase with its verb in the base form, all its members where it is a coordination; None where they differ."""
    kind = finite(vp)
    if kind is None or kind.label not in FINITE or kind.label == "MD":
        return None
    return reformed(vp, kind.label, "VB")


def reformed(vp: Tree, old: str, new: str) -> Tree | None:
    """The verbs of a verb phrase in another form; None where a member has not the form expected."""
    if verb_at(vp) is None or coordinated(vp) and any(child.label == "VP" for child in vp.children):
        members = [child for child in vp.children if child.label == "VP"]
        changed = {id(child): form for child in members if (form := reformed(child, old, new)) is not None}
        if not members or len(changed) < len(members):
            return None
        return Tree(vp.label, [changed.get(id(child), child) for child in vp.children])
    children = []
    for child in vp.children:
        if child.label in VERBAL:
            if child.label != old:
                return None
            children.append(formed(child, new))
        else:
            children.append(child)
    return Tree(vp.label, children)


def formed(verb: Tree, tag: str) -> Tree:
    """A verb leaf in another form."""
    return leaf(tag, inflect(lemma(verb.word or "", verb.label), tag))


def is_passive(vp: Tree) -> bool:
    verb, place = verb_at(vp), inner(vp)
    if verb is None or place is None:
        return False
    below = vp.children[place]
    at = verb_at(below)
    be = lemma(vp.children[verb].word or "", vp.children[verb].label) == "be"
    return be and at is not None and below.children[at].label == "VBN" or is_passive(below)


def is_request(clause: Clause) -> bool:
    """Whether a question asked someone to do something: `could you open it ?`."""
    verb = finite(clause.vp)
    asked = verb is not None and said(full_form(verb, clause.vp)) in ("can", "could", "will", "would")
    states = "be have like prefer mind want need know think mean seem believe see say hear love understand remember".split()
    return asked and "undo_question" in clause.moves and said(clause.subject) == "you" and main_lemma(clause.vp) not in states


# Taking a phrase out


def without(vp: Tree, piece: Tree) -> Tree | None:
    """A tree without one of its constituents and the commas around it; None where it is not in it or nothing is left."""
    for i, child in enumerate(vp.children):
        if child is piece:
            before, after = list(vp.children[:i]), list(vp.children[i + 1 :])
            comma = bool(before) and before[-1].label == ","
            if after and after[0].label == "," and (comma or not before):
                after.pop(0)
                comma, before = False, before[:-1] if comma else before
            if comma and not after:
                before.pop()
            return Tree(vp.label, before + after) if before or after else None
        if child.children:
            below = without(child, piece)
            if below is not None:
                return swapped(vp, i, below)
    return None


def with_phrase(vp: Tree, piece: Tree) -> Tree:
    """A verb phrase with a phrase of the front put back: short adverbs go before the main verb, others behind it."""
    word = said(piece)
    if piece.label == "ADVP" and (word in SENTENCE_ADVERBS - {"again", "once", "now"} or word.endswith("ly") and " " not in word):
        return with_adverb(vp, piece)
    return with_main(vp, lambda main: _behind(main, piece))


def with_adverb(vp: Tree, piece: Tree) -> Tree:
    """An adverb after the auxiliary, or before a full verb."""
    verb = verb_at(vp)
    if verb is None:
        return Tree("VP", [piece, *vp.children])
    place = verb
    if is_auxiliary(vp):
        place += 1
        if place < len(vp.children) and is_negation(vp.children[place]):
            place += 1
    return Tree("VP", [*vp.children[:place], piece, *vp.children[place:]])


def _behind(main: Tree, piece: Tree) -> Tree:
    """Behind all, but before a clause that says what is said, so that it does not become a part of that."""
    children = main.children
    if piece.label in ("PP", "ADVP", "NP") and not coordinated(main):
        for i, child in enumerate(children):
            if child.label == "SBAR" and i:
                comma = children[i - 1].label == ","
                return Tree("VP", [*children[: i - comma], piece, *children[i - comma :]])
    if coordinated(main) and any(child.label in CONJUNCTIONS for child in children):
        return Tree("VP", [main, piece])
    return Tree("VP", [*children, *([leaf(",", ",")] if piece.label == "S" else []), piece])


# Reading a clause


def read_clause(s: Tree, mark: str = ".") -> Clause | None:
    """A declarative S as a Clause; None where it has not one subject and one finite verb phrase."""
    children = [child for child in s.children if child.label not in QUOTES]
    places = [i for i, child in enumerate(children) if child.label == "VP"]
    subject = subject_of(s)
    if len(places) != 1 or subject is None or subject.label not in ("NP", "SBAR", "S") or coordinated(s):
        return None
    if subject.label == "NP" and subject.leaves()[0].label in ("WP", "WDT", "WRB", "WP$"):
        return None  # a question that its parse takes for a statement
    vp, front = children[places[0]], []
    moves: list[str] = []
    verb = finite(vp)
    if verb is None or verb.label not in FINITE:
        return None
    at = next(i for i, child in enumerate(children) if child is subject)
    asked = any(child.leaves()[0].label in ("WP", "WDT", "WRB") for child in children[:at] if child.label == "SBAR")
    if asked and any(child.word == "?" for child in children):
        return None
    negated = any(child.label != "SBAR" and any(map(is_negation, child.leaves())) for child in children[:at])
    if negated or first_word(subject) in ("let", "please", "check"):
        return None  # commands and questions that their parses take for statements
    for child in children[:at]:
        if child.label in ("CC", "INTJ", "UH") or said(child) in LEADS:
            moves.append("drop_lead")
        elif said(child) in ("may", "can", "could", "will", "would", "do", "does", "did", "is", "are"):
            return None  # a question read wrongly
        elif child.label == "S" and subject_of(child) and main_lemma(vp) not in SAYING:
            return None  # two sentences that a comma joins
        elif child.label in ("PP", "ADVP", "SBAR", "S", "NP", "ADJP", "RB"):
            front.append(child if child.label != "RB" else node("ADVP", child))
        elif child.label not in MARKS:
            return None
    for child in children[at + 1 : places[0]]:
        if child.label in ("ADVP", "RB") or said(child) in ("both", "all", "each"):
            vp = with_adverb_first(vp, child)
        elif child.label in ("PP", "SBAR"):
            front.append(child)
        elif child.label == "PRN":
            subject = node("NP", subject, leaf(",", ","), child, leaf(",", ","))
        elif child.label != ",":
            return None
    rest = [child for child in children[places[0] + 1 :] if child.label != "."]
    if vp.children[-1].label == "SQ" and len(vp.children) > 2 and len(vp.children[-1].leaves()) < 4:
        vp = without(vp, vp.children[-1]) or vp
        moves.append("drop_tag")
    while rest and rest[-1].label in (",", ":"):
        rest.pop()
    if rest and rest[-1].label == "SQ":  # … , do you ?
        rest.pop()
        moves.append("drop_tag")
    while rest and rest[-1].label in (",", ":"):
        rest.pop()
    if rest:
        vp = Tree("VP", [*(vp.children if verb_at(vp) is not None else [vp]), *rest])
    if subject.label != "NP":
        subject = node("NP", subject)
    return Clause(subject, vp, tuple(front), mark, tuple(moves))


def with_adverb_first(vp: Tree, piece: Tree) -> Tree:
    """An adverb before the finite verb."""
    piece = piece if piece.label == "ADVP" else node("ADVP", piece)
    return Tree("VP", [piece, *(vp.children if verb_at(vp) is not None else [vp])])


def statement_of(clause: Clause) -> Tree:
    """S with nothing before the subject."""
    return node("S", clause.subject, folded(clause).vp)


def folded(clause: Clause) -> Clause:
    """The same with what was before the subject put back into the verb phrase."""
    if not clause.front:
        return clause
    vp = clause.vp
    for piece in reversed(clause.front):
        vp = with_phrase(vp, piece)
    return clause.but("unfront", vp=vp, front=())
