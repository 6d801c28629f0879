"""Target parses made by moving the source's own constituents into an asked template.

    propose(source, template)   # proposals, best first; the sentence each makes is at its leaves
    mover = Mover(source); mover.propose(template) …   # for several templates

A parse whose places the sentence's words can fill says the sentence in another order. The source is read as declarative clauses
(`sources`), in both voices; from each come statements with a phrase in front, questions, commands, two clauses, noun phrases.
What has exactly the asked top is proposed. Words that are not the source's are auxiliaries, pronouns, conjunctions and the like.
Moves of LAST_RESORT bring in a frame of their own and come after all others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from handler.language.heads import head_leaf
from handler.language.morphology import lemma
from handler.language.relations import TIMES, content, coordinated, kept, made_up, missing, relations
from handler.language.trees import Tree, template_of
from handler.language.wordlists import COMMON, LASTING, PREDICATIVE, SAID_AS
from handler.movement.adjuncts import adjuncts, is_reported
from handler.movement.clauses import (
    QUOTES,
    Clause,
    agreed,
    finite,
    folded,
    inner,
    is_animate,
    leaf,
    main_lemma,
    main_verb,
    node,
    read_clause,
    said,
    statement_of,
    taken_up,
    verb_at,
    with_phrase,
    without,
)
from handler.movement.commands import commands
from handler.movement.nominal import noun_phrases
from handler.movement.questions import could_it_be, how_is_it, how_questions, what_if, what_questions, yes_no
from handler.movement.repairs import repaired
from handler.movement.restating import restated
from handler.movement.sources import clauses_of, embedded, parts_of, unquoted
from handler.movement.splitting import members, split, what_there_was

MAX_VARIANTS = 200
# Moves that bring in a frame of their own, or a label that Penn would not give.
LAST_RESORT = {
    "wrap": 1,
    "join_after": 1,
    "join_while": 1,
    "join_although": 1,
    "note_that": 1,
    "may_be": 1,
    "while_in": 1,
    "passive": 1,
    "dative": 1,
    "there_is": 1,
    "cleft": 1,
    "cleft_subject": 1,
    "full_form": 1,
    "happened": 1,
    "introduce": 1,
    "do_so": 1,
    "introduce_object": 2,
    "question_of": 2,
    "wonder": 2,
    "or_not": 2,
    "ask_subject": 2,
    "ask_object": 2,
    "what_if": 3,
    "could_it_be": 3,
    "how_is_it": 3,
    "do_you_know": 3,
    "thought_of": 4,
    "filler": 4,
}
FILLERS = "ADVP", "PP", "SBAR"

Variant = tuple[Tree, str, tuple[str, ...]]  # what goes under ROOT, without a final mark; the mark; the moves


@dataclass(frozen=True)
class Proposal:
    """A whole target parse with its words."""

    tree: Tree
    moves: tuple[str, ...]  # that led to it from the source; none: the source as it is
    kept: float  # relations, of 1
    missing: int  # content words of the source that it lacks
    made_up: int  # content words that the source lacks

    @property
    def resort(self) -> int:
        """How much of a last resort it is: 0 for the sentence's own words in another order, up to 4 for an empty frame."""
        return sum(LAST_RESORT.get(move, 0) for move in self.moves)


def propose(source: Tree, template: Tree, most: int = 8) -> list[Proposal]:
    """Proposals that match the template exactly, at most `most`. Best first: those without a frame of their own, then by content words
    missing and made up, then by relations kept, then by moves, the fewest first."""
    return Mover(source).propose(template, most)


class Mover:
    """A source, moved once for all templates that are asked for."""

    def __init__(self, source: Tree):
        self.source, self.lowered = source, lower_first(source)
        self.variants = list(islice(variants(self.lowered), MAX_VARIANTS))
        top = top_of(source)
        mended = source if top is None or repaired(top) is top else node("ROOT", repaired(top))  # what it says in truth
        self.pairs, self.bag = relations(mended), content(mended)

    def propose(self, template: Tree, most: int = 8) -> list[Proposal]:
        proposals = []
        for tree, moves in self.matching(template):
            if not moves:
                proposals.append(Proposal(tree, moves, 1.0, 0, 0))
                continue
            said_now = content(tree)
            proposals.append(
                Proposal(tree, moves, kept(self.pairs, relations(tree)), missing(self.bag, said_now), made_up(self.bag, said_now))
            )
        return sorted(proposals, key=rank)[:most]

    def matching(self, template: Tree) -> list[tuple[Tree, tuple[str, ...]]]:
        """Moved parses with the asked top and their moves, without doubles, in the order in which they are made."""
        asked = template_of(template)
        if len(asked.children) != 1:
            return []
        label, below = asked.children[0].label, [child.label for child in asked.children[0].children]
        found: dict[str, tuple[Tree, tuple[str, ...]]] = {}
        for top, mark, moves in self.variants:
            children = shaped(top, mark, below) if top.label == label else None
            whole = node(asked.label, Tree(label, children)) if children else None
            done = whole if not moves else whole and tidied(whole)
            if done and matches(done, template):
                done = with_case(done, self.source, self.lowered)
                found.setdefault(str(done), (done, moves))
        return list(found.values())


def rank(proposal: Proposal) -> tuple:
    return proposal.resort, proposal.missing + proposal.made_up, -round(proposal.kept, 2), len(proposal.moves)


def matches(tree: Tree, template: Tree) -> bool:
    """Whether the top of a parse is the template's."""
    return template_of(tree) == template_of(template)


# The form of a proposal


def lower_first(source: Tree) -> Tree:
    """The source with its first word in lower case, unless that is a name or `I`."""
    path = [source]
    while path[-1].children:
        path.append(path[-1].children[0])
    first = path.pop()
    word = first.word or ""
    name = first.label in ("NNP", "NNPS") and word.lower() not in COMMON or word == "I" or word.startswith(("I'", "I’"))
    if name or not word[:1].isupper() or len(word) > 1 and not word[1:].islower():
        return source
    new = leaf(first.label, word.lower())
    for parent in reversed(path):
        new = Tree(parent.label, [new, *parent.children[1:]])
    return new


def with_case(tree: Tree, source: Tree, lowered: Tree) -> Tree:
    """The first word of the source as it was, where it stands first again."""
    first, before, now = source.leaves()[0], lowered.leaves()[0], tree.leaves()[0]
    if now is not before or first is before:
        return tree
    return _replaced_first(tree, first)


def _replaced_first(tree: Tree, first: Tree) -> Tree:
    return Tree(tree.label, [_replaced_first(tree.children[0], first), *tree.children[1:]]) if tree.children else first


def shaped(top: Tree, mark: str, asked: list[str]) -> list[Tree] | None:
    """The children of a clause under the asked labels: with its mark or without, with the commas of its top or without."""
    end = [leaf(".", mark)]
    bare = [child for child in top.children if child.label != ","]
    for children in (top.children + end, top.children, bare + end, bare):
        if len(children) == len(asked) and [child.label for child in children] == asked:
            return children
    return None


def tidied(tree: Tree) -> Tree | None:
    """Without commas that have come to stand beside another mark, rather those below the top than its own, and without quotation marks
    that have lost their other half."""
    leaves = tree.leaves()
    drop: set[int] = set()
    quotes = [one.label for one in leaves if one.label in QUOTES]
    if quotes != ["``", "''"] * (len(quotes) // 2):
        drop = {id(one) for one in leaves if one.label in QUOTES}
        leaves = [one for one in leaves if id(one) not in drop]
    top = {id(child) for clause in tree.children for child in clause.children}
    for one, after in zip([leaf(",", ",")] + leaves, leaves + [leaf(".", ".")]):
        if one.label == "," and after.label in (",", ".", ":"):
            drop.add(id(after if id(one) in top and after.label == "," else one))
    return _dropped(tree, drop) if drop else tree


def _dropped(tree: Tree, drop: set[int]) -> Tree | None:
    if not tree.children:
        return None if id(tree) in drop else tree
    children = [kept_child for child in tree.children if (kept_child := _dropped(child, drop)) is not None]
    return Tree(tree.label, children) if children else None


# Variants


def variants(source: Tree) -> Iterator[Variant]:
    """All that movement makes of a source, in a fixed order."""
    top = top_of(source)
    if top is None:
        return
    mark = next((one.word or "." for one in reversed(source.leaves()) if one.label == "."), ".")
    if top.label in ("SQ", "SBARQ") and mark == ".":
        mark = "?"
    yield Tree(top.label, [child for child in top.children if child.label != "."]), mark, ()
    plain = mark if mark != "?" else "."
    if top.label in ("S", "SQ", "SBARQ", "SINV"):
        bare = Tree(top.label, unquoted(top))
        yield bare, mark, ("unquote",)
    mended = repaired(top)
    clauses = clauses_of(mended, mark)
    if mended is not top:
        top = mended
        yield Tree(top.label, unquoted(top)), "?" if top.label in ("SQ", "SBARQ") else "." if mark == "?" else mark, ("repair",)
    for tree, moves in split_source(top):
        yield tree, plain, moves
    for tree, moves in commands(top, clauses):
        yield tree, plain, moves
    for clause in clauses:
        yield from of_clause(clause)
    for tree, moves in noun_phrases(top, clauses):
        yield tree, plain, moves
    if top.label == "SBARQ" and not any("should" in clause.moves for clause in clauses):
        yield from of_wh_question(top)


def top_of(source: Tree) -> Tree | None:
    """The constituent under ROOT; None where there are several."""
    inside = [child for child in source.children if child.label not in QUOTES | {"."}]
    if len(inside) != 1 or not inside[0].children:
        return None
    top = inside[0]
    while len(top.children) == 1 and top.label in ("S", "FRAG", "X", "UCP") and top.children[0].label in ("S", "SQ", "SBARQ", "NP"):
        top = top.children[0]
    return top


def of_clause(clause: Clause) -> Iterator[Variant]:
    """Statements, fronted phrases, questions and two clauses of one clause."""
    whole = folded(clause)
    yield statement_of(clause), clause.mark, whole.moves
    yield from fronted(clause)
    for other in restated(whole):
        yield node("S", other.subject, other.vp), clause.mark, other.moves
    if "wonder" not in clause.moves:
        for tree, moves in yes_no(asking(clause)):
            yield tree, "?", moves
    for tree, moves in split(whole):
        yield tree, "?" if "or_not" in moves else clause.mark, moves
    if "wonder" in clause.moves:
        return
    for tree, moves in (*what_questions(clause), *how_questions(asking(clause))):
        yield tree, "?", moves
    if "passive" in clause.moves or "active" in clause.moves:
        return
    for tree, moves in (could_it_be(clause), what_if(clause), how_is_it(clause)):
        yield tree, "?", moves
    yield from between(whole)


def asking(clause: Clause) -> Clause:
    """A command is asked with `can`, a proposal with `shall`: `can you open it` rather than `should you`."""
    if "should" not in clause.moves or "passive" in clause.moves:
        return clause
    word = "shall" if said(clause.subject) == "we" else "can"
    return clause.but(vp=Tree("VP", [leaf("MD", word), *clause.vp.children[1:]]))


def between(clause: Clause) -> Iterator[Variant]:
    """An adverb between subject and verb as a child of the clause."""
    verb = verb_at(clause.vp)
    if verb and clause.vp.children[0].label == "ADVP":
        adverb, rest = clause.vp.children[0], clause.vp.children[1:]
        vp = rest[0] if len(rest) == 1 and rest[0].label == "VP" else Tree("VP", rest)
        yield node("S", clause.subject, adverb, vp), clause.mark, (*clause.moves, "split_adverb")


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
        if adjunct.moved.label == "PP":
            yield node("S", node("ADVP", adjunct.moved), comma, whole.subject, rest), clause.mark, (*whole.moves, move, "wrap")
            if while_clause(whole, adjunct.moved):
                reduced = node("SBAR", leaf("IN", "while"), adjunct.moved)
                yield node("S", reduced, comma, whole.subject, rest), clause.mark, (*whole.moves, move, "while_in")
    yield from _there_in_front(whole)
    for piece, subject, vp, move in subordinated(whole):
        yield node("S", piece, comma, subject, vp), clause.mark, (*whole.moves, move)
    for label in FILLERS:
        yield node("S", filler(label), comma, whole.subject, whole.vp), clause.mark, (*whole.moves, "filler")


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


def filler(label: str) -> Tree:
    """A phrase that says nothing: `indeed`, `in fact`, `as it happens`."""
    if label == "ADVP":
        return node("ADVP", leaf("RB", "indeed"))
    if label == "PP":
        return node("PP", leaf("IN", "in"), node("NP", leaf("NN", "fact")))
    happens = node("S", node("NP", leaf("PRP", "it")), node("VP", leaf("VBZ", "happens")))
    return node("SBAR", leaf("IN", "as"), happens)


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
    if last.label != "SBAR" or main_lemma(clause.vp) not in SAID_AS or "undo_question" in clause.moves or inner(clause.vp) is not None:
        return
    said_so = without(clause.vp, last)
    below = read_clause(last.children[-1]) if last.children[-1].label == "S" else None
    alone = said_so is not None and len(said_so.children) == 1
    if said_so is not None and alone and below is not None and not below.front and said(Tree("X", last.children[:-1])) in ("that", ""):
        yield node("SBAR", leaf("IN", "as"), node("S", clause.subject, said_so)), below.subject, below.vp, "as_said"


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


def split_source(top: Tree) -> Iterator[tuple[Tree, tuple[str, ...]]]:
    """Two clauses of a source that has them, under S, with their conjunction."""
    if top.label != "S":
        return
    found = parts_of(unquoted(top))
    if found and found[1]:
        (one, other), word = found
        if all(read_clause(part) or len(part.children) == 1 for part in (one, other)):
            yield node("S", one, leaf(",", ","), leaf("CC", word), other), ("join",) if word not in said(top).split() else ("comma",)


def of_wh_question(top: Tree) -> Iterator[Variant]:
    """A wh-question asked in other ways: `can you tell me what …`, `tell me what …`."""
    asked = embedded(top)
    if asked is None:
        return
    tell = node("VP", leaf("VB", "tell"), node("NP", leaf("PRP", "me")), asked)
    yield node("SQ", leaf("MD", "can"), node("NP", leaf("PRP", "you")), tell), "?", ("tell_me",)
    yield node("S", tell), ".", ("tell_me",)
    do, you = leaf("VBP", "do"), node("NP", leaf("PRP", "you"))
    know = node("SQ", do, you, node("VP", leaf("VB", "know"), asked))
    yield node("SBARQ", node("WHADVP", leaf("WRB", "how")), know), "?", ("do_you_know",)
    about = node("SQ", do, you, node("VP", leaf("VB", "know"), node("PP", leaf("IN", "about"), asked)))
    yield node("SBARQ", node("WHNP", leaf("WP", "what")), about), "?", ("do_you_know",)
    question = node("NP", leaf("DT", "the"), leaf("NN", "question"))
    yield node("NP", question, node("PP", leaf("IN", "of"), asked)), ".", ("question_of",)
