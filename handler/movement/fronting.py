"""A phrase or a clause before the subject: one that stands there, one of the verb phrase, one made of what there is, a frame."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import lemma
from handler.language.relations import TIMES, coordinated
from handler.language.trees import Tree
from handler.language.wordlists import ADVERBIAL, LASTING, PREDICATIVE, SAID_AS
from handler.movement.adjuncts import adjuncts, is_reported
from handler.movement.agreement import agreed, is_animate, pronoun, taken_up
from handler.movement.clauses import (
    Clause,
    finite,
    first_word,
    folded,
    inner,
    is_request,
    is_time,
    leaf,
    main_lemma,
    main_verb,
    node,
    read_clause,
    said,
    verb_at,
    with_phrase,
    without,
)
from handler.movement.sequels import degree_of
from handler.movement.splitting import members
from handler.movement.stances import stances
from handler.movement.unpacking import what_there_was

FILLERS = "ADVP", "PP", "SBAR"
NOUNS = frozenset("NN NNS NNP NNPS".split())

Variant = tuple[Tree, str, tuple[str, ...]]  # what goes under ROOT, without a final mark; the mark; the moves


def fronted(clause: Clause) -> Iterator[Variant]:
    """S with one phrase before its subject: one that stands there, one of the verb phrase, one made of what there is, a filler."""
    comma = leaf(",", ",")
    for place, piece in enumerate(clause.front):
        others = clause.front[:place] + clause.front[place + 1 :]
        vp, more = clause.vp, ("unfront",) if others else ()
        for other in reversed(others):
            vp = with_phrase(vp, other)
        yield node("S", piece, comma, clause.subject, vp), clause.mark, clause.moves + more
        if piece.label == "S":
            yield node("S", node("SBAR", piece), comma, clause.subject, vp), clause.mark, (*clause.moves, *more, "wrap")
        if piece.label in ("SBAR", "PP") and (piece.label == "PP" or first_word(piece) in ADVERBIAL):
            for label in {"SBAR": ("ADVP", "PP"), "PP": ("ADVP",)}[piece.label]:
                yield node("S", node(label, piece), comma, clause.subject, vp), clause.mark, (*clause.moves, *more, "wrap")
        if piece.label == "NP":
            yield node("S", node("ADVP", piece), comma, clause.subject, vp), clause.mark, clause.moves + more
    whole = folded(clause)
    possible = adjuncts(whole.vp)
    for adjunct in possible[:6]:
        if said(whole.subject) == "it" and said(adjunct.moved).startswith("in order "):
            continue  # it took a day to paint
        rest = without(whole.vp, adjunct.piece)
        if (
            rest is None
            or verb_at(rest) is None
            and not coordinated(rest)
            or is_reported(adjunct)
            and ("undo_question" in clause.moves or len(whole.subject.leaves()) > 4)
        ):
            continue
        move = "front_" + ("purpose" if said(adjunct.moved).startswith("in order ") else adjunct.moved.label.lower())
        yield node("S", adjunct.moved, comma, whole.subject, rest), clause.mark, (*whole.moves, move)
        adverbial = adjunct.moved.label == "SBAR" and first_word(adjunct.moved) in ADVERBIAL and "wonder" not in clause.moves
        if adjunct.moved.label == "PP" or adverbial:
            yield node("S", node("ADVP", adjunct.moved), comma, whole.subject, rest), clause.mark, (*whole.moves, move, "wrap")
        if adverbial or is_time(adjunct.piece) and adjunct.moved.label == "ADVP":
            yield node("S", node("PP", adjunct.moved), comma, whole.subject, rest), clause.mark, (*whole.moves, move, "wrap")
        if adjunct.moved.label == "PP" and [child.label for child in adjunct.moved.children] == ["IN", "S"]:
            below = Tree("SBAR", adjunct.moved.children)
            yield node("S", below, comma, whole.subject, rest), clause.mark, (*whole.moves, "front_sbar")
        if adjunct.moved.label == "PP":
            if while_clause(whole, adjunct.moved):
                reduced = node("SBAR", leaf("IN", "while"), adjunct.moved)
                yield node("S", reduced, comma, whole.subject, rest), clause.mark, (*whole.moves, move, "while_in")
    yield from _there_in_front(whole)
    for piece, subject, vp, move in subordinated(whole):
        yield node("S", piece, comma, subject, vp), clause.mark, (*whole.moves, move)
    for piece, stated in stances(whole):
        yield node("S", piece, comma, stated.subject, stated.vp), clause.mark, (*whole.moves, "stance")
    about = as_for(whole)
    if about is not None:
        yield about, clause.mark, (*whole.moves, "as_for")
    for label in FILLERS:
        yield node("S", filler(label, clause), comma, whole.subject, whole.vp), clause.mark, (*whole.moves, "filler")


def _there_in_front(clause: Clause) -> Iterator[Variant]:
    """`there is a man in the house` with the place in front."""
    at = verb_at(clause.vp)
    if at is None or head_leaf(clause.subject).label != "EX":
        return
    rest = clause.vp.children[at + 1 :]
    parts = rest if len(rest) == 2 else rest[0].children if len(rest) == 1 else []
    if [part.label for part in parts] == ["NP", "PP"] and said(parts[1].children[0]) in PREDICATIVE:
        noun, place = parts
        vp = Tree("VP", [*clause.vp.children[: at + 1], noun])
        yield node("S", place, leaf(",", ","), clause.subject, vp), clause.mark, (*clause.moves, "front_pp")
        yield node("S", node("ADVP", place), leaf(",", ","), clause.subject, vp), clause.mark, (*clause.moves, "front_pp", "wrap")


def filler(label: str, clause: Clause) -> Tree:
    """A phrase that says nothing: `indeed`, `in fact`, `as it happens`. What was no statement gets one that does not state it."""
    kind = (
        "request"
        if is_request(clause) or asks_leave(clause)
        else next((move for move in ("should", "undo_question") if move in clause.moves), "")
    )
    if label == "ADVP":
        word = {"should": "ideally", "undo_question": "presumably", "request": "perhaps"}.get(kind, "indeed")
        return node("ADVP", leaf("RB", word))
    if label == "PP":
        what = {"should": ("in", "opinion"), "undo_question": ("to", "knowledge")}.get(kind)
        if kind == "request":
            return node("PP", leaf("IN", "as"), node("NP", leaf("DT", "a"), leaf("NN", "favor")))
        if what:
            return node("PP", leaf("TO" if what[0] == "to" else "IN", what[0]), node("NP", leaf("PRP$", "my"), leaf("NN", what[1])))
        return node("PP", leaf("IN", "in"), node("NP", leaf("NN", "fact")))
    if kind in ("should", "request"):
        return node("SBAR", leaf("IN", "if"), node("S", node("ADJP", leaf("JJ", "possible"))))
    if kind == "undo_question":
        right = node("VP", leaf("VBP", "am"), node("ADJP", leaf("JJ", "right")))
        return node("SBAR", leaf("IN", "if"), node("S", node("NP", leaf("PRP", "I")), right))
    happens = node("S", node("NP", leaf("PRP", "it")), node("VP", leaf("VBZ", "happens")))
    return node("SBAR", leaf("IN", "as"), happens)


def asks_leave(clause: Clause) -> bool:
    """Whether a question asked for leave: `can I borrow it ?`."""
    verb = finite(clause.vp)
    own = said(clause.subject) in ("i", "we") and "undo_question" in clause.moves
    return own and verb is not None and said(verb) in ("can", "could", "may")


def as_for(clause: Clause) -> Tree | None:
    """What a clause is about before it, as in `as for my sister , she lives here`; the subject takes it up. None of what is new."""
    subject = clause.subject
    again = taken_up(subject)
    known = subject.leaves()[0].label in ("PRP$", "NNP") or first_word(subject) in ("the", "this", "these", "those", "my", "your")
    if (
        {"should", "undo_question", "wonder", "passive", "complete"} & set(clause.moves)
        or not known
        or head_leaf(subject).label not in NOUNS
    ):
        return None
    if head_leaf(again).label != "PRP":
        again = pronoun("it") if head_leaf(subject).label == "NN" and not is_animate(subject) else again
    if head_leaf(again).label != "PRP":
        return None
    about = node("PP", leaf("IN", "as"), node("PP", leaf("IN", "for"), subject))
    return node("S", about, leaf(",", ","), again, agreed(clause.vp, again))


def while_clause(clause: Clause, pp: Tree) -> bool:
    """Whether the subject, doing something, is where a phrase of place says: `while in the park , a man rode a horse`."""
    verb = main_verb(clause.vp)
    if verb is None or verb.label != "VBG" or pp.children[-1].label != "NP" or not is_animate(clause.subject):
        return False
    dated = any(lemma(one.word or "", one.label) in TIMES or one.label == "CD" for one in pp.leaves())
    return said(pp.children[0]) in "in at on inside outside under near".split() and not dated


def subordinated(clause: Clause) -> Iterator[tuple[Tree, Tree, Tree, str]]:
    """Adverbial clauses made of participles, of joined verb phrases and of `so`: the clause, and subject and verb phrase that follow."""
    yield from participle_first(clause)
    yield from _as_said(clause)
    yield from _too_much(clause)
    for adjunct in adjuncts(clause.vp):
        cause, rest = what_there_was(clause, adjunct.piece), without(clause.vp, adjunct.piece)
        if cause is not None and rest is not None and verb_at(rest) is not None:
            yield node("SBAR", leaf("IN", "because"), cause), clause.subject, rest, "there_was"
    last = clause.vp.children[-1]
    if last.label == "SBAR" and len(last.children) == 2 and said(last.children[0]) == "so" and (below := read_clause(last.children[1])):
        vp = without(clause.vp, last)
        if vp is not None and not below.front:
            reason = node("SBAR", leaf("IN", "because"), node("S", clause.subject, vp))
            yield reason, below.subject, below.vp, "so_because"
    found = members(clause.vp)
    again = taken_up(clause.subject)
    if found is None or (earlier := finite(found[0])) is None or earlier.label == "MD" or said(clause.subject) in ("there", "it"):
        return
    one, word, other = found
    later = finite(other)
    generic = later is not None and later.label == "VBP" and said(clause.subject) not in ("i", "you", "we")
    if later is not None and later.label == earlier.label and word in ("and", "but") and not generic:
        marker = "although" if word == "but" else "while" if main_lemma(one) in LASTING or is_progressive(one) else "after"
        yield node("SBAR", leaf("IN", marker), node("S", clause.subject, one)), again, agreed(other, again), "join_" + marker


def _as_said(clause: Clause) -> Iterator[tuple[Tree, Tree, Tree, str]]:
    """`Ann said that it rained` as `as Ann said , it rained`."""
    last = clause.vp.children[-1]
    if (
        last.label != "SBAR"
        or main_lemma(clause.vp) not in SAID_AS | {"tell"}
        or "undo_question" in clause.moves
        or inner(clause.vp) is not None
    ):
        return
    said_so = without(clause.vp, last)
    below = read_clause(last.children[-1]) if last.children[-1].label == "S" else None
    whom = ["NP"] if main_lemma(clause.vp) == "tell" else []
    alone = said_so is not None and [child.label for child in said_so.children[1:]] == whom
    if said_so is not None and alone and below is not None and not below.front and said(Tree("X", last.children[:-1])) in ("that", ""):
        yield node("SBAR", leaf("IN", "as"), node("S", clause.subject, said_so)), below.subject, below.vp, "as_said"


def _too_much(clause: Clause) -> Iterator[tuple[Tree, Tree, Tree, str]]:
    """`I am too tired to cook` as `because I am too tired , I can not cook`."""
    found = degree_of(clause)
    if found is None:
        return
    degree, told, vp = found
    below = read_clause(told)
    if below is not None and not below.front:
        yield node("SBAR", leaf("IN", "because"), node("S", clause.subject, vp(degree))), below.subject, below.vp, "too"


def is_progressive(vp: Tree) -> bool:
    verb = main_verb(vp)
    return verb is not None and verb.label == "VBG"


def participle_first(clause: Clause) -> Iterator[tuple[Tree, Tree, Tree, str]]:
    """`he sat , reading a book` as `while reading a book , he sat`."""
    last, before = clause.vp.children[-1], clause.vp.children[-2:-1]
    if last.label != "S" or len(last.children) != 1 or not before or before[0].label != ",":
        return
    vp = without(clause.vp, last)
    if vp is not None and last.children[0].label == "VP" and last.children[0].children[0].label == "VBG":
        marker = [] if said(last).startswith(("having ", "being ")) else [leaf("IN", "while")]
        yield node("SBAR", *marker, last), clause.subject, vp, "front_participle"
