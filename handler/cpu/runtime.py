"""ONNX Runtime, set up for small networks that are called often."""

import ctypes

import numpy as np
import onnxruntime
import torch

SIGNED = torch.cpu._is_vnni_supported()  # see `factor`
SPIN = 20  # µs that a thread waits actively for more work, about the time between two products; then it leaves its core to others


def factor(rounded: np.ndarray, signed: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights and their zero point, as this processor multiplies them with uint8 inputs without an error.

    The library multiplies uint8 with int8 faster. But a processor without VNNI adds two such products in 16 bits, which are too few for
    them; weights that are uint8, 128 more, it multiplies in 32. So the sums are the same on every processor.
    signed: None: as this processor needs it.
    """
    if SIGNED if signed is None else signed:
        return rounded, np.array(0, np.int8)
    return (rounded.view(np.uint8) ^ 128), np.array(128, np.uint8)


def session(model: bytes) -> onnxruntime.InferenceSession:
    """Ready to run, on as many threads as torch has been given."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN))
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # unlikely positions would slow attention down tenfold
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # there is nothing left to fuse
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False  # both keep what each new shape once needed
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    made._model_bytes = None  # it would keep them, with all weights, for other providers to start from
    return made


def give_back() -> None:
    """Give the system the memory that loading needed and that the C library keeps for later, some tens of megabytes."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)
