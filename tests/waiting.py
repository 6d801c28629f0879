"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def until(happened: Callable[[], bool], patience: float = 240.0) -> None:
    """Return once it has happened. Fails after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)
