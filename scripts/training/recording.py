"""The network in fp32, noting what its linear layers are given: the ranges that int8 rounds within (`handler/engine.py`)."""

import math

import torch
from torch import Tensor, nn

from handler.cpu.engine import Decoder, Encoder, Engine, Float, LayerFactory, Ranges
from handler.model.network import SynPG


class Recording(nn.Module):
    """A linear layer in fp32 that notes the least and the greatest input it has seen."""

    def __init__(self, name: str, weight: Tensor, bias: Tensor, ranges: Ranges):
        super().__init__()
        self.name, self.linear, self.ranges = name, Float(weight, bias), ranges

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.ranges.get(self.name, (math.inf, -math.inf))
        self.ranges[self.name] = min(low, x.min().item()), max(high, x.max().item())
        return self.linear(x)

    def relu(self, x: Tensor) -> Tensor:
        return torch.relu(self(x))


class RecordingLayerFactory(LayerFactory):
    """LayerFactory in fp32 whose linear layers write what they see into `ranges`."""

    def __init__(self):
        super().__init__("fp32", {})

    def linear(self, name: str, weight: Tensor, bias: Tensor) -> nn.Module:
        return Recording(name, weight, bias, self.ranges)


class RecordingEngine(Engine):
    """An fp32 engine that collects the `ranges` which int8 needs. Slow: its layers are called one by one."""

    def __init__(self, net: SynPG):
        self.config, self.precision, self.output_vocab_size = net.config, "fp32", net.config.output_vocab_size
        self.remembered, self.shares = None, False
        parts = RecordingLayerFactory()
        self.ranges = parts.ranges
        self.encoder, self.decoder = Encoder(net, parts).eval(), Decoder(net, parts, self.output_vocab_size).eval()
        self.take_tables(net, parts, None, None)
        self.positions, self.scale, self.dtype = net.pos_encoder.table, math.sqrt(net.config.d_model), torch.float32
