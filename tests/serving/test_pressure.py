"""One caller cannot hurt another: the largest bodies that are allowed, and hostile ones, beside a lone caller on a real TorchServe."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.common.paths import ROOT
from scripts.serving.server import Server, free_ports
from tests.factories import body
from tests.serving.test_torchserve import post

LETTERS = " ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(62))
COSTLY = {"sent": LETTERS, "tmpl": "two_clauses", "candidates": 32, "num_paraphrases": 64}  # 1.1 KB as an array of four
LONE = body({"sent": "we will have a picnic if it is a sunny day tomorrow.", "tmpl": "statement", "seed": 1})
BEARABLE = 2.0  # s that a lone caller waits at the 95th percentile, on an idle machine
SLOWER = 15  # times what it waits alone, on a machine that is busy with other things
WATCHED = 25.0  # s


class Caller(threading.Thread):
    """Sends one body, or with `pause` the same again and again until `stop`; keeps (status, seconds, text) of each answer."""

    def __init__(self, server, data: bytes, stop: threading.Event, pause: float | None = None):
        super().__init__(daemon=True)
        self.server, self.data, self.halt, self.pause = server, data, stop, pause
        self.answers: list[tuple] = []
        self.start()

    def run(self) -> None:
        while not self.halt.is_set():
            began = time.monotonic()
            try:
                status, _, text = post(self.server, self.data)
            except OSError as error:
                status, text = type(error).__name__, b""
            self.answers.append((status, time.monotonic() - began, text))
            if self.pause is None:
                return
            time.sleep(self.pause)


@pytest.fixture(scope="module")
def crowded(demo_archive, state_factory):
    """A server of its own."""
    with Server(demo_archive, state_factory(), port=0) as running:
        yield running


class Fronted:
    """The container's front with two workers, on this machine, without a container."""

    def __init__(self, archive: Path, folder: Path):
        (folder / "model").mkdir()
        (folder / "model" / archive.name).symlink_to(archive)
        [self.port] = free_ports(1)
        self.log = folder / "log"
        env = {
            "SAGEMAKER_BASE_DIR": str(folder),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SAGEMAKER_MODEL_SERVER_WORKERS": "2",
            "SYNPG_ADDRESS": "127.0.0.1",
        }
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.container", "serve"], cwd=ROOT, env=os.environ | env, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 180
        while True:
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if post(self, b"", path="/ping", method="GET")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)


@pytest.fixture(scope="module")
def fronted(demo_archive, state_factory):
    running = Fronted(demo_archive, state_factory())
    try:
        running.wait_ready()
        yield running
    finally:
        running.process.terminate()
        running.process.wait(60)


def worst(server, stop: threading.Event) -> "Caller":
    """A caller whose body is about the largest that is not refused. Each worker estimates for itself, so it is found by trying."""
    status, _, text = post(server, body([COSTLY] * 4))
    assert status == 413
    estimate, limit = map(float, re.search(r"about (\d+) seconds, at most (\d+)", json.loads(text)["message"]).groups())
    count = min(1024, int(4 * 64 * 4 * limit / estimate))  # of eight candidates each
    while count:
        parts = [64] * (count // 64) + [count % 64] * (count % 64 > 0)
        caller = Caller(server, body([{**COSTLY, "candidates": 8, "num_paraphrases": part} for part in parts]), stop)
        caller.join(2.0)
        if caller.is_alive():
            return caller
        assert [status for status, _, _ in caller.answers] == [413]
        count = count * 4 // 5
    raise AssertionError("every body was refused")


def memory(server) -> int:
    """The most memory that a worker of a server has had, in MB."""
    most = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (folder / "cmdline").read_bytes(), (folder / "status").read_text()
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"model_service_worker" in command and str(server.log.parent).encode() in environment:
            most = max(most, int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024)
    return most


def timed(server) -> float:
    """Seconds that a lone caller waits now."""
    began = time.monotonic()
    assert post(server, LONE)[0] == 200
    return time.monotonic() - began


@pytest.mark.parametrize("service", ["crowded", "fronted"], ids=["one worker", "two workers"])
def test_beside_the_worst_bodies_a_lone_caller_is_answered_in_time(service, request):
    """As many of the worst bodies as there are workers."""
    crowded = request.getfixturevalue(service)
    alone = max(timed(crowded) for _ in range(5))
    stop = threading.Event()
    large = [worst(crowded, stop) for _ in range(2 if service == "fronted" else 1)]
    lone = Caller(crowded, LONE, stop, pause=0.1)
    time.sleep(WATCHED)
    stop.set()
    lone.join(30)
    assert {status for status, _, _ in lone.answers} == {200}
    assert len({text for _, _, text in lone.answers}) == 1  # the same seed, the same text, whoever else is there
    waits = sorted(seconds for _, seconds, _ in lone.answers)
    assert waits[int(0.95 * (len(waits) - 1))] < max(BEARABLE, SLOWER * alone), (alone, waits)
    if service == "fronted":  # whose time-out is that of an endpoint: 50 s
        for caller in large:
            caller.join(60)
            assert not caller.is_alive()
    assert all(status == 200 for caller in large for status, _, _ in caller.answers)


@pytest.mark.parametrize("size, expected", [(26_000_000, {413}), (6_000_000, {400, 503})], ids=["too large", "the largest"])
def test_a_hundred_large_bodies_at_once_do_not_end_the_server(crowded, size, expected):
    stop = threading.Event()
    callers = [Caller(crowded, b" " * size, stop) for _ in range(100)]
    for caller in callers:
        caller.join(100)
    assert {status for caller in callers for status, _, _ in caller.answers} <= expected
    assert timed(crowded)


def test_bodies_of_nothing_but_errors_cost_little_memory_and_time(crowded):
    tree = f"(ROOT {'(NN )' * 3989})"
    assert len(tree) == 19_952
    stop = threading.Event()
    hostile = [Caller(crowded, body([{"sent": "a", "parse": tree}] * 313), stop) for _ in range(8)]
    time.sleep(0.5)
    lone = Caller(crowded, LONE, stop, pause=0.1)
    for caller in hostile:
        caller.join(100)
    stop.set()
    lone.join(30)
    statuses = [answer[0] for caller in hostile for answer in caller.answers]
    assert len(statuses) == 8 and {*statuses} <= {200, 503}  # eight of 6.3 MB fit only if they do not all arrive before one is done
    assert statuses.count(200) >= 5
    assert {status for status, _, _ in lone.answers} == {200}
    assert 100 < memory(crowded) < 1000
