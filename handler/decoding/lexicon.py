"""Which parts of speech a word may be, so that the k-th word of a text fits the k-th leaf of the parse it follows.

A small network loses count in a long parse; the rules of `matchers.py` keep it, and this table says which
words fit a leaf. It is made of counts over the training corpus; a word of several pieces is known by its first.
Shapes: B rows, T tags (`trees.TAGS`, sorted), V vocabulary, A words of a sentence.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from handler.language.word_classes import KIN, NO_TAG, ROWS

RARE = 5  # a word counted less often is rare, ...
ALPHA = 1.0  # ... and what rare words are counts so often for each word
FLOOR = -6.0  # nats; a corpus and its parser are never quite right
SOURCE_COUNT = 20  # how often a word of the sentence counts as what it is there: a rare name is known by it
FILL = 0  # <pad>, which is never a word


class Lexicon:
    """log p(tag | first piece of a word) times a weight: what a leaf adds to the scores of the words that may come there."""

    def __init__(self, counts: np.ndarray, weight: float, copies: int = 0):
        """counts (T, V): how often words that begin with a piece had a tag; see `learn`. copies: columns to add, for words of which
        nothing is known (`model.copying.CopyHead`)."""
        self.weight, self.counts = weight, torch.from_numpy(np.pad(counts.astype(np.int32), ((0, 0), (0, copies))))
        rare = self.counts[:, self.counts.sum(0) < RARE].sum(1).double()  # (T,)
        self.rare = rare / rare.sum() if rare.any() else torch.full_like(rare, 1 / len(rare))
        self.table = self._rows(self.counts)  # (1 + T, V) fp32, row NO_TAG first
        self.common = [FILL, *self.counts.argmax(1).tolist()]  # of each row, the commonest word

    def _rows(self, counts: Tensor) -> Tensor:
        """Rows of the table for N words from their counts: (T, N) to (1 + T, N)."""
        counts = counts.double()  # rounded at the end: the same in every batch
        logs = ((counts + ALPHA * self.rare[:, None]) / (counts.sum(0) + ALPHA)).log().clamp_min(FLOOR)
        return F.pad(self.weight * logs, (0, 0, 1, 0)).float()

    def own(self, tagged_words: list[list[tuple[int, int]]]) -> tuple[Tensor, Tensor, Tensor]:
        """Columns of the table for the words of each row's own sentence: pieces (B, A), FILL after a row's last; (B, 1 + T, A); and
        which words are of a tag's kind, the same shape.

        tagged_words: as in `Alignment`.
        """
        places = [{piece: i for i, piece in enumerate(dict.fromkeys(piece for piece, _ in row))} for row in tagged_words]
        width = max(1, *map(len, places))
        pieces = torch.tensor([[*row, *[FILL] * (width - len(row))] for row in places])
        counts = self.counts.index_select(1, pieces.flatten())  # (T, B * A)
        there = torch.tensor(
            [(tag - 1, i * width + places[i][piece]) for i, row in enumerate(tagged_words) for piece, tag in row], dtype=torch.long
        ).view(-1, 2)
        counts.index_put_((there[:, 0], there[:, 1]), torch.tensor(SOURCE_COUNT, dtype=counts.dtype), accumulate=True)
        kin = torch.zeros(len(tagged_words), 1 + len(ROWS), width, dtype=torch.bool)
        for i, row in enumerate(tagged_words):
            for piece, tag in row:
                kin[i, KIN.get(tag, ()), places[i][piece]] = True
        return pieces, self._rows(counts).view(-1, len(tagged_words), width).transpose(0, 1).contiguous(), kin


class Alignment(NamedTuple):
    """What a batch of texts is to follow: each row its parse, one word a leaf."""

    lexicon: Lexicon
    leaves: list[list[int]]  # rows of the table, NO_TAG where any word will do; a row without leaves follows none
    tagged_words: list[list[tuple[int, int]]]  # first piece and tag (row of the table) of the sentence's words; empty if not known


def learn(pieces: np.ndarray, tags: np.ndarray, size: int) -> np.ndarray:
    """Counts (T, V) of words by their first pieces (N,) and their tags (N,), rows of the table; `size` is V."""
    known = tags != NO_TAG
    places = (tags[known].astype(np.int64) - 1) * size + pieces[known]
    return np.bincount(places, minlength=len(ROWS) * size).reshape(len(ROWS), size)


def packed(counts: np.ndarray) -> np.ndarray:
    """Counts (T, V) as uint16. Those of a word that has more than fit are scaled down together."""
    most = np.iinfo(np.uint16).max
    return np.rint(counts * np.minimum(1, most / np.maximum(1, counts.max(0)))).astype(np.uint16)
