"""All that movement makes of a source, by kinds, before any template is asked for.

    kinds_of(source, top_of(source), mended)   # kinds; each makes its variants when a template that they may meet comes
    outline(top)                               # by which a kind says what its variants may be

MOVES is the table of what is made of a clause: the outlines that come of a move, and the move. A variant is a clause, its final mark and
the moves that led to it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

from handler.language.trees import Tree
from handler.language.wordlists import OPINIONS
from handler.movement.clauses import (
    QUOTES,
    Clause,
    folded,
    leaf,
    main_lemma,
    node,
    read_clause,
    said,
    statement_of,
    verb_at,
)
from handler.movement.commands import commands, wishes
from handler.movement.fronting import Variant, fronted
from handler.movement.nominal import noun_phrases
from handler.movement.questions import could_it_be, did_you_know, how_is_it, how_questions, suggestions, what_if, what_questions, yes_no
from handler.movement.restating import restated
from handler.movement.sources import clauses_of, parts_of, unquoted
from handler.movement.splitting import split
from handler.movement.wh_questions import of_wh_question


class Kind:
    """Variants of one kind, made when a template that they may meet is first asked for."""

    def __init__(self, tops: re.Pattern, make: Callable[[], Iterable[Variant]]):
        """tops: of which outline a variant may be."""
        self.tops, self.make = tops, make

    def may_be(self, asked: str) -> bool:
        return self.tops.fullmatch(asked) is not None

    @cached_property
    def variants(self) -> list[Variant]:
        return list(self.make())


def outline(top: Tree) -> str:
    """The labels of a clause and of its children but for commas and final marks, which a template may have or not: `S PP NP VP`."""
    return " ".join([top.label, *(child.label for child in top.children if child.label not in (",", "."))])


ANY, STATEMENT, TWO_CLAUSES, COMMAND, NOUN_PHRASE = map(re.compile, (".*", "S NP VP", "S S CC S", "S VP", "NP .*"))
YES_NO, WHAT, HOW = map(re.compile, ("SQ .*", "SBARQ WHNP SQ", "SBARQ WHADVP SQ"))


def kinds_of(source: Tree, top: Tree, mended: Tree) -> list[Kind]:
    """All that movement makes of a source, in a fixed order. top: its clause; mended: the same, repaired."""
    mark = next((one.word or "." for one in reversed(source.leaves()) if one.label == "."), ".")
    if top.label in ("SQ", "SBARQ") and mark == ".":
        mark = "?"
    plain = mark if mark != "?" else "."
    clauses = clauses_of(mended, mark)

    def marked(made: Iterable[tuple[Tree, tuple[str, ...]]]) -> Iterator[Variant]:
        return ((tree, plain, moves) for tree, moves in made)

    kinds = [
        Kind(ANY, lambda: as_it_is(top, mended, mark)),
        Kind(TWO_CLAUSES, lambda: marked(split_source(mended))),
        Kind(COMMAND, lambda: marked(commands(mended, clauses))),
    ]
    kinds += [Kind(tops, partial(make, clause)) for clause in clauses for tops, make in MOVES]
    kinds.append(Kind(NOUN_PHRASE, lambda: marked(noun_phrases(mended, clauses))))
    if mended.label == "SBARQ" and not any("should" in clause.moves for clause in clauses):
        kinds.append(Kind(ANY, lambda: of_wh_question(mended)))
    return kinds


def as_it_is(top: Tree, mended: Tree, mark: str) -> Iterator[Variant]:
    """The source's clause, without quotation marks, and repaired."""
    yield Tree(top.label, top.children[:-1] if top.children[-1].label == "." else top.children), mark, ()
    if top.label in ("S", "SQ", "SBARQ", "SINV"):
        yield Tree(top.label, unquoted(top)), mark, ("unquote",)
    if mended is not top:
        asks = mended.label in ("SQ", "SBARQ")
        yield Tree(mended.label, unquoted(mended)), "?" if asks else "." if mark == "?" else mark, ("repair",)


def top_of(source: Tree) -> Tree | None:
    """The constituent under ROOT; None where there are several."""
    inside = [child for child in source.children if child.label not in QUOTES | {"."}]
    if len(inside) != 1 or not inside[0].children:
        return None
    top = inside[0]
    while len(top.children) == 1 and top.label in ("S", "FRAG", "X", "UCP") and top.children[0].label in ("S", "SQ", "SBARQ", "NP"):
        top = top.children[0]
    return top


def stated(clause: Clause) -> Iterator[Variant]:
    whole = folded(clause)
    yield statement_of(clause), clause.mark, whole.moves


def wished(clause: Clause) -> Iterator[Variant]:
    for tree, moves in wishes(clause):
        yield tree, clause.mark if tree.label == "S" else "?", moves


def stated_otherwise(clause: Clause) -> Iterator[Variant]:
    for other in restated(folded(clause)):
        yield node("S", other.subject, other.vp), clause.mark, other.moves


def asked_whether(clause: Clause) -> Iterator[Variant]:
    """Yes/no questions. What one says of oneself is rather asked of others."""
    if "wonder" in clause.moves:
        return
    whole, wish = folded(clause), any(wishes(clause))
    thought = main_lemma(whole.vp) in OPINIONS | {"know", "hope", "guess", "wonder", "suppose"}
    own = said(whole.subject) == "i" and not thought and not wish and not {"undo_question", "passive"} & set(clause.moves)
    by_me = "passive" in clause.moves and " by me" in said(whole.vp)
    if own:
        tree, moves = did_you_know(whole)
        yield tree, "?", moves
    for tree, moves in yes_no(asking(clause)) if not (by_me or wish) else ():
        yield tree, "?", (*moves, "ask_oneself") if own else moves


def divided(clause: Clause) -> Iterator[Variant]:
    for tree, moves in split(folded(clause)):
        yield tree, "?" if "or_not" in moves else clause.mark, moves


def suggested(clause: Clause) -> Iterator[Variant]:
    return _asking(clause, suggestions)


def asked_what(clause: Clause) -> Iterator[Variant]:
    return _asking(clause, what_questions) if not any(wishes(clause)) else iter(())


def asked_how(clause: Clause) -> Iterator[Variant]:
    return _asking(clause, how_questions) if not any(wishes(clause)) else iter(())


def _asking(clause: Clause, questions: Callable[[Clause], Iterable[tuple[Tree, tuple[str, ...]]]]) -> Iterator[Variant]:
    if "wonder" not in clause.moves:
        for tree, moves in questions(clause):
            yield tree, "?", moves


def framed(clause: Clause, frame: Callable[[Clause], tuple[Tree, tuple[str, ...]]]) -> Iterator[Variant]:
    """A question of another verb with all of the clause under it; none of a clause that has changed its voice."""
    if not {"wonder", "passive", "active"} & set(clause.moves):
        tree, moves = frame(clause)
        yield tree, "?", moves


def asking(clause: Clause) -> Clause:
    """A command is asked with `can`, a proposal with `shall`: `can you open it` rather than `should you`."""
    if "should" not in clause.moves or "passive" in clause.moves:
        return clause
    word = "shall" if said(clause.subject) == "we" else "can"
    return clause.but(vp=Tree("VP", [leaf("MD", word), *clause.vp.children[1:]]))


def between(clause: Clause) -> Iterator[Variant]:
    """An adverb between subject and verb as a child of the clause."""
    if {"wonder", "passive", "active"} & set(clause.moves):
        return
    whole = folded(clause)
    verb = verb_at(whole.vp)
    if verb and whole.vp.children[0].label == "ADVP":
        adverb, rest = whole.vp.children[0], whole.vp.children[1:]
        vp = rest[0] if len(rest) == 1 and rest[0].label == "VP" else Tree("VP", rest)
        yield node("S", whole.subject, adverb, vp), whole.mark, (*whole.moves, "split_adverb")


def split_source(top: Tree) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """Two clauses of a source that has them, under S, with their conjunction."""
    if top.label != "S":
        return
    found = parts_of(unquoted(top))
    if found and found[1]:
        (one, other), word = found
        if all(read_clause(part) or len(part.children) == 1 for part in (one, other)):
            yield node("S", one, leaf(",", ","), leaf("CC", word), other), ("join",) if word not in said(top).split() else ("comma",)


# What movement makes of a clause, in this order, with the outlines that the variants may have.
MOVES: tuple[tuple[re.Pattern, Callable[[Clause], Iterable[Variant]]], ...] = (
    (STATEMENT, stated),
    (re.compile(r"S \S+ NP VP"), fronted),
    (re.compile("S VP|SQ .*|SBARQ .*"), wished),
    (STATEMENT, stated_otherwise),
    (YES_NO, asked_whether),
    (TWO_CLAUSES, divided),
    (re.compile(r"SBARQ WH\S+ SQ"), suggested),
    (WHAT, asked_what),
    (HOW, asked_how),
    (YES_NO, partial(framed, frame=could_it_be)),
    (WHAT, partial(framed, frame=what_if)),
    (HOW, partial(framed, frame=how_is_it)),
    (re.compile("S NP ADVP VP"), between),
)
