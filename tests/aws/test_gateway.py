"""The simulated SageMaker gateway behaves like SageMaker, with boto3 in front of it and a function behind it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests import gateway as g
from tests.gateway import Container, Endpoint, Gateway, TransformError, batch_transform

JSON = {"Content-Type": "application/json"}


def echo(path, headers, body):
    """Says back the body; a `status` in it becomes the answer's, `sleep` is slept, `big` makes a long answer."""
    if path == "/execution-parameters":
        return 404, {}, b""
    value = json.loads(body.partition(b"\n")[0]) if body.startswith(b"{") else {}
    time.sleep(value.get("sleep", 0))
    attributes = {g.ATTRIBUTES: headers[g.ATTRIBUTES.lower()]} if g.ATTRIBUTES.lower() in headers else {}
    return value.get("status", 200), {**JSON, **attributes, "X-Other": "1"}, body + b" " * value.get("big", 0)


@pytest.fixture()
def container():
    with Container(echo) as running:
        yield running


@pytest.fixture()
def gateway(container):
    with Gateway(
        {
            "synpg": Endpoint(container.url),
            "small": Endpoint(container.url, g.SERVERLESS_BYTES, timeout=0.3),
            "gone": Endpoint("http://127.0.0.1:9"),
        }
    ) as running:
        yield running


def refusal(gateway, body: bytes, name: str = "synpg", **more) -> dict:
    with pytest.raises(ClientError) as caught:
        gateway.client().invoke_endpoint(EndpointName=name, Body=body, **more)
    return caught.value.response


def test_passes_on_what_sagemaker_passes_on(gateway, container):
    answer = gateway.client().invoke_endpoint(
        EndpointName="synpg",
        Body=b'{"sent": "\xc3\xa9"}',
        ContentType="application/json",
        Accept="application/jsonlines",
        CustomAttributes="a=1",
        InferenceId="42",
    )
    assert answer["Body"].read() == b'{"sent": "\xc3\xa9"}'
    assert (answer["ContentType"], answer["InvokedProductionVariant"], answer["CustomAttributes"]) == (
        "application/json",
        "AllTraffic",
        "a=1",
    )
    assert "x-other" not in answer["ResponseMetadata"]["HTTPHeaders"]
    [(path, headers, _)] = container.seen
    assert path == "/invocations" and headers["accept"] == "application/jsonlines"
    assert not {"authorization", "x-amz-date", "user-agent"} & headers.keys()


@pytest.mark.parametrize("status, kind", [(400, "client"), (413, "client"), (503, "server"), (507, "server")])
def test_the_containers_errors_are_model_errors(gateway, status, kind):
    body = b'{"status": %d}' % status
    response = refusal(gateway, body)
    assert response["Error"]["Code"] == "ModelError" and response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (status, body.decode())
    assert response["Error"]["Message"].startswith(f"Received {kind} error ({status}) from primary with message")
    assert response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/synpg")


def test_silence_is_a_model_error_without_a_status(gateway):
    slow, gone = refusal(gateway, b'{"sleep": 1}', "small"), refusal(gateway, b"{}", "gone")
    assert slow["OriginalStatusCode"] == gone["OriginalStatusCode"] == 0
    assert "Received server error (0)" in slow["Error"]["Message"] and "timed out while waiting" in slow["Error"]["Message"]
    assert "exited" in gone["OriginalMessage"]


def test_limits_and_unknown_endpoints(gateway, container):
    assert refusal(gateway, b"x" * (g.SERVERLESS_BYTES + 1), "small")["Error"] == {
        "Code": "413",
        "Message": "HTTP content length exceeded 4194304 bytes.",
    }
    assert refusal(gateway, b"x" * (g.REALTIME_BYTES + 1))["Error"]["Code"] == "413"
    assert refusal(gateway, b"{}", CustomAttributes="x" * 1025)["Error"]["Code"] == "ValidationError"
    assert refusal(gateway, b"{}", "another")["Error"]["Code"] == "ValidationError"
    assert not container.seen
    assert refusal(gateway, json.dumps({"big": g.SERVERLESS_BYTES}).encode(), "small")["Error"]["Code"] == "ModelError"


def test_refusals_come_once_each_and_boto3_retries_some(gateway):
    gateway.refusals += [(429, "ModelNotReadyException", "not yet"), (400, "ThrottlingException", "slower")]
    client = gateway.client()
    for kind in "ModelNotReadyException", "ThrottlingException":
        with pytest.raises(ClientError) as caught:
            client.invoke_endpoint(EndpointName="synpg", Body=b"{}")
        assert caught.value.response["Error"]["Code"] == kind
    gateway.refusals += [(503, "ServiceUnavailable", "busy")]
    gateway.client(retries={"total_max_attempts": 2}).invoke_endpoint(EndpointName="synpg", Body=b"{}")
    assert gateway.calls == 4 and not gateway.refusals


def test_unsigned_calls_and_other_paths_are_refused(gateway):
    assert g.post(gateway.url + "/endpoints/synpg/invocations", {}, b"{}", 5)[0] == 403
    assert g.post(gateway.url + "/invocations", {}, b"{}", 5)[0] == 404


def test_calls_at_once(gateway):
    client = gateway.client(max_pool_connections=20)
    begun = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        bodies = [b'{"sleep": 0.5, "n": %d}' % n for n in range(20)]
        answers = list(pool.map(lambda body: client.invoke_endpoint(EndpointName="synpg", Body=body)["Body"].read(), bodies))
    assert answers == bodies and time.monotonic() - begun < 5


@pytest.mark.parametrize("strategy, calls", [("SingleRecord", 5), ("MultiRecord", 1)])
def test_batch_transform_by_line(container, tmp_path, strategy, calls):
    (tmp_path / "in.jsonl").write_bytes(b"".join(b'{"n": %d}\n' % n for n in range(5)))
    output = batch_transform(container.url, tmp_path / "in.jsonl", tmp_path, "application/jsonlines", BatchStrategy=strategy)
    assert [path for path, _, _ in container.seen] == ["/execution-parameters"] + ["/invocations"] * calls
    assert output.name == "in.jsonl.out"
    assert output.read_bytes().replace(b"\n\n", b"\n") == (tmp_path / "in.jsonl").read_bytes()


def test_batch_transform_asks_the_container_how(tmp_path):
    """What the container says holds where the job says nothing; answers keep the order of the records."""

    def answer(path, headers, body):
        if path == "/execution-parameters":
            return 200, JSON, b'{"MaxConcurrentTransforms": 4, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1}'
        time.sleep(0.2 if b"0" in body else 0)
        return 200, JSON, body.strip()

    (tmp_path / "in").write_bytes(b"0\n1\n2\n3\n")
    with Container(answer) as container:
        output = batch_transform(container.url, tmp_path / "in", tmp_path, "text/plain")
        assert output.read_bytes() == b"0\n1\n2\n3\n" and len(container.seen) == 5
        assert g.execution_parameters(container.url, BatchStrategy="MultiRecord") == {
            "MaxConcurrentTransforms": 4,
            "BatchStrategy": "MultiRecord",
            "MaxPayloadInMB": 1,
        }


def test_one_refused_record_fails_the_job(container, tmp_path):
    (tmp_path / "in").write_bytes(b'{"status": 200}\n{"status": 400}\n')
    with pytest.raises(TransformError, match="HTTP 400"):
        batch_transform(container.url, tmp_path / "in", tmp_path, "application/json", BatchStrategy="SingleRecord")
    assert not (tmp_path / "in.out").exists()
    container.seen.clear()
    (tmp_path / "in").write_bytes(b'{"status": 500}\n')
    with pytest.raises(TransformError, match="HTTP 500"):
        batch_transform(container.url, tmp_path / "in", tmp_path, "application/json")
    assert len(container.seen) == 5  # retried three times


def test_payloads_fill_up_to_the_limit():
    assert g.payloads([b"aa\n", b"bb\n", b"cc\n"], 6, together=True) == [b"aa\nbb\n", b"cc\n"]
    assert g.payloads([b"aa\n", b"bb\n"], 6, together=False) == [b"aa\n", b"bb\n"]
    with pytest.raises(TransformError, match="a record has 7 bytes"):
        g.payloads([b"123456\n"], 6, together=True)


def test_batch_environment():
    assert g.batch_environment(BatchStrategy="MultiRecord", MaxPayloadInMB=6) == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
    }
