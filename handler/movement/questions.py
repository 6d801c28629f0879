"""Statements as questions: inversion, do-support, and asking for a part."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import NOT_ASKED, NOT_ASKED_WITH, STATES
from handler.movement.adjuncts import LEAST, adjuncts, chooses, phrase_score
from handler.movement.agreement import agreed, is_animate, pronoun
from handler.movement.clauses import (
    FINITE,
    Clause,
    based,
    finite,
    first_word,
    folded,
    full_form,
    head_lemma,
    inner,
    is_auxiliary,
    is_negation,
    is_request,
    is_time,
    leaf,
    main_lemma,
    main_vp,
    node,
    said,
    statement_of,
    verb_at,
    without,
)
from handler.movement.gerunds import gerund_of

REASONS = "because", "since", "so", "in", "to"  # first words of what says why


def inverted(vp: Tree) -> tuple[Tree, Tree | None, list[Tree]] | None:
    """The auxiliary that goes before the subject, a negation if there is one, and what stays behind the subject."""
    verb = verb_at(vp)
    if verb is None:
        return _inverted_members(vp)
    if coordinated(vp) and any(child.label == "VP" for child in vp.children):
        return _inverted_members(vp)
    before, word, after = vp.children[:verb], vp.children[verb], vp.children[verb + 1 :]
    if word.label not in FINITE or (word.word or "").lower() in ("ai", "'d", "had") and said(Tree("VP", after)).startswith("better"):
        return None
    if is_auxiliary(vp):
        negation = after[0] if after and is_negation(after[0]) else None
        form = full_form(word, vp)
        if form.word in ("used", "ought", "ai", "may"):  # may you pay: a wish, or asking for leave
            return None
        return form, negation, [*before, *(after[1:] if negation else after)]
    bare = based(vp)
    if bare is None or any(is_negation(child) for child in after[:1]):
        return None
    return leaf(word.label, inflect("do", word.label)), None, bare.children


def _inverted_members(vp: Tree) -> tuple[Tree, Tree | None, list[Tree]] | None:
    """Joined verb phrases: full verbs of one form get one `do`."""
    verbs = [finite(child) for child in vp.children if child.label == "VP"]
    if not verbs or any(verb is None or verb.label == "MD" or lemma(verb.word or "", verb.label) in ("be", "have", "do") for verb in verbs):
        return None
    bare = based(vp)
    if bare is None or verbs[0] is None:
        return None
    return leaf(verbs[0].label, inflect("do", verbs[0].label)), None, [bare] if len(verbs) > 1 else bare.children


def question_body(clause: Clause) -> Iterator[tuple[Tree, ...]]:
    """Children of SQ, without a mark: first with all that follows the subject in one VP, then with it as it comes."""
    whole = folded(clause)
    found = inverted(whole.vp)
    if found is None:
        return
    auxiliary, negation, rest = found
    if negation is not None:
        yield auxiliary, whole.subject, one_vp([leaf("RB", "not"), *rest])
        yield auxiliary, negation if negation.word != "not" else leaf("RB", "n't"), whole.subject, *rest
        yield auxiliary, whole.subject, leaf("RB", "not"), *rest
        return
    if not rest:
        return
    yield auxiliary, whole.subject, one_vp(rest)
    if rest[0].label not in ("VB", "VP"):
        yield auxiliary, whole.subject, *rest


def one_vp(parts: list[Tree]) -> Tree:
    """Parts of a verb phrase under one VP."""
    if len(parts) == 1 and parts[0].label == "VP":
        return parts[0]
    opened: list[Tree] = []
    for part in parts:
        joined = part.label == "VP" and any(child.label == "VP" for child in part.children) and coordinated(part)
        opened += part.children if part.label == "VP" and not joined and len([p for p in parts if p.label == "VP"]) == 1 else [part]
    return Tree("VP", opened)


def as_modal(auxiliary: Tree) -> Tree:
    """An auxiliary under the label MD, for templates that know no other. Penn calls only modals so."""
    return leaf("MD", auxiliary.word or "")


def yes_no(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    for children in question_body(clause):
        moves = clause.moves + (("unfront",) if clause.front else ()) + ("invert",)
        yield node("SQ", *children), moves
        if children[0].label != "MD":
            yield node("SQ", as_modal(children[0]), *children[1:]), (*moves, "auxiliary_as_modal")


def did_you_know(clause: Clause) -> tuple[Tree, tuple[str, ...]]:
    """`did you know that …`: for what one says of oneself, which one does not ask."""
    that = node("SBAR", leaf("IN", "that"), node("S", *statement_of(clause).children))
    body = node("SQ", leaf("MD", "did"), node("NP", leaf("PRP", "you")), node("VP", leaf("VB", "know"), that))
    return body, (*clause.moves, "did_you_know")


def could_it_be(clause: Clause) -> tuple[Tree, tuple[str, ...]]:
    """`could it be that …`: for clauses that do not invert."""
    that = node("SBAR", leaf("IN", "that"), node("S", *statement_of(clause).children))
    return node("SQ", leaf("MD", "could"), pronoun("it"), node("VP", leaf("VB", "be"), that)), (*clause.moves, "could_it_be")


def asked_for(noun: Tree) -> Tree | None:
    """`the old man at the farm` as `which old man at the farm`; None where it is a name, a pronoun or someone's."""
    if noun.label != "NP" or coordinated(noun) or is_time(noun):
        return None
    if noun.children and noun.children[0].label == "NP":
        inside = asked_for(noun.children[0])
        if inside is None or any(child.label not in ("PP", "VP") for child in noun.children[1:]) or said(noun).endswith(("self", "selves")):
            return None
        return Tree("WHNP", [inside, *noun.children[1:]])
    if head_leaf(noun).label not in ("NN", "NNS") or any(
        child.children or child.label in ("PRP$", "POS", "NNP", "CC", "PDT", ",") for child in noun.children
    ):
        return None
    first = noun.children[0]
    rest = noun.children
    if first.label == "DT":
        if said(first) in ("no", "every", "each", "all", "both", "any", "another", "half", "either", "neither"):
            return None
        rest = rest[1:]
    if any(child.label in ("DT", "JJS", "RB", "RBR", "RBS", "JJR") or said(child) in NOT_ASKED_WITH for child in rest):
        return None
    if head_lemma(noun) in NOT_ASKED:
        return None
    which = first.label == "DT" and said(first) not in ("a", "an", "some")
    return Tree("WHNP", [leaf("WDT", "which" if which else "what"), *rest])


def what_questions(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """Asks for the subject or the object: by its noun (`which man`), then by `what` or `who` in its place."""
    whole = folded(clause)
    moves = whole.moves
    verb = finite(whole.vp)
    asked_to = {"undo_question", "passive"} <= {*moves} and verb is not None and verb.label == "MD"
    if "should" in moves or is_request(clause) or asked_to:
        return  # what someone is to do is proposed
    subject, vp = whole.subject, whole.vp
    asked = asked_for(subject)
    main = main_vp(vp)
    at = verb_at(main)
    noun = next((child for child in main.children[(at or 0) + 1 :] if child.label == "NP"), None) if at is not None else None
    if "undo_question" not in moves:
        yield from _time_questions(whole)
    if noun is not None and not is_time(noun) and main_lemma(vp) != "be" and not _needed(main, noun):
        yield from _object_questions(whole, noun)
    if asked is not None and not any(map(is_negation, vp.children)):
        yield node("SBARQ", asked, node("SQ", vp)), (*moves, "ask_which_subject")
    if said(subject) not in ("i", "you", "there", "it", "we", "that", "this") and head_leaf(subject).label != "EX":
        word = "who" if is_animate(subject) else "what"
        third = agreed(vp, pronoun("it"))
        yield node("SBARQ", node("WHNP", leaf("WP", word)), node("SQ", third)), (*moves, "ask_subject")


def _time_questions(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """Asks for a time that is a number or a day: `what time does it open`, `what year was it in`."""
    for adjunct in adjuncts(clause.vp):
        if [child.label for child in adjunct.piece.children] != ["IN", "NP"]:
            continue
        noun = adjunct.piece.children[-1]
        if noun.leaves()[0].label not in ("CD", "NNP"):
            continue
        word, named = first_word(adjunct.piece), said(noun)
        left: list[Tree] = []
        if word == "at" and named[0].isdigit():
            asked = "time"
        elif word == "in" and named.isdigit() and len(named) == 4:
            asked, left = "year", [node("PP", adjunct.piece.children[0])]
        elif word in ("on", "by", "until") and named.endswith("day") and len(noun.children) == 1:
            asked, left = "day", [node("PP", adjunct.piece.children[0])]
        else:
            continue
        rest = without(clause.vp, adjunct.piece)
        found = inverted(rest) if rest is not None and verb_at(rest) is not None else None
        if found is None or found[1] is not None or not found[2]:
            continue
        body = node("SQ", found[0], clause.subject, one_vp([*found[2], *left]))
        yield node("SBARQ", node("WHNP", leaf("WP", "what"), leaf("NN", asked)), body), (*clause.moves, "ask_time")
        return


def _needed(main: Tree, noun: Tree) -> bool:
    """Whether a noun phrase cannot be asked for: there are two, or a clause is said of it."""
    others = [child for child in main.children if child is not noun and child.label in ("NP", "S", "ADJP", "SBAR") and not is_time(child)]
    at = main.children.index(noun)
    after = main.children[at + 1] if at + 1 < len(main.children) else None
    part = after is not None and after.label == "PP" and phrase_score(main, after, True, True) < LEAST and not chooses(main, after)
    return bool(others) or part


def _object_questions(clause: Clause, noun: Tree) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    vp = without(clause.vp, noun)
    if vp is None or verb_at(vp) is None:
        return
    found = inverted(vp)
    if found is None or not found[2]:
        return
    auxiliary, negation, rest = found
    if negation is not None:
        rest = [leaf("RB", "not"), *rest]
    body = node("SQ", auxiliary, clause.subject, one_vp(rest))
    asked = asked_for(noun)
    alone = len(noun.leaves()) == 1 and head_leaf(noun).label == "NN"  # dinner, football, guitar
    if asked is not None and not alone and main_lemma(clause.vp) not in ("become", "remain", "seem", "make"):
        yield node("SBARQ", asked, body), (*clause.moves, "ask_which_object")
    if head_leaf(noun).label in ("NN", "NNS", "CD", "DT") and said(noun) not in ("me", "him", "her", "us", "them"):
        yield node("SBARQ", node("WHNP", leaf("WP", "what")), body), (*clause.moves, "ask_object")


def what_if(clause: Clause) -> tuple[Tree, tuple[str, ...]]:
    """`what if …`: keeps all, for clauses of which no part can be asked for."""
    body = node("SBAR", leaf("IN", "if"), node("S", *statement_of(clause).children))
    return node("SBARQ", node("WHNP", leaf("WP", "what")), node("SQ", body)), (*clause.moves, "what_if")


def proposes(clause: Clause) -> bool:
    """Whether a clause was a command, a proposal or a request."""
    return ("should" in clause.moves or is_request(clause)) and "passive" not in clause.moves


def after_modal(vp: Tree) -> Tree:
    """With `should` for its modal, so that `could` does not become `being able to`."""
    at = verb_at(vp)
    if at is None or vp.children[at].label != "MD":
        return vp
    return Tree("VP", [*vp.children[:at], leaf("MD", "should"), *vp.children[at + 1 :]])


def suggestions(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """A command or a proposal as a question that proposes it: `what about opening the window`, `how about …`."""
    whole = folded(clause)
    if not proposes(whole) or any(map(is_negation, whole.vp.children)):
        return
    gerund = gerund_of(after_modal(whole.vp))
    if gerund is not None:
        about = node("SQ", node("PP", leaf("IN", "about"), node("S", gerund)))
        yield node("SBARQ", node("WHNP", leaf("WP", "what")), about), (*whole.moves, "suggest")
        yield node("SBARQ", node("WHADVP", leaf("WRB", "how")), about), (*whole.moves, "suggest")


def how_questions(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """`how` of what is done, `why` of the rest, with all else kept; then `when` in the place of a time."""
    if proposes(clause) and not any(map(is_negation, clause.vp.children)):
        return  # a command is proposed, not asked for its reason
    because = [one for one in adjuncts(clause.vp) if one.piece.label != "PP" and first_word(one.piece) in REASONS]
    if any(first_word(piece) in ("because", "since") for piece in clause.front) or because:
        words = ["how"] if not any(first_word(one.piece) == "because" for one in because) else []
        for one in because[:1]:
            rest = without(clause.vp, one.piece)
            if rest is not None:
                yield from _adverb_question(clause.but("drop_reason", vp=rest), "why")
    else:
        words = ["how", "why"] if asks_how(clause) else ["why"]
    for word in words:
        yield from _adverb_question(clause, word)


def asks_how(clause: Clause) -> bool:
    """Whether the clause is of something done, and does not say how."""
    vp = clause.vp
    verb = finite(vp)
    if main_lemma(vp) in STATES or not main_lemma(vp) or any(map(is_negation, vp.children)) or verb is None:
        return False
    if first_word(clause.subject) in ("there", "it", "nobody", "no") or any(
        said(one.piece).endswith("ly") or first_word(one.piece) in ("by", "with") for one in adjuncts(vp)
    ):
        return False
    place = inner(vp)
    unasked = lemma(verb.word or "", verb.label) in ("be", "have") and place is not None  # progressives and perfects
    if any(said(child) in ("never", "hardly", "rarely", "seldom", "barely") for child in vp.children):
        return False
    return not unasked and verb.label in ("VBD", "MD", "VBZ", "VBP")


def _adverb_question(clause: Clause, word: str) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    for children in question_body(clause):
        yield node("SBARQ", node("WHADVP", leaf("WRB", word)), node("SQ", *children)), (*clause.moves, "ask_" + word)


def how_is_it(clause: Clause) -> tuple[Tree, tuple[str, ...]]:
    """`how is it that …`, for clauses that do not invert."""
    that = node("SBAR", leaf("IN", "that"), node("S", *statement_of(clause).children))
    body = node("SQ", leaf("VBZ", "is"), pronoun("it"), that)
    return node("SBARQ", node("WHADVP", leaf("WRB", "how")), body), (*clause.moves, "how_is_it")
