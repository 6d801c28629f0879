"""Several workers behind the front: each has a queue of its own, and a request goes to the one that has least to do."""

import asyncio

from scripts.container import workers
from scripts.container.workers import Worker
from tests.container.fronts import DIED, OK, held, post, run, until

FIRST, SECOND = "/predictions/synpg/1", "/predictions/synpg/2"
TWO = [{"pid": 1, "status": "READY"}, {"pid": 2, "status": "READY"}]


def asked(fake) -> list[str]:
    """The paths that the workers were asked at."""
    return [head.split()[1].decode() for head, _ in fake.seen]


async def never():
    await asyncio.sleep(60)


async def loaded(front, fake):
    fake.workers = TWO
    await until(lambda: front.workers.ready)


def test_a_request_goes_to_the_worker_that_has_least_to_do():
    async def scenario(front, port, fake, log):
        await loaded(front, fake)
        fake.at[FIRST] = never
        large = asyncio.create_task(post(port))
        await until(lambda: asked(fake) == [FIRST])
        assert [(await post(port))[0] for _ in range(3)] == [200] * 3
        assert asked(fake)[1:] == [SECOND] * 3
        large.cancel()

    run(scenario, count=2)


def test_of_two_with_as_many_requests_the_one_with_the_younger_comes_first():
    old, young, idle, late = (Worker("") for _ in range(4))
    old.requests, young.requests, late.requests = {1: 10.0}, {2: 20.0}, {}
    late.overdue = True
    assert sorted([old, late, young, idle], key=lambda worker: worker.load) == [idle, young, old, late]


def test_a_request_over_which_a_worker_died_is_sent_to_another():
    async def scenario(front, port, fake, log):
        async def died():
            fake.workers = [{"pid": 1, "status": "UNLOADING"}, TWO[1]]
            return DIED

        await loaded(front, fake)
        fake.at = {FIRST: died, SECOND: OK}
        assert (await post(port))[0] == 200 and asked(fake) == [FIRST, SECOND]

    run(scenario, count=2)


def test_a_request_that_a_dying_worker_lost_is_sent_again(monkeypatch):
    monkeypatch.setattr(workers, "RESEND", 0.1)

    async def scenario(front, port, fake, log):
        await loaded(front, fake)
        fake.at[FIRST] = never
        lost = asyncio.create_task(post(port))
        await until(lambda: asked(fake) == [FIRST])
        fake.workers = [{"pid": 3, "status": "READY"}, TWO[1]]  # another process has taken its place
        assert (await lost)[0] == 200 and asked(fake) == [FIRST, SECOND]

    run(scenario, count=2)


def test_the_death_of_another_worker_is_no_reason_to_send_a_request_again(monkeypatch):
    monkeypatch.setattr(workers, "RESEND", 0.0)
    resume = asyncio.Event()

    slow = held(resume)

    async def scenario(front, port, fake, log):
        await loaded(front, fake)
        fake.at[FIRST] = slow
        waiting = asyncio.create_task(post(port))
        await until(lambda: asked(fake) == [FIRST])
        fake.workers = [TWO[0], {"pid": 3, "status": "READY"}]
        await until(lambda: front.workers.all[1].deaths == 1)
        await asyncio.sleep(0.1)
        resume.set()
        assert (await waiting)[0] == 200 and asked(fake) == [FIRST]

    run(scenario, count=2)


def test_a_stopped_worker_is_not_healthy_though_the_other_answers_and_gets_nothing_more():
    resume = asyncio.Event()

    stopped = held(resume)

    async def scenario(front, port, fake, log):
        await loaded(front, fake)
        fake.at[FIRST] = stopped
        assert (await post(port))[0] == 504
        assert [(await post(port))[0] for _ in range(3)] == [200] * 3 and asked(fake) == [FIRST, *[SECOND] * 3]
        assert front.workers.complaint == "an answer is overdue"
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 503
        resume.set()
        await until(lambda: not front.workers.complaint)
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 200

    run(scenario, count=2, timeout=2)
