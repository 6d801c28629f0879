"""The container's front: the only thing that listens outside, with TorchServe on the loopback interface behind it.

Why not TorchServe itself on the port: it says 200 to /ping while the model is still loading or dies over and over; leaves
callers without an answer for ever when a worker is gone; resets the connections of running requests on SIGTERM; and any caller
could scale workers or reach every other path of its. Endpoint plugins mend the first alone. The front costs about a
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

CONNECTIONS = 2000  # open at once
FRESH = 0.2  # s that what is known of the workers holds for /ping
PING_TIME = 1.5  # s; SageMaker waits 2
RESEND = 3.0  # s after a worker died that a request of before is given to be answered, before it is sent again
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
    """Which workers of the model are loaded, asked of TorchServe's management API."""

    def __init__(self, backend: Backend, model: str | None):
        self.backend, self.model = backend, model  # None: any number of models, and being asked is enough
        self.ready = False  # all of them are loaded
        self.any = False  # one at least is
        self.deaths = 0  # loaded workers that were gone when looked at again
        self.known = 0.0  # when that was so
        self._pids: set = set()
        self._lock = asyncio.Lock()
        self._changed = asyncio.Condition()

    async def look(self, fresh: float = 0.0) -> bool:
        """Ask, unless it was asked less than `fresh` seconds ago; whether all are loaded."""
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
            workers = json.loads(answer.body)[0]["workers"] if answer.status == 200 else []
            loaded = {worker["pid"] for worker in workers if worker["status"] == "READY"}
        except (OSError, ValueError, LookupError, TypeError, h11.ProtocolError):  # a TimeoutError is an OSError
            return  # not started yet, or too busy: not ready, but nobody has died
        finally:
            self.known = time.monotonic()
        self.deaths += len(self._pids - loaded)
        self._pids, self.any = loaded, bool(loaded)
        self.ready = len(loaded) == len(workers) > 0

    async def wait(self) -> None:
        """Until one worker at least is loaded."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.any)

    async def death(self, after: int) -> None:
        """Until more have died than `after`, and then until one is loaded."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.deaths > after)
        await asyncio.sleep(RESEND)
        await self.wait()


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
        """End: no more connections, what runs is answered; the number of requests that were not within `patience` seconds."""
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
        """Methods of a path that goes to TorchServe; none for a path that is not to be reached."""
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
        """A request to the model. Asked once more, time permitting, if the worker died over it or may have lost it."""
        failed: Answer | None = None
        tries: set[asyncio.Task[Answer]] = set()
        again = True
        died = asyncio.create_task(self.workers.death(self.workers.deaths))
        try:
            async with asyncio.timeout_at(deadline):
                await self.workers.wait()
                tries.add(asyncio.create_task(self.inference.request(call, body)))
                while tries:
                    done, _ = await asyncio.wait({*tries, died} if again else tries, return_when=asyncio.FIRST_COMPLETED)
                    for task in tries & done:
                        tries.discard(task)
                        failed = gone(error) if (error := task.exception()) else task.result()
                        if not (failed.status >= 500 and WORKER_DIED.search(failed.body)):
                            return failed
                    if again and (died in done or not tries):
                        again = False
                        await asyncio.sleep(0.1)
                        await self.workers.look()
                        await self.workers.wait()
                        tries.add(asyncio.create_task(self.inference.request(call, body)))
            assert failed is not None  # a try has ended
            return failed
        except TimeoutError:
            if self.workers.any:
                return refusal(504, "Timeout", f"there was no answer within {self.settings.timeout:g} s")
            return failed or refusal(503, "ModelNotReady", "the model is not loaded")
        finally:
            for each in (*tries, died):
                each.cancel()
            await asyncio.gather(*tries, died, return_exceptions=True)

    async def _model_api(self, call: Call, body: bytes, deadline: float) -> Answer:
        """SageMaker's calls where a container serves several models: TorchServe speaks them."""
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
