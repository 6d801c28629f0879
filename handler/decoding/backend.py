"""What the pipeline asks of a backend. It never asks which one it is."""

from typing import Any, Protocol

import torch
from torch import Tensor

from handler.decoding.loop import generate
from handler.decoding.matchers import matchers_of
from handler.decoding.rules import Rules
from handler.decoding.sampling import Decoded, DecodingOptions
from handler.model.network import ModelConfig, SynPG


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
    def device(self) -> torch.device:
        """Where its inputs are to lie."""
        ...

    @property
    def output_vocab_size(self) -> int:
        """How many logits there are, but for copied tokens."""
        ...

    def generate(
        self, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str, rules: Rules | None = None, scored: bool = True
    ) -> list[Decoded]:
        """Decode B rows from <sos> until each has <eos> or `max_steps` tokens.

        bag (B, A) and syntax (B, S) as `SynPG.encode` takes them; options, one a row; stream names the use of the random numbers;
        scored: log-probabilities are asked for (a backend may work them out all the same).
        A row's tokens depend on its own inputs and options alone.
        """
        ...

    def warm(self, rows: int, rules: Rules | None = None, scored: bool = True) -> None:
        """Get ready for every batch of up to `rows` rows under rules like these, so that no request waits for it."""
        ...


class PlainBackend:
    """The plain network of `model/network.py`, a token a step, on any device: what every other backend is tested against."""

    precision = "fp32"

    def __init__(self, net: SynPG):
        self.net = net

    @property
    def config(self) -> ModelConfig:
        return self.net.config

    @property
    def device(self) -> torch.device:
        return self.net.device

    @property
    def output_vocab_size(self) -> int:
        return self.net.output_vocab_size

    def generate(
        self, bag: Tensor, syntax: Tensor, options: list[DecodingOptions], stream: str, rules: Rules | None = None, scored: bool = True
    ) -> list[Decoded]:
        return generate(self.net, bag, syntax, options, stream, matchers_of(rules) if rules else None, scored)

    def warm(self, rows: int, rules: Rules | None = None, scored: bool = True) -> None:
        """Nothing to do: every batch is computed as it comes."""
