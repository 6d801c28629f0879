"""Why a TorchServe did not start or died, read from its log."""

import re
from collections.abc import Callable, Iterator

from scripts.common.command import UserError

FAILED = re.compile(r"Load model failed|Backend worker error|Failed to load model|Failed to register model")
# Errors that TorchServe raises because of an earlier one, which it has just logged.
MASKS = re.compile(r"ts\.torch_handler\.|\b50[07] - ")
SILENT = "the worker process ended without a message"
FIRST_PAUSE, PAUSE, LOOKS = 1.0, 0.2, 25  # s, s; how long the last words of a worker are waited for


class ServerError(UserError):
    """The server could not be started, or is not the one asked for; one sentence."""


def cause(log: str) -> str:
    """Why a start failed: the worker's last exception of its own, else Java's, else the last line of the log."""
    worker = [match[1] for match in re.finditer(r"^\S+ \w+ +worker - (.*)$", log, re.M)]
    found, in_traceback = [], False
    for line in worker:
        if line.startswith("Traceback "):
            in_traceback = True
        elif in_traceback and line and not line.startswith(" "):
            in_traceback = False
            found.append(line)
    found = [line for line in found if not MASKS.search(line)]
    if not found:
        found = re.findall(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.+)$", log, re.M)
    if not found and FAILED.search(log):
        return SILENT
    lines = found or [line for line in log.splitlines() if line.strip()] or ["no message"]
    return lines[-1].strip().rstrip(".")


def until_told(cause_now: Callable[[], str]) -> Iterator[float]:
    """Pauses in seconds, to be slept through until the log says why a model could not be loaded, or is unlikely to.

    Another thread writes what a worker says as it ends. On a busy machine that is seconds later.
    """
    yield FIRST_PAUSE
    for _ in range(LOOKS):
        if cause_now() != SILENT:
            return
        yield PAUSE
