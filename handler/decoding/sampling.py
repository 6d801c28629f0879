"""How one token is chosen from scores, and what a row's choices depend on. No network."""

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecodingOptions:
    """How one row is decoded. Belongs to the row: neighbours in the batch have no influence on it."""

    temperature: float = 0.5  # 0 takes the likeliest token; otherwise softmax(logits / temperature) is sampled
    seed: int = 0  # of the row's own random numbers; unused at temperature 0
    candidate: int = 0  # which of several that compete for one answer; each has random numbers of its own

    def uniforms(self, count: int, stream: str) -> list[float]:
        """The row's random numbers in [0, 1), the same on every device and in every batch; `stream` names their use."""
        draw = random.Random(f"{stream}:{self.seed}" + (f":{self.candidate}" if self.candidate else "")).random
        return [draw() for _ in range(count)]


@dataclass
class Decoded:
    """One row's tokens, <eos> included when it was reached."""

    ids: list[int] = field(default_factory=list)
    log_probability: float = 0.0  # natural log, at temperature 1, of these tokens under the unconstrained network; 0 if not scored
    ended: bool = False  # False: the step limit came first


def choose(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
    """The next token of each row, (B,).

    logits (B, V), minus infinity where forbidden; temperatures (B,); uniforms (B,) in [0, 1). Sampling inverts the
    cumulative distribution, so one number decides a row's token and no row depends on another's draw.
    """
    if not temperatures.any():
        return logits.argmax(-1)
    return sample(logits, temperatures, uniforms) if temperatures.all() else draw(logits, temperatures, uniforms)


def draw(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
    """`choose` without asking first whether any row is sampled, for which a GPU would have to be waited for."""
    return torch.where(temperatures > 0, sample(logits, temperatures, uniforms), logits.argmax(-1))


def sample(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
    """`choose` where every temperature is above 0."""
    heated = logits / temperatures.clamp_min(1e-3)[:, None]
    cumulative = torch.softmax(heated, -1).double().cumsum(-1)  # (B, V)
    drawn = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
    return drawn.clamp_max(logits.shape[1] - 1)
