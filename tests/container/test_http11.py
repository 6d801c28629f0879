"""HTTP that callers may send to the front: framing, keep-alive, Expect; requests that are too large, malformed or slow."""

import asyncio
import json

import pytest

from scripts.container import admission, front, http11
from tests.container.fronts import HEAD, run, send, until


@pytest.mark.parametrize(
    "request_bytes, bodies",
    [
        (HEAD + b"Content-Length: 2\r\n\r\nab" + HEAD + b"Connection: close\r\nContent-Length: 1\r\n\r\nc", [b"ab", b"c"]),  # pipelined
        (HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", [b"abc"]),
        (b"POST /invocations?model_name=other HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", [b"ab"]),
    ],
)
def test_bodies_arrive_however_they_are_framed(request_bytes, bodies):
    async def scenario(front, port, fake, log):
        answer = await send(port, request_bytes)
        assert answer.count(b'"ok"') == len(bodies)
        assert [data for _, data in fake.seen] == bodies and all(
            head.startswith(b"POST /predictions/synpg/1 HTTP/1.1") for head, _ in fake.seen
        )

    run(scenario)


def test_connections_are_used_again_on_both_sides():
    async def scenario(front, port, fake, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            writer.write(HEAD + b"Content-Length: 2\r\n\r\nab")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200" in head and await reader.readexactly(4) == b'"ok"'
        writer.close()
        assert fake.connections <= 2  # one for /models

    run(scenario)


def test_expectations_are_met_unless_the_body_is_too_large():
    async def scenario(front, port, fake, log):
        answer = await send(port, HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", b"ab", 0.1)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n") and b"HTTP/1.1 200" in answer
        answer = await send(port, HEAD + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413") and b"100 Continue" not in answer

    run(scenario)


@pytest.mark.parametrize(
    "framing, data",
    [
        (b"Content-Length: 900000\r\n\r\n", b"x" * 900_000),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"dbba0\r\n" + b"x" * 900_000 + b"\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_is_too_large_is_told_so(framing, data):
    async def scenario(front, port, fake, log):
        head, _, text = (await send(port, HEAD + framing + data)).partition(b"\r\n\r\n")
        error = json.loads(text)
        assert head.startswith(b"HTTP/1.1 413") and error["type"] == "PayloadTooLarge" and "at most 1000 are read" in error["message"]
        assert not fake.seen

    run(scenario)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"hello\r\n\r\n",
        HEAD + b"A: " + b"x" * 40_000,
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Bad Name: 1\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_what_is_not_http_is_refused(data):
    async def scenario(front, port, fake, log):
        answer = await send(port, data)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 501")) and not fake.seen

    run(scenario)


def test_slow_callers_are_given_up(monkeypatch):
    monkeypatch.setattr(http11, "HEADER_TIME", 0.1)
    monkeypatch.setattr(front, "BODY_TIME", 0.1)
    monkeypatch.setattr(http11, "IDLE_TIME", 0.3)

    async def scenario(front, port, fake, log):
        assert await send(port, b"POST /invoc") == b""
        assert (await send(port, HEAD + b"Content-Length: 5\r\n\r\nab")).startswith(b"HTTP/1.1 408")
        assert await send(port, b"") == b""
        await until(lambda: front.active == front.places.bytes == 0 and not front.connections.guests)

    run(scenario)


def test_a_caller_who_does_not_read_is_given_up(monkeypatch):
    monkeypatch.setattr(admission, "SEND_TIME", 0.2)
    size = 20_000_000

    async def scenario(front, port, fake, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nab")
        await until(lambda: log and front.active == 0 and not front.connections.guests)
        writer.close()

    run(scenario, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
