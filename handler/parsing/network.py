"""The parser's network in ONNX Runtime. What it computes is in `parser.py`; shapes as there.

One graph from the embedded pieces to the scores. In int8 each linear layer rounds its input to 256 levels between its least and its
greatest number, all words of the sentence together, so a sentence is scored by itself.
"""

import numpy as np

from handler.cpu import onnx_writer
from handler.cpu.runtime import factor, session

PRECISIONS = "fp32", "int8"
EPSILON = 1e-12  # of the norms
Arrays = dict[str, np.ndarray]


class Network:
    """Weights, ready to score. Thread-safe."""

    def __init__(self, heads: int, arrays: Arrays, precision: str):
        """arrays: the norms and linear layers of the file."""
        layers = sum(name.endswith(".qkv.weight") for name in arrays)
        self.session = session(_graph(heads, layers, arrays, precision == "int8"))

    def __call__(
        self, x: np.ndarray, first: np.ndarray, last: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of n words the scores of the spans (n (n + 1) / 2, L), and of the tags (n, T).

        x (P, D): the embedded pieces; first, last (n + 2,): of each word and of both ends, its first and last piece; begins, ends
        (n (n + 1) / 2,): of each span, the gaps around it.
        """
        spans, tags = self.session.run(None, {"x": x, "first": first, "last": last, "begins": begins, "ends": ends})
        return spans, tags


class _Builder(onnx_writer.Builder):
    def __init__(self, arrays: Arrays, int8: bool):
        super().__init__()
        self.arrays, self.int8 = arrays, int8

    def linear(self, x: str, name: str) -> str:
        """(…, in) -> (…, out)"""
        weight, scale, bias = (self.arrays[f"{name}.{part}"] for part in ("weight", "scale", "bias"))
        scale, bias = scale.astype(np.float32), bias.astype(np.float32)
        if self.int8:
            weight, zero = factor(weight.T)
            operands = map(self.constant, (weight, scale, zero, bias))
            return self.node("DynamicQuantizeMatMul", x, *operands, domain="com.microsoft")
        return self.node("Add", self.node("MatMul", x, self.constant((weight * scale[:, None]).T)), self.constant(bias))

    def norm(self, x: str, name: str) -> str:
        parts = (self.constant(self.arrays[f"{name}.{part}"].astype(np.float32)) for part in ("gain", "bias"))
        return self.node("LayerNormalization", x, *parts, epsilon=EPSILON)

    def layer(self, x: str, i: int, heads: int) -> str:
        """Attention, then feed-forward, each added to its input and normalised."""
        q, k, v = self.split(self.linear(x, f"{i}.qkv"), axis=-1)
        attended = self.node(
            "Attention", *(self.node("Unsqueeze", each, "zero") for each in (q, k, v)), q_num_heads=heads, kv_num_heads=heads
        )
        x = self.norm(self.node("Add", x, self.linear(self.node("Squeeze", attended, "zero"), f"{i}.out")), f"{i}.norm1")
        inner = self.node("FastGelu", self.linear(x, f"{i}.up"), domain="com.microsoft")
        return self.norm(self.node("Add", x, self.linear(inner, f"{i}.down")), f"{i}.norm2")

    def part(self, x: str, begin: int, end: int) -> str:
        """Some rows of x (N, …)."""
        return self.node("Slice", x, *(self.constant(np.array([bound])) for bound in (begin, end, 0)))


def _graph(heads: int, layers: int, arrays: Arrays, int8: bool) -> bytes:
    graph = _Builder(arrays, int8)
    graph.constants["zero"] = np.array([0])
    width = arrays["norm.gain"].shape[0]
    x = graph.norm("x", "norm")
    for layer in range(layers):
        x = graph.layer(x, layer, heads)
    words = graph.node("Add", graph.node("Gather", x, "first"), graph.node("Gather", x, "last"))
    words = graph.node("Mul", words, graph.constant(np.float32(0.5)))  # (n + 2, D)
    most = np.iinfo(np.int64).max
    gaps = graph.node("Concat", graph.part(words, 0, -1), graph.part(words, 1, most), axis=1)  # (n + 1, 2 D)
    left, right = (graph.node("Gather", graph.linear(gaps, name), places) for name, places in (("left", "begins"), ("right", "ends")))
    spans = graph.linear(graph.node("Relu", graph.node("Add", left, right)), "labels")
    tags = graph.linear(graph.part(words, 1, -1), "tags")
    f, i = np.float32, np.int64
    return graph.model(
        [("x", f, ["P", width]), ("first", i, ["W"]), ("last", i, ["W"]), ("begins", i, ["S"]), ("ends", i, ["S"])],
        [(spans, f, ["S", "L"]), (tags, f, ["N", "T"])],
    )
