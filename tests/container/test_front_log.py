"""The front's log: a line a request, and nothing that was sent."""

import asyncio
import socket

import pytest

from scripts.container.front import FRESH
from tests.container.fronts import HEAD, post, run, until


def test_a_caller_who_leaves_is_only_a_line_in_the_log():
    async def scenario(front, port, fake, log):
        for data in HEAD + b"Content-Length: 5\r\n\r\nab", HEAD, b"":
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            await until(lambda: front.active or b"Content-Length" not in data)
            await asyncio.sleep(0.05)
            writer.transport.abort()
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.shutdown(socket.SHUT_WR)
        await until(lambda: log and not front.connections.guests)
        assert len(log) == 1 and " 499 " in log[0] and front.active == front.places.bytes == 0

    run(scenario)


def test_the_log_has_a_line_a_request_and_nothing_that_was_sent():
    async def scenario(front, port, fake, log):
        await post(port, b"secretbody", b"X-Secret: secretheader\r\n", b"/invocations?secretquery=1")
        await post(port, b"", path=b"/elsewhere?secretquery=1")
        await post(port, b"", path=b"/ping", method=b"GET")
        assert len(log) == 2 and "secret" not in "".join(log)
        assert log[0].startswith("POST /invocations 200 4 bytes ") and log[1].startswith("POST another path 404 ")

    run(scenario)


def test_a_probe_has_a_line_in_the_log_for_each_change():
    async def scenario(front, port, fake, log):
        for pids in (), (), (1,), (1,), (), ():
            fake.workers = [{"pid": pid, "status": "READY"} for pid in pids]
            await asyncio.sleep(FRESH + 0.1)
            await post(port, b"", path=b"/ping", method=b"GET")
        assert [line.split(" bytes")[0] for line in log] == ["GET /ping 503 0"] * 2

    run(scenario)


@pytest.mark.parametrize("several", [False, True])
def test_the_log_has_no_name_of_a_callers_own(several):
    async def scenario(front, port, fake, log):
        for method, path in (b"SECRET", b"/ping"), (b"GET", b"/secret"), (b"POST", b"/models/secret/invoke"), (b"GET", b"/models/secret"):
            await post(port, b"", path=path, method=method)
        assert len(log) == 4 and "secret" not in "".join(log).lower()
        assert ("POST /models/NAME/invoke 200" in "".join(log)) == several

    run(scenario, multi_model=several)
