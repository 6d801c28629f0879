"""The decoding loop, the only one: greedy or sampled, with or without drafts, scored or not, for a batch of rows.

A step feeds each row's last token and, behind it, guesses at the next ones (`proposers.py`). The network verifies all of them in one
call. What it would have chosen itself is kept, up to the first wrong guess and that choice included: each choice is made from the
same scores and the same random number as if there were no guesses, so a wrong guess costs time and changes nothing.

A rule is a `LogitsProcessor` (`processors.py`). The loop knows none of them, and no backend. Shapes as in `model/network.py`: B rows,
A width of the bag, S width of the syntax, V columns of the logits; T tokens a row; N rows that are looked at together.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from handler.decoding.sampling import Decoded, DecodingOptions, choose, logsumexp
from handler.model.network import EOS, PAD, SOS, ModelConfig

DRAFT_BUDGET = 16  # tokens of all rows verified in one step, ...
LEAST_VERIFIED = 3  # ... or so many of each row, if that is more; yet more cost more than they save
SMALL_BATCH = 8  # rows; a smaller batch drops what has ended at once


class Cache(Protocol):
    """What a network carries from step to step, row by row."""

    def select_rows(self, rows: np.ndarray) -> None:
        """Drop all rows but these (kept,)."""
        ...


class Network(Protocol):
    """What a backend offers the loop. It knows nothing of rules."""

    @property
    def config(self) -> ModelConfig: ...

    def encode(self, bag: np.ndarray, syntax: np.ndarray) -> Cache:
        """Read both inputs: ids (B, A) and (B, S), <pad> after each row's end."""
        ...

    def verify(self, tokens: np.ndarray, cache: Any, lengths: list[int]) -> np.ndarray:
        """Feed T tokens a row, (B, T), after the first `lengths` (B) of each; the logits after each of them, (B, T, V) fp32, which
        the next call with this cache may overwrite.

        cache: what `encode` made. What it held beyond these lengths is overwritten: that is how a rejected guess is dropped.
        """
        ...


class Step:
    """The logits of some rows, on their way to scores."""

    def __init__(self, raw: np.ndarray, rows: list[int]):
        self.raw = raw  # (N, V), as the network gave them
        self.scores = raw.copy()  # (N, V), changed in place by the processors; minus infinity forbids
        self.rows = rows  # for each of them its place in the batch
        self._normaliser: np.ndarray | None = None

    @property
    def normaliser(self) -> np.ndarray:
        """log(sum(exp(raw))) of each row, (N,); worked out once, where it is asked for."""
        if self._normaliser is None:
            self._normaliser = logsumexp(self.raw)
        return self._normaliser


class LogitsProcessor:
    """One rule, for all rows of a batch. Its state is a row's own."""

    def process(self, step: Step) -> None:
        """Change the scores of a step; at least one token of each row stays possible."""

    def accept(self, row: int, token: int) -> None:
        """Take note of the token chosen for a row, which is not <eos>."""


class Proposer(Protocol):
    """Guesses at a row's next tokens."""

    longest: int  # tokens of one row verified in one step; more cost more than they save

    def propose(self, row: int, length: int) -> list[int]:
        """At most `length` guesses."""
        ...


def decode(
    net: Network,
    bag: np.ndarray,
    syntax: np.ndarray,
    options: list[DecodingOptions],
    stream: str,
    processors: Sequence[LogitsProcessor] = (),
    proposer: Proposer | None = None,
    scored: bool = True,
) -> list[Decoded]:
    """Decode B rows from <sos> until each has <eos> or `max_steps` tokens.

    bag (B, A) and syntax (B, S) as `Network.encode` takes them; options, one a row; stream names the use of the random numbers;
    scored: work out log-probabilities. A row's tokens depend on its own inputs and options alone.
    """
    limit = net.config.max_steps
    uniforms = [o.uniforms(limit, stream) if o.temperature else [] for o in options]
    decoded = [Decoded() for _ in options]
    batch = list(range(len(options)))  # the rows that the cache holds; those that have ended are among them for a while
    last = [SOS] * len(options)
    cache = net.encode(bag, syntax)
    while True:
        places = [place for place, row in enumerate(batch) if not decoded[row].ended and len(decoded[row].ids) < limit]
        if not places:
            return decoded
        if len(places) < len(batch) and (len(batch) <= SMALL_BATCH or 4 * len(places) <= 3 * len(batch)):
            cache.select_rows(np.array(places))
            batch, places = [batch[place] for place in places], list(range(len(places)))
        lengths = [len(decoded[row].ids) for row in batch]
        guesses: list[list[int]] = [[] for _ in batch]
        if proposer is not None:
            most = min(proposer.longest, max(LEAST_VERIFIED, DRAFT_BUDGET // len(batch)))
            room = min(most, limit - max(lengths[place] for place in places)) - 1
            for place in places if room > 0 else ():
                guesses[place] = proposer.propose(batch[place], room)
        width = 1 + max(map(len, guesses))
        fed = np.full((len(batch), width), PAD, np.int64)
        for place, guess in enumerate(guesses):
            fed[place, : 1 + len(guess)] = [last[batch[place]], *guess]
        logits = net.verify(fed, cache, lengths)  # (B, T, V)
        for t in range(width):
            rows = [batch[place] for place in places]
            step = Step(logits[:, t] if len(places) == len(batch) else logits[places, t], rows)
            for processor in processors:
                processor.process(step)
            drawn = [uniforms[row][lengths[place] + t] if uniforms[row] else 0.0 for row, place in zip(rows, places)]
            tokens = choose(step.scores, [options[row].temperature for row in rows], drawn)
            for i, (row, token) in enumerate(zip(rows, tokens)):
                done = decoded[row]
                done.ids.append(token)
                done.ended = token == EOS
                last[row] = token
                if scored:
                    done.log_probability += float(step.raw[i, token] - step.normaliser[i])
                if not done.ended:
                    for processor in processors:
                        processor.accept(row, token)
            places = [place for place, token in zip(places, tokens) if guesses[place][t : t + 1] == [token] and token != EOS]
            if not places:
                break
