"""Callers that do not take their answers: what is held for them counts, and the others notice nothing."""

import asyncio
import contextlib
import socket
from types import SimpleNamespace

import pytest

from scripts.container import admission
from scripts.container.http11 import SLICE, Caller
from tests.container.fronts import HEAD, OK, post, run, until

LARGE = 8 << 20  # bytes of an answer; the system itself takes about a third of them
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LARGE + bytes(range(256)) * (LARGE // 256)
ASK = HEAD + b"Content-Length: 2\r\n\r\n{}"
LIMIT = 20 << 20  # bytes that the front may hold


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A slow reader is found out in a tenth of a second instead of a second."""
    monkeypatch.setattr(admission, "MEASURED", 0.1)


def test_those_who_do_not_read_are_given_up_when_memory_runs_out():
    async def scenario(front, port, fake, log):
        with contextlib.ExitStack() as stack:
            for count in range(1, 13):
                sender = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                sender.sendall(ASK)
                await until(lambda: len(fake.seen) >= count and not front.turns.running, 20)
                await asyncio.sleep(0.15)
                assert front.places.bytes <= LIMIT + LARGE  # one that is so new that it cannot be known as slow
            assert front.places.unread > 0
            fake.answers = [OK]
            assert [(await post(port))[0] for _ in range(5)] == [200] * 5
        await until(lambda: front.active == front.places.bytes == 0, 20)

    run(scenario, WHOLE, waiting=20, waiting_bytes=LIMIT)


def test_who_was_given_up_gets_no_more_though_it_reads_just_then():
    async def taken():
        pass

    async def scenario():
        caller = Caller(None, SimpleNamespace(write=lambda data: None, drain=taken, get_extra_info=lambda name: None))
        departure = admission.Departure(LARGE)
        await caller._write(b"data", departure)
        departure.given_up = True
        with pytest.raises(TimeoutError):
            await caller._write(b"data", departure)

    asyncio.run(scenario())


def test_a_large_answer_arrives_whole_and_is_held_once():
    async def scenario(front, port, fake, log):
        status, _, text = await post(port)
        assert status == 200 and text == WHOLE[-LARGE:]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        await until(lambda: front.places.unread, 20)
        [connection] = front.connections.guests
        assert connection.writer.transport.get_write_buffer_size() <= 2 * SLICE
        writer.transport.abort()
        await until(lambda: front.active == front.places.bytes == 0, 20)

    run(scenario, WHOLE, waiting_bytes=LIMIT)


def test_a_reader_that_goes_on_has_its_answer(monkeypatch):
    async def scenario(front, port, fake, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK.replace(b"Host", b"Connection: close\r\nHost"))
        got = 0
        while data := await reader.read(1 << 20):
            got += len(data)
            await asyncio.sleep(0.02)
        assert got > LARGE
        writer.close()

    run(scenario, WHOLE, waiting_bytes=LIMIT)
