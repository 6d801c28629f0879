"""The rules, each a `loop.LogitsProcessor`, each stated once. A row's state is one object; a token changes a few numbers of it.

On a GPU a step is one recorded graph that cannot ask the host, so `gpu/constraints.py` has the same rules as tensor operations;
`tests/gpu/test_*_constraint.py` holds the two against each other.

Shapes: B rows of the batch, N rows of a step, V columns of the scores, A words or pieces of a sentence. Columns are numbered as
`model.copying.CopyHead` says.
"""

import math
from collections.abc import Sequence

import numpy as np

from handler.decoding.grammar import CLOSED, FORCED, OPENED, ParseGrammar, TextGrammar, trie_of
from handler.decoding.lexicon import FILL, Alignment
from handler.decoding.loop import LogitsProcessor, Step
from handler.decoding.rules import MARK_WEIGHT, ParseRules, TextRules
from handler.language.word_classes import KIN, NO_TAG, ROWS
from handler.model.network import EOS

FORBIDDEN = np.float32(-math.inf)
State = tuple[int, int, int, int]  # place in the template, open brackets inside the slot, kind of the last token, steps left


class ParseRow:
    """One row's place in its template. `State`s are values, so a draft can be followed and taken back."""

    def __init__(self, grammar: ParseGrammar, template: list[int], max_steps: int):
        self.grammar = grammar
        self.template, self.slot, self.rest = grammar.slots(template)
        self.state: State = 0, 0, CLOSED, max_steps

    def mask(self, state: State) -> int:
        """Row of `ParseGrammar.score_masks`: what may come next."""
        place, depth, last, steps_left = state
        room = min(max(steps_left - depth - self.rest[place], 0), 4)
        rule = self.grammar.rule_table[depth > 0][self.slot[place]][last][room]
        return FORCED + self.template[place] if rule == FORCED else rule

    def after(self, state: State, token: int) -> State:
        """The state once `token` has come."""
        place, depth, _, steps_left = state
        kind = self.grammar.kind_of[token]
        if depth == 0 and not (self.slot[place] and kind == OPENED):  # the token was the template's own
            place = min(place + 1, len(self.template) - 1)
        else:
            depth += (kind == OPENED) - (kind == CLOSED)
        return place, depth, kind, steps_left - 1


class TreeGrammar(LogitsProcessor):
    """Every parse is balanced, has a tag at each leaf and nowhere else, ends in time, and its top is the template."""

    def __init__(self, grammar: ParseGrammar, rows: list[ParseRow]):
        self.grammar, self.rows = grammar, rows

    def process(self, step: Step) -> None:
        step.scores += self.grammar.score_masks[[self.rows[row].mask(self.rows[row].state) for row in step.rows]]

    def accept(self, row: int, token: int) -> None:
        here = self.rows[row]
        here.state = here.after(here.state, token)


class TextRow:
    """What has been written of one text, and what its sentence and its parse say."""

    def __init__(
        self,
        grammar: TextGrammar,
        sentence: list[int],
        max_steps: int,
        leaves: list[int],
        tagged: list[tuple[int, int]],
        leaf_words: list[int],
        mark: int,
        tag_of: Sequence[int] | None = None,
    ):
        """sentence: piece ids. leaves: rows of the lexicon for the parse's leaves, none where no parse is followed. tagged: the
        sentence's words, leaf_words and mark as `lexicon.Alignment` has them. tag_of: as `Lexicon.tag_of`; None: leaves are tags."""
        self.columns = grammar.columns(sentence)
        self.whole_words, self.suffix_only = grammar.whole_words(sentence), frozenset(grammar.endings(sentence))
        self.trie = trie_of(grammar.split_words(sentence))  # of the sentence's words that have several pieces
        self.node = 0  # of the trie; 0 stands between words
        self.last = FILL  # token
        self.steps_left = max_steps
        self.rows = [NO_TAG, *reversed(leaves)]  # of the leaf with so many left, itself included; after the last one any word will do
        self.leaves = [tag_of[row] for row in self.rows] if tag_of else self.rows  # their tags
        self.leaf_words = [FILL, *reversed(leaf_words)] if leaf_words else []  # in the same order; none where the parse was not moved
        self.mark = mark
        self.leaves_left, self.follows_leaves = len(leaves), bool(leaves)
        self.unused: dict[int, int] = {}  # column -> times left without penalty; 1 where it is missing
        for column in self.columns:
            self.unused[column] = self.unused.get(column, 0) + 1
        self.successors: dict[int, set[int]] = {}  # last piece of a word -> first pieces of the words after it
        for before, after in grammar.follow(sentence):
            self.successors.setdefault(before, set()).add(after)
        self.tagged: dict[int, list[int]] = {}  # tag -> first pieces of the sentence's words with it
        for column, tag in tagged:
            self.tagged.setdefault(tag, []).append(column)

    @property
    def tag(self) -> int:
        """Of the leaf whose word comes next; NO_TAG inside a word and where no leaf is left."""
        return NO_TAG if self.node else self.leaves[self.leaves_left]

    @property
    def lexicon_row(self) -> int:
        """As `tag`, with the place of the leaf where its tag is split."""
        return NO_TAG if self.node else self.rows[self.leaves_left]

    @property
    def leaf_word(self) -> int:
        """The word that a moved parse has at the next leaf, by its first piece; FILL where there is none, and inside a word."""
        return self.leaf_words[self.leaves_left] if self.leaf_words and not self.node else FILL

    @property
    def due_mark(self) -> int:
        """The mark that is to come next; FILL where it is not the last leaf's turn, or anything may end the text."""
        return self.mark if self.leaves_left == 1 and not self.node else FILL

    @property
    def room(self) -> int:
        """Steps that the next word may take: each later leaf takes one, and so does <eos>."""
        return self.steps_left - self.leaves_left

    def edges(self) -> list[int]:
        """Inside a word: the pieces that may come."""
        return [piece for piece, _, need in self.trie[self.node] if need <= self.room]

    def accept(self, token: int) -> None:
        self.node = next((to for piece, to, need in self.trie[self.node] if piece == token and need <= self.steps_left), 0)
        self.last = token
        self.steps_left -= 1
        self.unused[token] = self.unused.get(token, 1) - 1
        if self.leaves_left and not self.node:
            self.leaves_left -= 1


class WrittenWords(LogitsProcessor):
    """Keeps the rows of the batch up to date; the first of a text's processors, whose rows the others read."""

    def __init__(self, rows: list[TextRow]):
        self.rows = rows

    def accept(self, row: int, token: int) -> None:
        self.rows[row].accept(token)


class Coverage(LogitsProcessor):
    """What the sentence has and the text has not yet said is made likelier; what has been said often enough, less likely.

    A small network otherwise says one word again and again and leaves others out. Often enough: as often as the sentence has it, or
    once if the sentence does not have it.
    """

    def __init__(self, rows: list[TextRow], bonus: float, penalty: float, width: int):
        """width: columns that a row may come to have: its sentence's and one for each step."""
        self.rows, self.penalty = rows, np.float32(-penalty)
        self.columns = np.full((len(rows), width), FILL)  # (B, C), FILL after a row's last, which is never written
        self.values = np.zeros((len(rows), width), np.float32)  # (B, C), added to the scores of the columns
        self.places: list[dict[int, int]] = []  # column -> its place in the two
        for i, row in enumerate(rows):
            found = list(row.unused)
            self.columns[i, : len(found)], self.values[i, : len(found)] = found, bonus
            self.places.append({column: place for place, column in enumerate(found)})

    def process(self, step: Step) -> None:
        columns = self.columns[step.rows]
        lines = np.arange(len(columns))[:, None]
        step.scores[lines, columns] += self.values[step.rows]

    def accept(self, row: int, token: int) -> None:
        if self.rows[row].unused[token] <= 0:
            place = self.places[row].setdefault(token, len(self.places[row]))
            self.columns[row, place], self.values[row, place] = token, self.penalty


class LeafTags(LogitsProcessor):
    """A word gains by how likely it is to have the tag of its leaf; the sentence's own words are known by the tag they have there."""

    def __init__(self, rows: list[TextRow], alignment: Alignment):
        self.rows, self.table = rows, alignment.lexicon.table  # (1 + T, V), with split tags (1 + T + P, V)
        split = any(row > len(ROWS) for leaves in alignment.leaves for row in leaves)
        self.words, self.own = alignment.lexicon.own(alignment.tagged_words, split)  # (B, A), (B, 1 + T, A) or (B, 1 + T + P, A)

    def process(self, step: Step) -> None:
        for scores, row in zip(step.scores, step.rows):  # faster than gathering rows of the table, which would leave the cache
            line = self.rows[row].lexicon_row
            if line != NO_TAG:
                words = self.words[row]
                own = scores[words] + self.own[row, line]
                scores += self.table[line, : len(scores)]
                scores[words] = own


class Copying(LogitsProcessor):
    """At a leaf, the sentence's words of that kind which are not yet written compete with what the network says.

    A small network does not know rare words well enough to copy them by itself. The word is a draw between the network and copying,
    1 to `odds`, and each of the words is as likely to be copied as the others.
    """

    def __init__(self, rows: list[TextRow], odds: float):
        self.rows, self.odds = rows, odds

    def process(self, step: Step) -> None:
        for i, row in enumerate(step.rows):
            here = self.rows[row]
            copyable = {word for tag in KIN.get(here.tag, ()) for word in here.tagged.get(tag, ()) if here.unused[word] > 0}
            if copyable:
                words = list(copyable)
                alone = step.raw[i, words]
                copied = step.normaliser[i] + np.float32(math.log(self.odds / len(words)))
                step.scores[i, words] += np.logaddexp(alone, copied) - alone


class LeafWords(LogitsProcessor):
    """A parse made by moving the source's constituents knows whose place each leaf is: that word gains, so that nobody's role changes."""

    def __init__(self, rows: list[TextRow], weight: float):
        self.rows, self.weight = rows, np.float32(weight)

    def process(self, step: Step) -> None:
        for scores, row in zip(step.scores, step.rows):
            word = self.rows[row].leaf_word
            if word != FILL:
                scores[word] += self.weight


class FinalMark(LogitsProcessor):
    """A question ends in a question mark, whatever its sentence ended in: the last leaf's mark follows from the clause."""

    def __init__(self, rows: list[TextRow]):
        self.rows = rows

    def process(self, step: Step) -> None:
        for scores, row in zip(step.scores, step.rows):
            mark = self.rows[row].due_mark
            if mark != FILL:
                scores[mark] += np.float32(MARK_WEIGHT)


class WordOrder(LogitsProcessor):
    """The word that follows the last one in the sentence gains, which keeps phrases together."""

    def __init__(self, rows: list[TextRow], bonus: float):
        self.rows, self.bonus = rows, np.float32(bonus)

    def process(self, step: Step) -> None:
        for scores, row in zip(step.scores, step.rows):
            after = self.rows[row].successors.get(self.rows[row].last)  # none inside a word: no word ends with the piece before
            if after:
                scores[list(after)] += self.bonus


class RealWords(LogitsProcessor):
    """Every text is made of real words: those of the vocabulary, and of the sentence where a word has several pieces.

    The network reads the sentence as a bag of pieces, so it knows which pieces there were but not which belonged together; left alone
    it joins them to words that do not exist. An ending of the sentence's split words comes in its word only. No syntax token, no
    <unk>, no empty text, and a word is only begun if it can be finished within the steps left. A text that follows a parse has exactly
    one word for each leaf. The last of a text's processors: inside a word it forbids all but the next pieces.
    """

    def __init__(self, grammar: TextGrammar, rows: list[TextRow], columns: int):
        self.grammar, self.rows = grammar, rows
        base = np.full(columns, FORBIDDEN)
        base[: grammar.output_vocab_size][grammar.words] = 0.0
        base[EOS] = FORBIDDEN  # no empty text
        self.mask = np.tile(base, (len(rows), 1))  # (B, V), added to the scores between words
        self.begins: list[dict[int, int]] = []  # of each row: first piece of a split word -> steps that the word needs
        for i, row in enumerate(rows):
            self.begins.append({piece: need for piece, _, need in row.trie[0] if need <= row.room})
            for column in {*row.unused, *self.begins[i], *row.suffix_only}:
                self.mask[i, column] = 0.0 if self._may_begin(i, column) else FORBIDDEN

    def _may_begin(self, row: int, column: int) -> bool:
        """Whether a word may begin with this piece."""
        if column in self.begins[row] or column in self.rows[row].whole_words:
            return True
        known = column < self.grammar.output_vocab_size and self.grammar.is_word[column]
        return known and column not in self.rows[row].suffix_only

    def process(self, step: Step) -> None:
        for scores, row in zip(step.scores, step.rows):
            here = self.rows[row]
            if here.node:
                edges = here.edges()
                kept = scores[edges]
                scores.fill(FORBIDDEN)
                scores[edges] = kept
            else:
                scores += self.mask[row]

    def accept(self, row: int, token: int) -> None:
        here, mask = self.rows[row], self.mask[row]
        if not here.follows_leaves:
            mask[EOS] = 0.0
        elif not here.leaves_left and not here.node:  # no word after the last leaf's
            mask.fill(FORBIDDEN)
            mask[EOS] = 0.0
            return
        begins = self.begins[row]
        for column in [column for column, need in begins.items() if need > here.room]:
            del begins[column]
            mask[column] = 0.0 if self._may_begin(row, column) else FORBIDDEN


def parse_rows(rules: ParseRules) -> list[ParseRow]:
    return [ParseRow(rules.grammar, template, rules.max_steps) for template in rules.templates]


def text_rows(rules: TextRules) -> list[TextRow]:
    count = len(rules.sentences)
    none: list[list] = [[]] * count
    leaves, tagged, words, marks, tag_of = none, none, none, [FILL] * count, None
    if rules.alignment:
        leaves, tagged, words = rules.alignment.leaves, rules.alignment.tagged_words, rules.alignment.leaf_words or none
        marks = rules.alignment.marks or marks
        tag_of = rules.alignment.lexicon.tag_of
    rows = zip(rules.sentences, leaves, tagged, words, marks)
    return [
        TextRow(rules.grammar, sentence, rules.max_steps, leaf_rows, own, moved, mark, tag_of)
        for sentence, leaf_rows, own, moved, mark in rows
    ]


def text_processors(rules: TextRules, rows: list[TextRow]) -> Sequence[LogitsProcessor]:
    """The rules that a batch of texts obeys, in the order in which they are applied."""
    found: list[LogitsProcessor] = [WrittenWords(rows)]
    if rules.source_bonus or rules.repetition_penalty:
        width = max(map(len, rules.sentences)) + rules.max_steps
        found.append(Coverage(rows, rules.source_bonus, rules.repetition_penalty, width))
    if rules.alignment:
        if rules.copy_odds:
            found.append(Copying(rows, rules.copy_odds))
        found.append(LeafTags(rows, rules.alignment))
        if rules.word_weight and rules.alignment.leaf_words:
            found.append(LeafWords(rows, rules.word_weight))
        if rules.alignment.marks:
            found.append(FinalMark(rows))
    if rules.order_bonus:
        found.append(WordOrder(rows, rules.order_bonus))
    return [*found, RealWords(rules.grammar, rows, rules.grammar.width(rules.sentences))]
