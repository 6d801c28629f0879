"""The front's queue: how many may wait, whose time is over, and the end, at which everybody is answered."""

import asyncio
import time

import pytest

from scripts.container import front
from tests.container.fronts import HEAD, held, post, run, until


@pytest.mark.parametrize("size, callers, served", [(2, 12, 4), (900, 4, 2)])  # four requests, or 2000 bytes, may wait
def test_too_many_are_told_to_come_back(size, callers, served):
    refused = asyncio.Event()

    slow = held(refused)

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        calls = {asyncio.create_task(post(port, b"x" * size)) for _ in range(callers)}
        await until(lambda: sum(call.done() for call in calls) == callers - served)
        refused.set()
        answers = await asyncio.gather(*calls)
        assert sorted(status for status, _, _ in answers) == [200] * served + [503] * (callers - served)
        assert all(b"Retry-After: 1" in head for status, head, _ in answers if status == 503)
        await until(lambda: front.places.bytes == 0)

    run(scenario, slow)


def test_the_end_answers_what_was_accepted(monkeypatch):
    monkeypatch.setattr(front, "LINGER", 2.0)
    resume = asyncio.Event()

    slow = held(resume)

    async def scenario(front, port, fake, log):
        running = [asyncio.create_task(post(port)) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: front.active == 3)
        ending = asyncio.create_task(front.drain(30))
        await until(lambda: front.ending)
        late = asyncio.create_task(post(port))  # what routes to us has not noticed yet
        await until(lambda: front.active == 4)
        resume.set()
        assert [status for status, _, _ in await asyncio.gather(*running, late)] == [200] * 4
        assert await ending == 0
        assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await post(port)
        writer.close()

    run(scenario, slow)


def test_the_end_does_not_wait_for_ever(monkeypatch):
    async def never():
        await asyncio.sleep(60)

    async def scenario(front, port, fake, log):
        stuck = asyncio.create_task(post(port))
        await until(lambda: fake.seen)
        assert await front.drain(0.2) == 1
        await asyncio.wait([stuck], timeout=1)

    run(scenario, never)


def test_torchserve_has_so_many_requests_at_once_and_none_whose_caller_has_left():
    resume = asyncio.Event()

    slow = held(resume)

    async def scenario(front, port, fake, log):
        running = [asyncio.create_task(post(port, b"first")) for _ in range(2)]
        await until(lambda: len(fake.seen) == 2)
        for number in range(6):  # they fill the places that are left, and leave
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"Content-Length: 4\r\n\r\ngone")
            await until(lambda: front.places.taken == 3 + number)
            writer.transport.abort()
        await until(lambda: sum(guest.gone for guest in front.connections.guests) == 6)
        assert front.places.taken == 8 and front.turns.running == 2
        last = [asyncio.create_task(post(port, b"last")) for _ in range(6)]
        await until(lambda: sum(" 499 " in line for line in log) == 6 and front.places.taken == 8)
        resume.set()
        assert [status for status, _, _ in await asyncio.gather(*running, *last)] == [200] * 8
        assert [data for _, data in fake.seen] == [b"first"] * 2 + [b"last"] * 6
        assert sum(" 499 " in line for line in log) == 6 and front.places.taken == front.turns.running == 0

    run(scenario, slow, waiting=8, at_once=2)


def test_a_request_whose_time_is_over_never_reaches_torchserve():
    resume = asyncio.Event()

    slow = held(resume)

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        answers = await asyncio.gather(*(post(port) for _ in range(3)))
        assert [status for status, _, _ in answers] == [504] * 3
        resume.set()
        await until(lambda: not front.workers.complaint)
        assert len(fake.seen) == 1 and front.turns.running == 0

    run(scenario, slow, waiting=8, at_once=1, timeout=2)


def test_a_request_whose_turn_comes_too_late_is_not_sent(monkeypatch):
    resume = asyncio.Event()

    slow = held(resume)

    async def scenario(front, port, fake, log):
        first = asyncio.create_task(post(port))
        await until(lambda: fake.seen)
        second = asyncio.create_task(post(port))
        await until(lambda: front.places.taken == 2)
        monkeypatch.setattr("scripts.container.front.TOO_LATE", 1000)  # s before its deadline: now
        resume.set()
        assert ((await first)[0], (await second)[0]) == (200, 504)
        assert len(fake.seen) == 1 and front.turns.running == 0 and not front.workers.complaint

    run(scenario, slow, waiting=8, at_once=1)


def test_everybody_is_told_when_the_server_has_ended(monkeypatch):
    monkeypatch.setattr(front, "LAST_TIME", 20)

    async def never():
        await asyncio.sleep(60)

    async def scenario(front, port, fake, log):
        running = [asyncio.create_task(post(port)) for _ in range(6)]  # TorchServe has four of them
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 5\r\n\r\n")
        await until(lambda: front.active == 7 and len(fake.seen) == 4)
        began = time.monotonic()
        assert await front.fail() == 0 and time.monotonic() - began < 15
        answers = await asyncio.gather(*running)
        assert {status for status, _, _ in answers} == {503}
        assert all(b"Retry-After: 1" in head and b"has ended" in text for _, head, text in answers)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(ConnectionRefusedError):
            await post(port)
        writer.close()

    run(scenario, never, waiting=8)
