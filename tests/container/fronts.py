"""A front before a fake TorchServe, in this process, and callers of it."""

import asyncio
import contextlib
import json
import time

from scripts.container.front import Front, FrontSettings, Workers
from scripts.container.http11 import Backend

HEAD = b"POST /invocations HTTP/1.1\r\nHost: here\r\n"
OK = b'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"ok"'
DIED = b'HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 31\r\n\r\n{"message": "Worker died. 0 "}\n'


class Fake:
    """What stands behind the front: answers /models itself and everything else from a list, the last of it for ever.

    at: path -> what a worker answers for ever, in place of the list.
    """

    def __init__(self, *answers):
        self.answers, self.seen, self.at = list(answers) or [OK], [], {}
        self.workers = [{"pid": 1, "status": "READY"}]
        self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                data = await reader.readexactly(length)
                if head.startswith(b"GET /models/synpg/all "):
                    versions = [{"modelVersion": str(number), "workers": [each]} for number, each in enumerate(self.workers or (), 1)]
                    told = json.dumps([{}] if self.workers is None else versions).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(told) + told)
                    continue
                self.seen.append((head, data))
                answer = self.at.get(head.split()[1].decode()) or (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                if not isinstance(answer, bytes):
                    answer = await answer()
                if not answer:
                    break
                writer.write(answer)
                if b"connection: close" in answer:
                    break
        writer.close()


def run(scenario, *answers, count=1, **changes):
    """A scenario with a front, its port, the fake behind it, and the lines of the log. count: of workers."""

    async def whole():
        fake, log = Fake(*answers), []
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        workers = Workers(Backend(port), None if changes.get("multi_model") else "synpg", count)
        settings = FrontSettings(
            **{"timeout": 20, "max_body": 1000, "waiting": 4, "waiting_bytes": 2000, "at_once": 4, "parameters": {"a": 1}, **changes}
        )
        front = Front(settings, Backend(port), Backend(port), workers, log.append)
        watch = asyncio.create_task(keep_looking(workers))
        try:
            await scenario(front, await front.listen(0, "127.0.0.1"), fake, log)
        finally:
            watch.cancel()
            front.server.close()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

    asyncio.run(whole())


def held(event: asyncio.Event):
    """How TorchServe answers: not before the event."""

    async def answer():
        await event.wait()
        return OK

    return answer


async def until(condition, seconds=30):
    """Wait for what is about to be so; on a busy machine that takes a while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def keep_looking(workers):
    while True:
        await workers.look()
        await asyncio.sleep(0.02)


async def send(port, data, more=b"", delay=0.0):
    """Bytes out, bytes back until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if more:
        await asyncio.sleep(delay)
        with contextlib.suppress(ConnectionError):
            writer.write(more)
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def post(port, data=b"{}", headers=b"", path=b"/invocations", method=b"POST"):
    """(status, head, body) of one request on its own connection."""
    answer = await send(
        port, b"%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n" % (method, path, headers, len(data)) + data
    )
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, head, text
