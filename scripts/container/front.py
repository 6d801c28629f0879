"""The container's front: the only thing that listens outside, with TorchServe on the loopback interface behind it.

Why not TorchServe itself on the port: it says 200 to /ping while the model is still loading or dies over and over; leaves
callers without an answer for ever when a worker has ended; resets the connections of running requests on SIGTERM; and any caller
could scale workers or reach every other path of its. Endpoint plugins could only mend the first of these. The front costs about a
millisecond a request (`scripts/container/README.md`), and makes these promises:

* /ping is 200 while every worker has its model loaded, no answer is overdue and the container is not ending, else 503;
* a request is answered within the time-out, whatever happens behind; one that a dying worker dropped is done once more;
* outside there are /ping, /invocations, /execution-parameters and /metrics, and nothing else; with several models
  SageMaker's model API in place of /invocations;
* a request that was accepted before SIGTERM is answered, and everybody who waits is told when TorchServe ends by itself;
* callers that send slowly, or leave, cost the others nothing (`admission.py`).
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11

from scripts.container.admission import BODY_TIME, Arrival, CallerGone, Connections, Place, Places, Turns
from scripts.container.http11 import Answer, Backend, Call, Caller, Refused, busy, later, refusal, too_large
from scripts.container.workers import ASK_TIME, Attempts, Workers, gone

FRESH = 0.2  # s that what is known of the workers holds for /ping
LINGER = 1.0  # s after SIGTERM that new connections are taken: what routes to us learns of it by /ping
LAST_TIME = 2.0  # s for the last answers when TorchServe has ended
TOO_LATE = 0.02  # s before its deadline that a request is no longer worth asking the model for
FULL = 200  # connections over the limit that are still told so
NO_WORKER = re.compile(rb"has no worker")
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
MODEL_PATHS = {"GET": r"/models(/[^/]+)?", "POST": r"/models(/[^/]+/invoke)?", "DELETE": r"/models/[^/]+"}


@dataclass(frozen=True)
class FrontSettings:
    """What the front needs to know."""

    timeout: float  # s
    max_body: int  # bytes
    waiting: int  # requests at once whose body has come
    waiting_bytes: int  # of all bodies together
    at_once: int  # of them that TorchServe has: enough for its next batch
    parameters: dict  # answer of /execution-parameters
    multi_model: bool = False
    default_accept: str | None = None
    connections: int = 2000  # open at once
    peer_connections: int = 1500  # of them from one address; SageMaker's proxy is one, with a connection for each request it has


class Front:
    """Listens, routes, answers."""

    def __init__(self, settings: FrontSettings, inference: Backend, metrics: Backend, workers: Workers, log: Callable[[str], None] = print):
        self.settings, self.inference, self.metrics, self.workers, self.log = settings, inference, metrics, workers, log
        self.active = 0  # requests whose head has come and whose answer is not yet sent
        self.places = Places(settings.waiting, settings.waiting_bytes)
        self.turns = Turns(settings.at_once)
        self.connections = Connections(settings.connections, settings.peer_connections)
        self.ending = False
        self.failed = False  # TorchServe has ended
        self.server: asyncio.Server | None = None
        self._waits: set[asyncio.Timeout] = set()  # of the requests that TorchServe has
        self._told: dict[str, int] = {}  # path that probes ask -> the status that the log has of it

    async def listen(self, port: int, host: str = "0.0.0.0") -> int:
        self.server = await asyncio.start_server(self._serve, host, port, limit=1 << 16, backlog=1024)
        return self.server.sockets[0].getsockname()[1]

    async def drain(self, patience: float) -> int:
        """Take no more connections and answer what was accepted; returns how many requests were not answered in `patience` seconds.

        Senders that are slow have not been accepted.
        """
        self.ending, deadline = True, time.monotonic() + patience
        await asyncio.sleep(min(LINGER, patience))
        return await self._close(deadline)

    async def fail(self) -> int:
        """Take no more connections, for TorchServe has ended, and tell everybody who waits; returns how many could not be told."""
        self.ending = self.failed = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(asyncio.get_running_loop().time())
        return await self._close(time.monotonic() + LAST_TIME)

    async def _close(self, deadline: float) -> int:
        if self.server is not None:
            self.server.close()
        while self.active and time.monotonic() < deadline:
            self.places.give_up_slow(self.failed)
            await asyncio.sleep(0.02)
        left = self.active
        for caller in list(self.connections.guests):
            caller.close()
        return left

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        caller = Caller(reader, writer)
        room = self.connections.enter(caller)
        try:
            if room:
                while await self._serve_one(caller):
                    pass
            elif len(self.connections.guests) <= self.settings.connections + FULL:
                await caller.send(None, busy(), close=True)
                await caller.linger()
        except (OSError, h11.LocalProtocolError, CallerGone):
            pass  # nobody is left to tell
        finally:
            self.connections.leave(caller)
            caller.close()

    async def _serve_one(self, caller: Caller) -> bool:
        """Read one request, answer it, log a line; whether another may follow on the connection."""
        try:
            call = await caller.read_call()
            if call is None:
                return False
        except h11.RemoteProtocolError as error:
            return await self._refuse(caller, refusal(error.error_status_hint, "InvalidRequest", "the request is not HTTP/1.1"))
        except Refused as error:
            return await self._refuse(caller, error.answer)
        began, answer, refused = time.monotonic(), Answer(499), False  # the log's, if the caller leaves before there is one
        self.active += 1
        try:
            try:
                answer = await self._answer(caller, call)
            except Refused as error:
                answer, refused = error.answer, True
            except h11.RemoteProtocolError as error:
                if caller.gone:
                    raise CallerGone from error
                answer, refused = refusal(error.error_status_hint, "InvalidRequest", "the body is not HTTP/1.1"), True
            with self.places.departure(len(answer.body)) as departure:
                await caller.send(call, answer, refused or self.ending, departure)
        finally:
            self.active -= 1
            self._log(call, answer, time.monotonic() - began)
        if refused:
            await caller.linger()
        return not refused and caller.again()

    async def _refuse(self, caller: Caller, answer: Answer) -> bool:
        """Answer what is not understood; nothing may follow on the connection."""
        await caller.send(None, answer, close=True)
        await caller.linger()
        return False

    def _log(self, call: Call, answer: Answer, seconds: float) -> None:
        """A line for the log. Paths and methods of the callers' own are not in it, and a probe has a line for each new status."""
        path = self._known(call.path)
        if path in ("/ping", "/metrics"):
            told, self._told[path] = self._told.get(path, 200), answer.status
            if answer.status in (200, told):
                return
        method = call.method if call.method in METHODS else "another method"
        self.log(
            f"{method} {path} {answer.status} {len(answer.body)} bytes {seconds * 1000:.0f} ms {answer.header(b'x-request-id')}".rstrip()
        )

    def _known(self, path: str) -> str:
        """A path of ours as the log names it."""
        if path in ("/ping", "/metrics", "/execution-parameters", "/models") or self._allowed(path) and not self.settings.multi_model:
            return path
        if not self._allowed(path):
            return "another path"
        return "/models/NAME/invoke" if path.endswith("/invoke") else "/models/NAME"

    async def _answer(self, caller: Caller, call: Call) -> Answer:
        """Route a request. Raises Refused."""
        fixed = {"/ping": self._ping, "/execution-parameters": self._parameters, "/metrics": self._metrics}
        if self.failed:
            raise Refused(ended())
        if call.path in fixed:
            if call.method not in ("GET", "HEAD"):
                raise Refused(wrong_method(call, "GET"))
            await caller.read_body(1 << 16, Arrival(BODY_TIME, paced=True))
            return await fixed[call.path](call)
        allowed = self._allowed(call.path)
        if not allowed:
            raise Refused(refusal(404, "NotFound", "there is no such path"))
        if call.method not in allowed:
            raise Refused(wrong_method(call, ", ".join(allowed)))
        return await self._pass_on(caller, call)

    def _allowed(self, path: str) -> list[str]:
        """The methods of a path that is passed on to TorchServe; none for any other path."""
        if not self.settings.multi_model:
            return ["POST"] if path == "/invocations" else []
        return [method for method, pattern in MODEL_PATHS.items() if re.fullmatch(pattern, path)]

    async def _pass_on(self, caller: Caller, call: Call) -> Answer:
        """A request with a body to TorchServe and back, within the time-out."""
        deadline = asyncio.get_running_loop().time() + self.settings.timeout
        if call.length is not None and call.length > self.settings.max_body:
            raise Refused(too_large(call.length, self.settings.max_body))
        if not self.places.promises(call.length or 0):
            self.turns.drop_gone()
            if not self.places.promises(call.length or 0):
                raise Refused(busy())
        body = await self._read(caller)
        place = self.places.take(len(body))
        if place is None:
            return busy()
        try:
            if self.settings.default_accept and not call.has(b"accept"):
                call.headers.append((b"Accept", self.settings.default_accept.encode()))
            if self.settings.multi_model:
                return await self._model_api(call, body, deadline)
            return await self._invoke(caller, place, call, body, deadline)
        finally:
            place.leave()

    async def _read(self, caller: Caller) -> bytes:
        """A body. Raises Refused."""
        arrival = Arrival(BODY_TIME, paced=True)
        self.places.arriving.add(arrival)
        try:
            return await caller.read_body(self.settings.max_body, arrival, lambda: self.places.has_room(arrival))
        finally:
            self.places.arriving.discard(arrival)

    async def _invoke(self, caller: Caller, place: Place, call: Call, body: bytes, deadline: float) -> Answer:
        """A request to the model, answered within the time-out."""
        attempts = Attempts(self.inference, self.workers, call, body)
        try:
            answer = await self._in_time(self._in_turn(caller, place, attempts, deadline), deadline)
            if answer is None and self.workers.any:
                attempts.outlive()
                return timed_out(self.settings.timeout)
            if answer is None:
                return later(refusal(503, "ModelNotReady", "the model is not loaded"))
            if answer is attempts.failed:
                return refusal(503, "ServiceUnavailable", "the worker died over this request, and died again when it was tried once more")
            return busy() if answer.status == 503 and NO_WORKER.search(answer.body) else answer
        finally:
            await attempts.cancel()

    async def _in_turn(self, caller: Caller, place: Place, attempts: Attempts, deadline: float) -> Answer:
        """The model's answer, asked for when it is this request's turn. Raises CallerGone, and TimeoutError if it comes too late to ask."""
        await self.turns.take(caller, place)
        try:
            if asyncio.get_running_loop().time() > deadline - TOO_LATE:
                raise TimeoutError
            return await attempts.answer()
        finally:
            self.turns.leave()

    async def _model_api(self, call: Call, body: bytes, deadline: float) -> Answer:
        """SageMaker's calls for a container with several models. TorchServe understands them as they are."""
        try:
            answer = await self._in_time(self.inference.request(call, body), deadline)
            if call.method == "DELETE" and answer is not None and answer.status == 500:
                # TorchServe interrupts itself at times while it waits for the worker to end, and keeps the model listed.
                answer = await self._in_time(self.inference.request(call, body), deadline)
            return timed_out(self.settings.timeout) if answer is None else answer
        except OSError as error:
            return gone(error)

    async def _in_time(self, answer: Awaitable[Answer], deadline: float) -> Answer | None:
        """TorchServe's answer; None if there is none by the deadline. Raises Refused when TorchServe ends."""
        wait = asyncio.timeout_at(0 if self.failed else deadline)
        try:
            async with wait:
                self._waits.add(wait)
                return await answer
        except TimeoutError:
            if self.failed:
                raise Refused(ended()) from None
            return None
        finally:
            self._waits.discard(wait)

    async def _ping(self, call: Call) -> Answer:
        ready = False
        if not self.ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_TIME):
                    ready = await self.workers.look(FRESH) and not self.workers.complaint
        return Answer(200 if ready and not self.ending else 503)

    async def _parameters(self, call: Call) -> Answer:
        return Answer(200, json.dumps(self.settings.parameters).encode(), [(b"Content-Type", b"application/json")])

    async def _metrics(self, call: Call) -> Answer:
        try:
            async with asyncio.timeout(ASK_TIME * 2):
                return await self.metrics.request(Call("GET", "/metrics", [], None))
        except OSError:
            return refusal(503, "ServiceUnavailable", "there are no metrics yet")


def wrong_method(call: Call, allowed: str) -> Answer:
    answer = refusal(405, "MethodNotAllowed", f"only {allowed} is understood here")
    answer.headers.append((b"Allow", allowed.encode()))
    return answer


def timed_out(seconds: float) -> Answer:
    return refusal(504, "Timeout", f"there was no answer within {seconds:g} s")


def ended() -> Answer:
    """The answer to who waits while the container ends because TorchServe has."""
    return later(refusal(503, "ServiceUnavailable", "the model server has ended, and the container ends with it"))
