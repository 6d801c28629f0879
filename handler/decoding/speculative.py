"""Speculative decoding: several guessed tokens are verified in one step, and what the network itself would have chosen is kept.

The tokens are those of `loop.generate`. On a CPU a step of eight tokens takes little longer than one of one.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from handler.decoding.matchers import ParseMatchers, TextMatchers
from handler.decoding.proposer import NgramProposer
from handler.decoding.sampling import Decoded, DecodingOptions, choose
from handler.model.network import EOS, PAD, SOS, KVCache, ModelConfig

DRAFT_BUDGET = 16  # tokens of all rows verified in one step, ...
PARSE_DRAFT, TEXT_DRAFT = 8, 6  # ... and at most so many of one row; more cost more than they save


class Verifier(Protocol):
    """A network that takes several tokens a row, and rows of different lengths."""

    config: ModelConfig

    def encode(self, bag: Tensor, syntax: Tensor) -> KVCache: ...

    def verify(self, tokens: Tensor, cache: KVCache, lengths: list[int]) -> Tensor:
        """Feed tokens (B, T) to rows of which `lengths` tokens have been kept; the logits after each, (B, T, V)."""
        ...


@torch.inference_mode()
def draft_parses(
    net: Verifier,
    bag: Tensor,
    syntax: Tensor,
    options: list[DecodingOptions],
    stream: str,
    matchers: ParseMatchers,
    proposer: NgramProposer,
    scored: bool = False,
) -> list[Decoded]:
    """`generate` with drafts: each step feeds a row's last token and guesses at the next ones, and keeps what the network
    itself chooses up to the first wrong guess, that choice included.

    The choice at a position is `choose`'s, from the same scores and the same random number as one token at a time would
    have, so a wrong guess costs time and nothing else. On a CPU a step of eight tokens takes little longer than one of one.
    """
    steps = net.config.max_steps
    uniforms = [o.uniforms(steps, stream) if o.temperature else [0.0] * steps for o in options]
    decoded, sampled = [Decoded() for _ in options], any(o.temperature for o in options)
    rows, states = list(range(len(options))), list(matchers.states)
    histories = [bytes([SOS])] * len(rows)
    cache = net.encode(bag, syntax)
    while rows:
        longest = max(1, min(PARSE_DRAFT, DRAFT_BUDGET // len(rows), *(steps - len(decoded[row].ids) for row in rows)))
        guesses, paths = zip(*(_draft(matchers, row, states[row], histories[row], longest, proposer) for row in rows))
        width = 1 + max(map(len, guesses))
        fed = torch.tensor([[histories[row][-1], *guess, *[0] * (width - 1 - len(guess))] for row, guess in zip(rows, guesses)])
        logits = net.verify(fed, cache, [len(decoded[row].ids) for row in rows]).float()  # (B, T, V)
        masks = [
            [matchers.rows[row].mask(state) for state in path] + [matchers.rows[row].mask(path[-1])] * (width - len(path))
            for row, path in zip(rows, paths)
        ]
        scores = logits + matchers.grammar.score_masks[torch.tensor(masks)]
        if sampled:
            temperatures = torch.tensor([options[row].temperature for row in rows]).repeat_interleave(width)
            drawn = torch.tensor(
                [uniforms[row][min(len(decoded[row].ids) + i, steps - 1)] for row in rows for i in range(width)], dtype=torch.double
            )
            tokens = choose(scores.flatten(0, 1), temperatures, drawn).view(len(rows), width)
        else:
            tokens = scores.argmax(-1)
        token_logprobs = logits.log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0].tolist() if scored else [()] * len(rows)
        for row, guess, path, chosen, logprob in zip(rows, guesses, paths, tokens.tolist(), token_logprobs):
            kept = next((i for i, token in enumerate(guess) if chosen[i] != token), len(guess)) + 1
            decoded[row].log_probability += sum(logprob[:kept])
            decoded[row].ids += chosen[:kept]
            decoded[row].ended = chosen[kept - 1] == EOS
            histories[row] += bytes(chosen[:kept])
            states[row] = matchers.rows[row].after(path[kept - 1], chosen[kept - 1])
        open_rows = [i for i, row in enumerate(rows) if not decoded[row].ended and len(decoded[row].ids) < steps]
        if len(open_rows) < len(rows):
            cache.select_rows(torch.tensor(open_rows, dtype=torch.long))
            rows = [rows[i] for i in open_rows]
    return decoded


@torch.inference_mode()
def draft_texts(
    net: Verifier, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str, matchers: TextMatchers, scored: bool = True
) -> list[Decoded]:
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
        guesses = [matchers.propose(i, longest - 1) for i in range(len(rows))]
        width = 1 + max(map(len, guesses))
        fed = torch.tensor([[last[row], *guess, *[PAD] * (width - 1 - len(guess))] for row, guess in zip(rows, guesses)])
        logits = net.verify(fed, cache, lengths).float()  # (B, T, V)
        right = list(range(len(rows)))  # places in the batch where every guess so far was right
        for i in range(width):
            places = [rows[place] for place in right]
            given = logits[right, i]
            tokens = choose(matchers.process(given, right), temperatures[places], uniforms[places, [lengths[place] + i for place in right]])
            token_logprobs = (given.gather(1, tokens[:, None])[:, 0] - given.logsumexp(-1)).tolist() if scored else [0.0] * len(right)
            matchers.accept(tokens, right)
            chosen = dict(zip(right, tokens.tolist()))
            for place, logprob in zip(right, token_logprobs):
                row = rows[place]
                last[row] = chosen[place]
                decoded[row].ids.append(last[row])
                decoded[row].log_probability += logprob
                decoded[row].ended = last[row] == EOS
            right = [place for place, token in chosen.items() if guesses[place][i : i + 1] == [token] and token != EOS]
            if not right:
                break
        open_rows = [i for i, row in enumerate(rows) if not decoded[row].ended and len(decoded[row].ids) < steps]
        if len(open_rows) < len(rows):
            kept = torch.tensor(open_rows, dtype=torch.long)
            cache.select_rows(kept)
            matchers.select_rows(kept)
            rows = [rows[i] for i in open_rows]
    return decoded


def _draft(matchers: ParseMatchers, row: int, state: Any, history: bytes, length: int, proposer: NgramProposer) -> tuple[list[int], list]:
    """At most `length` - 1 guesses, and the machine's states before each of them and after the last."""
    guess, path = [], [state]
    while len(path) < length:
        allowed = matchers.grammar.allowed[matchers.rows[row].mask(path[-1])]
        token = next(iter(allowed)) if len(allowed) == 1 else proposer.propose(history, allowed)
        if token is None or token == EOS:
            break
        guess.append(token)
        history += bytes([token])
        path.append(matchers.rows[row].after(path[-1], token))
    return guess, path
