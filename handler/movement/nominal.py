"""Clauses as noun phrases with a prepositional phrase: `the man at the farm`, `a man riding a horse in a field`."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import NOT_WHO
from handler.movement.clauses import (
    ACCUSATIVE,
    Clause,
    expanded,
    folded,
    formed,
    head_lemma,
    in_case,
    inner,
    is_animate,
    is_negation,
    leaf,
    main_vp,
    node,
    said,
    verb_at,
    without,
)


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
    if gerund is not None and said(subject) != "there":
        small = node("S", in_case(subject, ACCUSATIVE), gerund)
        yield (
            node("NP", node("NP", leaf("DT", "the"), leaf("NN", "thought")), node("PP", leaf("IN", "of"), small)),
            (*clause.moves, "thought_of"),
        )


def gerund_of(vp: Tree) -> Tree | None:
    """A finite verb phrase as a gerund: modals and `do` go, `be` of a progressive as well."""
    verb = verb_at(vp)
    if verb is None:
        members = [child for child in vp.children if child.label == "VP"]
        changed = {id(child): gerund for child in members if (gerund := gerund_of(child)) is not None}
        if not members or len(changed) < len(members):
            return None
        return Tree("VP", [changed.get(id(child), child) for child in vp.children])
    word, place = vp.children[verb], inner(vp)
    name = lemma(word.word or "", word.label)
    if said(word) == "used" and any(child.label == "S" for child in vp.children):
        return None  # used to do it
    before, after = vp.children[:verb], vp.children[verb + 1 :]
    negation = [leaf("RB", "not")] if after and is_negation(after[0]) else []
    after = after[1:] if negation else after
    if coordinated(vp) and any(child.label in ("VB", "VBD", "VBZ", "VBP") for child in after):
        return None
    if word.label == "MD" or name == "do" and place is not None:
        below = next((child for child in after if child.label == "VP"), None)
        inside = _ing(below) if below is not None and verb_at(below) is not None else None
        if name in ("can", "could") and below is not None:
            able = node("ADJP", leaf("JJ", "able"), node("S", node("VP", leaf("TO", "to"), below)))
            return node("VP", *negation, *before, leaf("VBG", "being"), able, *[child for child in after if child is not below])
        return (
            Tree("VP", [*negation, *before, *[part for child in after for part in (inside.children if child is below else [child])]])
            if inside is not None
            else None
        )
    if name == "be" and place is not None:
        progressive = vp.children[place]
        at = verb_at(progressive)
        if at is not None and progressive.children[at].label == "VBG":
            parts = [part for child in after for part in (child.children if child is progressive else [child])]
            return Tree("VP", [*negation, *before, *parts])
    adverbs = []
    while place is not None and after and after[0].label == "ADVP":
        adverbs.append(after.pop(0))
    return Tree("VP", [*negation, *before, *adverbs, formed(word, "VBG"), *after])


def _ing(vp: Tree) -> Tree:
    at = verb_at(vp) or 0
    return Tree("VP", [*vp.children[:at], formed(vp.children[at], "VBG"), *vp.children[at + 1 :]])
