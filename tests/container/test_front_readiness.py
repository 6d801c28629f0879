"""When the front says that the model is ready."""

import asyncio

import pytest

from scripts.container import workers
from scripts.container.front import FRESH
from tests.container.fronts import held, post, run, until


@pytest.mark.parametrize("count", [1, 2])
def test_ping_is_200_exactly_while_all_workers_are_loaded(count):
    async def scenario(front, port, fake, log):
        for states in [], ["UNLOADING"] * count, ["READY"] * (count - 1) + ["UNLOADING"], ["READY"] * count, ["READY"] * (count - 1):
            status = 200 if states == ["READY"] * count else 503
            fake.workers = [{"pid": pid, "status": state} for pid, state in enumerate(states, 1)]
            await asyncio.sleep(FRESH + 0.1)
            got, head, body = await post(port, b"", path=b"/ping", method=b"GET")
            assert (got, body) == (status, b"")
        front.ending = True
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 503

    run(scenario, count=count)


def test_a_server_too_busy_to_say_is_not_ready_and_nobody_has_died(monkeypatch):
    monkeypatch.setattr(workers, "ASK_TIME", 0.1)

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        fake.workers = None  # no list: what it says makes no sense
        await until(lambda: not front.workers.ready)
        assert front.workers.any and front.workers.all[0].deaths == 0
        fake.workers = [{"pid": 2, "status": "READY"}]
        await until(lambda: front.workers.ready)
        assert front.workers.all[0].deaths == 1

    run(scenario)


def test_ping_is_503_while_an_answer_is_overdue():
    resume = asyncio.Event()

    stopped = held(resume)

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        assert (await post(port))[0] == 504
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 503
        assert front.workers.complaint == "an answer is overdue"
        resume.set()  # the worker goes on; nobody waits for its answer, but it came
        await until(lambda: not front.workers.complaint)
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 200

    run(scenario, stopped, timeout=2)


def test_while_torchserve_is_asked_what_it_told_last_is_still_true():
    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        looking = asyncio.create_task(front.workers.look())
        while not looking.done():
            assert front.workers.ready and not front.workers.complaint
            await asyncio.sleep(0)

    run(scenario)
