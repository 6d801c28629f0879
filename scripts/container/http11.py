"""HTTP/1.1 on both sides of the container's front: requests read from callers, requests sent to TorchServe.

h11 does all parsing and framing, because input from outside should not be parsed by code of our own.
"""

import asyncio
import contextlib
import http
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import h11

from scripts.container.admission import PACE, Arrival, CallerGone, Departure

HEADER_BYTES = 32 * 1024  # request line and headers
HEADER_TIME, IDLE_TIME = 10.0, 650.0  # s; idle connections outlive the callers' patience, not ours
TURN = 64  # parts of a body that are read before others have their turn
LINGER_TIME, LINGER_BYTES = 2.0, 64 << 20  # how long a refused body is read on, so that the refusal arrives
MB = 1 << 20
CHUNK = 1 << 16
SLICE = 1 << 18  # bytes of an answer that are handed to the system at once: the rest is held only once
# Headers of one connection, and headers that are written anew.
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"expect",
    b"content-length",
    b"host",
}

Headers = list[tuple[bytes, bytes]]


@dataclass
class Call:
    """One request of a caller."""

    method: str
    target: str  # path and query
    headers: Headers  # as they came, less those of the connection
    length: int | None  # bytes of the body, where the caller says

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def has(self, name: bytes) -> bool:
        return any(key.lower() == name for key, _ in self.headers)


@dataclass
class Answer:
    """One response."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")


def refusal(status: int, kind: str, message: str) -> Answer:
    """An error in the shape of the handler's."""
    body = json.dumps({"code": status, "type": kind, "message": message, "field": None})
    return Answer(status, body.encode(), [(b"Content-Type", b"application/json")])


class Refused(Exception):
    """The caller gets this answer, and the connection ends: the rest of the request is not read."""

    def __init__(self, answer: Answer):
        super().__init__(answer.status)
        self.answer = answer


class Caller:
    """One connection of a caller's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer
        self.peer: str = (writer.get_extra_info("peername") or [""])[0]
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
        self.arrival: Arrival | None = None  # what the connection waits for

    async def read_call(self) -> Call | None:
        """The next request's head; None when the connection ended instead. Raises Refused and h11.RemoteProtocolError."""
        try:
            if not self.http.trailing_data[0]:
                await self._receive(Arrival(IDLE_TIME, idle=True))
            event = await self._next(Arrival(HEADER_TIME))
        except TimeoutError:
            return None
        if not isinstance(event, h11.Request):
            return None
        check_head(event)
        named = b",".join(value for key, value in event.headers if key == b"connection").lower().replace(b" ", b"").split(b",")
        lengths = [value for key, value in event.headers if key == b"content-length"]
        return Call(
            event.method.decode(),
            event.target.decode("ascii", "replace"),
            [(raw, value) for raw, value in event.headers.raw_items() if raw.lower() not in HOP_BY_HOP | set(named)],
            int(lengths[0]) if lengths else None,
        )

    async def read_body(self, most: int, arrival: Arrival, has_room: Callable[[], bool] = lambda: True) -> bytes:
        """The request's body. Raises Refused when it is larger than `most`, comes too slowly, or finds no room any more."""
        body, parts = bytearray(), 0
        try:
            if self.http.they_are_waiting_for_100_continue:
                self.writer.write(self.http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
            while isinstance(event := await self._next(arrival), h11.Data):
                body += event.data
                arrival.add(len(event.data))
                if len(body) > most:
                    raise Refused(too_large(len(body), most))
                if not has_room():
                    raise Refused(busy())
                parts += 1
                if parts % TURN == 0:  # a body in tiny chunks keeps nobody waiting
                    await asyncio.sleep(0)
        except TimeoutError:
            raise Refused(busy() if arrival.given_up else too_slow(arrival)) from None
        if not isinstance(event, h11.EndOfMessage):
            raise CallerGone
        return bytes(body)

    async def send(self, call: Call | None, answer: Answer, close: bool, departure: Departure | None = None) -> None:
        """Answer; the connection ends if `close`, or if the caller says so. Raises OSError when the caller does not take it."""
        body = b"" if call and call.method == "HEAD" else answer.body
        headers = [(key, value) for key, value in answer.headers if key.lower() not in HOP_BY_HOP]
        headers.append((b"Content-Length", str(len(answer.body)).encode()))
        if close:
            headers.append((b"Connection", b"close"))
        data = self.http.send(h11.Response(status_code=answer.status, headers=headers, reason=phrase(answer.status)))
        departure = departure or Departure(len(body))
        try:
            async with asyncio.timeout_at(departure.due()) as departure.wait:
                for start in range(0, len(body), SLICE):
                    if start:
                        await self._write(data, departure)
                        data = b""
                    data += self.http.send(h11.Data(data=body[start : start + SLICE]))
                await self._write(data + (self.http.send(h11.EndOfMessage()) or b""), departure)
        except TimeoutError:  # the caller does not read
            self.writer.transport.abort()
            raise

    async def _write(self, data: bytes, departure: Departure) -> None:
        """Bytes of an answer. Raises TimeoutError when the caller is given up."""
        self.writer.write(data)
        await self.writer.drain()
        departure.add(len(data))
        if departure.given_up:
            raise TimeoutError

    def again(self) -> bool:
        """Whether the connection takes another request."""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            return True
        return False

    @property
    def gone(self) -> bool:
        """Whether the caller has closed the connection, or its half of it."""
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.transport.is_closing()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.close()

    async def linger(self) -> None:
        """Read on for a while: closing with unread bytes would reset the connection, and the answer would be lost."""
        with contextlib.suppress(TimeoutError, OSError):
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_TIME):
                read = 0
                while read < LINGER_BYTES and (data := await self.reader.read(CHUNK)):
                    read += len(data)

    async def _receive(self, arrival: Arrival) -> None:
        """More bytes of the caller. Raises TimeoutError when they do not come, or when the arrival is given up."""
        self.arrival = arrival
        try:
            async with asyncio.timeout_at(arrival.due()) as arrival.wait:
                self.http.receive_data(await self.reader.read(CHUNK))
            if arrival.given_up:
                raise TimeoutError
        finally:
            self.arrival = arrival.wait = None

    async def _next(self, arrival: Arrival):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            await self._receive(arrival)
        return event


def check_head(request: h11.Request) -> None:
    """Raise Refused for what h11 accepts and the front does not."""
    if not request.http_version.startswith(b"1."):
        raise Refused(refusal(505, "HTTPVersionNotSupported", "only HTTP/1.1 and HTTP/1.0 are understood"))
    # h11 looks at the size of a head only when it comes in several pieces
    if len(request.target) + sum(len(key) + len(value) + 4 for key, value in request.headers) > HEADER_BYTES:
        raise Refused(refusal(431, "HeadersTooLarge", f"request line and headers have more than {HEADER_BYTES} bytes"))
    names = [key for key, _ in request.headers]
    if b"content-length" in names and b"transfer-encoding" in names:  # two parsers might see two ends of the body
        raise Refused(refusal(400, "InvalidRequest", "the request has both Content-Length and Transfer-Encoding"))
    if any(key == b"expect" and value.strip().lower() != b"100-continue" for key, value in request.headers):
        raise Refused(refusal(417, "ExpectationFailed", "the only expectation that is understood is 100-continue"))


def busy() -> Answer:
    return later(refusal(503, "ServiceUnavailable", "too many requests are waiting; try again later"))


def later(answer: Answer) -> Answer:
    """A refusal after which the caller may try again."""
    answer.headers.append((b"Retry-After", b"1"))
    return answer


def too_slow(arrival: Arrival) -> Answer:
    if time.monotonic() < arrival.began + arrival.patience:
        return refusal(408, "RequestTimeout", f"the body came with less than {PACE} bytes a second")
    return refusal(408, "RequestTimeout", f"the body did not arrive within {arrival.patience:g} s")


def too_large(size: int, most: int) -> Answer:
    return refusal(413, "PayloadTooLarge", f"the body has {size} bytes, at most {most} are read")


def phrase(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


IDLE = 64  # connections kept for the next request


class Backend:
    """A server of this container's, behind the front; connections are kept and used again."""

    def __init__(self, port: int, host: str = "127.0.0.1"):
        self.host, self.port = host, port
        self.idle: deque = deque(maxlen=IDLE)

    async def request(self, call: Call, body: bytes = b"") -> Answer:
        """The server's answer. Raises OSError when there is no server, or it ended the connection instead."""
        while True:
            used = bool(self.idle)
            reader, writer, client = self.idle.pop() if used else await self._connect()
            kept = False
            try:
                answer = await self._exchange(reader, writer, client, call, body)
                kept = client.our_state is h11.DONE and client.their_state is h11.DONE
                if kept:
                    client.start_next_cycle()
                    if len(self.idle) < IDLE:
                        self.idle.append((reader, writer, client))
                    else:
                        kept = False
                return answer
            except (ConnectionError, h11.RemoteProtocolError) as error:
                if not used:  # a connection that was used before may have been ended by the server meanwhile
                    raise ConnectionResetError("the server ended the connection") from error
            finally:
                if not kept:
                    writer.close()

    async def _connect(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        return reader, writer, h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES)

    async def _exchange(self, reader, writer, client: h11.Connection, call: Call, body: bytes) -> Answer:
        headers = [(b"Host", f"{self.host}:{self.port}".encode()), *call.headers]
        if body or call.method not in ("GET", "HEAD"):
            headers.append((b"Content-Length", str(len(body)).encode()))
        data = client.send(h11.Request(method=call.method, target=call.target, headers=headers))
        if body:
            data += client.send(h11.Data(data=body))
        writer.write(data + (client.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        response: h11.Response | None = None
        parts: list[bytes] = []
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(await reader.read(CHUNK))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and response is not None:
                return Answer(response.status_code, b"".join(parts), list(response.headers.raw_items()))
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the server ended the connection")
