"""Through a real TorchServe: clients, a lone request's overhead, memory; and starts, beside a handler that only imports torch."""

import concurrent.futures
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from scripts.bench import engines, timing, variants, workload
from scripts.bench.workers import Remote, vm_high_water
from scripts.common.paths import ROOT
from scripts.serving import archive
from scripts.serving.server import Server, members, running

# TorchServe calls it once without data, to initialise.
ECHO = "import torch\n\n\ndef handle(data, context):\n    return [torch.__version__ for _ in data or ()]\n"
# The handler of the archive under test, which also says in a header how long the model took over the request: everything but TorchServe,
# its worker's protocol, metrics and log.
TIMED = """
import time

from synpg_handler import SynPGHandler


class Timed(SynPGHandler):
    spent = 0.0

    def advance(self, bodies, observe):
        began = time.perf_counter()
        done = super().advance(bodies, observe)
        self.spent += time.perf_counter() - began
        for answer in done.values():
            answer.headers[SECONDS] = str(self.spent)
            self.spent = 0.0
        return done
"""
SECONDS = "x-model-seconds"
LOAD_SECONDS = 6.0  # of each number of clients, at least; whoever waits then for an answer still gets it

# What the worker does before it can answer, in a process of its own: seconds of imports, load, first and second request.
STOPWATCH = """
import json, sys, time
began = time.perf_counter()
import torch
import handler.synpg_handler
from handler import artifacts
from scripts.bench import workload
imported = time.perf_counter()
options, threads = json.loads(sys.argv[2])
torch.set_num_threads(threads)
paraphraser = artifacts.load(sys.argv[1], **options)
times = [imported - began, time.perf_counter() - imported]
for _ in range(2):
    start = time.perf_counter()
    paraphraser.run(workload.rows(paraphraser, workload.bodies(1)))
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


class Client:
    """One caller with one connection."""

    def __init__(self, server: Server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        self.path = f"/predictions/{server.model}"
        self.inside = 0.0  # seconds that the model took of the last answer, where the archive's handler says it

    def ask(self, body: dict) -> float:
        """Seconds until the whole answer is here. Raises OSError for any status but 200."""
        began = time.perf_counter()
        self.connection.request("POST", self.path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError(f"HTTP {answer.status}: {text[:200].decode('utf-8', 'replace')}")
        took = time.perf_counter() - began
        self.inside = float(answer.getheader(SECONDS, "0"))
        return took

    def outside(self, body: dict) -> float:
        """Seconds of a request that the model did not take."""
        return self.ask(body) - self.inside


def under_load(server: Server, clients: int, seconds: float, count: int | None = None) -> dict:
    """So many callers, each asking again as soon as it is answered. count: mixed requests to send, however long it takes."""
    latencies, lock, start = [], threading.Lock(), threading.Barrier(clients + 1)

    def call(place: int) -> None:
        client, turn = Client(server), place
        start.wait()
        end = time.perf_counter() + seconds
        while True:
            took = client.ask(workload.served(turn) if count is None else workload.mixed(turn))
            with lock:
                latencies.append(took)
            turn += clients
            if time.perf_counter() > end if count is None else turn >= count:
                return

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        callers = [pool.submit(call, place) for place in range(clients)]
        start.wait()
        began = time.perf_counter()
        for caller in callers:
            caller.result()
        whole = time.perf_counter() - began
    return {"clients": clients, "seconds": timing.summary(latencies), "per_second": len(latencies) / whole}


def built(folder: Path, scratch: Path) -> Path:
    """The artifact's archive as `scripts.build_archive` makes it."""
    mar = scratch / "synpg.mar"
    if not mar.is_file():
        with archive.served(folder) as carried:
            archive.build(carried, mar)
    return mar


def timed(mar: Path, output: Path) -> Path:
    """The archive with a handler that says how long the model took, at `output`."""
    with zipfile.ZipFile(mar) as source, zipfile.ZipFile(output, "w") as changed:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == archive.MANIFEST:
                manifest = json.loads(content)
                manifest["model"]["handler"] = "timed.py"
                content = json.dumps(manifest).encode()
            changed.writestr(member, content)
        changed.writestr("timed.py", TIMED.replace("SECONDS", repr(SECONDS)))
    return output


def served(folder: Path, scratch: Path, clients: tuple[int, ...], seconds: float, rounds: int, mixed: int = 0, say=print) -> dict:
    """A server with this artifact, and beside it the same engine without a server. mixed: requests of all kinds that it answers
    at last, before its memory is read."""
    mar = timed(built(folder, scratch), scratch / "timed.mar")
    options, threads = variants.served()
    state = Path(tempfile.mkdtemp(prefix="bench-", dir=scratch))
    with Remote(engines.Ours, folder, options, threads, threads=threads) as engine, Server(mar, state, port=0) as server:
        engine.ready()
        ids = engine.call("answered", workload.bodies(1))
        lone = Client(server)
        for _ in range(3):  # both warm
            lone.ask(workload.served())
            engine.call("requests", [workload.served()], ids)
        found = timing.interleaved(
            {"server": lambda: lone.ask(workload.served()), "engine": lambda: engine.call("requests", [workload.served()], ids).seconds},
            rounds,
            3 * seconds,
            least=min(3, rounds),
        )
        overhead = [lone.outside(workload.served()) for _ in range(3 * rounds)]
        result = {
            "engine": engine.call("describe"),
            "threads": threads,
            "lone": {
                "server": timing.summary(found["server"]),
                "engine": timing.summary(found["engine"]),
                "overhead_ms": 1e3 * statistics.median(overhead),
            },
            "load": [],
        }
        say(
            f"  one request: {1e3 * result['lone']['server']['p50']:.1f} ms through TorchServe, "
            f"{1e3 * result['lone']['engine']['p50']:.1f} ms in the engine; {result['lone']['overhead_ms']:.1f} ms outside of the model"
        )
        for count in clients:
            result["load"].append(under_load(server, count, seconds))
            say(
                f"  {count} clients: {result['load'][-1]['per_second']:.1f} a second, "
                f"p50 {1e3 * result['load'][-1]['seconds']['p50']:.0f} ms"
            )
        if mixed:
            took = under_load(server, max(1, min(8, mixed)), 0.0, mixed)
            say(f"  {mixed} mixed requests: {took['per_second']:.1f} a second")
        result["mixed"], result["peak_mb"] = mixed, memory(state)
        return result


def against(folder: Path, checkout: Path, scratch: Path, seconds: float, rounds: int) -> dict:
    """This version and the one in another checkout, each with its own shipped model in an archive of its own making, in turn.

    Returns of both the lone request's times and, for each round of 16 callers, the answers a second.
    """
    earlier = scratch / "earlier.mar"
    made = [sys.executable, "-m", "scripts.build_archive", "--output", str(earlier)]
    subprocess.run(made, cwd=checkout, check=True, capture_output=True, timeout=300)
    states = [Path(tempfile.mkdtemp(prefix="against-", dir=scratch)) for _ in range(2)]
    with Server(built(folder, scratch), states[0], port=0) as now, Server(earlier, states[1], port=0, model="earlier") as before:
        servers = {"now": now, "before": before}
        clients = {name: Client(server) for name, server in servers.items()}
        for client in clients.values():
            for turn in range(3):
                client.ask(workload.served(turn))
        lone = timing.interleaved({name: lambda c=c: c.ask(workload.served()) for name, c in clients.items()}, rounds, 2 * seconds, least=3)
        many = timing.interleaved(
            {name: lambda s=s: under_load(s, 16, seconds / 2)["per_second"] for name, s in servers.items()}, 3, 4 * seconds
        )
    return {
        "lone": {name: timing.summary(times) for name, times in lone.items()},
        "per_second_16": {name: statistics.median(rates) for name, rates in many.items()},
    }


def memory(state: Path) -> dict[str, float]:
    """The most memory that the worker and Java have held, MB."""
    peaks = {"worker": 0.0, "java": 0.0}
    for process in members(record) if (record := running(state)) else ():
        name = "java" if any("org.pytorch.serve" in part for part in process.cmdline()) else "worker"
        peaks[name] = max(peaks[name], vm_high_water(process.pid))
    return peaks


def echo_archive(output: Path) -> Path:
    """An archive whose handler imports torch and answers with its version."""
    source = output.with_name("echo_handler.py")
    source.write_text(ECHO)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        archive.run_archiver(output, "1", source, Path(scratch), "--force")
    return output


def cold_start(archive: Path, scratch: Path, model: str, body: dict) -> float:
    """Seconds from the start of TorchServe's process to its first answer; then it is stopped."""
    state = Path(tempfile.mkdtemp(prefix="cold-", dir=scratch))
    server = Server(archive, state, port=0, model=model)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            began = time.perf_counter()
            starting = pool.submit(server.start)  # it looks for readiness every 0.2 s; asking all the time is more exact
            while True:
                try:
                    if server.url:
                        Client(server).ask(body)
                        return time.perf_counter() - began
                except (OSError, http.client.HTTPException):
                    pass  # not listening, or the model is not there yet
                if starting.done():
                    starting.result()  # raises if it could not be started
                time.sleep(0.01)
    finally:
        server.stop()


def stopwatch(folder: Path) -> dict[str, float]:
    """What the worker's part of a start consists of, seconds."""
    done = subprocess.run(
        [sys.executable, "-c", STOPWATCH, str(folder), json.dumps(variants.served())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    imports, load, first, second = json.loads(done.stdout.splitlines()[-1])
    return {"imports": imports, "load": load, "warm_up": first - second, "answer": second}


def cold(folder: Path, scratch: Path, rounds: int, budget: float) -> dict:
    """Starts of this artifact's archive and of the echo handler's in turn. Files are in the system's cache."""
    mar, echo = built(folder, scratch), echo_archive(scratch / "echo.mar")
    request = workload.served()
    with archive.served(folder) as carried:
        found = timing.interleaved(
            {
                "synpg": lambda: cold_start(mar, scratch, "synpg", request),
                "echo": lambda: cold_start(echo, scratch, "echo", request),
                "parts": lambda: stopwatch(carried),
            },
            rounds,
            budget,
        )
    parts = {name: statistics.median(part[name] for part in found["parts"]) for name in found["parts"][0]}
    total, other = statistics.median(found["synpg"]), statistics.median(found["echo"])
    return {
        "seconds": total,
        "echo_seconds": other,
        "ratio": total / other,
        "runs": len(found["synpg"]),
        "parts": {"server": total - parts["imports"] - parts["load"] - max(0.0, parts["warm_up"]) - 2 * parts["answer"], **parts},
    }
