"""What the container may open, and why it ends when the server behind it has ended or says nothing."""

import asyncio
import re
import resource
import time

import pytest

from scripts.container import entrypoint, machine
from scripts.container.environment import read_environment


@pytest.mark.parametrize(
    "limits, wanted, connections, raised",
    [((1024, 1 << 20), 2000, 2000, 4100), ((1024, 1024), 2000, 462, None), ((1 << 20, 1 << 20), 2000, 2000, None), ((50, 90), 10, 1, 90)],
)
def test_connections_follow_the_limit_on_open_files(monkeypatch, limits, wanted, connections, raised):
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    asked = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: asked.append(both))
    assert machine.connections(wanted) == connections
    assert [soft for soft, _ in asked if soft != limits[0]] == ([raised] if raised else [])


@pytest.mark.parametrize(
    "status, memory, lines, said",
    [
        (-9, "", ["Torch TensorRT not enabled.", "java.io.IOException: Connection reset by peer"], "TorchServe was killed by SIGKILL."),
        (-9, "a process was killed", ["Error: before"], "TorchServe was killed by SIGKILL: a process was killed."),
        (3, "", ["Terminating due to java.lang.OutOfMemoryError: Java heap space", "2026-01-01T00:00:00 INFO  x - y"],
         "TorchServe ended by itself, with status 3: Terminating due to java.lang.OutOfMemoryError: Java heap space."),
        (1, "", ["2026-01-01T00:00:00 ERROR x - Error: of something else"], "TorchServe ended by itself, with status 1."),
    ],
)  # fmt: skip
def test_the_end_of_java_has_its_own_cause(status, memory, lines, said):
    assert re.fullmatch(said, entrypoint.end_of_java(status, memory, lines))


class Watched:
    """Workers that were loaded once, and of which TorchServe has told nothing for a while."""

    any, complaint = True, ""

    def __init__(self, silence: float):
        self.told, self.looks = time.monotonic() - silence, 0

    async def look(self) -> bool:
        self.looks += 1
        self.complaint = "TorchServe does not answer" if self.looks > 1 else ""
        return self.looks == 1


@pytest.mark.parametrize("multi_model", [False, True])
def test_a_server_that_answers_nothing_any_more_ends_the_container(monkeypatch, capsys, multi_model):
    monkeypatch.setattr(entrypoint, "WATCH", (0.01, 0.01))
    container = object.__new__(entrypoint.Container)
    container.settings = read_environment({"SAGEMAKER_MULTI_MODEL": str(multi_model)})
    container.workers, container.log, container.gpus, container.give_up, container.kills = Watched(500), entrypoint.Log(20), 0, 150.0, 0
    assert asyncio.run(container._watch()) == "TorchServe has not answered for 500 s."
