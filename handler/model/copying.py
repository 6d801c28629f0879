"""Rare words are copied from the sentence instead of written from the vocabulary. Torch only.

Shapes as in `network.py`: B rows, A width of the bag, E model width, V vocabulary, W tokens that are written freely, T positions.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class CopyHead(NamedTuple):
    """How a batch's texts have tokens beyond the freely written ones: each from its own sentence, by place.

    Such tokens are rare: training has hardly seen them, so their rows mean something beside a sentence that has them, and nothing
    elsewhere. A text's tokens are therefore numbered anew, in its row: those below W as in the vocabulary, and W + j is the
    token at place j of the bag. `to_extended_ids` and `to_token_ids` go from one numbering to the other.
    """

    bag: Tensor  # (B, A)
    weight: Tensor  # (B, E, A), rows of the output layer
    bias: Tensor  # (B, 1, A), with minus infinity where a token is not rare, or was there before

    @classmethod
    def of(cls, bag: Tensor, generation_vocab_size: int, weight: Tensor, bias: Tensor) -> "CopyHead":
        """bag (B, A); weight (V - W, E) and bias (V - W) of the output layer, of the rare tokens only."""
        if not len(weight):  # no token is rare, but there is a row to look up
            weight, bias = weight.new_zeros(1, weight.shape[1]), bias.new_zeros(1)
        rare = (bag - generation_vocab_size).clamp_min(0)
        first = to_extended_ids(bag, bag, generation_vocab_size) == generation_vocab_size + torch.arange(bag.shape[1], device=bag.device)
        return cls(
            bag,
            F.embedding(rare, weight).transpose(1, 2),
            F.embedding(rare, bias[:, None]).transpose(1, 2).masked_fill(~first[:, None], -math.inf),
        )

    def logits(self, states: Tensor) -> Tensor:
        """Of decoder states (B, T, E): (B, T, A)."""
        return torch.baddbmm(self.bias, states, self.weight)

    def select_rows(self, rows: Tensor) -> "CopyHead":
        return CopyHead(*(t.index_select(0, rows) for t in self))


def to_extended_ids(bag: Tensor, tokens: Tensor, generation_vocab_size: int) -> Tensor:
    """Tokens (B, T) in the numbering of their rows, whose bags (B, A) are; -1 for a rare one that the bag lacks."""
    there = bag[:, None] == tokens[:, :, None]  # (B, T, A)
    place = there.byte().argmax(-1) + generation_vocab_size  # of the first of several
    return torch.where(tokens < generation_vocab_size, tokens, place.masked_fill(~there.any(-1), -1))


def to_token_ids(bag: Tensor, columns: Tensor, generation_vocab_size: int) -> Tensor:
    """The way back: columns (B, T), none of them -1."""
    return torch.where(columns < generation_vocab_size, columns, bag.gather(1, (columns - generation_vocab_size).clamp_min(0)))
