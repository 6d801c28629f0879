"""Callers that send slowly, or not at all, before and beside callers that do: the others notice nothing."""

import asyncio
import contextlib
import time

import pytest

from scripts.container import admission, front
from tests.container.fronts import HEAD, held, post, run, until

SENT = {  # what a slow sender sends at first; max_body is 1000, and 20,000 bytes of bodies may be held
    "no body": HEAD + b"Content-Length: 10\r\n\r\n",
    "a claim": HEAD + b"Content-Length: 1000\r\n\r\n",
    "nearly all of a body": HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 990,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3de\r\n" + b"x" * 990 + b"\r\n",
    "half a head": HEAD,
    "nothing": b"",
}
LIMITS = {"waiting": 8, "waiting_bytes": 20_000}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A slow sender is found out in a tenth of a second instead of a second."""
    monkeypatch.setattr(admission, "MEASURED", 0.1)


@contextlib.asynccontextmanager
async def slow_senders(front, port, count, data, more=b""):
    """So many connections that send `data` and then a little from time to time."""
    writers = []
    for _ in range(count):
        writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
        writers[-1].write(data)

    async def trickle():
        while more:
            await asyncio.sleep(0.05)
            for writer in writers:
                writer.write(more)

    trickling = asyncio.create_task(trickle())
    await asyncio.sleep(0.15)
    await until(lambda: all(arrival.speed() < admission.SLOW for arrival in front.places.arriving))  # they have shown that they are slow
    try:
        yield
    finally:
        trickling.cancel()
        for writer in writers:
            writer.transport.abort()


async def statuses(port, callers=8, each=5, data=b"x" * 500):
    """What callers get that send as they should."""

    async def call():
        return [(await post(port, data))[0] for _ in range(each)]

    return {status for got in await asyncio.gather(*(call() for _ in range(callers))) for status in got}


@pytest.mark.parametrize("sent", SENT)
def test_two_hundred_slow_senders_harm_nobody(sent):
    async def scenario(front, port, fake, log):
        async with slow_senders(front, port, 200, SENT[sent]):
            assert await statuses(port) == {200}
            assert front.places.bytes <= LIMITS["waiting_bytes"]
        await until(lambda: front.active == front.places.bytes == 0 and not front.connections.guests)

    run(scenario, **LIMITS)


def test_nor_do_senders_who_go_on_at_a_trickle():
    async def scenario(front, port, fake, log):
        async with slow_senders(front, port, 200, HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 900, b"x"):
            assert await statuses(port) == {200}

    run(scenario, **LIMITS)


def test_slow_senders_go_first_when_connections_run_out():
    async def scenario(front, port, fake, log):
        async with slow_senders(front, port, 20, SENT["no body"]):
            assert await statuses(port, 4) == {200}
            assert len(front.connections.guests) <= 20 and any(" 503 " in line for line in log)

    run(scenario, connections=40, peer_connections=20, **LIMITS)


def test_a_connection_too_many_is_told_so():
    refused = asyncio.Event()

    slow = held(refused)

    async def scenario(front, port, fake, log):
        calls = {asyncio.create_task(post(port)) for _ in range(7)}
        await until(lambda: sum(call.done() for call in calls) == 2)
        refused.set()
        answers = await asyncio.gather(*calls)
        assert sorted(status for status, _, _ in answers) == [200] * 5 + [503] * 2
        assert all(b"\r\nRetry-After: 1\r\n" in head for status, head, _ in answers if status == 503)
        await until(lambda: not front.connections.peers)

    run(scenario, slow, waiting=20, peer_connections=5)


@pytest.mark.parametrize("pace, total, said", [(0.2, 9, "less than 1000 bytes a second"), (9, 0.4, "did not arrive within 0.4 s")])
def test_a_body_that_comes_too_slowly_is_refused(monkeypatch, pace, total, said):
    monkeypatch.setattr(admission, "PACE_TIME", pace)
    monkeypatch.setattr(front, "BODY_TIME", total)

    async def scenario(front, port, fake, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        began, answer = time.monotonic(), asyncio.create_task(reader.read())
        while not answer.done() and time.monotonic() < began + 30:
            writer.write(b"x")
            await asyncio.sleep(0.02)
        text = await answer
        assert text.startswith(b"HTTP/1.1 408 ") and said.encode() in text and not fake.seen
        writer.close()

    run(scenario)


def test_a_body_that_comes_fast_enough_may_take_long(monkeypatch):
    monkeypatch.setattr(admission, "PACE_TIME", 3)

    async def scenario(front, port, fake, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Connection: close\r\nContent-Length: 27000\r\n\r\n")
        for _ in range(9):  # 3,000 bytes in 3 s are asked for
            await asyncio.sleep(0.4)
            writer.write(b"x" * 3000)
        assert b'"ok"' in await reader.read() and len(fake.seen[0][1]) == 27_000
        writer.close()

    run(scenario, max_body=30_000, waiting_bytes=30_000)


def test_the_end_does_not_wait_for_slow_senders(monkeypatch):
    monkeypatch.setattr(front, "LINGER", 0.1)

    async def scenario(front, port, fake, log):
        async with slow_senders(front, port, 5, SENT["a claim"]):
            began = time.monotonic()
            assert await front.drain(20) == 0 and time.monotonic() - began < 10

    run(scenario)
