"""The decoding loop: greedy or sampled, a token a step, for a batch of rows, until every row has ended.

`speculative.py` has several guessed tokens verified in one step and gives the same tokens.
No strings, no vocabulary beyond the ids it is given. Shapes as in `model/network.py`: B rows, A, S, V.
"""

from typing import Protocol

import torch
from torch import Tensor

from handler.decoding.sampling import Decoded, DecodingOptions, choose
from handler.model.network import EOS, SOS, KVCache, ModelConfig


class LogitsProcessor(Protocol):
    """What may come next, for all rows of a batch at once."""

    def process(self, scores: Tensor) -> Tensor:
        """The scores (B, V) with minus infinity where a token may not come next; at least one per row may."""

    def accept(self, tokens: Tensor) -> None:
        """Take note of the tokens chosen, (B,)."""

    def select_rows(self, rows: Tensor) -> None:
        """Drop all rows but these (kept,)."""


class Steppable(Protocol):
    """A network that can be decoded a token a step; see `SynPG`, which is one."""

    config: ModelConfig

    def encode(self, bag: Tensor, syntax: Tensor) -> KVCache: ...

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor: ...


@torch.inference_mode()
def generate(
    net: Steppable,
    bag: Tensor,
    syntax: Tensor,
    options: list[DecodingOptions],
    stream: str,
    processor: LogitsProcessor | None = None,
    scored: bool = True,
) -> list[Decoded]:
    """Decode B rows from <sos> until each has <eos> or `max_steps` tokens.

    bag (B, A) and syntax (B, S) as `SynPG.encode` takes them; options, one a row; scored: work out log-probabilities.
    A row's tokens depend on its own inputs and options alone.
    """
    device, steps = bag.device, net.config.max_steps  # choosing is done on the CPU, wherever the network is
    temperatures = torch.tensor([o.temperature for o in options], dtype=torch.float)
    uniforms = torch.tensor(
        [o.uniforms(steps, stream) if o.temperature else [0.0] * steps for o in options], dtype=torch.double
    )  # (B, steps)
    decoded = [Decoded() for _ in options]
    rows = list(range(len(options)))  # which row of the request each row of the shrinking batch is
    cache = net.encode(bag, syntax)
    tokens = torch.full((len(rows),), SOS)
    for step in range(steps):
        logits = net.step(tokens.to(device), cache).float().cpu()  # (B, V)
        scores = logits if processor is None else processor.process(logits)
        tokens = choose(scores, temperatures, uniforms[:, step])
        token_logprobs = (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)).tolist() if scored else [0.0] * len(rows)
        for row, token, log_probability in zip(rows, tokens.tolist(), token_logprobs):
            if not decoded[row].ended:
                decoded[row].ids.append(token)
                decoded[row].log_probability += log_probability
                decoded[row].ended = token == EOS
        open_rows = [i for i, row in enumerate(rows) if not decoded[row].ended]
        if not open_rows:
            break
        if processor is not None:
            processor.accept(tokens)
        if 2 * len(open_rows) <= len(rows):  # half have ended: the others go on alone
            kept = torch.tensor(open_rows)
            cache.select_rows(kept.to(device))
            tokens, temperatures, uniforms = tokens[kept], temperatures[kept], uniforms[kept]
            rows = [rows[i] for i in open_rows]
            if processor is not None:
                processor.select_rows(kept)
    return decoded
