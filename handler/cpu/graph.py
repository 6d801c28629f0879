"""One network's two graphs for ONNX Runtime, from its weights: the encoder of one input, and a step of the decoder.

What decides their form:

* In int8 a linear layer rounds its input with one fixed scale (`ranges`) and its weights with one scale an output. The sums are
  whole numbers, so no row depends on another. A scale drawn from the batch would make it.
* Attention stays in fp32, where the order of a sum shows in its last bit, a later layer rounds that bit to another eighth one, and a
  word of some texts becomes another one. So that the order is always the same, each token of the decoder attends by itself:
  the T tokens of a row are laid out as if each head had T queries, H * T heads of one query that share the row's H
  keys and values. The library then multiplies a vector with a matrix, always in the same way, wherever it multiplies
  a matrix with a matrix for several queries at once. That way is also faster at one token a row.
  With it, a row's sums are the same bits however many masked keys come after its own, if the width is a multiple of `GROUPED`.
* Queries are scaled by their weights, not by the attention: a scale other than 1 keeps the library from multiplying a vector.
* The keys and values of earlier tokens stay where they are: `TensorScatter` writes new ones into its input where that is bound as
  its output too. Rows of different lengths, and several tokens a row, are a matter of `at` and `mask`.
* One matrix makes all decoder layers' keys and values of the encoder's states.

Shapes as in `model/network.py`; T tokens a row, C positions that the cache has room for.
"""

import math
from typing import NamedTuple

import numpy as np

from handler.cpu import onnx_writer
from handler.cpu.runtime import factor
from handler.model.network import ModelConfig

EPSILON = 1e-5  # of the norms
GROUPED = 4  # keys that the library takes at a time when it multiplies a vector
Ranges = dict[str, tuple[float, float]]  # name of a linear layer -> least and greatest input seen


class Quantised(NamedTuple):
    """A linear layer's weights (N, K) as int8, and one scale for each output, (N,)."""

    weights: np.ndarray
    scales: np.ndarray

    def rows(self, which: slice) -> "Quantised":
        return Quantised(self.weights[which], self.scales[which])

    def floats(self) -> np.ndarray:
        return self.weights * self.scales[:, None]


Matrix = np.ndarray | Quantised
Weights = dict[str, Matrix]  # as the network's state dict has them; a linear layer's may be quantised already


def layer_names(config: ModelConfig) -> set[str]:
    """The linear layers of a network, as `ranges` names them."""
    attention, feed_forward = ("qkv", "out"), ("up", "down")
    return {
        "memory",
        "logits",
        *(f"encoder.{i}.{part}" for i in range(config.n_encoder_layers) for part in (*attention, *feed_forward)),
        *(f"decoder.{i}.{part}" for i in range(config.n_decoder_layers) for part in (*attention, "cross_q", "cross_out", *feed_forward)),
    }


def quantised(weight: Matrix) -> Quantised:
    """A linear layer's weights (N, K), quantised if they are not.

    Scales have 17 significant bits, so their products with the seven bits of a weight are exact in fp32: the products, quantised
    again, are the same weights and scales. That lets an archive carry int8 (`scripts/serving/served.py`) without changing a bit.
    """
    if isinstance(weight, Quantised):
        return weight
    scales = np.maximum(np.abs(weight).max(1), np.float32(1e-8)) / np.float32(127)
    scales = ((scales.view(np.int32) + 0x40) & ~0x7F).view(np.float32)  # 7 of the 24 bits are rounded off
    return Quantised(np.rint(weight / scales[:, None]).astype(np.int8), scales)


def some_rows(weight: Matrix, which: slice) -> Matrix:
    return weight.rows(which) if isinstance(weight, Quantised) else weight[which]


def joined(weights: list[Matrix]) -> Matrix:
    """The rows of all, which are all quantised or none is."""
    if all(isinstance(each, Quantised) for each in weights):
        return Quantised(*(np.concatenate(parts) for parts in zip(*weights)))
    return np.concatenate(weights)


class Graph(onnx_writer.Builder):
    """Parts of these two networks. ranges: None makes fp32, others int8."""

    def __init__(self, config: ModelConfig, weights: Weights, ranges: Ranges | None):
        super().__init__()
        self.config, self.weights, self.ranges = config, weights, ranges

    def linear(self, x: str, name: str, weight: Matrix, bias: np.ndarray, divisor: np.ndarray | None = None, relu: bool = False) -> str:
        """x (..., K) times weight (N, K), plus bias (N,), both over the divisor (N,). relu: x is taken for zero where it is below."""
        if divisor is not None:
            bias = bias / divisor
        if self.ranges is None:
            weight = weight.floats() if isinstance(weight, Quantised) else weight
            weight = weight if divisor is None else weight / divisor[:, None]
            product = self.node("MatMul", self.node("Relu", x) if relu else x, self.constant(weight.T))
            return self.node("Add", product, self.constant(bias))
        low, high = min(self.ranges[name][0], 0.0), max(self.ranges[name][1], 0.0)
        if relu:
            low = 0.0  # what is below rounds to zero
        scale = np.float32(max(high - low, 1e-6) / 255)
        zero = self.constant(np.array(round(-low / float(scale)), np.uint8))
        rounded, scales = quantised(weight)
        step = self.constant(scale)
        weights, weights_zero = map(self.constant, factor(rounded.T))
        return self.node(
            "MatMulIntegerToFloat",
            self.node("QuantizeLinear", x, step, zero),
            weights,
            step,
            self.constant(scales if divisor is None else scales / divisor),
            zero,
            weights_zero,
            self.constant(bias),
            domain="com.microsoft",
        )

    def norm(self, name: str, x: str, branch: str | None = None) -> str:
        """LayerNorm of x, or of x plus a branch."""
        if branch is not None:
            x = self.node("Add", x, branch)
        parts = (self.constant(self.vector(f"transformer.{name}.{part}")) for part in ("weight", "bias"))
        return self.node("LayerNormalization", x, *parts, epsilon=EPSILON)

    def projection(self, prefix: str, rows: slice = slice(None)) -> tuple[Matrix, np.ndarray, np.ndarray]:
        """Weight, bias and divisor of an attention's packed queries, keys and values: queries are scaled."""
        E = self.config.d_model
        weight, bias = self.weights[f"transformer.{prefix}.in_proj_weight"], self.vector(f"transformer.{prefix}.in_proj_bias")
        divisor = np.ones(3 * E, np.float32)
        divisor[:E] = math.sqrt(E // self.config.n_heads)
        return some_rows(weight, rows), bias[rows], divisor[rows]

    def layer(self, name: str) -> tuple[Matrix, np.ndarray]:
        """Weight and bias."""
        return self.weights[f"{name}.weight"], self.vector(f"{name}.bias")

    def vector(self, name: str) -> np.ndarray:
        """A weight that is never quantised."""
        weight = self.weights[name]
        assert isinstance(weight, np.ndarray)
        return weight

    def feed_forward(self, half: str, i: int, x: str, norm: str) -> str:
        name = f"transformer.{half}.layers.{i}.linear"
        hidden = self.linear(x, f"{half}.{i}.up", *self.layer(name + "1"))
        return self.norm(f"{half}.layers.{i}.{norm}", x, self.linear(hidden, f"{half}.{i}.down", *self.layer(name + "2"), relu=True))

    def queries(self, x: str) -> str:
        """(B, 1 or T, H, T or 1, D) in the order B, H, T to H * T heads of one query, (B, H * T, 1, D)."""
        return self.reshape(x, 0, -1, 1, self.config.d_model // self.config.n_heads)

    def attend(self, q: str, keys: str, values: str, mask: str) -> str:
        """q (B, H * T, 1, D), keys and values (B, H, S, D), mask (B, 1 or H * T, 1, S) added to the scores; returns (B, T, E)."""
        H, E = self.config.n_heads, self.config.d_model
        attended = self.reshape(self.node("Attention", q, keys, values, mask, scale=1.0), 0, H, -1, E // H)
        return self.reshape(self.node("Transpose", attended, perm=[0, 2, 1, 3]), 0, 0, E)


def encoder(config: ModelConfig, weights: Weights, ranges: Ranges | None) -> bytes:
    """x (B, S, E), one input embedded, and mask (B or 1, 1, S, S), added to the scores, to memory (B, S, L * 2 * E): keys and values of
    every decoder layer's cross-attention. S is at least 2: one query alone would be summed in another order."""
    graph, E = Graph(config, weights, ranges), config.d_model
    x = "x"
    for i in range(config.n_encoder_layers):
        prefix = f"encoder.layers.{i}"
        q, k, v = graph.split(graph.linear(x, f"encoder.{i}.qkv", *graph.projection(f"{prefix}.self_attn")), axis=-1)
        attended = graph.node("Attention", q, k, v, "mask", scale=1.0, q_num_heads=config.n_heads, kv_num_heads=config.n_heads)
        x = graph.norm(
            f"{prefix}.norm1", x, graph.linear(attended, f"encoder.{i}.out", *graph.layer(f"transformer.{prefix}.self_attn.out_proj"))
        )
        x = graph.feed_forward("encoder", i, x, "norm2")
    x = graph.norm("encoder.norm", x)
    parts = [graph.projection(f"decoder.layers.{i}.multihead_attn", slice(E, None)) for i in range(config.n_decoder_layers)]
    memory = graph.linear(x, "memory", joined([weight for weight, _, _ in parts]), np.concatenate([bias for _, bias, _ in parts]))
    f = np.float32
    return graph.model([("x", f, ["B", "S", E]), ("mask", f, ["N", 1, "S", "S"])], [(memory, f, ["B", "S", 2 * E * len(parts)])])


def decoder(config: ModelConfig, weights: Weights, ranges: Ranges | None, output_vocab_size: int, copies: bool, positions: int) -> bytes:
    """A step, from tokens to logits. All that can be in it is, because Python beside it costs more than its nodes: each step's
    weights drive the interpreter out of the processor's cache.

    ids (B, T), tokens; at (B,), how many are before them; places (B, T), their own positions; queries (B, 1 or H * T), the position of
    each head's query; for each layer keys and values (B, H, C, D), which are written to, and memory_keys and memory_values
    (B, H, M, D); memory_mask (B, 1, 1, M), added to the scores of the memory's positions. Tables that are not copied into the graph:
    embedding (V, E), positions (P, E), and causal (C, C), what a query adds to the scores of the cache's. To logits (B, T, V).
    copies: logits (B, T, V + A), with copy_weight (B, 1, E, A) and copy_bias (B, 1, 1, A) as `CopyHead` has them. For a single row of
    several tokens copy_weight has to be repeated, (1, T, E, A): the library would make one matrix of these tokens.
    """
    graph, E, H = Graph(config, weights, ranges), config.d_model, config.n_heads
    D, f = E // H, np.float32
    inputs: list[onnx_writer.Value] = [
        ("ids", np.int64, ["B", "T"]),
        ("at", np.int64, ["B"]),
        ("places", np.int64, ["B", "T"]),
        ("queries", np.int64, ["B", "Q"]),
        ("embedding", f, ["E", E]),
        ("positions", f, ["P", E]),
        ("causal", f, ["C", "C"]),
        ("memory_mask", f, ["B", 1, 1, "M"]),
    ]
    outputs: list[onnx_writer.Value] = []
    graph.constants["two"] = np.array([2], np.int64)
    mask = graph.node("Unsqueeze", graph.node("Gather", "causal", "queries"), "two")  # (B, 1 or H * T, 1, C)
    x = graph.node("Mul", graph.node("Gather", "embedding", "ids"), graph.constant(np.float32(math.sqrt(E))))
    known = graph.node("Min", "places", graph.constant(np.int64(positions - 1)))  # rows that have ended may be beyond
    x = graph.node("Add", x, graph.node("Gather", "positions", known))
    for i in range(config.n_decoder_layers):
        prefix, cache, memory = f"decoder.layers.{i}", (f"keys{i}", f"values{i}"), (f"memory_keys{i}", f"memory_values{i}")
        for names, width in ((cache, "C"), (memory, "M")):
            for name in names:
                inputs.append((name, f, ["B", H, width, D]))
        for name in cache:
            outputs.append((f"new_{name}", f, ["B", H, "C", D]))

        packed = graph.reshape(graph.linear(x, f"decoder.{i}.qkv", *graph.projection(f"{prefix}.self_attn")), 0, 0, 3 * H, D)
        q, *new = graph.split(graph.node("Transpose", packed, perm=[0, 2, 1, 3]), axis=1)
        keys, values = (graph.node("TensorScatter", name, each, "at", output=f"new_{name}", axis=2) for name, each in zip(cache, new))
        attended = graph.attend(graph.queries(q), keys, values, mask)
        x = graph.norm(
            f"{prefix}.norm1", x, graph.linear(attended, f"decoder.{i}.out", *graph.layer(f"transformer.{prefix}.self_attn.out_proj"))
        )

        q = graph.reshape(graph.linear(x, f"decoder.{i}.cross_q", *graph.projection(f"{prefix}.multihead_attn", slice(E))), 0, 0, H, D)
        crossed = graph.attend(graph.queries(graph.node("Transpose", q, perm=[0, 2, 1, 3])), *memory, "memory_mask")
        x = graph.norm(
            f"{prefix}.norm2",
            x,
            graph.linear(crossed, f"decoder.{i}.cross_out", *graph.layer(f"transformer.{prefix}.multihead_attn.out_proj")),
        )
        x = graph.feed_forward("decoder", i, x, "norm3")
    x = graph.norm("decoder.norm", x)
    weight, bias = graph.layer("linear")
    logits = graph.linear(x, "logits", some_rows(weight, slice(output_vocab_size)), bias[:output_vocab_size])
    if copies:
        inputs += [("copy_weight", f, ["B", "R", E, "A"]), ("copy_bias", f, ["B", 1, 1, "A"])]
        copied = graph.node("MatMul", graph.node("Unsqueeze", x, "two"), "copy_weight")  # (B, T, 1, A): a vector, as in attention
        copied = graph.node("Squeeze", graph.node("Add", copied, "copy_bias"), "two")
        logits = graph.node("Concat", logits, copied, axis=2)
    return graph.model(inputs, [(logits, f, ["B", "T", "V"]), *outputs])
