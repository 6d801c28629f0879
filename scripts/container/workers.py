"""What the front knows of TorchServe's workers, and how a request survives the death of one."""

import asyncio
import re
import time
from dataclasses import dataclass, field, replace

import h11

from scripts.container.http11 import Answer, Backend, Call, refusal
from scripts.serving.readiness import read_versions

ASK_TIME = 1.5  # s for TorchServe to tell of its workers; SageMaker waits 2 for /ping
RESEND = 3.0  # s after a worker died that a request of before is given to be answered, before it is sent again
DEATH_PAUSE = 0.1  # s after a worker died before the others are looked at
WORKER_DIED = re.compile(rb"Worker died")


@dataclass(eq=False)
class Worker:
    """One worker of the model.

    In TorchServe it is a version of the model with a single worker, because only so it has a queue of its own. An idle worker of
    TorchServe 0.12 holds the lock of its queue until a request comes; others of the queue could not go on with what they have.
    """

    target: str  # the path of its requests
    pid: int | None = None  # of its process, while that has the model loaded
    deaths: int = 0  # times that the process was gone when looked at again
    overdue: bool = False  # a request got no answer in time, and nothing has come since
    requests: dict[asyncio.Task[Answer], float] = field(default_factory=dict)  # that it has, since when, the oldest first

    def ask(self, inference: Backend, call: Call, body: bytes) -> asyncio.Task[Answer]:
        """Send it a request."""
        task = asyncio.create_task(inference.request(replace(call, target=self.target), body))
        self.requests[task] = time.monotonic()
        task.add_done_callback(self._told)
        return task

    def _told(self, task: asyncio.Task[Answer]) -> None:
        del self.requests[task]
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains when nobody waits any more
            self.overdue = False

    @property
    def load(self) -> tuple[bool, int, float]:
        """The less, the sooner it takes up a request. Of two with as many requests, one whose oldest is younger has the shorter ones."""
        return self.overdue, len(self.requests), -next(iter(self.requests.values()), 0.0)


class Workers:
    """Which workers have loaded the model, by TorchServe's management API."""

    def __init__(self, backend: Backend, model: str | None, count: int = 1):
        self.backend, self.model = backend, model  # None: any number of models, and being asked is enough
        self.all = [Worker(f"/predictions/{model}/{number}") for number in range(1, count + 1)]
        self.ready = False  # all of them are loaded
        self.any = False  # one at least is
        self.known = 0.0  # when that was so
        self.told = time.monotonic()  # when TorchServe last told of them
        self.silent = False  # it did not, when last asked
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

    @property
    def complaint(self) -> str:
        """Why the workers are not fit for requests; empty if they are."""
        if self.ready:
            return "an answer is overdue" if any(worker.overdue for worker in self.all) else ""
        return "TorchServe does not answer" if self.silent else "a worker has ended"

    async def _ask(self) -> None:
        """What was known stays true for others until the answer is here."""
        try:
            async with asyncio.timeout(ASK_TIME):
                answer = await self.backend.request(Call("GET", f"/models/{self.model}/all" if self.model else "/models", [], None))
            if not self.model:
                self.ready = self.any = answer.status == 200
                self.told, self.silent = time.monotonic(), False
                return
            versions = read_versions(answer.status, answer.body)
        except (OSError, ValueError, h11.ProtocolError):  # a TimeoutError is an OSError
            self.ready, self.silent = False, True  # not started yet, or too busy: not ready, but nobody has died
            return
        finally:
            self.known = time.monotonic()
        self.told, self.silent = self.known, False
        for number, worker in enumerate(self.all, 1):
            loaded = versions[str(number)].loaded if str(number) in versions else frozenset()
            worker.deaths += worker.pid is not None and worker.pid not in loaded
            worker.pid = min(loaded, default=None)
        self.ready, self.any = all(worker.pid for worker in self.all), any(worker.pid for worker in self.all)

    async def wait(self) -> None:
        """Wait until at least one worker is loaded."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.any)

    async def pick(self) -> Worker:
        """The loaded worker that has least to do, once there is one."""
        await self.wait()
        return min((worker for worker in self.all if worker.pid), key=lambda worker: worker.load)

    async def death(self, worker: Worker, after: int) -> None:
        """Wait until a worker has died more often than `after`, and then until one is loaded."""
        async with self._changed:
            await self._changed.wait_for(lambda: worker.deaths > after)
        await asyncio.sleep(RESEND)
        await self.wait()


class Attempts:
    """One request to the model: sent, and sent once more if a worker died over it or may have lost it."""

    def __init__(self, inference: Backend, workers: Workers, call: Call, body: bytes):
        self.inference, self.workers, self.call, self.body = inference, workers, call, body
        self.running: dict[asyncio.Task[Answer], Worker] = {}
        self.failed: Answer | None = None  # what came of the last attempt over which a worker died
        self.death: asyncio.Task[None] | None = None  # of the worker that was asked first

    async def answer(self) -> Answer:
        """The model's answer; that of the second failure if workers died over both attempts."""
        worker = await self._send()
        self.death = asyncio.create_task(self.workers.death(worker, worker.deaths))
        answer = await self._first_answer(self.death)
        if answer is None:
            await asyncio.sleep(DEATH_PAUSE)
            await self.workers.look()
            await self._send()
            answer = await self._first_answer(None)
        answer = answer or self.failed
        assert answer is not None  # an attempt has ended
        return answer

    async def _send(self) -> Worker:
        worker = await self.workers.pick()
        self.running[worker.ask(self.inference, self.call, self.body)] = worker
        return worker

    async def _first_answer(self, death: asyncio.Task[None] | None) -> Answer | None:
        """The first answer over which no worker died.

        None when no attempt is left that could bring one; with `death` also when that has come, for the worker may have had the request.
        """
        while self.running:
            watched = {*self.running, death} if death else self.running.keys()
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in self.running.keys() & done:
                del self.running[task]
                error = task.exception()
                answer: Answer = gone(error) if error else task.result()
                if not (answer.status >= 500 and WORKER_DIED.search(answer.body)):
                    return answer
                self.failed = answer
            if death in done:
                break
        return None

    async def cancel(self) -> None:
        """End what is still under way."""
        tasks = [*self.running, *([self.death] if self.death else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def outlive(self) -> None:
        """The caller waits no longer; if a worker has the request, an answer of it counts as overdue until something comes."""
        for worker in self.running.values():
            worker.overdue = True
        self.running.clear()


def gone(error: BaseException) -> Answer:
    """The answer when TorchServe ended the connection instead of answering; like its own for a worker that ended."""
    if not isinstance(error, OSError):
        raise error
    return refusal(503, "ServiceUnavailable", "Worker died, and the server with it")
