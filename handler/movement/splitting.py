"""One clause as two, joined by a conjunction."""

from collections.abc import Iterator

from handler.language.heads import head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import MEANT, REPORTING
from handler.movement.adjuncts import adjuncts
from handler.movement.agreement import agreed, agreeing, taken_up
from handler.movement.clauses import (
    FINITE,
    Clause,
    copula_at,
    finite,
    first_word,
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
from handler.movement.questions import inverted, one_vp
from handler.movement.sequels import sequels
from handler.movement.unpacking import Two, caused, described, done_so, happened, introduced, placed, relative, s

Split = tuple[Tree, tuple[str, ...]]


def split(clause: Clause) -> Iterator[Split]:
    """The ways to make two clauses of one, the safest first."""
    for one, word, other, move in _splits(clause):
        if "should" in clause.moves:
            one, other = told(one), told(other)
        yield node("S", one, leaf(",", ","), leaf("CC", word), other), (*clause.moves, move)


def told(clause: Tree) -> Tree:
    """`you should go` as the command that it was made of."""
    if len(clause.children) < 2 or said(clause.children[-2]) != "you" or said(clause.children[-1]).split()[0] != "should":
        return clause
    rest = clause.children[-1].children[1:]
    vp = node("VP", leaf("VB", "do"), leaf("RB", "n't"), *rest[1:]) if is_negation(rest[0]) else one_vp(rest)
    return node("S", *clause.children[:-2], vp)


def _splits(clause: Clause) -> Iterator[Two]:
    yield from joined_verbs(clause)
    yield from joined_predicates(clause)
    yield from adverbial(clause)
    yield from participle(clause)
    yield from relative(clause)
    yield from joined_objects(clause)
    yield from joined_subjects(clause)
    yield from reported(clause)
    yield from described(clause)
    yield from placed(clause)
    yield from caused(clause)
    yield from sequels(clause)
    yield from introduced(clause)
    yield from done_so(clause)
    yield from happened(clause)
    yield from closed(clause)


def joined_verbs(clause: Clause) -> Iterator[Two]:
    """`she sat and ate` as `she sat , and she ate`; an auxiliary before both is said twice."""
    found = members(clause.vp)
    if found is None:
        return
    one, word, other = found
    again = taken_up(clause.subject)
    if word in ("and", "but", "or") and finite(one) is not None and finite(other) is not None and other.children:
        kinds = {verb.label for verb in (finite(one), finite(other)) if verb}
        if kinds <= FINITE:
            yield s(clause.subject, one), word, s(again, agreed(other, again)), "split_verbs"


def joined_predicates(clause: Clause) -> Iterator[Two]:
    """`she is tired but happy` as `she is tired , but she is happy`."""
    if copula_at(clause.vp) is None:
        return
    for place, child in enumerate(clause.vp.children):
        labels = [part.label for part in child.children]
        if child.label not in ("ADJP", "NP") or len(labels) != 3 or labels[1] != "CC" or labels[0] != labels[2]:
            continue
        one, word, other = child.children
        if said(word) not in ("and", "but", "or"):
            return
        first, second = (swapped(clause.vp, place, part if part.children else node(child.label, part)) for part in (one, other))
        again = taken_up(clause.subject)
        yield s(clause.subject, first), said(word), s(again, agreed(second, again)), "split_predicates"
        return


def members(vp: Tree) -> tuple[Tree, str, Tree] | None:
    """Both members of a joined verb phrase, each under the auxiliaries, and the conjunction."""
    joined = [child for child in vp.children if child.label == "VP"]
    conjunctions = [child for child in vp.children if child.label == "CC"]
    verb = verb_at(vp)
    if verb is None and len(joined) == 2 and len(conjunctions) == 1:
        others = [child for child in vp.children if child.label not in ("VP", "CC", ",")]
        after = vp.children.index(conjunctions[0])
        if all(child.label == "ADVP" and vp.children.index(child) == after + 1 for child in others):
            return (
                joined[0],
                said(conjunctions[0]),
                Tree("VP", [*others, *(joined[1].children if verb_at(joined[1]) is not None else [joined[1]])]),
            )
        return None
    if [child.label for child in vp.children] == ["ADVP", "VP"] and (below := members(joined[0])):
        return Tree("VP", [vp.children[0], *below[0].children]), below[1], below[2]
    if verb is not None and len(joined) == 1 and not conjunctions and vp.children[-1] is joined[0]:
        below = members(joined[0])
        place = vp.children.index(joined[0])
        if below and inner(vp) is not None:
            return swapped(vp, place, below[0]), below[1], swapped(vp, place, below[2])
    return None


def adverbial(clause: Clause) -> Iterator[Two]:
    """`A because B` as `B , so A`; the other markers as far as the meaning lets them."""
    last = main_vp(clause.vp).children[-1]
    if last.label == "SBAR" and len(last.children) == 2 and said(last.children[0]) == "so" and read_clause(last.children[1]):
        vp = without(clause.vp, last)
        if vp is not None:
            yield s(clause.subject, vp), "so", last.children[1], "so"
    for adjunct in adjuncts(clause.vp):
        if adjunct.moved.label != "SBAR":
            continue
        marker, inside = first_word(adjunct.piece), adjunct.piece.children[-1]
        vp = without(clause.vp, adjunct.piece)
        below = read_clause(inside) if inside.label == "S" else None
        if vp is None or below is None or len(adjunct.piece.children) != 2 or any(child.label == "," for child in inside.children):
            continue
        first, second = s(clause.subject, vp), inside
        past = (finite(vp) or leaf("MD", "")).label
        if marker == "because":
            yield second, "so", first, "because_so"
        elif marker in ("although", "though"):
            yield second, "but", first, "although_but"
        elif marker in ("while", "whereas"):
            yield first, "and", second, "while_and"
        elif marker == "when" and past in ("VBD", "VBZ", "VBP", "MD"):
            yield second, "and", with_then(first), "when_and"
        elif marker == "after":
            yield second, "and", with_then(first), "after_and"
        elif marker == "before" and past == "VBD" and said(vp).split()[1:2] != ["better"]:
            yield first, "and", with_then(second), "before_and"
        elif marker == "until":
            yield first, "but", with_then(second), "until_but"
        elif marker == "if" and past != "VBD":
            maybe = may(below)
            if maybe is not None and lemma((finite(vp) or leaf("MD", "")).word or "", "MD") != "would":
                yield maybe, "and", with_then(first), "may_be"


def with_then(clause: Tree) -> Tree:
    return node("S", node("ADVP", leaf("RB", "then")), *clause.children) if said(clause).split()[0] != "then" else clause


def may(clause: Clause) -> Tree | None:
    """What an if-clause says as something that may be."""
    verb = finite(clause.vp)
    at = verb_at(clause.vp)
    if verb is None or at is None or verb.label not in ("VBZ", "VBP") or clause.front:
        return None
    word = lemma(verb.word or "", verb.label)
    rest = clause.vp.children[at + 1 :]
    if rest and is_negation(rest[0]):
        inside = rest[1:] if word == "do" else [node("VP", leaf("VB", word), *rest[1:])]
        return s(clause.subject, node("VP", leaf("MD", "may"), leaf("RB", "not"), *inside)) if inside else None
    if coordinated(clause.vp):
        return None
    return s(clause.subject, node("VP", leaf("MD", "may"), Tree("VP", [*clause.vp.children[:at], leaf("VB", word), *rest])))


def participle(clause: Clause) -> Iterator[Two]:
    """`a man sits , reading a book`, `a man wearing a hat sits`: `… , and he is reading a book`."""
    verb = finite(clause.vp)
    if verb is None or verb.label not in ("VBZ", "VBP", "VBD"):
        return
    again = taken_up(clause.subject)
    be = leaf(verb.label, inflect("be", verb.label))
    main = main_vp(clause.vp)
    last = main.children[-1]
    if (
        last.label == "S"
        and len(main.children) > 2
        and main.children[-2].label == ","
        and len(last.children) == 1
        and (last.children[0].label == "VP" and last.children[0].children[0].label == "VBG")
    ):
        vp = without(clause.vp, last)
        if vp is not None:
            yield s(clause.subject, vp), "and", s(again, node("VP", agreeing(be, again), last.children[0])), "participle"
    noun = clause.subject
    if len(noun.children) >= 2 and noun.children[0].label == "NP" and noun.children[-1].label == "VP":
        inside = noun.children[-1]
        bare = noun.children[0] if len(noun.children) == 2 else Tree("NP", [child for child in noun.children[:-1] if child.label != ","])
        if inside.children[0].label in ("VBG", "VBN") and verb_at(clause.vp) is not None:
            one = s(bare, node("VP", agreeing(be, bare), inside))
            again = taken_up(bare)
            yield one, "and", s(again, agreed(clause.vp, again)), "participle"


def joined_objects(clause: Clause) -> Iterator[Two]:
    """`he bought apples and pears` as `he bought apples , and he bought pears`."""
    main = main_vp(clause.vp)
    verb = verb_at(main)
    if verb is None or coordinated(main) or main_lemma(clause.vp) in ("be", "mix", "compare", "combine"):
        return
    for place, child in enumerate(main.children):
        if child.label == "NP" and place > verb and not is_time(child):
            two = both(child)
            if two:
                again = taken_up(clause.subject)
                one = with_main(clause.vp, lambda inside: swapped(inside, place, two[0]))
                other = with_main(clause.vp, lambda inside: swapped(inside, place, two[1]))
                yield s(clause.subject, one), "and", s(again, agreed(other, again)), "split_objects"
                return


def both(noun: Tree) -> tuple[Tree, Tree] | None:
    """The members of a noun phrase that joins two by `and`."""
    children = noun.children
    labels = [child.label for child in children]
    if labels == ["NP", "CC", "NP"] and said(children[1]) == "and":
        return children[0], children[2]
    if labels in (["NN", "CC", "NN"], ["NNS", "CC", "NNS"], ["NNP", "CC", "NNP"]) and said(children[1]) == "and":
        return node("NP", children[0]), node("NP", children[2])
    return None


def joined_subjects(clause: Clause) -> Iterator[Two]:
    """`Tom and Mary left` as `Tom left , and so did Mary`."""
    two = both(clause.subject)
    if (
        not two
        or verb_at(clause.vp) is None
        or any(map(is_negation, clause.vp.children))
        or main_lemma(clause.vp) in ("be meet marry argue divorce fight kiss".split())
        and inner(clause.vp) is None
        or "together" in said(clause.vp)
        or "each other" in said(clause.vp)
        or "one another" in said(clause.vp)
    ):
        return
    one = agreed(clause.vp, two[0])
    found = inverted(agreed(clause.vp, two[1]))
    if found:
        so = node("S", node("ADVP", leaf("RB", "so")), node("VP", found[0], two[1]))
        yield s(two[0], one), "and", so, "split_subjects"


def reported(clause: Clause) -> Iterator[Two]:
    """`Tom thinks that it rains` as `it rains , or so Tom thinks`."""
    last = main_vp(clause.vp).children[-1]
    if last.label != "SBAR" or main_lemma(clause.vp) not in REPORTING or "undo_question" in clause.moves:
        return
    if any(map(is_negation, clause.vp.children)):
        return
    inside = last.children[-1]
    rest = without(clause.vp, last)
    if rest is None or verb_at(rest) is None or len(main_vp(rest).children) != 1 or inside.label != "S" or not read_clause(inside):
        return
    if len(last.children) == 1 or said(last.children[0]) == "that":
        yield inside, "or", node("S", node("ADVP", leaf("RB", "so")), clause.subject, rest), "reported"


def closed(clause: Clause) -> Iterator[Two]:
    """The whole and a second clause that adds nothing: for what cannot be split."""
    whole = s(clause.subject, clause.vp)
    if "wonder" in clause.moves:
        unknown = node("VP", leaf("VBP", "do"), leaf("RB", "n't"), node("VP", leaf("VB", "know")))
        asked = clause.vp.children[-1]
        yield s(clause.subject, unknown), "so", node("S", node("VP", leaf("VB", "tell"), node("NP", leaf("PRP", "me")), asked)), "filler"
    elif "should" in clause.moves and said(clause.subject) == "we":
        think = node("S", node("ADVP", leaf("RB", "so")), node("NP", leaf("PRP", "I")), node("VP", leaf("VBP", "think")))
        yield whole, "or", think, "filler"
    elif "should" in clause.moves:
        yield whole, "and", node("S", node("VP", leaf("VB", "thank"), node("NP", leaf("PRP", "you")))), "filler"
    elif "undo_question" in clause.moves:
        found = inverted(clause.vp)
        if found:
            again = taken_up(clause.subject)
            there = head_leaf(clause.subject).label == "EX"
            verb = found[0] if there else agreeing(found[0], again)
            yield whole, "or", node("S", node("VP", verb, again)), "or_not"
    elif said(clause.subject) == "i" and main_lemma(clause.vp) in MEANT:
        yield whole, "and", s(node("NP", leaf("PRP", "I")), node("VP", leaf("VBP", "mean"), node("NP", leaf("PRP", "it")))), "filler"
    else:
        yield whole, "and", s(node("NP", leaf("DT", "that")), node("VP", leaf("VBZ", "is"), node("ADJP", leaf("JJ", "true")))), "filler"
