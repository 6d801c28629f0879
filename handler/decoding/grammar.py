"""The rules of a parse and of a text, as tables over one network's vocabulary. On a CPU; a GPU copies what it needs.

Shapes: V vocabulary, W tokens that are freely written.
"""

import functools
import math
from collections.abc import Iterable

import numpy as np

from handler.language.trees import PHRASES, TAGS
from handler.language.vocabulary import SEPARATOR, SPECIALS, Vocabulary
from handler.model.network import EOS, UNK

# What the last token of a parse was.
OPENED, PHRASE, TAG, CLOSED = range(4)
# Rows of the table of what may come inside a slot: one bracket, either, a tag, any label.
OPEN, CLOSE, EITHER, ANY_TAG, ANY_LABEL = range(5)
FORCED = 5  # not in a slot: the template's own token


class ParseGrammar:
    """The ids of brackets, phrase labels and tags in one network's vocabulary, and the one statement of what may follow what."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int):
        ids = vocabulary.syntax_ids
        self.open, self.close = ids["("], ids[")"]
        self.syntax_end = max(ids.values()) + 1  # special and syntax tokens come first in the vocabulary
        self.phrases = frozenset(ids[label] for label in PHRASES)
        self.is_phrase = np.zeros(vocab_size, bool)
        self.is_phrase[list(self.phrases)] = True
        self.table = np.zeros((5, vocab_size), bool)
        self.table[[OPEN, EITHER], self.open] = True
        self.table[[CLOSE, EITHER], self.close] = True
        tags = [ids[label] for label in TAGS]
        self.table[np.ix_([ANY_TAG, ANY_LABEL], tags)] = True
        self.table[ANY_LABEL, [ids[label] for label in PHRASES - {"ROOT"}]] = True
        forced = np.eye(self.syntax_end, vocab_size, dtype=bool)
        self.masks = np.concatenate([self.table, forced])  # (5 + syntax tokens, V): and one for each token that can be forced
        self.kinds = np.where(self.is_phrase, PHRASE, TAG)  # (V,)
        self.kinds[self.open], self.kinds[self.close] = OPENED, CLOSED
        self.turns = np.zeros_like(self.kinds)  # (V,): by how much a token changes the depth
        self.turns[self.open], self.turns[self.close] = 1, -1
        self.rules = np.array(
            [
                [[[self.rule(inside, slot, last, room) for room in range(5)] for last in range(4)] for slot in (False, True)]
                for inside in (False, True)
            ]
        )  # (2, 2, 4, 5)

        self.rule_table: list = self.rules.tolist()  # [inside a slot][slot][kind of the last token][room]
        self.kind_of: list[int] = self.kinds.tolist()

    @functools.cached_property
    def score_masks(self) -> np.ndarray:
        """`masks` as what is added to scores: 0 or minus infinity."""
        return np.where(self.masks, np.float32(0.0), np.float32(-math.inf))

    @functools.cached_property
    def allowed(self) -> list[frozenset[int]]:
        """`masks` as sets of tokens."""
        return [frozenset(row.nonzero()[0].tolist()) for row in self.masks]

    def leaves(self, ids: list[int]) -> list[int]:
        """Labels of a parse's leaves, left to right: those right between two brackets."""
        return [label for before, label, after in zip(ids, ids[1:], ids[2:]) if before == self.open and after == self.close]

    def slots(self, template: list[int]) -> tuple[list[int], list[bool], list[int]]:
        """The template with <eos>; which places close a slot; tokens needed from each place on, the slots after it filled.

        A bare phrase of the template, `(NP )`, is a slot, which a parse fills with at least one child.
        """
        ids = [*template, EOS]
        slot = [i > 1 and ids[i] == self.close and ids[i - 2] == self.open and ids[i - 1] in self.phrases for i in range(len(ids))]
        rest = [0] * len(ids)
        for i in reversed(range(len(ids))):
            rest[i] = 1 + (rest[i + 1] + 3 * slot[i + 1] if i + 1 < len(ids) else 0)
        return ids, slot, rest

    def shortest(self, template: list[int]) -> int:
        """Length of the shortest parse under a template, <eos> included."""
        _, slot, rest = self.slots(template)
        return rest[0] + 3 * slot[0]

    @staticmethod
    def rule(inside: bool, slot: bool, last: int, room: int) -> int:
        """What may come next.

        inside: brackets are open within a slot; slot: the template's next token closes one; last: kind of the last token;
        room: how many tokens fit beside those that closing everything takes, at most 4.
        """
        if not (inside or slot and last in (PHRASE, CLOSED)):
            return FORCED
        if last == OPENED:
            return ANY_LABEL if room >= 4 else ANY_TAG  # a label needs itself and what an opened bracket needs
        if last == PHRASE:
            return OPEN
        return EITHER if last == CLOSED and room >= 3 else CLOSE  # bracket, tag, bracket


class TextGrammar:
    """Which tokens of the paraphraser are whole words, and which are pieces that need another after them.

    What is told of a sentence is told in its own numbering, columns of the scores: see `model.copying.CopyHead`.
    """

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, endings: Iterable[int] = (), generation_vocab_size: int | None = None):
        """endings: ids that are the last piece of words and never a word; nothing in their spelling tells. generation_vocab_size: as in
        `model.network.ModelConfig`."""
        first, endings = len(SPECIALS) + len(vocabulary.syntax_ids), frozenset(endings)
        self.output_vocab_size, self.copies = generation_vocab_size or vocab_size, generation_vocab_size is not None
        self.continued = [token.endswith(SEPARATOR) for token in vocabulary.tokens[:vocab_size]]
        self.is_word = [i >= first and not more and i not in endings for i, more in enumerate(self.continued[: self.output_vocab_size])]
        self.words = np.array(self.is_word)  # (W,)

    def width(self, sentences: list[list[int]]) -> int:
        """How many columns the scores of a batch of sentences have."""
        return self.output_vocab_size + (max(map(len, sentences)) if self.copies else 0)

    def columns(self, pieces: list[int]) -> list[int]:
        """A sentence's pieces, numbered as in its row."""
        return [piece if piece < self.output_vocab_size else self.output_vocab_size + pieces.index(piece) for piece in pieces]

    def tokens(self, columns: list[int], pieces: list[int]) -> list[int]:
        """The ids of what a sentence's row has written."""
        return [column if column < self.output_vocab_size else pieces[column - self.output_vocab_size] for column in columns]

    def spelled(self, pieces: list[int]) -> list[tuple[int, ...]]:
        """The words of a sentence, each as its pieces. An unknown piece counts as a word, though it may be a part of one."""
        found, word = [], list[int]()
        for piece, column in zip(pieces, self.columns(pieces)):
            word.append(column)
            if not self.continued[piece]:
                found.append(tuple(word))
                word = []
        return found

    def split_words(self, pieces: list[int]) -> list[tuple[int, ...]]:
        """The words of a sentence that have several pieces, each as its pieces; none with a piece the vocabulary lacks."""
        return [word for word in self.spelled(pieces) if len(word) > 1 and UNK not in word]

    def whole_words(self, pieces: list[int]) -> set[int]:
        """The words of a sentence that are one piece. They may come again, whatever the vocabulary takes them for."""
        return {
            column
            for a, b, column in zip([UNK, *pieces], pieces, self.columns(pieces))
            if b != UNK and not self.continued[a] and not self.continued[b]
        }

    def endings(self, pieces: list[int]) -> list[int]:
        """Last pieces of a sentence's split words, but for those that are words of it as well.

        The network knows that `tions` of `secre@@ tions` was in the sentence: without a rule it is written alone.
        """
        return sorted(
            {column for a, b, column in zip(pieces, pieces[1:], self.columns(pieces)[1:]) if self.continued[a] and not self.continued[b]}
            - self.whole_words(pieces)
        )

    def begin(self, pieces: list[int]) -> list[int]:
        """First pieces of a sentence's words. An unknown piece counts as a word, though it may be a part of one."""
        return [column for a, column in zip([UNK, *pieces], self.columns(pieces)) if not self.continued[a]]

    def follow(self, pieces: list[int]) -> list[tuple[int, int]]:
        """The last piece of each word of a sentence but the last, and the first piece of the word after it."""
        columns = self.columns(pieces)
        return [(a, b) for piece, a, b in zip(pieces, columns, columns[1:]) if not self.continued[piece]]


def trie_of(words: list[tuple[int, ...]]) -> list[list[tuple[int, int, int]]]:
    """Nodes, each a list of edges (piece, next node, fewest steps to the end of a word, this one included)."""
    nodes: list[dict[int, list[int]]] = [{}]
    for word in words:
        node = 0
        for left, piece in zip(range(len(word), 0, -1), word):
            if piece not in nodes[node]:
                if left > 1:
                    nodes.append({})
                nodes[node][piece] = [len(nodes) - 1 if left > 1 else 0, left]
            edge = nodes[node][piece]
            edge[1] = min(edge[1], left)
            node = edge[0]
    return [[(piece, to, need) for piece, (to, need) in node.items()] for node in nodes]
