"""What a number was measured under, and what the machine's memory can do."""

import datetime
import os
import platform
import re
import subprocess
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from scripts.common.paths import ROOT

INSTRUCTIONS = "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"  # that engines choose by
PACKAGES = "torch", "ctranslate2", "numpy", "torchserve"


def conditions() -> dict:
    """Machine, versions, load and commit, as they are now."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    flags = set((re.search(r"^flags\s*: (.*)$", info, re.M) or ["", ""])[1].split())
    model = re.search(r"^model name\s*: (.*)$", info, re.M)
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit measured, with \"+\" when files differ from it."""

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)

    try:
        head, changed = git("rev-parse", "--short", "HEAD"), git("status", "--porcelain", "--", "handler")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if head.returncode == 0 else "unknown"


def bandwidth(size: int, seconds: float = 0.3) -> float:
    """GB/s at which one thread reads the same `size` bytes again and again: a dot product with itself, the best of all."""
    x = np.ones(max(1, size // 4), np.float32)
    return _best(lambda: np.dot(x, x), x.nbytes, seconds)


def copy_bandwidth(size: int = 1 << 28, seconds: float = 0.5) -> float:
    """GB/s of a copy from memory to memory, one thread, bytes read plus bytes written."""
    source, target = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    return _best(lambda: np.copyto(target, source), 2 * source.nbytes, seconds)


def _best(call, size: int, seconds: float) -> float:
    """Bytes a nanosecond, the best single call within some time."""
    call()
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return size / best / 1e9


def weights_read(config, logits: int, bytes_each: int) -> int:
    """Bytes of matrices that one decoder step of a network must read: per layer four square ones of self-attention, two
    of cross-attention (keys and values of the memory are kept), two of the feed-forward block; and the output layer."""
    e, f = config.d_model, config.d_feedforward
    return bytes_each * (config.n_decoder_layers * (6 * e * e + 2 * e * f) + logits * e)
