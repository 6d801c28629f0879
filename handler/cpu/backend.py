"""The backend of a CPU: the engine's networks, matchers for the rules, and drafts where there is something to guess from."""

import torch
from torch import Tensor

from handler.cpu.engine import Engine
from handler.decoding.loop import generate
from handler.decoding.matchers import ParseMatchers, TextMatchers
from handler.decoding.proposer import NgramProposer
from handler.decoding.rules import ParseRules, Rules
from handler.decoding.sampling import Decoded, DecodingOptions
from handler.decoding.speculative import draft_parses, draft_texts
from handler.model.network import ModelConfig


class CpuBackend:
    """A `decoding.backend.Backend`.

    proposer: guesses the next tokens of a parse; None: a token a step.
    drafts:   texts that follow their parses are drafted too.
    """

    def __init__(self, engine: Engine, proposer: NgramProposer | None = None, drafts: bool = False):
        self.net, self.proposer, self.drafts = engine, proposer, drafts

    @property
    def config(self) -> ModelConfig:
        return self.net.config

    @property
    def precision(self) -> str:
        return self.net.precision

    @property
    def device(self) -> torch.device:
        return self.net.device

    @property
    def output_vocab_size(self) -> int:
        return self.net.output_vocab_size

    def generate(
        self, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str, rules: Rules | None = None, scored: bool = True
    ) -> list[Decoded]:
        if rules is None:
            return generate(self.net, bag, syntax, options, stream, scored=scored)
        if isinstance(rules, ParseRules):
            parses = ParseMatchers(rules)
            if self.proposer:
                return draft_parses(self.net, bag, syntax, options, stream, parses, self.proposer, scored)
            return generate(self.net, bag, syntax, options, stream, parses, scored)
        texts = TextMatchers(rules)
        if self.drafts and rules.alignment:
            return draft_texts(self.net, bag, syntax, options, stream, texts, scored)
        return generate(self.net, bag, syntax, options, stream, texts, scored)

    def warm(self, rows: int, rules: Rules | None = None, scored: bool = True) -> None:
        """Nothing to do: a batch of any size costs the same the first time."""
