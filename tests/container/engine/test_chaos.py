"""Processes that are killed or stopped, callers that misbehave, and what runs out, all under load.

Every answer counts: by its status, whether it is the right one, and how long it took.
"""

import contextlib
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from tests.container.engine.conftest import Running
from tests.container.engine.load import REQUEST, Load
from tests.factories import body
from tests.waiting import until

HEAD = b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
LARGE = 6_000_000
SIGNAL_JAVA = "import psutil; [p.send_signal({}) for p in psutil.process_iter() if p.name() == 'java']"
KILL, CONTINUE, STOP = 9, 18, 19


@pytest.fixture(scope="module")
def one(image, model):
    """A container that nothing in these tests may end."""
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        yield running


def wait_for_ping(running, status, patience) -> float:
    """Seconds until /ping has a status; None is for no answer within two seconds."""
    began = time.monotonic()
    while running.ping() != status:
        assert time.monotonic() - began < patience, running.log()[-3000:]
        time.sleep(0.05)
    return time.monotonic() - began


def signal_worker(running, number) -> int:
    """Send a signal to the worker; returns its process id."""
    [worker] = running.workers()
    running.run(f"import os; os.kill({worker}, {number})")
    return worker


@contextlib.contextmanager
def slow_senders(running, count, data):
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sender = stack.enter_context(socket.create_connection((running.host, running.port), 10))
            with contextlib.suppress(OSError):  # refused before all of it was sent
                sender.sendall(data)
        yield


def test_a_stopped_worker_is_not_healthy_until_it_goes_on_or_is_replaced(image, model):
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1", SAGEMAKER_MODEL_SERVER_TIMEOUT="4") as running:
        running.wait_ready()
        worker = signal_worker(running, STOP)
        assert running.call(data=REQUEST)[0] == 504 and running.ping() == 503
        running.run(f"import os; os.kill({worker}, {CONTINUE})")
        wait_for_ping(running, 200, 4)
        with Load(running) as load:
            time.sleep(1)
            assert signal_worker(running, STOP) == worker
            noticed = wait_for_ping(running, 503, 4 + 3)
            healed = wait_for_ping(running, 200, 60)
            time.sleep(1)
        print(load, f"noticed after {noticed:.1f} s, healed {healed:.1f} s later")
        assert {200, 504} <= set(load.got) <= {200, 503, 504} and not load.wrong and load.slowest < 4 + 3, load
        assert "Not ready: an answer is overdue" in running.log()


def test_java_that_is_stopped_for_a_while_loses_nothing(one):
    with Load(one) as load:
        time.sleep(1)
        one.run(SIGNAL_JAVA.format(STOP))
        wait_for_ping(one, 503, 4)
        one.run(SIGNAL_JAVA.format(CONTINUE))
        wait_for_ping(one, 200, 10)
        time.sleep(1)
    print(load)
    assert set(load.got) == {200} and not load.wrong and load.slowest < 15


def test_java_that_is_killed_ends_the_container_and_every_caller_is_told(image, model):
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        with Load(running) as load:
            time.sleep(2)
            began = time.monotonic()
            running.run(SIGNAL_JAVA.format(KILL))
            assert running.wait_ended(20) == 1
            took = time.monotonic() - began
        print(load, f"ended in {took:.1f} s")
        assert load.got[200] and set(load.got) <= {200, 503, "not accepted"} and not load.wrong, load
        assert running.log(errors=True) == "TorchServe was killed by SIGKILL.\n" and took < 10


@pytest.mark.parametrize(
    "count, data",
    [(200, HEAD % 10), (200, HEAD % LARGE), (30, HEAD % LARGE + b" " * (LARGE - 1))],
    ids=["no body", "a claim", "nearly all of a body"],
)
def test_slow_senders_harm_nobody(one, count, data):
    with slow_senders(one, count, data):  # first
        time.sleep(1)
        with Load(one) as load:
            time.sleep(2)
            with slow_senders(one, count, data):  # and last
                time.sleep(2)
    print(load)
    assert set(load.got) == {200} and not load.wrong and load.slowest < 10, load
    assert one.ping() == 200


def test_two_hundred_callers_who_leave_harm_nobody(one):
    with Load(one) as load:
        for _ in range(200):
            with socket.create_connection((one.host, one.port), 10) as leaver:
                leaver.sendall(HEAD % len(REQUEST) + REQUEST)
        time.sleep(1)
    print(load)
    assert set(load.got) == {200} and not load.wrong and one.ping() == 200


@pytest.mark.parametrize("callers", [125, 1000])
def test_callers_beyond_the_queue_are_told_to_come_back(one, callers):
    for _ in range(5):  # until what those of other tests left behind is done
        assert one.call(data=REQUEST)[0] == 200
    worker = signal_worker(one, STOP)  # a queue that is emptied as fast as callers come never fills
    try:
        with Load(one, callers=callers, each=1) as load:
            until(lambda: load.got[503] >= callers - 112, patience=30)  # the queue of 100, and a batch of 12
            one.run(f"import os; os.kill({worker}, {CONTINUE})")
            load.wait()
    finally:
        one.run(f"import os; os.kill({worker}, {CONTINUE})")
    print(load)
    assert set(load.got) == {200, 503} and sum(load.got.values()) == callers and not load.wrong, (load.got, load.wrong[:3])
    assert load.got[200] >= 100
    assert one.ping() == 200


def test_a_disk_that_becomes_full_harms_nobody(image, model):
    with Running(image, model, tmp="/tmp:size=1m", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        running.run("f = open('/tmp/full', 'wb', 0)\ntry:\n    while True: f.write(b'x' * 4096)\nexcept OSError: pass")
        with Load(running) as load:
            time.sleep(2)
        print(load)
        assert set(load.got) == {200} and not load.wrong and running.ping() == 200


def test_with_500_mb_it_serves_or_says_that_memory_is_short(image, model):
    with Running(image, model, memory="500m", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        with Load(running) as load:
            time.sleep(3)
        print(load)
        assert not load.wrong and not [each for each in load.got if str(each).startswith("lost")]
        if set(load.got) != {200}:
            assert "memory" in running.log(), json.dumps(running.state())


@pytest.mark.parametrize("workers", [1, 2])
def test_beside_the_largest_bodies_a_lone_caller_is_answered_in_time(image, model, workers):
    """As many of the largest bodies as there are workers."""
    letters = " ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(62))
    costly = {"sent": letters, "tmpl": "two_clauses", "candidates": 32, "num_paraphrases": 64}
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS=str(workers)) as running, ThreadPoolExecutor() as pool:
        running.wait_ready()
        status, _, text = running.call(data=body([costly] * 4))
        estimate, limit = map(float, re.search(r"about (\d+) seconds, at most (\d+)", json.loads(text)["message"]).groups())
        assert status == 413 and limit < 58
        large, count = [], int(4 * 64 * 4 * limit / estimate)
        costly |= {"candidates": 8, "num_paraphrases": 1}
        while len(large) < workers:  # each worker estimates for itself, so the largest body is found by trying
            assert count, "every body was refused"
            tried = pool.submit(running.call, data=body([costly] * count))
            if tried in wait([tried], timeout=2).done:
                assert tried.result()[0] == 413
                count = count * 4 // 5
            else:
                large.append((tried, count))
        with Load(running, callers=1) as lone:
            wait([each for each, _ in large], timeout=15)
        waits = sorted(lone.waits)
        late = waits[int(0.95 * (len(waits) - 1))]
        print(lone, f"95 % within {late:.2f} s beside bodies of {[asked for _, asked in large]} x 8")
        assert set(lone.got) == {200} and not lone.wrong and late < 5, waits  # 2 on an idle machine
        for each, asked in large:
            status, _, text = each.result()
            assert status == 200 and len(json.loads(text)) == asked, text[:300]
        # alone, too, while another worker is idle
        assert running.call(data=body([costly] * max(1, count // 2)))[0] == 200


def test_of_two_workers_one_that_is_killed_or_stopped_costs_nobody_the_answer(image, model):
    with Running(image, model, memory="3g", SAGEMAKER_MODEL_SERVER_WORKERS="2", SAGEMAKER_MODEL_SERVER_TIMEOUT="8") as running:
        running.wait_ready()
        with Load(running) as load:
            time.sleep(1)
            running.run(f"import os; os.kill({running.workers()[0]}, {KILL})")
            wait_for_ping(running, 503, 4)
            wait_for_ping(running, 200, 60)
            time.sleep(1)
        print(load)
        assert set(load.got) == {200} and not load.wrong, load
        with Load(running) as load:
            time.sleep(1)
            running.run(f"import os; os.kill({running.workers()[1]}, {STOP})")
            wait_for_ping(running, 503, 8 + 3)
            time.sleep(3)  # for the others that it had
            noticed = load.got[504]
            time.sleep(4)
            assert load.got[504] == noticed <= 8  # it gets nothing more
            wait_for_ping(running, 200, 60)  # it is replaced
        print(load)
        assert set(load.got) == {200, 504} and not load.wrong, load
