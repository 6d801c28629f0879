"""What the linear layers of a network are given: the ranges that int8 rounds within (`handler/cpu/graph.py`)."""

import math
from collections.abc import Callable

from torch import Tensor

from handler.cpu.graph import Ranges
from handler.model.network import SynPG


def record(net: SynPG) -> Ranges:
    """Least and greatest input of every linear layer in whatever the network computes from now on, kept up to date.

    What computes with a layer is replaced by a function that looks at its first argument and calls it; the answers stay the same.
    """
    ranges: Ranges = {}

    def watched(owner, method: str, name: str) -> None:
        compute: Callable = getattr(owner, method)

        def watching(x: Tensor, *others):
            low, high = ranges.get(name, (math.inf, -math.inf))
            ranges[name] = min(low, x.min().item()), max(high, x.max().item())
            return compute(x, *others)

        setattr(owner, method, watching)

    for half in ("encoder", "decoder"):
        for i, layer in enumerate(getattr(net.transformer, half).layers):
            watched(layer.self_attn, "qkv", f"{half}.{i}.qkv")
            watched(layer.self_attn.out_proj, "forward", f"{half}.{i}.out")
            watched(layer.linear1, "forward", f"{half}.{i}.up")
            watched(layer.linear2, "forward", f"{half}.{i}.down")
            if half == "decoder":
                watched(layer.multihead_attn, "q", f"{half}.{i}.cross_q")
                watched(layer.multihead_attn, "kv", "memory")  # one range for all layers, which are given the same
                watched(layer.multihead_attn.out_proj, "forward", f"{half}.{i}.cross_out")
    watched(net, "logits", "logits")
    return ranges
