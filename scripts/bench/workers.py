"""Each engine in a process of its own: its threads, its memory and its crashes are not another's. Knows no engine."""

import multiprocessing
import time
import traceback
from collections.abc import Callable

from scripts.common.command import UserError

SPIN = 0.25  # s; threads of OpenMP wait actively for about 0.2 s after their work, on cores that the next one wants


class EngineError(UserError):
    """An engine could not do what it was asked; one sentence."""


class Remote:
    """An object made by `make(*arguments)` in a fresh process; its methods are called by name."""

    def __init__(self, make: Callable, *arguments, threads: int = 1):
        context = multiprocessing.get_context("spawn")
        self.threads = threads
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self.process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until the object is made; EngineError says why it was not. To be called once, before any `call`."""
        self._answer()

    def call(self, method: str, *arguments):
        self.connection.send((method, arguments))
        answer = self._answer()
        if self.threads > 1:
            time.sleep(SPIN)
        return answer

    def _answer(self):
        try:
            ok, answer = self.connection.recv()
        except EOFError:
            self.process.join(5)
            raise EngineError(f"the process ended with status {self.process.exitcode}") from None
        if not ok:
            raise EngineError(answer)
        return answer

    def close(self) -> None:
        try:
            self.connection.send(None)
        except OSError:
            pass
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _serve(connection, make: Callable, arguments: tuple) -> None:
    """The other process: make the object, then answer calls until told to end."""
    try:
        engine = make(*arguments)
        connection.send((True, None))
        while (message := connection.recv()) is not None:
            method, values = message
            connection.send((True, getattr(engine, method)(*values)))
    except EOFError:  # the benchmark has ended
        pass
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        connection.send((False, f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"))


def peak_memory() -> float:
    """The most memory this process has held, MB."""
    return vm_high_water("self")


def vm_high_water(process: int | str) -> float:
    """The most memory a process has held, MB; 0 where the system does not tell."""
    try:
        with open(f"/proc/{process}/status") as status:
            found = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    except OSError:
        found = []
    return int(found[0]) / 1024 if found else 0.0
