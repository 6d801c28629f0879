"""The model in this process, or in several, asked as a server is asked: a body in, an answer's text out."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import psutil

import handler
from handler.errors import ArtifactError
from scripts.client.invoke import LINES, InvokeError, Sender
from scripts.common.answers import reason_of
from scripts.common.command import UserError

PROCESS_BYTES = 600_000_000  # that a process takes with the shipped model; with a larger one it takes more
PROCESS_ROWS = 100  # paraphrases for which another process pays: they take some 8 s, its start 3 s

_model: "handler.Paraphraser | UserError | None" = None  # of a process that does nothing else


def as_many_as_pay(rows: int) -> int:
    """How many processes to use for so many paraphrases: one for each core that this one may use, as far as there is memory and work."""
    memory = psutil.virtual_memory().available // PROCESS_BYTES
    return max(1, min(len(os.sched_getaffinity(0)), memory, rows // PROCESS_ROWS))


@contextmanager
def paraphraser(artifact: Path, processes: int = 1) -> Iterator[tuple[Sender, int]]:
    """What asks the model of an artifact in so many processes, and how many calls keep these busy.

    Raises ArtifactError or UserError for an artifact that cannot be loaded.
    """
    if processes == 1:
        model = handler.load(artifact, threads=1)
        yield lambda body, content_type=LINES, attempts=1: text_of(respond(model, body, content_type)), 1
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of other threads
    pool = ProcessPoolExecutor(processes, spawn, _start, (artifact,))

    def send(body: bytes, content_type: str = LINES, attempts: int = 1) -> str:
        try:
            return text_of(pool.submit(_respond, body, content_type).result())
        except BrokenProcessPool:
            raise InvokeError("A process of the model was ended from outside, perhaps for lack of memory; try fewer --processes.") from None

    others = set(multiprocessing.active_children())
    try:
        yield send, 2 * processes
    except BaseException:  # nobody waits for what they are at
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def respond(model: "handler.Paraphraser", body: bytes, content_type: str) -> tuple[int, str]:
    """Status and text of the answer to a body."""
    answer = model.respond(body, content_type)
    return answer.status, answer.body


def text_of(answer: tuple[int, str]) -> str:
    """The text of an answer. Raises InvokeError if it is none."""
    status, text = answer
    if status != 200:
        raise InvokeError(reason_of(text), status, stop=False)
    return text


def _start(artifact: Path) -> None:
    """Load the model in a process of the pool. What is wrong with it is told by the first answer."""
    global _model
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _model = handler.load(artifact, threads=1)
    except (ArtifactError, OSError) as error:
        _model = UserError(f"{error}.")


def _end_with_parent() -> None:
    """A pool's process waits for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _respond(body: bytes, content_type: str) -> tuple[int, str]:
    if _model is None or isinstance(_model, UserError):
        raise _model or UserError("The model was not loaded.")
    return respond(_model, body, content_type)
