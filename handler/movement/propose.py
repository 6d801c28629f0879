"""Target parses made by moving the source's own constituents into an asked template.

    propose(source, template)   # proposals, best first; the sentence each makes is at its leaves
    mover = Mover(source); mover.propose(template) …   # for several templates

A parse whose places the sentence's words can fill says the sentence in another order. The source is read as declarative clauses
(`sources`), in both voices; from each come (`kinds`) statements with a phrase in front, questions, commands, two clauses, noun phrases.
What has exactly the asked top is proposed. Words that are not the source's are auxiliaries, pronouns, conjunctions and the like.
Moves of LAST_RESORT bring in a frame of their own and come after all others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice

from handler.language.relations import Meaning, kept, made_up, missing
from handler.language.trees import Tree, template_of
from handler.language.wordlists import COMMON
from handler.movement.clauses import QUOTES, leaf, node, said
from handler.movement.fronting import Variant
from handler.movement.kinds import kinds_of, outline, top_of
from handler.movement.repairs import repaired

MAX_VARIANTS = 200
# Moves that bring in a frame of their own, or a label that Penn would not give.
LAST_RESORT = {
    "wrap": 1,
    "join_after": 1,
    "join_while": 1,
    "join_although": 1,
    "look_at": 1,
    "note_that": 8,
    "let_other": 10,
    "as_for": 2,
    "reword": 1,
    "how_about": 2,
    "may_be": 1,
    "while_in": 1,
    "passive": 1,
    "dative": 1,
    "there_is": 1,
    "cleft": 1,
    "cleft_subject": 2,
    "full_form": 1,
    "happened": 1,
    "introduce": 1,
    "had": 1,
    "quality": 1,
    "do_so": 1,
    "introduce_object": 2,
    "owned": 2,
    "task_of": 2,
    "question_of": 2,
    "need_for": 2,
    "prospect_of": 3,
    "fact_of": 3,
    "wonder": 2,
    "or_not": 2,
    "ask_subject": 2,
    "ask_object": 2,
    "ask_time": 2,
    "what_if": 5,
    "did_you_know": 1,
    "ask_oneself": 8,
    "lower_negation": 1,
    "role": 1,
    "stance": 1,
    "could_it_be": 5,
    "how_is_it": 5,
    "do_you_know": 3,
    "thought_of": 12,
    "filler": 12,
}
STIFF = 2  # added for a passive with a pronoun for its agent


@dataclass(frozen=True)
class Proposal:
    """A whole target parse with its words. What it keeps of the source is worked out when it is first asked for."""

    tree: Tree
    moves: tuple[str, ...]  # that led to it from the source; none: the source as it is
    source: Meaning = field(repr=False, compare=False)

    @cached_property
    def resort(self) -> int:
        """How much of a last resort it is: 0 for the sentence's own words in another order, up to 12 for an empty frame."""
        return sum(LAST_RESORT.get(move, 0) for move in self.moves) + STIFF * ("passive" in self.moves and _by_pronoun(self.tree))

    @cached_property
    def meaning(self) -> Meaning:
        return Meaning(self.tree)

    @cached_property
    def missing(self) -> int:
        """Content words of the source that it lacks."""
        return missing(self.source.content, self.meaning.content) if self.moves else 0

    @cached_property
    def made_up(self) -> int:
        """Content words that the source lacks."""
        return made_up(self.source.content, self.meaning.content) if self.moves else 0

    @cached_property
    def kept(self) -> float:
        """Relations of the source, of 1."""
        return kept(self.source.relations, self.meaning.relations) if self.moves else 1.0


# What makes one proposal better than another, the least first. Each is asked only of those that are equal in all before it.
RANKS: tuple[Callable[[Proposal], float], ...] = (
    lambda proposal: proposal.resort,
    lambda proposal: proposal.missing + proposal.made_up,
    lambda proposal: -round(proposal.kept, 2),
    lambda proposal: len(proposal.moves),
)


def ranked(proposals: list[Proposal], ranks: tuple[Callable[[Proposal], float], ...] = RANKS) -> list[Proposal]:
    """The best first; of equals the first one."""
    if len(proposals) < 2 or not ranks:
        return proposals
    by, *rest = ranks
    groups = groupby(sorted(proposals, key=by), by)
    return [proposal for _, equals in groups for proposal in ranked(list(equals), tuple(rest))]


def _by_pronoun(tree: Tree) -> bool:
    """Whether a pronoun is who does it: `was read by me`."""
    leaves = tree.leaves()
    return any(said(one) == "by" and after.label == "PRP" for one, after in zip(leaves, leaves[1:]))


def propose(source: Tree, template: Tree, most: int = 8) -> list[Proposal]:
    """Proposals that match the template exactly, at most `most`. Best first: those without a frame of their own, then by content words
    missing and made up, then by relations kept, then by moves, the fewest first."""
    return Mover(source).propose(template, most)


class Mover:
    """A source, moved for all templates that are asked for. What was made for one of them is kept for the others."""

    def __init__(self, source: Tree):
        self.source, self.lowered = source, lower_first(source)
        top = top_of(self.lowered)
        mended = repaired(top) if top else None
        self.kinds = kinds_of(self.lowered, top, mended) if top and mended else []
        self.meaning = Meaning(source)
        self.mended = self.meaning if mended is top or not mended else Meaning(node("ROOT", mended))  # without what the parser got wrong

    @property
    def variants(self) -> list[Variant]:
        """All that movement makes of the source, in a fixed order."""
        return list(islice((variant for kind in self.kinds for variant in kind.variants), MAX_VARIANTS))

    def propose(self, template: Tree, most: int = 8) -> list[Proposal]:
        return ranked([Proposal(tree, moves, self.mended) for tree, moves in self.matching(template)])[:most]

    def matching(self, template: Tree) -> list[tuple[Tree, tuple[str, ...]]]:
        """Moved parses with the asked top and their moves, without doubles, in the order in which they are made."""
        asked = template_of(template)
        if len(asked.children) != 1:
            return []
        label, below = asked.children[0].label, [child.label for child in asked.children[0].children]
        wanted = outline(asked.children[0])
        made = (variant for kind in self.kinds if kind.may_be(wanted) for variant in kind.variants)
        found: list[tuple[Tree, tuple[str, ...]]] = []
        for top, mark, moves in islice(made, MAX_VARIANTS):
            children = shaped(top, mark, below) if top.label == label else None
            whole = node(asked.label, Tree(label, children)) if children else None
            done = whole if not moves else whole and tidied(whole)
            if done and matches(done, asked):
                done = with_case(done, self.source, self.lowered)
                if all(done != other for other, _ in found):
                    found.append((done, moves))
        return found


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
    first, before, now = source.first_leaf(), lowered.first_leaf(), tree.first_leaf()
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
