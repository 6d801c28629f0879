"""Which parts of speech a word may be, so that the k-th word of a text fits the k-th leaf of the parse it follows.

A small network loses count in a long parse; the rules of `processors.py` keep it, and this table says which
words fit a leaf. It is made of counts over the training corpus; a word of several pieces is known by its first.
Shapes: B rows, T tags (`trees.TAGS`, sorted), P split tags (`split_tags.SPLIT`), V vocabulary, A words of a sentence.
"""

from typing import NamedTuple

import numpy as np

from handler.language.split_tags import SPLIT
from handler.language.word_classes import KIN, NO_TAG, ROWS

RARE = 5  # a word counted less often is rare, ...
ALPHA = 1.0  # ... and what rare words are counts so often for each word
FLOOR = -6.0  # nats; a corpus and its parser are never quite right
SPLIT_ALPHA = 5.0  # what the places of a tag count for each word of it, as they are for the tag
SPLIT_BOUND = 4.0  # nats; the most that the place of a tag may add or take, before its weight
SOURCE_COUNT = 20  # how often a word of the sentence counts as what it is there: a rare name is known by it
FILL = 0  # <pad>, which is never a word


class Lexicon:
    """log p(tag | first piece of a word) times a weight: what a leaf adds to the scores of the words that may come there."""

    def __init__(
        self, counts: np.ndarray, weight: float, copies: int = 0, split_counts: np.ndarray | None = None, split_weight: float = 0.0
    ):
        """counts (T, V): how often words that begin with a piece had a tag; see `learn`. copies: columns to add, for words of which
        nothing is known (`model.copying.CopyHead`). split_counts (P, V): how often they had a split tag; split_weight: times what the
        place of a tag says of a word, on top of its tag."""
        self.weight, self.counts = weight, np.pad(counts.astype(np.int32), ((0, 0), (0, copies)))
        rare = self.counts[:, self.counts.sum(0) < RARE].sum(1).astype(np.float64)  # (T,)
        self.rare = rare / rare.sum() if rare.any() else np.full_like(rare, 1 / len(rare))
        self.table = self._rows(self.counts)  # (1 + T, V) fp32, row NO_TAG first; with split tags (1 + T + P, V)
        self.common = [FILL, *self.counts.argmax(1).tolist()]  # of each row, the commonest word
        self.tag_of = list(range(len(self.table)))  # of each row, the row of its tag
        self.splits: np.ndarray | None = None  # (P, V), added to the row of its tag
        if split_counts is not None and split_weight:
            split_counts = np.pad(split_counts.astype(np.int32), ((0, 0), (0, copies)))
            self.splits = (split_weight * self._places_of(split_counts)).astype(np.float32)
            self.tag_of += [ROWS[tag] for tag, _ in SPLIT]
            self.table = np.concatenate([self.table, self.table[self.tag_of[len(self.table) :]] + self.splits])
            self.common += split_counts.argmax(1).tolist()

    def _rows(self, counts: np.ndarray) -> np.ndarray:
        """Rows of the table for N words from their counts: (T, N) to (1 + T, N)."""
        shares = (counts + ALPHA * self.rare[:, None]) / (counts.sum(0) + ALPHA)  # in fp64, rounded at the end: the same in every batch
        logs = np.log(shares, where=shares > 0, out=np.full_like(shares, FLOOR)).clip(FLOOR)
        return np.pad(self.weight * logs, ((1, 0), (0, 0))).astype(np.float32)

    def _places_of(self, split_counts: np.ndarray) -> np.ndarray:
        """ln p(place | word, tag) / p(place | tag) of each split tag and word, (P, V); 0 for a word that never had the tag."""
        of_tag = np.array([[one == tag for one, _ in SPLIT] for tag, _ in SPLIT], np.float64)  # (P, P)
        tag_counts = of_tag @ split_counts  # (P, V)
        shares = (split_counts.sum(1) + 1) / (tag_counts.sum(1) + of_tag.sum(1))  # (P,)
        logs = np.log((split_counts + SPLIT_ALPHA * shares[:, None]) / (tag_counts + SPLIT_ALPHA) / shares[:, None])
        return logs.clip(-SPLIT_BOUND, SPLIT_BOUND)

    def own(self, tagged_words: list[list[tuple[int, int]]], split: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Columns of the table for the words of each row's own sentence: pieces (B, A), FILL after a row's last; and (B, 1 + T, A), with
        split tags (B, 1 + T + P, A).

        tagged_words: as in `Alignment`. split: whether the rows of split tags are wanted; no leaf of a moved parse has one.
        """
        pieces, places = self._places(tagged_words)
        B, A = pieces.shape
        counts = self.counts[:, pieces.ravel()]  # (T, B * A)
        for i, row in enumerate(tagged_words):
            for piece, tag in row:
                counts[tag - 1, i * A + places[i][piece]] += SOURCE_COUNT
        rows = self._rows(counts)
        if split and self.splits is not None:
            rows = np.concatenate([rows, rows[self.tag_of[len(rows) :]] + self.splits[:, pieces.ravel()]])
        return pieces, rows.reshape(-1, B, A).transpose(1, 0, 2).copy()

    def kin(self, tagged_words: list[list[tuple[int, int]]]) -> np.ndarray:
        """Which words of each row's own sentence are of a tag's kind, (B, 1 + T, A), with split tags (B, 1 + T + P, A)."""
        pieces, places = self._places(tagged_words)
        found = np.zeros((len(pieces), 1 + len(ROWS), pieces.shape[1]), bool)
        for i, row in enumerate(tagged_words):
            for piece, tag in row:
                found[i, KIN.get(tag, ()), places[i][piece]] = True
        return found if self.splits is None else found[:, self.tag_of]

    @staticmethod
    def _places(tagged_words: list[list[tuple[int, int]]]) -> tuple[np.ndarray, list[dict[int, int]]]:
        """The distinct pieces of each row (B, A), FILL after a row's last, and where each piece stands."""
        places = [{piece: i for i, piece in enumerate(dict.fromkeys(piece for piece, _ in row))} for row in tagged_words]
        width = max(1, *map(len, places))
        return np.array([[*row, *[FILL] * (width - len(row))] for row in places]), places


class Alignment(NamedTuple):
    """What a batch of texts is to follow: each row its parse, one word a leaf."""

    lexicon: Lexicon
    leaves: list[list[int]]  # rows of the table, NO_TAG where any word will do; a row without leaves follows none
    tagged_words: list[list[tuple[int, int]]]  # first piece and tag (row of the table) of the sentence's words; empty if not known
    # Of a row whose parse was made by moving the source's constituents: the word of each leaf, by its first piece; else empty.
    leaf_words: list[list[int]] | None = None
    # Of a row whose last leaf is that of a mark, and whose clause decides on it: the mark; else FILL.
    marks: list[int] | None = None


def learn(pieces: np.ndarray, tags: np.ndarray, size: int, rows: int = len(ROWS)) -> np.ndarray:
    """Counts (T, V) of words by their first pieces (N,) and their tags (N,), rows of the table; `size` is V. Likewise (P, V) of split
    tags, numbered from 1, of which there are `rows`."""
    known = tags != NO_TAG
    places = (tags[known].astype(np.int64) - 1) * size + pieces[known]
    return np.bincount(places, minlength=rows * size).reshape(rows, size)


def packed(counts: np.ndarray, split_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (T, V) and (P, V) as uint16. Those of a word that has more than fit are scaled down together."""
    scale = np.minimum(1, np.iinfo(np.uint16).max / np.maximum(1, counts.max(0)))
    return np.rint(counts * scale).astype(np.uint16), np.rint(split_counts * scale).astype(np.uint16)
