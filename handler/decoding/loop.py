"""The decoding loops: greedy or sampled, for a batch of rows, until every row has ended.

`generate` takes a token a step. `draft_parses` and `draft_texts` have several guessed tokens verified in one step; they give
the same tokens.
No strings, no vocabulary beyond the ids it is given. Shapes as in `model.py`: B rows, A, S, V.
"""

import random
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from handler.drafts import Drafts
from handler.engine import Engine
from handler.machines import ParseMachines, TextMachines
from handler.model import EOS, PAD, SOS, SynPG

DRAFT_BUDGET = 16  # tokens of all rows verified in one step, ...
PARSE_DRAFT, TEXT_DRAFT = 8, 6  # ... and at most so many of one row; more cost more than they save


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


@torch.inference_mode()
def generate(net: SynPG | Engine, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str,
             constraint: Constraint | None = None, scored: bool = True) -> list[Decoded]:
    """Decode B rows from <sos> until each has <eos> or `max_steps` tokens.

    bag (B, A) and syntax (B, S) as `SynPG.encode` takes them; options, one a row; scored: work out log-probabilities.
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
        gains = (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)).tolist() if scored else [0.0] * len(rows)
        for row, token, log_probability in zip(rows, tokens.tolist(), gains):
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


@torch.inference_mode()
def draft_parses(net: Engine, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str,
                 machines: ParseMachines, drafts: Drafts, scored: bool = False) -> list[Decoded]:
    """`generate` with drafts: each step feeds a row's last token and guesses at the next ones, and keeps what the network
    itself chooses up to the first wrong guess, that choice included.

    The choice at a position is `choose`'s, from the same scores and the same random number as one token at a time would
    have, so a wrong guess costs time and nothing else. On a CPU a step of eight tokens takes little longer than one of one.
    """
    steps = net.config.max_steps
    uniforms = [o.uniforms(steps, stream) if o.temperature else [0.0] * steps for o in options]
    decoded, sampled = [Decoded() for _ in options], any(o.temperature for o in options)
    rows, states = list(range(len(options))), list(machines.states)
    histories = [bytes([SOS])] * len(rows)
    cache = net.encode(bag, syntax)
    while rows:
        longest = max(1, min(PARSE_DRAFT, DRAFT_BUDGET // len(rows), *(steps - len(decoded[row].ids) for row in rows)))
        guesses, paths = zip(*(_draft(machines, row, states[row], histories[row], longest, drafts) for row in rows))
        width = 1 + max(map(len, guesses))
        fed = torch.tensor([[histories[row][-1], *guess, *[0] * (width - 1 - len(guess))] for row, guess in zip(rows, guesses)])
        logits = net.extend(fed, cache, [len(decoded[row].ids) for row in rows]).float()  # (B, T, V)
        masks = [[machines.rows[row].mask(state) for state in path] + [machines.rows[row].mask(path[-1])] * (width - len(path))
                 for row, path in zip(rows, paths)]
        scores = logits + machines.tables.masks[torch.tensor(masks)]
        if sampled:
            temperatures = torch.tensor([options[row].temperature for row in rows]).repeat_interleave(width)
            drawn = torch.tensor([uniforms[row][min(len(decoded[row].ids) + i, steps - 1)] for row in rows for i in range(width)],
                                 dtype=torch.double)
            tokens = choose(scores.flatten(0, 1), temperatures, drawn).view(len(rows), width)
        else:
            tokens = scores.argmax(-1)
        gains = logits.log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0].tolist() if scored else [()] * len(rows)
        for row, guess, path, chosen, gain in zip(rows, guesses, paths, tokens.tolist(), gains):
            kept = next((i for i, token in enumerate(guess) if chosen[i] != token), len(guess)) + 1
            decoded[row].log_probability += sum(gain[:kept])
            decoded[row].ids += chosen[:kept]
            decoded[row].ended = chosen[kept - 1] == EOS
            histories[row] += bytes(chosen[:kept])
            states[row] = machines.rows[row].after(path[kept - 1], chosen[kept - 1])
        open_rows = [i for i, row in enumerate(rows) if not decoded[row].ended and len(decoded[row].ids) < steps]
        if len(open_rows) < len(rows):
            cache.keep(torch.tensor(open_rows, dtype=torch.long))
            rows = [rows[i] for i in open_rows]
    return decoded


@torch.inference_mode()
def draft_texts(net: Engine, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str, machines: TextMachines,
                scored: bool = True) -> list[Decoded]:
    """`generate` with drafts: as `draft_parses`, but a choice among a whole vocabulary costs too much to make it at positions
    that come after a wrong guess. So the positions of a step are gone through one after the other."""
    steps = net.config.max_steps
    temperatures = torch.tensor([o.temperature for o in options], dtype=torch.float)
    uniforms = torch.tensor([o.uniforms(steps, stream) if o.temperature else [0.0] * steps for o in options], dtype=torch.double)
    decoded = [Decoded() for _ in options]
    rows, last = list(range(len(options))), [SOS] * len(options)
    cache = net.encode(bag, syntax)
    while rows:
        lengths = [len(decoded[row].ids) for row in rows]
        longest = max(1, min(TEXT_DRAFT, DRAFT_BUDGET // len(rows), steps - max(lengths)))
        guesses = [machines.guess(i, longest - 1) for i in range(len(rows))]
        width = 1 + max(map(len, guesses))
        fed = torch.tensor([[last[row], *guess, *[PAD] * (width - 1 - len(guess))] for row, guess in zip(rows, guesses)])
        logits = net.extend(fed, cache, lengths).float()  # (B, T, V)
        right = list(range(len(rows)))  # places in the batch where every guess so far was right
        for i in range(width):
            places = [rows[place] for place in right]
            given = logits[right, i]
            tokens = choose(machines.adjust(given, right), temperatures[places],
                            uniforms[places, [lengths[place] + i for place in right]])
            gains = (given.gather(1, tokens[:, None])[:, 0] - given.logsumexp(-1)).tolist() if scored else [0.0] * len(right)
            machines.advance(tokens, right)
            chosen = dict(zip(right, tokens.tolist()))
            for place, gain in zip(right, gains):
                row = rows[place]
                last[row] = chosen[place]
                decoded[row].ids.append(last[row])
                decoded[row].log_probability += gain
                decoded[row].ended = last[row] == EOS
            right = [place for place, token in chosen.items() if guesses[place][i : i + 1] == [token] and token != EOS]
            if not right:
                break
        open_rows = [i for i, row in enumerate(rows) if not decoded[row].ended and len(decoded[row].ids) < steps]
        if len(open_rows) < len(rows):
            kept = torch.tensor(open_rows, dtype=torch.long)
            cache.keep(kept)
            machines.keep(kept)
            rows = [rows[i] for i in open_rows]
    return decoded


def _draft(machines: ParseMachines, row: int, state, history: bytes, length: int, drafts: Drafts) -> tuple[list[int], list]:
    """At most `length` - 1 guesses, and the machine's states before each of them and after the last."""
    guess, path = [], [state]
    while len(path) < length:
        allowed = machines.tables.allowed[machines.rows[row].mask(path[-1])]
        token = next(iter(allowed)) if len(allowed) == 1 else drafts.guess(history, allowed)
        if token is None or token == EOS:
            break
        guess.append(token)
        history += bytes([token])
        path.append(machines.rows[row].after(path[-1], token))
    return guess, path
