"""What the front knows of TorchServe's workers, and how a request survives the death of one."""

import asyncio
import re
import time

import h11

from scripts.container.http11 import Answer, Backend, Call, refusal
from scripts.serving.readiness import read_workers

ASK_TIME = 1.5  # s for TorchServe to tell of its workers; SageMaker waits 2 for /ping
RESEND = 3.0  # s after a worker died that a request of before is given to be answered, before it is sent again
DEATH_PAUSE = 0.1  # s after a worker died before the others are looked at
WORKER_DIED = re.compile(rb"Worker died")


class Workers:
    """Which workers have loaded the model, by TorchServe's management API."""

    def __init__(self, backend: Backend, model: str | None):
        self.backend, self.model = backend, model  # None: any number of models, and being asked is enough
        self.ready = False  # all of them are loaded
        self.any = False  # one at least is
        self.deaths = 0  # loaded workers that were gone when looked at again
        self.known = 0.0  # when that was so
        self.told = time.monotonic()  # when TorchServe last told of them
        self.silent = False  # it did not, when last asked
        self.overdue = False  # a request got no answer in time, and no other has got one since
        self.late: set[asyncio.Task[Answer]] = set()  # requests whose callers have got a 504
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

    @property
    def complaint(self) -> str:
        """Why the workers are not fit for requests; empty if they are."""
        if self.ready:
            return "an answer is overdue" if self.overdue else ""
        return "TorchServe does not answer" if self.silent else "a worker has ended"

    async def _ask(self) -> None:
        """What was known stays true for others until the answer is here."""
        try:
            async with asyncio.timeout(ASK_TIME):
                answer = await self.backend.request(Call("GET", f"/models/{self.model}" if self.model else "/models", [], None))
            if not self.model:
                self.ready = self.any = answer.status == 200
                self.told, self.silent = time.monotonic(), False
                return
            workers = read_workers(answer.status, answer.body)
        except (OSError, ValueError, h11.ProtocolError):  # a TimeoutError is an OSError
            self.ready, self.silent = False, True  # not started yet, or too busy: not ready, but nobody has died
            return
        finally:
            self.known = time.monotonic()
        self.told, self.silent = self.known, False
        self.deaths += len(self._pids - workers.loaded)
        self._pids, self.any, self.ready = workers.loaded, bool(workers.loaded), workers.ready

    def came_late(self, task: "asyncio.Task[Answer]") -> None:
        """Something has come of a request that nobody waits for any more."""
        self.late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains
            self.overdue = False

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

    def outlive(self) -> None:
        """The caller waits no longer; if TorchServe has the request, an answer counts as overdue until something comes of it."""
        for task in self.running:
            self.workers.overdue = True
            self.workers.late.add(task)
            task.add_done_callback(self.workers.came_late)
        self.running.clear()


def gone(error: BaseException) -> Answer:
    """The answer when TorchServe ended the connection instead of answering; like its own for a worker that ended."""
    if not isinstance(error, OSError):
        raise error
    return refusal(503, "ServiceUnavailable", "Worker died, and the server with it")
