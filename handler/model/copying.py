"""Pointer-generator copying: rare words are copied from the sentence, not written from the vocabulary. Torch only.

Shapes as in `network.py`: B rows, A width of the bag, E model width, V vocabulary, W tokens that may be written freely, T positions.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class CopyHead(NamedTuple):
    """The logits of tokens that a batch's texts may copy, each row from its own sentence, by place.

    These tokens are rare. Training has hardly seen them, so their output weights are useful only where the sentence contains
    them. Each row therefore numbers its tokens anew: tokens below W as in the vocabulary, and W + j for the token at place j of the
    bag. `to_extended_ids` and `to_token_ids` convert between the two numberings.
    """

    bag: Tensor  # (B, A)
    weight: Tensor  # (B, E, A), rows of the output layer for the bag's tokens
    bias: Tensor  # (B, 1, A), minus infinity where a token is not rare, or has occurred before in the bag

    @classmethod
    def of(cls, bag: Tensor, generation_vocab_size: int, weight: Tensor, bias: Tensor) -> "CopyHead":
        """bag (B, A); weight (V - W, E) and bias (V - W) of the output layer, for the rare tokens only."""
        if not len(weight):  # no token is rare, but the lookup needs a row
            weight, bias = weight.new_zeros(1, weight.shape[1]), bias.new_zeros(1)
        rare = (bag - generation_vocab_size).clamp_min(0)
        first = to_extended_ids(bag, bag, generation_vocab_size) == generation_vocab_size + torch.arange(bag.shape[1], device=bag.device)
        return cls(
            bag,
            F.embedding(rare, weight).transpose(1, 2),
            F.embedding(rare, bias[:, None]).transpose(1, 2).masked_fill(~first[:, None], -math.inf),
        )

    def logits(self, states: Tensor) -> Tensor:
        """The logits (B, T, A) of decoder states (B, T, E)."""
        return torch.baddbmm(self.bias, states, self.weight)

    def select_rows(self, rows: Tensor) -> "CopyHead":
        return CopyHead(*(t.index_select(0, rows) for t in self))


def to_extended_ids(bag: Tensor, tokens: Tensor, generation_vocab_size: int) -> Tensor:
    """Vocabulary ids (B, T) to the numbering of their rows, given the bags (B, A); -1 for a rare token that is not in the bag."""
    there = bag[:, None] == tokens[:, :, None]  # (B, T, A)
    place = there.byte().argmax(-1) + generation_vocab_size  # of the first of several
    return torch.where(tokens < generation_vocab_size, tokens, place.masked_fill(~there.any(-1), -1))


def to_token_ids(bag: Tensor, columns: Tensor, generation_vocab_size: int) -> Tensor:
    """The numbering of the rows, columns (B, T) without -1, back to vocabulary ids."""
    return torch.where(columns < generation_vocab_size, columns, bag.gather(1, (columns - generation_vocab_size).clamp_min(0)))
