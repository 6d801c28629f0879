"""Clauses as noun phrases with a prepositional phrase: `the man at the farm`, `a man riding a horse in a field`."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import NOT_WHO
from handler.movement.agreement import ACCUSATIVE, NOMINATIVE, in_case, is_animate
from handler.movement.clauses import (
    Clause,
    expanded,
    finite,
    folded,
    full_form,
    head_lemma,
    inner,
    is_negation,
    leaf,
    main_vp,
    node,
    said,
    verb_at,
    without,
)
from handler.movement.gerunds import gerund_of, ing_form

OWNERS = {"i": "my", "you": "your", "he": "his", "she": "her", "we": "our", "they": "their"}


def noun_phrases(top: Tree, clauses: list[Clause]) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    if top.label in ("NP", "FRAG"):
        yield from regrouped(top)
    for clause in clauses:
        if "wonder" not in clause.moves:
            yield from of_clause(folded(clause))


def regrouped(top: Tree) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """A noun phrase with its last prepositional phrase beside all before it."""
    children = [child for child in top.children if child.label not in (".", ",")]
    if len(children) > 1 and children[-1].label == "PP" and children[0].label == "NP":
        rest = children[:-1]
        yield node("NP", rest[0] if len(rest) == 1 else node("NP", *rest), children[-1]), ("regroup",)
    if len(children) == 2 and children[1].label == "VP" and children[0].label == "NP":
        pp = last_phrase(children[1])
        vp = pp and without(children[1], pp)
        if pp and vp:
            yield node("NP", node("NP", children[0], vp), pp), ("regroup",)
    if len(children) == 1 and children[0].label == "NP":
        yield from regrouped(children[0])


def last_phrase(vp: Tree) -> Tree | None:
    """The prepositional phrase that ends a verb phrase."""
    main = main_vp(vp)
    last = main.children[-1] if main.children else main
    if (
        coordinated(main)
        or last.label != "PP"
        or len(last.children) < 2
        or len(vp.children) > 1
        and inner(vp) not in (None, len(vp.children) - 1)
    ):
        return None
    return last


def of_clause(clause: Clause) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    subject, vp = clause.subject, clause.vp
    noun = head_leaf(subject)
    verb = verb_at(vp)
    if verb is None:
        return
    if "undo_question" in clause.moves and "passive" not in clause.moves:
        whether = node("SBAR", leaf("IN", "whether"), node("S", subject, vp))
        yield _of("question", whether), (*clause.moves, "question_of")
    if "undo_question" in clause.moves:
        return  # the things it names are not what it asks
    if {"should", "passive"} <= set(clause.moves):
        return
    negated = any(map(is_negation, vp.children))
    be = lemma(vp.children[verb].word or "", vp.children[verb].label) == "be"
    rest = [child for i, child in enumerate(vp.children) if i != verb]
    if noun.label == "EX" and not negated and len(rest) == 2 and [child.label for child in rest] == ["NP", "PP"]:
        yield node("NP", *rest), (*clause.moves, "nominal")
    if noun.label == "EX" and not negated and len(rest) == 1 and rest[0].label == "NP":
        for tree, moves in regrouped(rest[0]):
            yield tree, (*clause.moves, "nominal", *moves)
    common = (
        noun.label in ("NN", "NNS")
        and not negated
        and said(noun) not in ("nothing something anything everything nobody somebody anybody everybody everyone someone anyone".split())
    )
    if common and be and inner(vp) is None and len(rest) == 1 and rest[0].label == "PP":
        yield node("NP", subject, rest[0]), (*clause.moves, "nominal")
    if common and be and inner(vp) is None and len(rest) == 1 and rest[0].label == "ADJP" and len(rest[0].children) > 1:
        *adjective, tail = rest[0].children
        if tail.label == "PP" and len(tail.children) > 1:
            yield node("NP", node("NP", subject, Tree("ADJP", adjective)), tail), (*clause.moves, "nominal")
    pp = last_phrase(vp)
    less = pp and without(vp, pp)
    if common and pp and less and be and inner(vp) is not None and inner(less) is not None and len(less.children) == 2:
        yield node("NP", node("NP", subject, less.children[inner(less) or 0]), pp), (*clause.moves, "nominal")
    own = any(one.label in ("PRP$", "POS") or said(one) in ("this", "that", "these", "those") for one in subject.leaves())
    if common and pp and less and not own and not (be and inner(vp) is None and len(less.children) < 2):
        who = leaf("WP", "who") if is_animate(subject) and head_lemma(subject) not in NOT_WHO else leaf("WDT", "that")
        relative = node("SBAR", node("WHNP", who), node("S", less))
        yield node("NP", node("NP", subject, relative), pp), (*clause.moves, "relative")
    gerund = gerund_of(expanded(vp))
    if gerund is not None:
        yield from _owned(clause, gerund)
        yield from _named(clause, gerund)


def _owned(clause: Clause, gerund: Tree) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """`he works at a school` as `his working at a school`: what someone does as his own."""
    who, pp = _owner(clause.subject), last_phrase(gerund)
    less = pp and without(gerund, pp)
    verb = finite(clause.vp)
    lost = verb is None or verb.label == "MD" and said(full_form(verb, clause.vp)) not in ("can", "could")
    if who is not None and pp and less and not lost and not {"should", "passive"} & set(clause.moves):
        yield node("NP", node("NP", node("S", who, less)), pp), (*clause.moves, "owned")


def _owner(noun: Tree) -> Tree | None:
    """A short noun phrase as an owner: `his`, `my sister 's`."""
    word, last = said(noun), noun.leaves()[-1]
    if word in OWNERS:
        return node("NP", leaf("PRP$", OWNERS[word]))
    if any(child.children for child in noun.children) or len(noun.children) > 3 or coordinated(noun):
        return None
    if last.label not in ("NN", "NNS", "NNP", "NNPS") or last is not head_leaf(noun) or noun.children[0].label in ("CD", "JJ", "NNS", "NN"):
        return None
    return Tree("NP", [*noun.children, leaf("POS", "'" if last.label.endswith("S") and word.endswith("s") else "'s")])


def _named(clause: Clause, gerund: Tree) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """What is done under a noun that says what it is: `the task of opening the door`, `the prospect of Ann leaving`."""
    vp, moves = clause.vp, set(clause.moves)
    verb = finite(vp)
    negated = any(map(is_negation, vp.children))
    modal = said(full_form(verb, vp)) if verb is not None and verb.label == "MD" else ""
    small = node("S", in_case(clause.subject, ACCUSATIVE), gerund)
    if "should" in moves and "passive" not in moves:
        name = "importance" if negated else "idea" if said(clause.subject) == "we" else "task"
        yield _of(name, node("S", gerund)), (*clause.moves, "task_of")
    elif modal in ("must", "should") and not negated and inner(vp) is not None:
        to = node("VP", leaf("TO", "to"), vp.children[inner(vp) or 0])
        need = node("NP", leaf("DT", "the"), leaf("NN", "need"))
        yield node("NP", need, node("PP", leaf("IN", "for"), node("S", small.children[0], to))), (*clause.moves, "need_for")
    elif modal in ("will", "shall"):
        yield _of("prospect", small), (*clause.moves, "prospect_of")
    elif modal == "can" and not negated and (able := _after_modal(vp)) is not None:
        yield _of("possibility", node("S", small.children[0], able)), (*clause.moves, "prospect_of")
    elif not modal or modal == "can":
        yield _of("fact", _poss(small)), (*clause.moves, "fact_of")
    yield _of("thought", small), (*clause.moves, "thought_of")


def _poss(small: Tree) -> Tree:
    """A clause without a finite verb, with a pronoun for its subject as an owner: `my leaving`."""
    word = OWNERS.get(NOMINATIVE.get(said(small.children[0]), said(small.children[0])))
    return small if word is None else node("S", node("NP", leaf("PRP$", word)), *small.children[1:])


def _of(name: str, what: Tree) -> Tree:
    return node("NP", node("NP", leaf("DT", "the"), leaf("NN", name)), node("PP", leaf("IN", "of"), what))


def _after_modal(vp: Tree) -> Tree | None:
    """What stands after a modal as a gerund, without the modal."""
    place, verb = inner(vp), verb_at(vp)
    if place is None or verb is None or verb_at(vp.children[place]) is None:
        return None
    parts = [part for child in vp.children[verb + 1 :] for part in (ing_form(child).children if child is vp.children[place] else [child])]
    return Tree("VP", [*vp.children[:verb], *parts])
