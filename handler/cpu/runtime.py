"""ONNX Runtime, set up for small networks that are called often."""

import ctypes

import onnxruntime
import torch


def session(model: bytes) -> onnxruntime.InferenceSession:
    """Ready to run, on as many threads as torch has been given."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread that waits leaves the core to others
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
