"""The decoding loop: one token a step for a batch of rows, greedy or sampled, until every row has ended.

No strings, no vocabulary beyond the ids it is given. Shapes as in `model.py`: B rows, A, S, V.
"""

import random
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from handler.model import EOS, SOS, SynPG


@dataclass(frozen=True)
class DecodingOptions:
    """How one row is decoded. Belongs to the row: neighbours in the batch have no influence on it."""

    temperature: float = 0.5  # 0 takes the likeliest token; otherwise softmax(logits / temperature) is sampled
    seed: int = 0  # of the row's own random numbers; unused at temperature 0

    def uniforms(self, count: int, stream: str) -> list[float]:
        """The row's random numbers in [0, 1), the same on every device and in every batch; `stream` names their use."""
        draw = random.Random(f"{stream}:{self.seed}").random
        return [draw() for _ in range(count)]


@dataclass
class Decoded:
    """One row's tokens, <eos> included when it was reached."""

    ids: list[int] = field(default_factory=list)
    log_probability: float = 0.0  # natural log, at temperature 1, of these tokens under the unconstrained network
    ended: bool = False  # False: the step limit came first


class Constraint(Protocol):
    """What may come next, for all rows of a batch at once."""

    def adjust(self, scores: Tensor) -> Tensor:
        """The scores (B, V) with minus infinity where a token may not come next; at least one per row may."""

    def advance(self, tokens: Tensor) -> None:
        """Take note of the tokens chosen, (B,)."""

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these (kept,)."""


def choose(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
    """The next token of each row, (B,).

    logits (B, V), minus infinity where forbidden; temperatures (B,); uniforms (B,) in [0, 1). Sampling inverts the
    cumulative distribution, so one number decides a row's token and no row depends on another's draw.
    """
    greedy = logits.argmax(-1)
    if not temperatures.any():
        return greedy
    heated = logits / temperatures.clamp_min(1e-3)[:, None]
    cumulative = torch.softmax(heated, -1).double().cumsum(-1)  # (B, V)
    drawn = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
    return torch.where(temperatures > 0, drawn.clamp_max(logits.shape[1] - 1), greedy)


@torch.inference_mode()
def generate(net: SynPG, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str,
             constraint: Constraint | None = None) -> list[Decoded]:
    """Decode B rows from <sos> until each has <eos> or `max_steps` tokens.

    bag (B, A) and syntax (B, S) as `SynPG.encode` takes them; options, one a row.
    A row's tokens depend on its own inputs and options alone.
    """
    device, steps = bag.device, net.config.max_steps
    temperatures = torch.tensor([o.temperature for o in options], dtype=torch.float, device=device)
    uniforms = torch.tensor([o.uniforms(steps, stream) if o.temperature else [0.0] * steps for o in options],
                            dtype=torch.double, device=device)  # (B, steps)
    decoded = [Decoded() for _ in options]
    rows = list(range(len(options)))  # which row of the request each row of the shrinking batch is
    cache = net.encode(bag, syntax)
    tokens = torch.full((len(rows),), SOS, device=device)
    for step in range(steps):
        logits = net.step(tokens, cache).float()  # (B, V)
        scores = logits if constraint is None else constraint.adjust(logits)
        tokens = choose(scores, temperatures, uniforms[:, step])
        log_probabilities = (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)).tolist()
        for row, token, log_probability in zip(rows, tokens.tolist(), log_probabilities):
            if not decoded[row].ended:
                decoded[row].ids.append(token)
                decoded[row].log_probability += log_probability
                decoded[row].ended = token == EOS
        open_rows = [i for i, row in enumerate(rows) if not decoded[row].ended]
        if not open_rows:
            break
        if constraint is not None:
            constraint.advance(tokens)
        if 2 * len(open_rows) <= len(rows):  # half have ended: the others go on alone
            kept = torch.tensor(open_rows, device=device)
            cache.keep(kept)
            tokens, temperatures, uniforms = tokens[kept], temperatures[kept], uniforms[kept]
            rows = [rows[i] for i in open_rows]
            if constraint is not None:
                constraint.keep(kept)
    return decoded
