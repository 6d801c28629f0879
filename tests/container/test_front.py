"""The container's front before a fake TorchServe: routes, headers, time-outs, worker deaths, shutdown, the queue, the log."""

import asyncio
import json
import socket
import time

import pytest

from scripts.container import front, workers
from scripts.container.front import FRESH
from tests.container.fronts import DIED, HEAD, OK, post, run, until


@pytest.mark.parametrize("count", [1, 2])
def test_ping_is_200_exactly_while_all_workers_are_loaded(count):
    async def scenario(front, port, fake, log):
        for states in [], ["UNLOADING"] * count, ["READY"] * (count - 1) + ["UNLOADING"], ["READY"] * count, ["READY"] * (count - 1):
            status = 200 if states == ["READY"] * count else 503
            fake.workers = [{"pid": pid, "status": state} for pid, state in enumerate(states, 1)]
            await asyncio.sleep(FRESH + 0.1)
            got, head, body = await post(port, b"", path=b"/ping", method=b"GET")
            assert (got, body) == (status, b"")
        front.ending = True
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 503

    run(scenario, count=count)


@pytest.mark.parametrize(
    "method, path, status",
    [
        (b"GET", b"/execution-parameters", 200),
        (b"GET", b"/metrics", 200),
        (b"HEAD", b"/ping", 200),
        (b"POST", b"/ping", 405),
        (b"GET", b"/invocations", 405),
        (b"GET", b"/", 404),
        (b"OPTIONS", b"/", 404),
        (b"GET", b"/models", 404),
        (b"PUT", b"/models/synpg?min_worker=0", 404),
        (b"POST", b"/models?url=x", 404),
        (b"DELETE", b"/models/synpg", 404),
        (b"POST", b"/predictions/synpg", 404),
        (b"POST", b"/explanations/synpg", 404),
        (b"POST", b"/models/synpg/invoke", 404),
        (b"POST", b"/v1/models/synpg:predict", 404),
        (b"GET", b"/ping/", 404),
        (b"POST", b"//invocations", 404),
        (b"POST", b"/invocations/../models", 404),
        (b"POST", b"/%69nvocations", 404),
        (b"GET", b"/api-description", 404),
    ],
)
def test_what_can_be_reached(method, path, status):
    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        got, head, text = await post(port, b"", path=path, method=method)
        assert got == status
        if status >= 400:
            assert set(json.loads(text)) == {"code", "type", "message", "field"}
            assert not fake.seen

    run(scenario)


def test_with_several_models_the_paths_are_sagemakers():
    async def scenario(front, port, fake, log):
        for method, path, status in (
            (b"GET", b"/models", 200),
            (b"POST", b"/models", 200),
            (b"GET", b"/models/a", 200),
            (b"DELETE", b"/models/a", 200),
            (b"POST", b"/models/a/invoke", 200),
            (b"GET", b"/ping", 200),
            (b"PUT", b"/models/a?min_worker=0", 405),
            (b"POST", b"/invocations", 404),
            (b"POST", b"/predictions/a", 404),
            (b"POST", b"/models/a/b/invoke", 404),
        ):
            assert (await post(port, b"", path=path, method=method))[0] == status, path

    run(scenario, multi_model=True)


def test_a_model_that_torchserve_failed_to_unload_is_unloaded_again():
    async def scenario(front, port, fake, log):
        assert (await post(port, b"", path=b"/models/a", method=b"DELETE"))[0] == 200
        assert len(fake.seen) == 2

    run(scenario, DIED, OK, multi_model=True)


def test_headers_pass_both_ways_as_they_are():
    answer = (
        b"HTTP/1.1 200 OK\r\nX-Amzn-SageMaker-Custom-Attributes: truncated=1\r\nx-request-id: 7\r\nContent-Type: application/json\r\n"
        b'transfer-encoding: chunked\r\n\r\n2\r\n"o\r\n2\r\nk"\r\n0\r\n\r\n'
    )

    async def scenario(front, port, fake, log):
        status, head, text = await post(
            port,
            b"{}",
            b"X-Amzn-SageMaker-Custom-Attributes: A=b\r\nContent-Type: Application/JSON\r\n"
            b"Keep-Alive: 3\r\nX-Gone: 1\r\nConnection: X-Gone\r\n",
        )
        assert (status, text) == (200, b'"ok"')
        for line in b"X-Amzn-SageMaker-Custom-Attributes: truncated=1", b"x-request-id: 7", b"Content-Type: application/json":
            assert b"\r\n" + line in head
        assert b"transfer-encoding" not in head.lower() and b"content-length: 4" in head.lower()
        asked = fake.seen[0][0]
        assert b"X-Amzn-SageMaker-Custom-Attributes: A=b\r\n" in asked and b"Content-Type: Application/JSON\r\n" in asked
        assert not {b"keep-alive", b"x-gone", b"connection"} & {line.split(b":")[0] for line in asked.lower().split(b"\r\n")}

    run(scenario, answer)


def test_default_accept_is_for_those_who_say_none():
    async def scenario(front, port, fake, log):
        await post(port)
        await post(port, headers=b"accept: text/csv\r\n")
        assert b"Accept: application/jsonlines" in fake.seen[0][0] and b"jsonlines" not in fake.seen[1][0]

    run(scenario, default_accept="application/jsonlines")


def test_a_request_without_an_answer_is_answered():
    async def never():
        await asyncio.sleep(60)

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        status, _, text = await post(port)
        assert (status, json.loads(text)["type"]) == (504, "Timeout")
        fake.workers = []
        await until(lambda: not front.workers.any)
        status, _, text = await post(port)
        assert (status, json.loads(text)["type"]) == (503, "ModelNotReady")

    run(scenario, never, timeout=0.3)


def test_a_request_before_the_model_is_loaded_waits():
    async def scenario(front, port, fake, log):
        fake.workers = [{"pid": 1, "status": "UNLOADING"}]
        await until(lambda: front.workers.known and not front.workers.any)
        waiting = asyncio.create_task(post(port))
        await until(lambda: front.turns.running)
        assert not fake.seen
        fake.workers = [{"pid": 1, "status": "READY"}]
        assert (await waiting)[0] == 200

    run(scenario)


@pytest.mark.parametrize(
    "answers, status, times",
    [([DIED, OK], 200, 2), ([DIED], 503, 2), ([b"", OK], 200, 2), ([b"HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\n{}"], 503, 1)],
)
def test_a_request_over_which_the_worker_died_is_asked_once_more(answers, status, times):
    async def scenario(front, port, fake, log):
        assert (await post(port, b"abc"))[0] == status
        assert [data for _, data in fake.seen] == [b"abc"] * times

    run(scenario, *answers)


def test_a_request_that_a_dying_worker_lost_is_asked_once_more(monkeypatch):
    monkeypatch.setattr(workers, "RESEND", 0.1)

    async def never():
        await asyncio.sleep(60)

    async def scenario(front, port, fake, log):
        lost = asyncio.create_task(post(port))
        await until(lambda: fake.seen)
        fake.workers = [{"pid": 2, "status": "READY"}]  # another process has taken its place
        assert (await lost)[0] == 200 and len(fake.seen) == 2

    run(scenario, never, OK)


def test_a_kept_connection_that_the_server_closed_is_no_error():
    async def scenario(front, port, fake, log):
        for _ in range(3):
            assert (await post(port))[0] == 200
            reader, writer, client = front.inference.idle[-1]
            writer.transport.abort()  # as if it had been closed meanwhile
            await asyncio.sleep(0)

    run(scenario)


@pytest.mark.parametrize("size, callers, served", [(2, 12, 4), (900, 4, 2)])  # four requests, or 2000 bytes, may wait
def test_too_many_are_told_to_come_back(size, callers, served):
    refused = asyncio.Event()

    async def slow():
        await refused.wait()
        return OK

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        calls = {asyncio.create_task(post(port, b"x" * size)) for _ in range(callers)}
        await until(lambda: sum(call.done() for call in calls) == callers - served)
        refused.set()
        answers = await asyncio.gather(*calls)
        assert sorted(status for status, _, _ in answers) == [200] * served + [503] * (callers - served)
        assert all(b"Retry-After: 1" in head for status, head, _ in answers if status == 503)
        await until(lambda: front.places.bytes == 0)

    run(scenario, slow)


def test_the_end_answers_what_was_accepted(monkeypatch):
    monkeypatch.setattr(front, "LINGER", 2.0)
    resume = asyncio.Event()

    async def slow():
        await resume.wait()
        return OK

    async def scenario(front, port, fake, log):
        running = [asyncio.create_task(post(port)) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: front.active == 3)
        ending = asyncio.create_task(front.drain(30))
        await until(lambda: front.ending)
        late = asyncio.create_task(post(port))  # what routes to us has not noticed yet
        await until(lambda: front.active == 4)
        resume.set()
        assert [status for status, _, _ in await asyncio.gather(*running, late)] == [200] * 4
        assert await ending == 0
        assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await post(port)
        writer.close()

    run(scenario, slow)


def test_the_end_does_not_wait_for_ever(monkeypatch):
    async def never():
        await asyncio.sleep(60)

    async def scenario(front, port, fake, log):
        stuck = asyncio.create_task(post(port))
        await until(lambda: fake.seen)
        assert await front.drain(0.2) == 1
        await asyncio.wait([stuck], timeout=1)

    run(scenario, never)


def test_a_server_too_busy_to_say_is_not_ready_and_nobody_has_died(monkeypatch):
    monkeypatch.setattr(workers, "ASK_TIME", 0.1)

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        fake.workers = None  # no list: what it says makes no sense
        await until(lambda: not front.workers.ready)
        assert front.workers.any and front.workers.all[0].deaths == 0
        fake.workers = [{"pid": 2, "status": "READY"}]
        await until(lambda: front.workers.ready)
        assert front.workers.all[0].deaths == 1

    run(scenario)


def test_a_caller_who_leaves_is_only_a_line_in_the_log():
    async def scenario(front, port, fake, log):
        for data in HEAD + b"Content-Length: 5\r\n\r\nab", HEAD, b"":
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            await until(lambda: front.active or b"Content-Length" not in data)
            await asyncio.sleep(0.05)
            writer.transport.abort()
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.shutdown(socket.SHUT_WR)
        await until(lambda: log and not front.connections.guests)
        assert len(log) == 1 and " 499 " in log[0] and front.active == front.places.bytes == 0

    run(scenario)


def test_the_log_has_a_line_a_request_and_nothing_that_was_sent():
    async def scenario(front, port, fake, log):
        await post(port, b"secretbody", b"X-Secret: secretheader\r\n", b"/invocations?secretquery=1")
        await post(port, b"", path=b"/elsewhere?secretquery=1")
        await post(port, b"", path=b"/ping", method=b"GET")
        assert len(log) == 2 and "secret" not in "".join(log)
        assert log[0].startswith("POST /invocations 200 4 bytes ") and log[1].startswith("POST another path 404 ")

    run(scenario)


def test_torchserve_has_so_many_requests_at_once_and_none_whose_caller_has_left():
    resume = asyncio.Event()

    async def slow():
        await resume.wait()
        return OK

    async def scenario(front, port, fake, log):
        running = [asyncio.create_task(post(port, b"first")) for _ in range(2)]
        await until(lambda: len(fake.seen) == 2)
        for number in range(6):  # they fill the places that are left, and leave
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"Content-Length: 4\r\n\r\ngone")
            await until(lambda: front.places.taken == 3 + number)
            writer.transport.abort()
        await until(lambda: sum(guest.gone for guest in front.connections.guests) == 6)
        assert front.places.taken == 8 and front.turns.running == 2
        last = [asyncio.create_task(post(port, b"last")) for _ in range(6)]
        await until(lambda: sum(" 499 " in line for line in log) == 6 and front.places.taken == 8)
        resume.set()
        assert [status for status, _, _ in await asyncio.gather(*running, *last)] == [200] * 8
        assert [data for _, data in fake.seen] == [b"first"] * 2 + [b"last"] * 6
        assert sum(" 499 " in line for line in log) == 6 and front.places.taken == front.turns.running == 0

    run(scenario, slow, waiting=8, at_once=2)


def test_a_request_whose_time_is_over_never_reaches_torchserve():
    resume = asyncio.Event()

    async def slow():
        await resume.wait()
        return OK

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        answers = await asyncio.gather(*(post(port) for _ in range(3)))
        assert [status for status, _, _ in answers] == [504] * 3
        resume.set()
        await until(lambda: not front.workers.complaint)
        assert len(fake.seen) == 1 and front.turns.running == 0

    run(scenario, slow, waiting=8, at_once=1, timeout=2)


def test_a_request_whose_turn_comes_too_late_is_not_sent(monkeypatch):
    resume = asyncio.Event()

    async def slow():
        await resume.wait()
        return OK

    async def scenario(front, port, fake, log):
        first = asyncio.create_task(post(port))
        await until(lambda: fake.seen)
        second = asyncio.create_task(post(port))
        await until(lambda: front.places.taken == 2)
        monkeypatch.setattr("scripts.container.front.TOO_LATE", 1000)  # s before its deadline: now
        resume.set()
        assert ((await first)[0], (await second)[0]) == (200, 504)
        assert len(fake.seen) == 1 and front.turns.running == 0 and not front.workers.complaint

    run(scenario, slow, waiting=8, at_once=1)


def test_everybody_is_told_when_the_server_has_ended(monkeypatch):
    monkeypatch.setattr(front, "LAST_TIME", 20)

    async def never():
        await asyncio.sleep(60)

    async def scenario(front, port, fake, log):
        running = [asyncio.create_task(post(port)) for _ in range(6)]  # TorchServe has four of them
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 5\r\n\r\n")
        await until(lambda: front.active == 7 and len(fake.seen) == 4)
        began = time.monotonic()
        assert await front.fail() == 0 and time.monotonic() - began < 15
        answers = await asyncio.gather(*running)
        assert {status for status, _, _ in answers} == {503}
        assert all(b"Retry-After: 1" in head and b"has ended" in text for _, head, text in answers)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(ConnectionRefusedError):
            await post(port)
        writer.close()

    run(scenario, never, waiting=8)


def test_ping_is_503_while_an_answer_is_overdue():
    resume = asyncio.Event()

    async def stopped():
        await resume.wait()
        return OK

    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        assert (await post(port))[0] == 504
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 503
        assert front.workers.complaint == "an answer is overdue"
        resume.set()  # the worker goes on; nobody waits for its answer, but it came
        await until(lambda: not front.workers.complaint)
        assert (await post(port, b"", path=b"/ping", method=b"GET"))[0] == 200

    run(scenario, stopped, timeout=2)


def test_while_torchserve_is_asked_what_it_told_last_is_still_true():
    async def scenario(front, port, fake, log):
        await until(lambda: front.workers.ready)
        looking = asyncio.create_task(front.workers.look())
        while not looking.done():
            assert front.workers.ready and not front.workers.complaint
            await asyncio.sleep(0)

    run(scenario)


def test_a_probe_has_a_line_in_the_log_for_each_change():
    async def scenario(front, port, fake, log):
        for pids in (), (), (1,), (1,), (), ():
            fake.workers = [{"pid": pid, "status": "READY"} for pid in pids]
            await asyncio.sleep(FRESH + 0.1)
            await post(port, b"", path=b"/ping", method=b"GET")
        assert [line.split(" bytes")[0] for line in log] == ["GET /ping 503 0"] * 2

    run(scenario)


@pytest.mark.parametrize("several", [False, True])
def test_the_log_has_no_name_of_a_callers_own(several):
    async def scenario(front, port, fake, log):
        for method, path in (b"SECRET", b"/ping"), (b"GET", b"/secret"), (b"POST", b"/models/secret/invoke"), (b"GET", b"/models/secret"):
            await post(port, b"", path=path, method=method)
        assert len(log) == 4 and "secret" not in "".join(log).lower()
        assert ("POST /models/NAME/invoke 200" in "".join(log)) == several

    run(scenario, multi_model=several)


def test_torchserves_own_words_for_a_full_queue_are_not_passed_on():
    text = b'{"code": 503, "type": "ServiceUnavailableException", "message": "Model \\"synpg\\" has no worker to serve inference request."}'

    async def scenario(front, port, fake, log):
        status, head, answer = await post(port)
        assert status == 503 and b"\r\nRetry-After: 1\r\n" in head and json.loads(answer)["type"] == "ServiceUnavailable"

    run(scenario, b"HTTP/1.1 503 x\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
