"""Statements and questions as commands."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import LIGHT_MODALS, STATES, UNSEEN
from handler.movement.agreement import ACCUSATIVE, in_case
from handler.movement.clauses import (
    Clause,
    based,
    expanded,
    finite,
    first_verb,
    first_word,
    folded,
    full_form,
    inner,
    is_negation,
    is_passive,
    leaf,
    main_lemma,
    main_vp,
    node,
    said,
    statement_of,
    verb_at,
)
from handler.movement.questions import one_vp
from handler.movement.sources import is_command, unquoted


def commands(top: Tree, clauses: list[Clause]) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """`you can open it` as `open it`, `we will go` as `let us go`, `the dog barks` as `let the dog bark`; else `note that …`."""
    children = [child for child in unquoted(top) if child.label != ","]
    if (
        top.label == "S"
        and len(children) > 1
        and children[-1].label == "VP"
        and is_command(children[-1])
        and all(child.label in ("INTJ", "UH", "CC", "ADVP") for child in children[:-1])
    ):
        yield node("S", children[-1]), ("drop_lead",)
        politely = [child if child.label != "UH" else node("INTJ", child) for child in children[:-1] if child.label != "CC"]
        yield node("S", one_vp([*politely, children[-1]])), ("wrap_lead",)
    for clause in clauses:
        if not {"should", "wonder"} & set(clause.moves):
            yield from of_clause(folded(clause))
        elif "should" in clause.moves and "passive" not in clause.moves:
            yield from _told(folded(clause))


def wishes(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """`I would like some tea` as `give me some tea` and `could I have some tea`; `I would like to rest` as `let me rest`."""
    verb, main = finite(clause.vp), main_vp(clause.vp)
    if (
        said(clause.subject) != "i"
        or verb is None
        or said(full_form(verb, clause.vp)) != "would"
        or main_lemma(clause.vp) not in ("like", "love")
    ):
        return
    at = verb_at(main) or 0
    before, rest = main.children[:at], main.children[at + 1 :]
    if before or not rest or any(map(is_negation, clause.vp.children)) or clause.front:
        return
    me, could = node("NP", leaf("PRP", "me")), leaf("MD", "could")
    wanted = rest[0]
    if wanted.label == "NP":
        done = node("VP", leaf("VB", "have"), *rest)
        yield node("S", node("VP", leaf("VB", "give"), me, *rest)), (*clause.moves, "wish")
    elif wanted.label == "S" and [child.label for child in wanted.children] == ["VP"] and first_word(wanted) == "to":
        inside = wanted.children[0].children[-1]
        done = Tree("VP", [*inside.children, *rest[1:]])
        yield node("S", node("VP", leaf("VB", "let"), node("S", me, done))), (*clause.moves, "wish")
    else:
        return
    yield node("SQ", could, clause.subject, done), (*clause.moves, "wish")
    giving = (
        node("VP", leaf("VBG", "giving"), me, *rest) if wanted.label == "NP" else node("VP", leaf("VBG", "letting"), node("S", me, done))
    )
    about = node("SQ", node("PP", leaf("IN", "about"), node("S", giving)))
    yield node("SBARQ", node("WHNP", leaf("WP", "what")), about), (*clause.moves, "wish")
    yield node("SBARQ", node("WHADVP", leaf("WRB", "how")), about), (*clause.moves, "wish")


def _told(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """A command with phrases of its front put back."""
    rest = clause.vp.children[1:]
    if rest and is_negation(rest[0]):
        yield node("S", node("VP", leaf("VB", "do"), leaf("RB", "n't"), *rest[1:])), clause.moves
    elif rest:
        yield node("S", one_vp(rest)), clause.moves


def of_clause(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    bare = infinitive(expanded(clause.vp))
    who = said(clause.subject)
    if bare is not None:
        negated, rest = bare
        if who == "you" and can_tell(clause):
            yield node("S", negation_of(negated, rest)), (*clause.moves, "drop_subject")
        elif can_let(clause) and not negated and "undo_question" not in clause.moves:
            small = node("S", in_case(clause.subject, ACCUSATIVE), rest)
            finds = finite(clause.vp)
            permitted = who in ("we", "i") or finds is not None and finds.label == "MD"
            yield node("S", node("VP", leaf("VB", "let"), small)), (*clause.moves, "let" if permitted else "let_other")
    seen = _seen(clause)
    if seen is not None:
        look = node("VP", leaf("VB", "look"), node("PP", leaf("IN", "at"), seen))
        yield node("S", look), (*clause.moves, "look_at")
    verb = finite(clause.vp)
    if "undo_question" in clause.moves:
        that = node("SBAR", leaf("IN", "if"), statement_of(clause))
        yield node("S", node("VP", leaf("VB", "tell"), node("NP", leaf("PRP", "me")), that)), (*clause.moves, "tell_me_if")
    elif verb is not None:
        that = node("SBAR", leaf("IN", "that"), statement_of(clause))
        yield node("S", node("VP", leaf("VB", "note"), that)), (*clause.moves, "note_that")


def _seen(clause: Clause) -> Tree | None:
    """What there is to look at, as a noun phrase: someone doing something now, or what there is."""
    vp, at, place = clause.vp, verb_at(clause.vp), inner(clause.vp)
    if at is None or vp.children[at].label not in ("VBZ", "VBP") or any(map(is_negation, vp.children)):
        return None
    if {"undo_question", "should", "wonder", "passive"} & set(clause.moves):
        return None
    if head_leaf(clause.subject).label == "EX":
        rest = vp.children[at + 1 :]
        return Tree("NP", rest) if rest and rest[0].label == "NP" and all(child.label in ("NP", "PP", "VP") for child in rest) else None
    if (
        head_leaf(clause.subject).label not in ("NN", "NNS", "NNP", "NNPS")
        or lemma(vp.children[at].word or "", vp.children[at].label) != "be"
    ):
        return None
    doing = place is not None and vp.children[place].children[0].label == "VBG" and not said(vp.children[place]).startswith("going to ")
    visible = doing and main_lemma(vp) not in UNSEEN
    return node("NP", clause.subject, Tree("VP", [part for child in vp.children[at + 1 :] for part in _opened(child)])) if visible else None


def _opened(part: Tree) -> list[Tree]:
    return part.children if part.label == "VP" and not coordinated(part) else [part]


def can_tell(clause: Clause) -> bool:
    """Whether someone can be told to do it. A question without a modal only wants to know."""
    verb = finite(clause.vp)
    if verb is None or main_lemma(clause.vp) in "like prefer mind want need know think mean seem believe see".split():
        return False
    modal = verb.label == "MD"
    if "undo_question" in clause.moves:
        return modal and main_lemma(clause.vp) not in ("be", "have")
    return modal


def can_let(clause: Clause) -> bool:
    """Whether someone can be let do it: something done, not in the past."""
    verb = finite(clause.vp)
    if said(clause.subject) in ("it", "there", "that", "this") or head_leaf(clause.subject).label in ("EX", "DT") or verb is None:
        return False
    modal = verb.label == "MD" and lemma(verb.word or "", "MD") in ("will", "can", "should", "must", "shall")
    if is_passive(clause.vp) or not main_lemma(clause.vp) and lemma(verb.word or "", verb.label) in STATES:
        return False
    return (
        modal
        and main_lemma(clause.vp) not in ("be", "know", "like", "want", "need", "wonder")
        or verb.label in ("VBZ", "VBP")
        and (main_lemma(clause.vp) not in STATES | {"wonder"} and not any(map(is_negation, clause.vp.children)))
    )


def infinitive(vp: Tree) -> tuple[bool, Tree] | None:
    """A finite verb phrase in the base form, and whether it is negated. A modal goes, so does `do`, and `be` of a progressive."""
    verb = verb_at(vp)
    if verb is None or coordinated(vp):
        bare = based(vp)
        return (False, bare) if bare is not None else None
    word, before, after = vp.children[verb], vp.children[:verb], vp.children[verb + 1 :]
    negated = bool(after) and is_negation(after[0])
    rest = after[1:] if negated else after
    name = lemma(word.word or "", word.label)
    if word.label == "MD":
        if name not in LIGHT_MODALS or not rest or said(Tree("VP", rest)).startswith(("better", "rather", "like to")):
            return None
        first = first_verb(Tree("VP", rest))
        perfect = first is not None and lemma(first.word or "", first.label) == "have" and inner(one_vp(rest)) is not None
        return None if perfect else (negated, one_vp([*before, *rest]))  # you must have seen it
    place = inner(vp)
    if name == "do" and place is not None:
        return negated, one_vp([*before, *rest])
    if negated or name == "have" and place is not None:
        return None  # let him not be there; let him have gone
    if name == "be" and place is not None:
        below = vp.children[place]
        at = verb_at(below)
        if at is not None and below.children[at].label == "VBG" and word.label != "VBD":
            form = lemma(below.children[at].word or "", "VBG")
            inside = Tree("VP", [*below.children[:at], leaf("VB", form), *below.children[at + 1 :]])
            return (
                None
                if form == "go" and said(below).startswith("going to")
                else (False, one_vp([*before, *[inside if child is below else child for child in rest]]))
            )
    bare = based(vp)
    return (False, bare) if bare is not None else None


def negation_of(negated: bool, rest: Tree) -> Tree:
    """`do n't go`."""
    return node("VP", leaf("VB", "do"), leaf("RB", "n't"), rest) if negated else rest
