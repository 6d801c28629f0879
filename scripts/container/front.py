"""The container's front: the only thing that listens outside, with TorchServe on the loopback interface behind it.

Why not TorchServe itself on the port: it says 200 to /ping while the model is still loading or dies over and over; leaves
callers without an answer for ever when a worker has ended; resets the connections of running requests on SIGTERM; and any caller
could scale workers or reach every other path of its. Endpoint plugins could only mend the first of these. The front costs about a
millisecond a request (`scripts/container/README.md`), and makes these promises:

* /ping is 200 while every worker has its model loaded and the container is not ending, else 503;
* a request is answered within the time-out, whatever happens behind; one that a dying worker dropped is done once more;
* outside there are /ping, /invocations, /execution-parameters and /metrics, and nothing else; with several models
  SageMaker's model API in place of /invocations;
* a request that was accepted before SIGTERM is answered.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import h11

from scripts.container.http11 import MB, Answer, Backend, Call, Caller, CallerGone, Refused, refusal, too_large
from scripts.serving.readiness import read_workers

CONNECTIONS = 2000  # open at once
FRESH = 0.2  # s that what is known of the workers holds for /ping
PING_TIME = 1.5  # s; SageMaker waits 2
RESEND = 3.0  # s after a worker died that a request of before is given to be answered, before it is sent again
DEATH_PAUSE = 0.1  # s after a worker died before the others are looked at
LINGER = 1.0  # s after SIGTERM that new connections are taken: what routes to us learns of it by /ping
WORKER_DIED = re.compile(rb"Worker died")
MODEL_PATHS = {"GET": r"/models(/[^/]+)?", "POST": r"/models(/[^/]+/invoke)?", "DELETE": r"/models/[^/]+"}


@dataclass(frozen=True)
class FrontSettings:
    """What the front needs to know."""

    timeout: float  # s
    max_body: int  # bytes
    waiting: int  # requests at once
    waiting_bytes: int  # of their bodies together
    parameters: dict  # answer of /execution-parameters
    multi_model: bool = False
    default_accept: str | None = None


class Workers:
    """Which workers have loaded the model, by TorchServe's management API."""

    def __init__(self, backend: Backend, model: str | None):
        self.backend, self.model = backend, model  # None: any number of models, and being asked is enough
        self.ready = False  # all of them are loaded
        self.any = False  # one at least is
        self.deaths = 0  # loaded workers that were gone when looked at again
        self.known = 0.0  # when that was so
        self._pids: frozenset[int] = frozenset()
        self._lock = asyncio.Lock()
        self._changed = asyncio.Condition()

    async def look(self, fresh: float = 0.0) -> bool:
        """Ask TorchServe unless that was less than `fresh` seconds ago; returns whether all workers are loaded."""
        async with self._lock:
            if time.monotonic() - self.known > fresh:
                await self._ask()
        async with self._changed:
            self._changed.notify_all()
        return self.ready

    async def _ask(self) -> None:
        self.ready = False
        try:
            async with asyncio.timeout(PING_TIME):
                answer = await self.backend.request(Call("GET", f"/models/{self.model}" if self.model else "/models", [], None))
            if not self.model:
                self.ready = self.any = answer.status == 200
                return
            workers = read_workers(answer.status, answer.body)
        except (OSError, ValueError, h11.ProtocolError):  # a TimeoutError is an OSError
            return  # not started yet, or too busy: not ready, but nobody has died
        finally:
            self.known = time.monotonic()
        self.deaths += len(self._pids - workers.loaded)
        self._pids, self.any, self.ready = workers.loaded, bool(workers.loaded), workers.ready

    async def wait(self) -> None:
        """Wait until at least one worker is loaded."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.any)

    async def death(self, after: int) -> None:
        """Wait until more workers have died than `after`, and then until one is loaded."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.deaths > after)
        await asyncio.sleep(RESEND)
        await self.wait()


class Attempts:
    """One request to the model: sent, and sent once more if a worker died over it or may have lost it."""

    def __init__(self, inference: Backend, workers: Workers, call: Call, body: bytes):
        self.inference, self.workers, self.call, self.body = inference, workers, call, body
        self.running: set[asyncio.Task[Answer]] = set()
        self.failed: Answer | None = None  # what came of the last attempt over which a worker died
        self.death = asyncio.create_task(workers.death(workers.deaths))

    async def answer(self) -> Answer:
        """The model's answer; that of the second failure if workers died over both attempts."""
        await self.workers.wait()
        self._send()
        answer = await self._first_answer(until_death=True)
        if answer is None:
            await asyncio.sleep(DEATH_PAUSE)
            await self.workers.look()
            await self.workers.wait()
            self._send()
            answer = await self._first_answer(until_death=False)
        answer = answer or self.failed
        assert answer is not None  # an attempt has ended
        return answer

    def _send(self) -> None:
        self.running.add(asyncio.create_task(self.inference.request(self.call, self.body)))

    async def _first_answer(self, until_death: bool) -> Answer | None:
        """The first answer over which no worker died.

        None when no attempt is left that could bring one; with `until_death` also when a worker died, which may have had the request.
        """
        while self.running:
            watched = {*self.running, self.death} if until_death else self.running
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in self.running & done:
                self.running.discard(task)
                error = task.exception()
                answer: Answer = gone(error) if error else task.result()
                if not (answer.status >= 500 and WORKER_DIED.search(answer.body)):
                    return answer
                self.failed = answer
            if until_death and self.death in done:
                break
        return None

    async def cancel(self) -> None:
        """End what is still under way."""
        for task in (*self.running, self.death):
            task.cancel()
        await asyncio.gather(*self.running, self.death, return_exceptions=True)


class Front:
    """Listens, routes, answers."""

    def __init__(self, settings: FrontSettings, inference: Backend, metrics: Backend, workers: Workers, log: Callable[[str], None] = print):
        self.settings, self.inference, self.metrics, self.workers, self.log = settings, inference, metrics, workers, log
        self.active = self.active_bytes = 0  # requests being answered, and bytes of those that wait for the model
        self.connections: set = set()
        self.ending = False
        self.server: asyncio.Server | None = None

    async def listen(self, port: int, host: str = "0.0.0.0") -> int:
        self.server = await asyncio.start_server(self._serve, host, port, limit=1 << 16, backlog=1024)
        return self.server.sockets[0].getsockname()[1]

    async def drain(self, patience: float) -> int:
        """Take no more connections and answer what was accepted; returns how many requests were not answered in `patience` seconds."""
        self.ending, deadline = True, time.monotonic() + patience
        await asyncio.sleep(min(LINGER, patience))
        if self.server is not None:
            self.server.close()
        while self.active and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        left = self.active
        for writer in list(self.connections):
            writer.close()
        return left

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        caller = Caller(reader, writer)
        self.connections.add(writer)
        try:
            while await self._serve_one(caller):
                pass
        except (OSError, h11.LocalProtocolError, CallerGone):
            pass  # nobody is left to tell
        finally:
            self.connections.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _serve_one(self, caller: Caller) -> bool:
        """Read one request, answer it, log a line; whether another may follow on the connection."""
        call, refused = None, False
        try:
            call = await caller.read_call()
            if call is None:
                return False
            began, answer = time.monotonic(), Answer(499)  # what the log says if the caller leaves before there is one
            self.active += 1
            try:
                try:
                    answer = await self._answer(caller, call)
                except Refused as error:
                    answer, refused = error.answer, True
                await caller.send(call, answer, close=refused or self.ending)
            finally:
                self.active -= 1
                self._log(call, answer, time.monotonic() - began)
        except h11.RemoteProtocolError as error:
            refused = True
            await caller.send(None, refusal(error.error_status_hint, "InvalidRequest", "the request is not HTTP/1.1"), close=True)
        if refused:
            await caller.linger()
            return False
        return caller.again()

    def _log(self, call: Call, answer: Answer, seconds: float) -> None:
        path = call.path
        if answer.status == 200 and path in ("/ping", "/metrics"):
            return
        path = "".join(letter if letter.isprintable() and letter != " " else "?" for letter in path[:200])
        self.log(
            f"{call.method} {path} {answer.status} {len(answer.body)} bytes {seconds * 1000:.0f} ms "
            f"{answer.header(b'x-request-id')}".rstrip()
        )

    async def _answer(self, caller: Caller, call: Call) -> Answer:
        """Route a request. Raises Refused."""
        fixed = {"/ping": self._ping, "/execution-parameters": self._parameters, "/metrics": self._metrics}
        if call.path in fixed:
            if call.method not in ("GET", "HEAD"):
                raise Refused(wrong_method(call, "GET"))
            await caller.read_body(1 << 16)
            return await fixed[call.path](call)
        allowed = self._allowed(call.path)
        if not allowed:
            raise Refused(refusal(404, "NotFound", "there is no such path"))
        if call.method not in allowed:
            raise Refused(wrong_method(call, ", ".join(allowed)))
        if len(self.connections) > CONNECTIONS or self.active > self.settings.waiting + 1:
            raise Refused(self._busy())
        return await self._pass_on(caller, call)

    def _allowed(self, path: str) -> list[str]:
        """The methods of a path that is passed on to TorchServe; none for any other path."""
        if not self.settings.multi_model:
            return ["POST"] if path == "/invocations" else []
        return [method for method, pattern in MODEL_PATHS.items() if re.fullmatch(pattern, path)]

    def _busy(self) -> Answer:
        answer = refusal(503, "ServiceUnavailable", "too many requests are waiting; try again later")
        answer.headers.append((b"Retry-After", b"1"))
        return answer

    async def _pass_on(self, caller: Caller, call: Call) -> Answer:
        """A request with a body to TorchServe and back, within the time-out."""
        deadline = asyncio.get_running_loop().time() + self.settings.timeout
        most = self.settings.max_body
        if call.length is not None and call.length > most:
            raise Refused(too_large(call.length, most))
        held = call.length if call.length is not None else min(most, MB)
        if self.active_bytes and self.active_bytes + held > self.settings.waiting_bytes:
            raise Refused(self._busy())
        self.active_bytes += held
        try:
            body = await caller.read_body(most)
            if self.settings.default_accept and not call.has(b"accept"):
                call.headers.append((b"Accept", self.settings.default_accept.encode()))
            if self.settings.multi_model:
                return await self._model_api(call, body, deadline)
            if call.target != call.path:  # TorchServe would read a query as fields of the body, and choose a model by it
                call.target = call.path
            return await self._invoke(call, body, deadline)
        finally:
            self.active_bytes -= held

    async def _invoke(self, call: Call, body: bytes, deadline: float) -> Answer:
        """A request to the model, answered within the time-out."""
        attempts = Attempts(self.inference, self.workers, call, body)
        try:
            async with asyncio.timeout_at(deadline):
                return await attempts.answer()
        except TimeoutError:
            if self.workers.any:
                return refusal(504, "Timeout", f"there was no answer within {self.settings.timeout:g} s")
            return attempts.failed or refusal(503, "ModelNotReady", "the model is not loaded")
        finally:
            await attempts.cancel()

    async def _model_api(self, call: Call, body: bytes, deadline: float) -> Answer:
        """SageMaker's calls for a container with several models. TorchServe understands them as they are."""
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self.inference.request(call, body)
                if call.method == "DELETE" and answer.status == 500:
                    # TorchServe interrupts itself at times while it waits for the worker to end, and keeps the model listed.
                    answer = await self.inference.request(call, body)
                return answer
        except TimeoutError:
            return refusal(504, "Timeout", f"there was no answer within {self.settings.timeout:g} s")
        except OSError as error:
            return gone(error)

    async def _ping(self, call: Call) -> Answer:
        ready = False
        if not self.ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_TIME):
                    ready = await self.workers.look(FRESH)
        return Answer(200 if ready and not self.ending else 503)

    async def _parameters(self, call: Call) -> Answer:
        return Answer(200, json.dumps(self.settings.parameters).encode(), [(b"Content-Type", b"application/json")])

    async def _metrics(self, call: Call) -> Answer:
        try:
            async with asyncio.timeout(PING_TIME * 2):
                return await self.metrics.request(Call("GET", "/metrics", [], None))
        except OSError:
            return refusal(503, "ServiceUnavailable", "there are no metrics yet")


def gone(error: BaseException) -> Answer:
    """The answer when TorchServe ended the connection instead of answering; like its own for a worker that ended."""
    if not isinstance(error, OSError):
        raise error
    return refusal(503, "ServiceUnavailable", "Worker died, and the server with it")


def wrong_method(call: Call, allowed: str) -> Answer:
    answer = refusal(405, "MethodNotAllowed", f"only {allowed} is understood here")
    answer.headers.append((b"Allow", allowed.encode()))
    return answer
