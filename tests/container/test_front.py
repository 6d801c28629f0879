"""The container's front before a fake TorchServe: routes, headers, time-outs, worker deaths."""

import asyncio
import json

import pytest

from scripts.container import workers
from tests.container.fronts import DIED, OK, post, run, until


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


def test_torchserves_own_words_for_a_full_queue_are_not_passed_on():
    text = b'{"code": 503, "type": "ServiceUnavailableException", "message": "Model \\"synpg\\" has no worker to serve inference request."}'

    async def scenario(front, port, fake, log):
        status, head, answer = await post(port)
        assert status == 503 and b"\r\nRetry-After: 1\r\n" in head and json.loads(answer)["type"] == "ServiceUnavailable"

    run(scenario, b"HTTP/1.1 503 x\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
