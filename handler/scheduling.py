"""Whose turn it is: many HTTP requests share one model, a chunk of candidates at a time. No HTTP, no TorchServe, no threads.

A job is one HTTP request. It is read and its cost is estimated; what would take too long is refused. Then its candidates are decoded
in chunks: one of the short jobs together, one of a long job, and so on. So a short job waits for one chunk of long ones, not for all.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from handler.errors import RequestError
from handler.language.tokenizer import tokenize
from handler.pipeline import CHUNK_ROWS, Pipeline, Run, Stage, Try
from handler.wire import response
from handler.wire.request import Limits, OpenBody, Request, guarded, open_body, read_item, read_request, rows_of, too_many_rows

Clock = Callable[[], float]  # seconds
# Costs are in units of what a short word takes. Measured with the shipped model, 3 to 62 words and 1 to 16 candidates at a time:
# a chunk takes the sum of its candidates' costs and once more that of its longest one, within a fifth.
CANDIDATE_COST, LENGTH_COST, ITEM_COST = 5.0, 0.01, 15.0  # see `candidate_cost`; ITEM_COST: what planning a request costs
WHOLE_COST = 0.5  # of a candidate whose parse is given, so that one network writes it instead of two
LONGEST = 80  # words; no network here reads more, and what has more is refused when it is planned
READ_SECONDS = 0.2  # of reading before each chunk; the rest of a large body is read before the next ones
KEPT_REQUESTS = 16  # a body of more requests keeps its text instead of them, and reads each again when its turn comes
SMOOTHING = 0.3  # share of the last chunk in the seconds that a unit of cost takes now
CALIBRATION = {
    "sent": "we will have a picnic if it is a sunny day tomorrow.",
    "synt": "(ROOT (S (NP (PRP we)) (VP (MD will) (VP (VB have) (NP (DT a) (NN picnic)) (SBAR (IN if) (S (NP (PRP it)) "
    "(VP (VBZ is) (NP (DT a) (JJ sunny) (NN day)) (NP (NN tomorrow))))))) (. .)))",
    "tmpl": "statement",
    "seed": 0,
}


@dataclass(frozen=True)
class Budget:
    """How much may be asked for and for how long. `model-config.yaml` sets these names under `handler:`."""

    chunk_rows: int = CHUNK_ROWS  # candidates decoded together, at most
    chunk_seconds: float = 0.7  # that a chunk is estimated to take, at most, unless it is a single candidate
    short_cost: float = 250.0  # of a plain request, which is never split: four candidates of 32 words; see `cost`
    body_seconds: float = 300.0  # that a body is estimated to take alone; more is answered 413
    deadline: float = 600.0  # s, from the first sight of a body to its answer; what is not done by then gets an error in its place
    waiting_seconds: float = 480.0  # that all bodies being answered are estimated to take; more are answered 503
    held_bytes: int = 33_554_432  # of bodies that are being answered; more are answered 503
    long_bodies: int = 8  # bodies of more than one chunk that are being answered; more are answered 503


def candidate_cost(words: int) -> float:
    """What a candidate of so many words costs: more than so many times a word, since each looks at all that are written."""
    words = min(words, LONGEST)
    return (words + CANDIDATE_COST) * (1 + LENGTH_COST * words)


def cost(item: Request | RequestError, candidates: int) -> float:
    """What an item costs. candidates: of a paraphrase, where the request does not say."""
    if isinstance(item, RequestError):
        return 0.0
    words, total = len(tokenize(item.sentence)), ITEM_COST
    for target in item.targets:
        leaves = len(target.tree.leaves())
        if target.whole:
            total += item.num_paraphrases * WHOLE_COST * candidate_cost(leaves)
        else:
            total += item.num_paraphrases * (item.candidates or candidates) * candidate_cost(max(words, leaves))
    return total


@dataclass
class Chunk:
    """Candidates that are decoded together, and what that costs."""

    rows: int  # at most
    room: float  # cost, at most, unless it is a single candidate
    tries: list[Try] = field(default_factory=list)
    planning: float = 0.0  # spent on planning requests
    decoding: float = 0.0  # of the candidates
    longest: float = 0.0  # of a candidate

    @property
    def cost(self) -> float:
        return self.planning + self.decoding + self.longest

    @property
    def full(self) -> bool:
        begun = bool(self.tries) or self.planning > ITEM_COST
        return len(self.tries) >= self.rows or (begun and self.cost >= self.room)

    def take(self, planned: "Planned") -> float:
        """Take candidates of a request as far as they fit. Returns their cost."""
        left = self.room - self.planning - self.decoding - max(self.longest, planned.cost)
        most = min(int(left / planned.cost), self.rows - len(self.tries))
        taken = planned.run.take(max(most, 0 if self.tries else 1))
        self.tries += taken
        if taken:
            self.decoding += planned.cost * len(taken)
            self.longest = max(self.longest, planned.cost)
        return planned.cost * len(taken)


@dataclass
class Planned:
    """A request of a job whose candidates are being decoded."""

    place: int  # in the job
    request: Request
    run: Run
    cost: float  # of one of its candidates


@dataclass
class Job:
    """One HTTP request on its way to its response."""

    began: float  # the clock when it was first seen
    size: int  # bytes of its body
    body: OpenBody | None = None  # None: it waits to be read
    read: int = 0  # parts of the body that have been read
    rows: int = 0  # paraphrases asked for by them, candidates included
    accepted: bool = False  # all parts have been read and fit the budget
    costs: list[float] = field(default_factory=list)
    left: float = 0.0  # cost of what is not done
    requests: dict[int, Request] = field(default_factory=dict)  # by place; only of a body of few
    values: list[Any] = field(default_factory=list)  # the answers so far, as JSON values or RequestErrors; None: there is none yet
    planned: deque[Planned] = field(default_factory=deque)
    next: int = 0  # the first part that has not been planned
    pace: float = 0.0  # seconds that a unit of its cost took in its last chunks; 0: it had none
    truncated: int = 0
    answer: response.Response | None = None  # set when the job is done

    @property
    def empty(self) -> bool:
        """Whether nothing of it is left to be decoded."""
        return not self.planned and self.next == len(self.values)


class Scheduler:
    """The jobs of one worker. `step` does as much as a waiting caller can bear, and the caller of `step` calls it again."""

    def __init__(
        self, pipeline: Pipeline, limits: Limits = Limits(), budget: Budget = Budget(), clock: Callable[[], float] = time.monotonic
    ):
        self.pipeline, self.limits, self.budget, self.clock = pipeline, limits, budget, clock
        self.jobs: dict[str, Job] = {}  # by the id of the HTTP request
        self.queue: deque[Job] = deque()  # the accepted ones, in the order of their turns
        self.long_turn = False  # whether the last chunk was one of a long job
        self.rate = self.pace = 0.005  # seconds that a unit of cost takes on this machine: when it started, and in the last chunks

    def calibrate(self) -> None:
        """Measure the machine, and be warm for the first caller."""
        request = guarded(read_request, {**CALIBRATION, "candidates": self.limits.candidates})
        fastest = float("inf")  # another process may have the machine for a while, and the first time everything is slower
        for _ in range(3):
            rows = guarded(self.pipeline.plan, request)
            if isinstance(rows, RequestError):  # a model that reads less than the example
                return
            rows = [replace(row, moved=()) for row in rows]  # a moved parse costs a fraction, and not every sentence has one
            began = time.perf_counter()
            self.pipeline.run(rows, self.budget.chunk_rows)
            fastest = min(fastest, time.perf_counter() - began)
        self.rate = self.pace = fastest / (candidate_cost(len(tokenize(request.sentence))) * (rows[0].candidates + 1))

    def seconds(self, cost: float) -> float:
        """What a cost takes on this machine. What is refused does not depend on how busy the machine is just now."""
        return cost * self.rate

    def short(self, job: Job) -> bool:
        """Whether what is left of a job fits into one chunk, or is no more than a plain request for one paraphrase."""
        return job.left <= max(self.budget.chunk_seconds / self.rate, self.budget.short_cost)

    def add(self, name: str, size: int, body: OpenBody | None = None) -> Job:
        """Take note of a new HTTP request with a body of so many bytes. body: the same where it has been opened already."""
        job = self.jobs[name] = Job(self.clock(), size, body, values=[None] * len(body.parts) if body else [])
        return job

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all jobs but these: nobody waits for the others."""
        self.jobs = {name: self.jobs[name] for name in names if name in self.jobs}
        waiting = {id(job) for job in self.jobs.values()}
        self.queue = deque(job for job in self.queue if id(job) in waiting)

    def clear(self) -> None:
        """Forget all jobs."""
        self.keep_only(())

    def respond(self, body: Any, content_type: str | None = None, accept: str | None = None) -> response.Response:
        """Answer one HTTP request to its end, within the same budget, for a caller that has no others meanwhile. body: bytes or None."""
        self.add("", len(body or b""))
        done: dict[str, response.Response] = {}
        try:
            while not done:
                done = self.step({"": (body, content_type, accept)})
        finally:
            self.clear()
        return done[""]

    def step(self, bodies: dict[str, tuple], observe: Callable[[Stage], None] = lambda stage: None) -> dict[str, response.Response]:
        """Read what is new, decode one chunk, and return the responses of the jobs that are done; they are forgotten.

        bodies: of each job (body, Content-Type, Accept), which is not looked at again once it has been read.
        observe: called for every stage that ran.
        """
        self._read(bodies)
        self._expire()
        self._decode(observe)
        done = {name: job.answer for name, job in self.jobs.items() if job.answer is not None}
        self.keep_only([name for name in self.jobs if name not in done])
        return done

    def _read(self, bodies: dict[str, tuple]) -> None:
        """Read the bodies that have not been read, small ones first, for READ_SECONDS at most."""
        until = time.perf_counter() + READ_SECONDS
        for name, job in sorted(self.jobs.items(), key=lambda pair: pair[1].size):
            while not job.accepted and job.answer is None:
                if time.perf_counter() > until:
                    return
                if job.body is None:
                    self._open(job, bodies[name])
                else:
                    self._read_part(job, job.body)

    def _open(self, job: Job, body: tuple) -> None:
        held = sum(other.size for other in self.jobs.values() if other.body is not None)
        if held and held + job.size > self.budget.held_bytes:
            return self._refuse(job, busy("the bodies that are being answered fill the memory reserved for them"))
        opened = guarded(open_body, *body, self.limits)
        if isinstance(opened, RequestError):
            return self._refuse(job, opened)
        job.body, job.values = opened, [None] * len(opened.parts)

    def _read_part(self, job: Job, body: OpenBody) -> None:
        """Read the next part of a body, or decide whether to answer the body when all are read."""
        if job.read == len(body.parts):
            return self._accept(job, body)
        item = read_item(body, job.read, self.limits)
        job.rows += rows_of(item, self.limits)
        job.costs.append(cost(item, self.limits.candidates))
        if job.rows > self.limits.max_body_rows and not body.single:
            return self._refuse(job, too_many_rows(self.limits))
        if isinstance(item, RequestError):
            job.values[job.read], body.parts[job.read] = item, None
        elif len(body.parts) <= KEPT_REQUESTS:
            job.requests[job.read], body.parts[job.read] = item, None
        job.read += 1

    def _accept(self, job: Job, body: OpenBody) -> None:
        """Queue a job whose cost is within the budget, and refuse it otherwise."""
        budget, seconds = self.budget, self.seconds(sum(job.costs))
        if seconds > budget.body_seconds:
            return self._refuse(job, too_long(seconds, budget.body_seconds, self.limits.candidates))
        job.left, job.accepted = sum(job.costs), True
        long = [other for other in self.queue if not self.short(other)]
        if not self.short(job):
            waiting = self.seconds(sum(other.left for other in self.queue))
            if len(long) >= budget.long_bodies or waiting + seconds > budget.waiting_seconds:
                return self._refuse(job, busy(f"work of about {waiting:.0f} seconds is waiting already"))
        self.queue.append(job)
        self._finish(job)

    def _refuse(self, job: Job, error: RequestError) -> None:
        job.body, job.values, job.answer = None, [], response.refusal(error)
        job.costs.clear()
        job.requests.clear()

    def _expire(self) -> None:
        """End the jobs whose deadline has passed: what is done is kept, the rest gets an error in its place."""
        limit = self.budget.deadline
        error = no_time(limit)
        for job in self.jobs.values():
            if self.clock() - job.began > limit and job.answer is None:
                if not job.accepted:
                    self._refuse(job, error)
                    continue
                job.values = [error if value is None else value for value in job.values]
                job.planned.clear()
                job.next = len(job.values)
                self._finish(job)

    def _finish(self, job: Job) -> None:
        """Build the response of a job of which nothing is left."""
        if not job.empty or job.body is None:
            return
        if job.body.single and isinstance(job.values[0], RequestError):
            return self._refuse(job, job.values[0])
        values = [response.error_in_place(value) if isinstance(value, RequestError) else value for value in job.values]
        job.answer = response.assemble(values, job.body.media_type, job.body.single, job.truncated)

    def _decode(self, observe: Callable[[Stage], None]) -> None:
        """Decode one chunk: of the short jobs together and of the long job that has waited longest, in turn."""
        began = time.perf_counter()
        self.queue = deque(job for job in self.queue if job.answer is None)
        if not self.queue:
            return
        short = [job for job in self.queue if self.short(job)]
        long = [job for job in self.queue if not self.short(job)]
        self.long_turn = bool(long) and (not self.long_turn or not short)
        turn = long[:1] if self.long_turn else short
        pace = self.pace if not self.long_turn else long[0].pace or self.rate
        room = self.budget.chunk_seconds / pace
        chunk, served = Chunk(self.budget.chunk_rows, room if self.long_turn else max(room, self.budget.short_cost)), []
        for job in turn:
            if chunk.full:
                break
            self._fill(chunk, job)
            served.append(job)
        if chunk.tries:
            self.pipeline.decode(chunk.tries, observe)
        for job in served:
            self._answer(job)
            self.queue.remove(job)
            if job.answer is None:
                self.queue.append(job)
        if chunk.cost:  # long jobs have paces of their own: one kind of sentence may cost several times what another does
            measured = (time.perf_counter() - began) / chunk.cost
            pace = min(max(pace + SMOOTHING * (measured - pace), self.rate / 16), self.rate * 8)
            if self.long_turn:
                long[0].pace = pace
            else:
                self.pace = pace

    def _fill(self, chunk: Chunk, job: Job) -> None:
        """Add candidates of a job to a chunk, planning its requests as they come."""
        while not chunk.full:
            if job.planned and job.planned[-1].run.untaken:
                spent = chunk.take(job.planned[-1])
                job.left -= spent
                if not spent:
                    return
            elif job.next < len(job.values):
                chunk.planning += self._plan(job)
            else:
                return

    def _plan(self, job: Job) -> float:
        """Plan the next request of a job. Returns what that cost."""
        place, job.next = job.next, job.next + 1
        if job.values[place] is not None or job.body is None:  # it was refused when it was read
            return 0.0
        item = job.requests.pop(place, None) or read_item(job.body, place, self.limits)
        job.body.parts[place] = None
        rows = item if isinstance(item, RequestError) else guarded(self.pipeline.plan, item)
        if isinstance(rows, RequestError) or isinstance(item, RequestError):
            job.values[place] = rows
            job.left -= job.costs[place]
        else:
            run = Run(rows)
            job.planned.append(Planned(place, item, run, (job.costs[place] - ITEM_COST) / run.untaken))
            job.left -= ITEM_COST
        return ITEM_COST

    def _answer(self, job: Job) -> None:
        """Write down the answers to those requests of a job whose candidates are all decoded."""
        while job.planned and not job.planned[0].run.undecided:
            planned = job.planned.popleft()
            paraphrases = self.pipeline.paraphrases(planned.run)
            job.truncated += response.truncated_of(paraphrases)
            job.values[planned.place] = response.answer_value(planned.request, paraphrases)
        self._finish(job)


def busy(why: str) -> RequestError:
    return RequestError(f"{why}; send it again later", status=503)


def no_time(limit: float) -> RequestError:
    return RequestError(f"there was no time for this within {limit:g} seconds; send it again, in smaller parts", status=504)


def too_long(seconds: float, limit: float, candidates: int) -> RequestError:
    fewer = " or ask for fewer candidates" if candidates > 1 else ""
    return RequestError(
        f"the body would take about {seconds:.0f} seconds, at most {limit:g} are allowed; send it in parts{fewer}, "
        "or use asynchronous inference or batch transform, which may take longer",
        status=413,
    )
