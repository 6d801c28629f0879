"""What a person sees of a training while it runs, and how Ctrl-C ends it."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import TypeVar

FIRST_SECONDS, SECONDS = 5.0, 30.0  # until the first line, and between two lines

T = TypeVar("T")
READING_SECONDS = 8.0  # between two lines while files are read


def counted(items: Iterable[T], what: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
    """The items, as they are; says how many there have been every few seconds."""
    said = clock()
    for number, item in enumerate(items, 1):
        yield item
        if clock() - said >= READING_SECONDS:
            said = clock()
            say(f"{what}: {number}")


class Report:
    """Says loss, accuracy, rate and time left, every half minute; the first time after a few seconds."""

    def __init__(self, name: str, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        """total: steps of the whole training."""
        self.name, self.total, self.say, self.clock = name, total, say, clock
        self.due = FIRST_SECONDS
        self.begin()

    def begin(self) -> None:
        self.began = self.clock()
        self.window: list[tuple] = []

    def add(self, learned: tuple, step: int, epoch: int, rate: float) -> None:
        """learned: summed loss, tokens right, tokens and rows of a step, as `Training.learn` returns them."""
        self.window.append(learned)
        spent = self.clock() - self.began
        if spent < self.due:
            return
        loss, right, tokens, rows = (sum(float(x) for x in column) for column in zip(*self.window))
        left = (self.total - step) * spent / len(self.window)
        self.say(
            f"{self.name}: step {step}/{self.total} epoch {epoch} loss {loss / tokens:.3f} accuracy {right / tokens:.3f} "
            f"rate {rate:.2g} {rows / spent:.0f} sentences/s, {duration(left)} left"
        )
        self.due = SECONDS
        self.begin()


def duration(seconds: float) -> str:
    """About how long, in words: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


class Interruption:
    """Ctrl-C inside the block only sets `asked`, so that a step is never cut in two. The second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interruption":
        try:
            self.before = signal.signal(signal.SIGINT, self.ask)
        except ValueError:  # not in the main thread, which alone receives signals
            self.before = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
