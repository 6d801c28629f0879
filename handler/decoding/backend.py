"""What the pipeline asks of a backend. It never asks which one it is."""

from typing import Any, Protocol

import numpy as np

from handler.decoding.loop import Network, decode
from handler.decoding.processors import TreeGrammar, parse_rows, text_processors, text_rows
from handler.decoding.proposers import LeafDrafts, NgramProposer, ParseDrafts, TextDrafts
from handler.decoding.rules import Hints, ParseRules, Rules
from handler.decoding.sampling import Decoded, DecodingOptions
from handler.model.network import ModelConfig


class Backend(Protocol):
    """One network, ready to decode."""

    @property
    def precision(self) -> str: ...

    @property
    def net(self) -> Any:
        """What computes its steps, for those who measure it: each backend has its own kind."""
        ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def output_vocab_size(self) -> int:
        """How many logits there are, but for copied tokens."""
        ...

    @property
    def free_rows(self) -> int:
        """So many rows decoded together take hardly longer than one."""
        ...

    def generate(
        self,
        bag: np.ndarray,
        syntax: np.ndarray,
        options: list[DecodingOptions],
        stream: str,
        rules: Rules | None = None,
        scored: bool = True,
        hints: Hints | None = None,
    ) -> list[Decoded]:
        """Decode B rows from <sos> until each has <eos> or `max_steps` tokens.

        bag (B, A) and syntax (B, S): ids, <pad> after each row's end; with attended pads of the configuration's very widths. options,
        one a row; stream names the use of the random numbers; scored: log-probabilities are asked for (a backend may work them out
        all the same). hints: of texts that have no alignment. A row's tokens depend on its own inputs, options and rules alone.
        """
        ...

    def warm(self, rows: int, rules: Rules | None = None, scored: bool = True) -> None:
        """Get ready for every batch of up to `rows` rows under rules like these, so that no request waits for it."""
        ...


class StepwiseBackend:
    """A network that answers step by step, under `loop.decode`: the plain one, and the engine of a CPU.

    ngrams: guess the next tokens of a parse; None: a token a step.
    drafts: texts are drafted.
    """

    free_rows = 1

    def __init__(self, net: Network, precision: str, output_vocab_size: int, ngrams: NgramProposer | None = None, drafts: bool = False):
        self.net, self.precision, self.output_vocab_size = net, precision, output_vocab_size
        self.ngrams, self.drafts = ngrams, drafts

    @property
    def config(self) -> ModelConfig:
        return self.net.config

    def generate(
        self,
        bag: np.ndarray,
        syntax: np.ndarray,
        options: list[DecodingOptions],
        stream: str,
        rules: Rules | None = None,
        scored: bool = True,
        hints: Hints | None = None,
    ) -> list[Decoded]:
        hinted = LeafDrafts(hints) if hints and self.drafts else None
        if rules is None:
            free = ParseDrafts(self.ngrams, [None] * len(options)) if self.ngrams else hinted
            return decode(self.net, bag, syntax, options, stream, [free] if free else [], free, scored)
        if isinstance(rules, ParseRules):
            parses = parse_rows(rules)
            guesses = ParseDrafts(self.ngrams, parses) if self.ngrams else None
            tree = TreeGrammar(rules.grammar, parses)
            return decode(self.net, bag, syntax, options, stream, [tree, guesses] if guesses else [tree], guesses, scored)
        texts = text_rows(rules)
        processors = text_processors(rules, texts)
        if rules.alignment:
            aligned = TextDrafts(texts, rules.alignment.lexicon.common) if self.drafts else None
            return decode(self.net, bag, syntax, options, stream, processors, aligned, scored)
        return decode(self.net, bag, syntax, options, stream, [*processors, hinted] if hinted else processors, hinted, scored)

    def warm(self, rows: int, rules: Rules | None = None, scored: bool = True) -> None:
        """Nothing to do: a batch of any size costs the same the first time."""
