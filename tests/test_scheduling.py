"""Turns, budgets and deadlines of many bodies on one model, without a server."""

import json
from dataclasses import replace

import pytest

from handler import artifacts
from handler.scheduling import Budget, Scheduler, cost
from handler.wire import response
from handler.wire.request import Limits, read_request
from tests.bodies import answer, build, read_body
from tests.factories import PICNIC, RAIN, body, tiny_artifact

ONE_AT_A_TIME = Budget(short_cost=0, chunk_seconds=1e-9)  # a chunk is a single candidate
MANY = body([{**RAIN, "seed": i, "num_paraphrases": 3} for i in range(6)])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return artifacts.load(tiny_artifact(tmp_path_factory.mktemp("scheduling") / "tiny"))


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Callers:
    """Bodies by name, and the steps that answer them."""

    def __init__(self, pipeline, budget=Budget(), limits=Limits()):
        self.clock = Clock()
        self.scheduler = Scheduler(pipeline, limits, budget, self.clock)
        self.bodies, self.done, self.stages = {}, {}, []

    def send(self, name: str, text: bytes, content_type: str | None = None) -> None:
        self.bodies[name] = text, content_type, None
        self.scheduler.add(name, len(text))

    def step(self) -> dict:
        done = self.scheduler.step(self.bodies, self.stages.append)
        self.done |= done
        for name in done:
            del self.bodies[name]
        return done

    def finish(self, most: int = 1000) -> None:
        while self.bodies and most:
            self.step()
            most -= 1
        assert not self.bodies, f"{list(self.bodies)} have no answer"


def answered(answer: response.Response):
    assert answer.status == 200
    return json.loads(answer.body)


def test_the_answers_are_those_of_the_whole_batch_however_the_chunks_fall(pipeline):
    texts = {
        "many": MANY,
        "lone": body({**PICNIC, "seed": 3, "details": True}),
        "lines": b"\n".join([body({**RAIN, "seed": 9}), b"{", b""]),
    }
    kinds = {"lines": "application/jsonlines"}
    whole = [build(*pair) for pair in answer(pipeline, [read_body(text, kinds.get(name), None) for name, text in texts.items()])]
    for budget in (ONE_AT_A_TIME, Budget(chunk_rows=4), Budget(chunk_rows=1), Budget()):
        callers = Callers(pipeline, budget)
        for name, text in texts.items():
            callers.send(name, text, kinds.get(name))
        callers.finish()
        assert list(callers.done.values()) != [] and {name: callers.done[name] for name in texts} == dict(zip(texts, whole))


def test_a_lone_request_waits_for_one_chunk_of_a_large_body(pipeline):
    callers = Callers(pipeline, ONE_AT_A_TIME)
    callers.send("large", MANY)
    callers.step()
    callers.send("lone", body({**RAIN, "seed": 1}))
    assert not callers.step().get("large")
    assert "lone" in callers.step() or "lone" in callers.done
    assert "large" not in callers.done
    callers.finish()
    assert len(answered(callers.done["large"])) == 6


def test_many_large_bodies_keep_a_lone_request_no_longer_than_one(pipeline):
    callers = Callers(pipeline, replace(ONE_AT_A_TIME, short_cost=100.0))
    for number in range(5):
        callers.send(f"large{number}", MANY)
    callers.step()
    for number in range(4):
        callers.send(f"lone{number}", body(RAIN))
        callers.step()
        callers.step()
        assert f"lone{number}" in callers.done  # and so the large ones had every other chunk
    left = [job.left for job in callers.scheduler.jobs.values()]
    assert len(left) == 5 and max(left) < sum(cost(item, 1) for item in read_body(MANY, None, None).items)


def test_cheap_short_requests_do_not_lengthen_the_chunks_of_a_large_body(pipeline):
    callers = Callers(pipeline, Budget(short_cost=0, chunk_seconds=0.02))
    callers.scheduler.rate, callers.scheduler.pace = 0.01, 1e-6  # short ones took next to nothing just now
    callers.send("large", MANY)
    callers.step()
    assert [stage.rows for stage in callers.stages] == [1, 1]


def test_large_bodies_take_turns(pipeline):
    callers = Callers(pipeline, ONE_AT_A_TIME)
    for name in ("first", "second", "third"):
        callers.send(name, MANY)
    callers.step()
    left = []
    for _ in range(9):
        callers.step()
        left.append([job.left for job in callers.scheduler.jobs.values()])
    assert max(left[-1]) - min(left[-1]) < 2.5 * max(cost(read_request(RAIN), 1), 1.0) < left[0][0]


def test_a_body_that_would_take_too_long_is_told_the_estimate_the_limit_and_what_to_do(pipeline):
    callers = Callers(pipeline, Budget(body_seconds=2.0))
    callers.scheduler.rate = 0.01
    words = cost(read_request({**RAIN, "num_paraphrases": 64, "candidates": 32}), 1) * 4
    callers.send("huge", body([{**RAIN, "num_paraphrases": 64, "candidates": 32}] * 4))
    callers.send("lone", body(RAIN))
    done = callers.step()
    assert done["huge"].status == 413 and done["lone"].status == 200
    message = json.loads(done["huge"].body)["message"]
    assert f"about {words * 0.01:.0f} seconds, at most 2 are allowed" in message
    assert "in parts" in message and "asynchronous" in message and "batch transform" in message
    assert sum(stage.rows for stage in callers.stages) == 2  # of the lone request: its parse and its text


def test_the_cost_grows_with_rows_candidates_and_lengths():
    def costs(**more):
        return cost(read_request({**RAIN, **more}), 4)

    assert costs(num_paraphrases=8) > 6 * costs() / 2 and costs(candidates=32) > 4 * costs(candidates=4)
    assert costs(sent="it is raining " * 15, synt=None) > 4 * costs()
    assert cost(read_request({"sent": "x", "parse": RAIN["synt"]}), 4) < costs(candidates=1)


def test_what_is_done_at_the_deadline_is_kept_and_the_rest_gets_an_error_in_its_place(pipeline):
    callers = Callers(pipeline, Budget(short_cost=0, chunk_seconds=1e-9, deadline=50))
    callers.send("large", MANY)
    for _ in range(12):
        callers.step()
    callers.clock.now = 49.0
    callers.send("late", body({**RAIN, "num_paraphrases": 64}))
    callers.step()
    callers.clock.now = 51.0
    values = answered(callers.step()["large"])
    assert isinstance(values[0], list) and len(values) == 6
    assert values[-1] == {"error": {"code": 504, "type": "Timeout", "message": values[-1]["error"]["message"], "field": None}}
    assert "50 seconds" in values[-1]["error"]["message"]
    callers.clock.now = 101.0
    late = callers.step()["late"]
    assert (late.status, json.loads(late.body)["type"]) == (504, "Timeout")


def test_more_than_can_be_held_is_refused_and_told_when_to_come_again(pipeline):
    callers = Callers(pipeline, Budget(short_cost=0, chunk_seconds=1e-9, held_bytes=2 * len(MANY) - 1))
    callers.send("held", MANY)
    callers.send("more", MANY)
    refused = callers.step()["more"]
    assert refused.status == 503 and refused.headers == {"Retry-After": str(response.RETRY_AFTER)}
    assert "memory" in json.loads(refused.body)["message"]
    callers.finish()
    assert callers.done["held"].status == 200
    callers.send("more", MANY)
    callers.finish()
    assert callers.done["more"].status == 200


@pytest.mark.parametrize(
    "budget", [Budget(short_cost=0, chunk_seconds=0.01, long_bodies=1), Budget(short_cost=0, chunk_seconds=0.01, waiting_seconds=5.0)]
)
def test_work_beyond_the_deadline_is_refused_but_short_requests_are_not(pipeline, budget):
    callers = Callers(pipeline, budget)
    callers.scheduler.rate = callers.scheduler.pace = 0.01
    callers.send("first", MANY)
    callers.send("second", MANY)
    done = callers.step()
    assert done["second"].status == 503 and "seconds is waiting" in json.loads(done["second"].body)["message"]
    callers.scheduler.budget = Budget(chunk_seconds=10.0, long_bodies=budget.long_bodies, waiting_seconds=budget.waiting_seconds)
    callers.send("short", body(RAIN))
    callers.finish()
    assert callers.done["short"].status == callers.done["first"].status == 200


def test_what_nobody_waits_for_is_forgotten(pipeline):
    callers = Callers(pipeline, ONE_AT_A_TIME)
    callers.send("gone", MANY)
    callers.send("here", MANY)
    callers.step()
    del callers.bodies["gone"]
    callers.scheduler.keep_only(["here"])
    assert list(callers.scheduler.jobs) == ["here"] and len(callers.scheduler.queue) == 1
    callers.finish()
    assert answered(callers.done["here"])


def test_bad_requests_leave_nothing_but_their_error(pipeline):
    callers = Callers(pipeline, ONE_AT_A_TIME)
    bad = {"sent": "x", "parse": f"(ROOT {'(NN )' * 499})"}  # refused when it is planned
    callers.send("mixed", body([*[{"sent": 3, "synt": "y" * 1000}] * 20, {**RAIN, "num_paraphrases": 3}, *[bad] * 20]))
    callers.step()
    [job] = callers.scheduler.jobs.values()
    assert job.body.parts[:20] == [None] * 20 and not job.requests
    callers.finish()
    values = answered(callers.done["mixed"])
    assert [value["error"]["field"] for value in values[:20]] == ["sent"] * 20 and len(values[20]) == 3
    assert [value["error"]["field"] for value in values[21:]] == ["parse"] * 20


def test_calibration_measures_this_machine(pipeline):
    scheduler = Scheduler(pipeline)
    scheduler.calibrate()
    assert scheduler.rate == scheduler.pace != Scheduler(pipeline).rate
