"""What a long run has done so far, in a file of its own beside the output, so that the same command can go on after any interruption.

The journal of `out.csv` is `out.csv.part`: a line that says what is being done, then a JSON object for each sentence, in order. When
all are done the output is written from it, whole or not at all, and the journal is removed. So the output is the same however often
the run was interrupted.
"""

import fcntl
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from scripts.client.invoke import STREAK, given_up
from scripts.client.tables import shown, write_parquet
from scripts.common.command import InputError


class Journal:
    """The results so far. One process at a time may have it open."""

    def __init__(self, output: Path, work: dict):
        """work: what decides the results: the input and the options. Raises InputError where another output or other work is there."""
        self.output, self.file, self.done = output, output.with_name(output.name + ".part"), 0
        if output.exists():
            raise InputError(f"{output} exists already; give another --output, or remove it.")
        self.stream = open(self.file, "a+b")  # closed by `close`
        try:
            self._open(json.loads(json.dumps(work)))
        except BaseException:
            self.stream.close()
            raise

    def _open(self, work: dict) -> None:
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another run is writing {self.file}.") from None
        self.stream.seek(0)
        head = self.stream.readline()
        if not head.endswith(b"\n"):  # new, or ended before it was begun
            self.stream.truncate(0)
            self._append(work)
            return
        try:
            before = json.loads(head)
        except ValueError:
            before = None
        if not isinstance(before, dict) or before.keys() != work.keys():
            raise InputError(f"{self.file} is no journal of this command; give another --output.")
        other = next((name for name, value in work.items() if before[name] != value), None)
        if other:
            raise InputError(
                f"{self.file} was begun with other settings ({other} {before[other]}, now {work[other]}): "
                "give these again or another --output, or remove it."
            )
        self.done = self._count()

    def _count(self) -> int:
        """How many results there are. Takes back a half-written last line, and last sentences that may succeed another time."""
        number, end, last = 0, self.stream.tell(), deque[bytes](maxlen=2 * STREAK)
        for line in self.stream:
            if not line.endswith(b"\n"):
                break
            number, end = number + 1, end + len(line)
            last.append(line)
        while last and given_up(json.loads(last[-1])):
            number, end = number - 1, end - len(last.pop())
        self.stream.truncate(end)
        return number

    def add(self, result: dict) -> None:
        self._append(result)
        self.done += 1

    def _append(self, value: dict) -> None:
        self.stream.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        self.stream.flush()

    def results(self) -> Iterator[dict]:
        """All results so far."""
        with open(self.file, "rb") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def finish(self, kind: str) -> None:
        """Write the output in this format and remove the journal. Raises OSError, and then the journal stays as it is."""
        new = self.output.with_name(self.output.name + ".new")
        try:
            if kind == "parquet":
                write_parquet(new, self.results())
            else:
                with open(new, "w", encoding="utf-8", newline="") as out:
                    out.writelines(shown(kind, self.results()))
            with open(new, "rb") as written:
                os.fsync(written.fileno())
            new.replace(self.output)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        self.file.unlink()

    def close(self) -> None:
        if not self.done:  # nothing to go on from
            self.file.unlink(missing_ok=True)
        self.stream.close()
