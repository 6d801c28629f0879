"""Mixed traffic for minutes: short, long and bad requests and arrays, from several callers at once; memory over time, answers by status."""

import http.client
import itertools
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.bench import workload
from scripts.serving.server import Server

CALLERS = 8
EVERY = 5.0  # s between two looks at the memory
PATIENCE = 620.0  # s; longer than the server's own deadline


def bodies(seed: int) -> Iterator[tuple[str, bytes]]:
    """(kind, body) without end: of ten requests five are short, two long, two bad, and one is an array of up to forty."""
    draw = random.Random(seed)
    sentences = workload.SENTENCES
    bad: list[Any] = [{"sent": ""}, {"sent": "it rains", "tmpl": "(ROOT (S"}, {"sent": "x", "parse": "(ROOT " + "(NN )" * 3_000 + ")"}, [1]]
    for number in itertools.count():
        kind = draw.choice(("short",) * 5 + ("long",) * 2 + ("bad",) * 2 + ("array",))
        one = {"sent": draw.choice(sentences)[0], "tmpl": draw.choice(("statement", "clause_first")), "seed": number}
        value: Any = {
            "short": one,
            "long": {**one, "num_paraphrases": 4, "candidates": 8},
            "bad": draw.choice(bad),
            "array": [{**one, "sent": draw.choice(sentences)[0]} for _ in range(draw.randint(2, 40))],
        }[kind]
        yield kind, json.dumps(value).encode()


def memory(server: Server) -> dict[str, float]:
    """MB that the server's Java and its workers hold now, by name; workers together."""
    found = {"server": 0.0, "workers": 0.0}
    folder = str(server.log.parent).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"LOG_LOCATION=" + folder not in (process / "environ").read_bytes().split(b"\0"):
                continue
            command, status = (process / "cmdline").read_bytes(), (process / "status").read_text()
        except OSError:  # it has ended, or is another's
            continue
        if resident := re.search(r"VmRSS:\s+(\d+)", status):
            found["workers" if b"model_service_worker" in command else "server"] += int(resident[1]) / 1024
    return found


class Traffic:
    """Callers that send bodies one after the other until they are told to stop."""

    def __init__(self, server: Server):
        self.server, self.halt, self.lock = server, threading.Event(), threading.Lock()
        self.statuses: Counter[str] = Counter()
        self.waits: dict[str, list[float]] = {}
        self.threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def _call(self, seed: int) -> None:
        for kind, body in bodies(seed):
            if self.halt.is_set():
                return
            began = time.monotonic()
            status = send(self.server.port, body)
            with self.lock:
                self.statuses[status] += 1
                self.waits.setdefault(kind, []).append(time.monotonic() - began)

    def stop(self) -> None:
        self.halt.set()
        for thread in self.threads:
            thread.join()


def send(port: int, body: bytes) -> str:
    """The status of an answer, or the name of what went wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def soak(archive: Path, state: Path, minutes: float, say: Callable[[str], None]) -> dict:
    """Serve an archive and keep it busy for so many minutes. Seconds and MB over time, statuses, waits by kind."""
    samples: list[dict[str, float]] = []
    with Server(archive, state, port=0) as server:
        began = time.monotonic()
        traffic = Traffic(server)
        try:
            while (passed := time.monotonic() - began) < 60 * minutes:
                samples.append({"seconds": passed, **memory(server)})
                say(f"  {passed:5.0f} s  workers {samples[-1]['workers']:.0f} MB  server {samples[-1]['server']:.0f} MB")
                time.sleep(EVERY)
        finally:
            traffic.stop()
    return {"minutes": minutes, "memory": samples, "statuses": dict(traffic.statuses), "waits": traffic.waits}


def text(result: dict) -> str:
    """The figures as Markdown: memory by quarters of the time, statuses, waits."""
    quarters: list[list[dict]] = [[] for _ in range(4)]
    for sample in result["memory"]:
        quarters[min(3, int(4 * sample["seconds"] / (60 * result["minutes"])))].append(sample)
    lines = ["| quarter of the time | workers, MB, highest | server, MB, highest |", "|--:|--:|--:|"]
    for number, quarter in enumerate(quarters, 1):
        if quarter:
            lines.append(f"| {number} | {max(s['workers'] for s in quarter):.0f} | {max(s['server'] for s in quarter):.0f} |")
    lines += ["", "| status | answers |", "|---|--:|", *(f"| {status} | {count} |" for status, count in sorted(result["statuses"].items()))]
    lines += ["", "| kind | requests | p50, s | p95, s | longest, s |", "|---|--:|--:|--:|--:|"]
    for kind, waits in sorted(result["waits"].items()):
        ranked = sorted(waits)
        shown = ranked[len(ranked) // 2], ranked[int(0.95 * (len(ranked) - 1))], ranked[-1]
        lines.append(f"| {kind} | {len(ranked)} | " + " | ".join(f"{seconds:.2f}" for seconds in shown) + " |")
    return "\n".join(lines)


def draw(result: dict, file: Path) -> None:
    """Write the plot of memory over time; raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name in ("workers", "server"):
        axis.plot([s["seconds"] / 60 for s in result["memory"]], [s[name] for s in result["memory"]], label=name)
    axis.set(xlabel="minutes", ylabel="MB", ylim=(0, None), title=f"{CALLERS} callers, mixed traffic")
    axis.legend()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
