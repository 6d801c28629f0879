"""How one token is chosen from scores, and what a row's choices depend on. No network."""

import random
from dataclasses import dataclass, field

import numpy as np

LEAST_TEMPERATURE = 1e-3  # of a sampled row; below it the quotient would overflow


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


def choose(scores: np.ndarray, temperatures: list[float], uniforms: list[float]) -> list[int]:
    """The next token of each row.

    scores (N, V), minus infinity where forbidden; uniforms in [0, 1), read where the temperature is above 0. Sampling inverts the
    cumulative distribution, so one number decides a row's token and no row depends on another's draw.
    """
    tokens = scores.argmax(1).tolist()
    for i, temperature in enumerate(temperatures):
        if temperature:
            heated = scores[i] / np.float32(max(temperature, LEAST_TEMPERATURE))
            weights = np.exp(heated - heated[tokens[i]])  # the likeliest has weight 1
            cumulative = weights.cumsum(dtype=np.float64)
            drawn = int(cumulative.searchsorted(uniforms[i] * cumulative[-1], side="right"))
            tokens[i] = min(drawn, len(cumulative) - 1)
    return tokens


def logsumexp(logits: np.ndarray) -> np.ndarray:
    """Of each row of (N, V), which may hold minus infinity but not nothing else: (N,) fp32."""
    most = logits.max(1, keepdims=True)
    return np.log(np.exp(logits - most).sum(1)) + most[:, 0]
