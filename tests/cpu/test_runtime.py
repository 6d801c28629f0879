"""Products of bytes in ONNX Runtime are exact on every processor."""

import numpy as np
import pytest

from handler.cpu import onnx_writer
from handler.cpu.runtime import factor, session


def product(x: np.ndarray, weights: np.ndarray, signed: bool | None) -> np.ndarray:
    """x (M, K) uint8 times int8 weights (K, N), as a linear layer multiplies them."""
    graph = onnx_writer.Builder()
    one = graph.constant(np.float32(1))
    rounded = graph.node("QuantizeLinear", "x", one, graph.constant(np.uint8(0)))
    held, zero = map(graph.constant, factor(weights, signed))
    scales = graph.constant(np.ones(weights.shape[1], np.float32))
    result = graph.node("MatMulIntegerToFloat", rounded, held, one, scales, "", zero, domain="com.microsoft")
    model = graph.model([("x", np.float32, ["M", "K"])], [(result, np.float32, ["M", "N"])])
    return session(model).run(None, {"x": x.astype(np.float32)})[0]


@pytest.mark.parametrize("signed", [None, False])  # True is wrong without VNNI
@pytest.mark.parametrize("rows", [1, 8])
def test_sums_of_the_largest_bytes_do_not_overflow(rows: int, signed: bool | None):
    x = np.full((rows, 64), 255, np.uint8)
    weights = np.full((64, 48), 127, np.int8)
    weights[:, 1::2] = -127
    assert np.array_equal(product(x, weights, signed), x.astype(np.float32) @ weights.astype(np.float32))


def test_both_forms_of_weights_have_the_same_sums():
    draw = np.random.default_rng(0)
    x = draw.integers(0, 128, (5, 300)).astype(np.uint8)
    weights = draw.integers(-63, 64, (300, 109)).astype(np.int8)  # too small for an overflow
    expected = x.astype(np.float32) @ weights.astype(np.float32)
    for signed in (True, False):
        assert np.array_equal(product(x, weights, signed), expected), signed
