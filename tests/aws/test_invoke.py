"""Calls to an endpoint: what is retried, what is halved, when a run gives up; a file with interruptions."""

import io
import itertools
import json
import os
import threading

import boto3
import pytest
from botocore import exceptions

from scripts import invoke
from scripts.aws import runtime, s3
from scripts.aws.runtime import AGAIN, REFUSED, SPLIT, STOP
from scripts.aws.session import Session
from scripts.client.invoke import LINES
from tests.gateway import Container, Endpoint, Gateway

moto = pytest.importorskip("moto", reason="moto stands in for AWS: pip install -r tests/requirements.txt")

JSON = {"Content-Type": "application/json"}
POISON = {"sent": "poison"}


def refusal(code: str, status: int | None = None, said: str = "no", message: str = "No.") -> exceptions.ClientError:
    more = {"OriginalStatusCode": status, "OriginalMessage": said} if status is not None else {}
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}, **more}, "InvokeEndpoint")


@pytest.mark.parametrize(
    "error, what, words",
    [
        (refusal("ModelError", 503, '{"code": 503, "type": "x", "message": "Queue is full"}'), AGAIN, "answered 503: Queue is full"),
        (refusal("ModelError", 507, "memory"), AGAIN, "507"),
        (refusal("ModelError", 500, "Worker died."), AGAIN, "Worker died."),
        (refusal("ModelError", 400, '{"message": "is empty", "field": "sent"}'), REFUSED, "answered 400: sent: is empty"),
        (refusal("ModelError", 415, "?"), REFUSED, "415"),
        (refusal("ModelError", 404, " "), REFUSED, "no message"),
        (refusal("ModelError", 413, ""), SPLIT, "413"),
        (refusal("ModelError", 504, ""), SPLIT, "504"),
        (refusal("ModelError", 0, "Your invocation timed out while waiting for a response"), SPLIT, "did not answer"),
        (refusal("ModelError", 0, "the model process exited"), AGAIN, "exited"),
        (refusal("ThrottlingException"), AGAIN, "slower"),
        (refusal("ModelNotReadyException"), AGAIN, "refused"),
        (refusal("ServiceUnavailable"), AGAIN, ""),
        (refusal("InternalFailure"), AGAIN, ""),
        (refusal("InternalDependencyException"), AGAIN, ""),
        (exceptions.EndpointConnectionError(endpoint_url="https://x/"), AGAIN, "x"),
        (exceptions.ConnectionClosedError(endpoint_url="https://x/"), AGAIN, "not answer"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x/"), AGAIN, "not answer"),
        (refusal("413"), SPLIT, "larger"),
        (refusal("ValidationError", message="Endpoint x of account 1 not found."), STOP, "Endpoint x of account 1 not found."),
        (refusal("AccessDeniedException"), STOP, "InvokeEndpoint"),
        (refusal("ExpiredTokenException"), STOP, "expired"),
        (exceptions.NoCredentialsError(), STOP, "no AWS credentials"),
    ],
)
def test_verdicts(error, what, words):
    verdict = runtime.judge(error)
    assert verdict.what == what and words in verdict.sentence and "\n" not in verdict.sentence


def answering(path: str, headers: dict, body: bytes):
    """A container that repeats its requests; one poisoned line takes all of its call down."""
    lines = body.decode().split("\n")
    if json.dumps(POISON) in lines:
        return 500, JSON, b'{"code": 500, "type": "InternalServerException", "message": "Worker died."}'
    if headers["content-type"] == "application/json":
        return (200, JSON, b'"' + body[:1] + b'"') if body != b"{}" else (400, JSON, b'{"message": "is required", "field": "sent"}')
    values = [json.loads(line)["sent"] or {"error": {"code": 400, "message": "is empty"}} for line in lines]
    return 200, JSON, "\n".join(map(json.dumps, values)).encode()


@pytest.fixture
def pauses(monkeypatch):
    """Seconds that would have been slept, drawn as the longest possible."""
    slept: list = []
    monkeypatch.setattr(runtime.Endpoint, "sleep", staticmethod(slept.append))
    monkeypatch.setattr(runtime.Endpoint, "random", staticmethod(lambda: 1.0))
    return slept


@pytest.fixture
def gateway(monkeypatch, pauses):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with Container(answering) as container, Gateway({"here": Endpoint(container.url), "small": Endpoint(container.url, 200)}) as gate:
        for name, value in gate.environment.items():
            monkeypatch.setenv(name, value)
        gate.container = container
        yield gate


def call(capsys, *arguments) -> tuple[int, list, str]:
    status = invoke.main(["--endpoint", "here", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, [json.loads(line) for line in out.splitlines()], err


def write(path, count: int, *more) -> list[str]:
    sentences = [f"it rains {i}" for i in range(count)]
    path.write_text("".join(json.dumps(value) + "\n" for value in [*({"sent": text} for text in sentences), *more]))
    return sentences


@pytest.mark.slow
def test_one_request(gateway, capsys):
    assert call(capsys, '{"sent": "x"}') == (0, ["{"], "")
    assert call(capsys, "--sent", "x", "--tmpl", "command")[0] == 0
    assert json.loads(gateway.container.seen[-1][2]) == {"sent": "x", "tmpl": "command"}
    assert call(capsys, "{}") == (1, [], "The model answered 400: sent: is required\n") and gateway.calls == 3


@pytest.mark.parametrize(
    "refused",
    [
        (429, "ThrottlingException", "Rate exceeded"),
        (429, "ModelNotReadyException", "not ready"),
        (503, "ServiceUnavailable", "later"),
        (500, "InternalFailure", "oops"),
        (530, "InternalDependencyException", "oops"),
    ],
)
@pytest.mark.slow
def test_what_passes_is_asked_again(gateway, capsys, pauses, refused):
    gateway.refusals += [refused] * 3
    assert call(capsys, '{"sent": "x"}')[0] == 0 and gateway.calls == 4
    assert pauses == [1, 2, 4]


def test_pauses_end(gateway, capsys, pauses):
    gateway.refusals += [(429, "ThrottlingException", "Rate exceeded")] * 20
    status, out, err = call(capsys, '{"sent": "x"}')
    assert (status, out) == (1, []) and "Rate exceeded" in err and gateway.calls == runtime.ATTEMPTS
    assert pauses == [1, 2, 4, 8, 16, 20, 20]


def test_what_is_the_callers_fault_is_asked_once(gateway, capsys, pauses):
    status, _, err = call(capsys, "--endpoint", "nowhere", '{"sent": "x"}')
    assert status == 1 and "Endpoint nowhere of account 123456789012 not found" in err and gateway.calls == 1 and not pauses


def test_a_file_in_order_with_calls_side_by_side(gateway, capsys, tmp_path):
    sentences = write(tmp_path / "in.jsonl", 23)
    status, answers, err = call(capsys, "--file", tmp_path / "in.jsonl", "--chunk", 2, "--concurrency", 4)
    assert (status, answers, gateway.calls) == (0, sentences, 12) and err == "23 answered, 0 refused\n"


def test_errors_stand_in_their_place(gateway, capsys, tmp_path, pauses):
    sentences = write(tmp_path / "in.jsonl", 5, {"sent": ""}, POISON, {"sent": "after"})
    status, answers, err = call(capsys, "--file", tmp_path / "in.jsonl")
    assert status == 1 and answers[:5] == sentences and answers[7] == "after" and "8 answered, 2 refused" in err
    assert answers[5]["error"]["code"] == 400
    assert answers[6]["error"] == {"code": 500, "type": "Unanswered", "message": "The model answered 500: Worker died.", "field": None}


@pytest.mark.slow
def test_what_is_too_large_is_halved(gateway, capsys, tmp_path, pauses):
    sentences = write(tmp_path / "in.jsonl", 16)
    assert call(capsys, "--endpoint", "small", "--file", tmp_path / "in.jsonl", "--chunk", 16)[:2] == (0, sentences)
    assert gateway.calls == 3 and not pauses  # 16 lines, then 8 and 8


@pytest.mark.slow
def test_a_dead_endpoint_is_given_up_and_taken_up_again(gateway, capsys, tmp_path, pauses, monkeypatch):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    sentences = write(source, 20)
    sound, count = gateway.container.answer, itertools.count()
    gateway.container.answer = lambda *asked: sound(*asked) if next(count) < 3 else (503, JSON, b'{"message": "no workers"}')
    arguments = ("--file", source, "--output", output, "--chunk", 4)
    status, out, err = call(capsys, *arguments)
    assert status == 1 and out == [] and "3 requests in a row got no answer: The model answered 503: no workers" in err
    assert len(output.read_text().splitlines()) == 15
    gateway.container.answer = sound
    output.write_text(output.read_text() + '"half a li')
    gateway.container.seen.clear()
    status, _, err = call(capsys, *arguments)
    assert status == 0 and f"going on after 12 answers in {output}" in err and "8 answered" in err
    assert [json.loads(line) for line in output.read_text().splitlines()] == sentences
    assert len(gateway.container.seen) == 2
    assert call(capsys, *arguments)[0] == 0 and len(gateway.container.seen) == 2


def test_an_output_of_something_else(gateway, capsys, tmp_path):
    write(tmp_path / "in.jsonl", 2)
    (tmp_path / "out").write_text("not JSON\n")
    assert "is no output of this command" in call(capsys, "--file", tmp_path / "in.jsonl", "--output", tmp_path / "out")[2]
    (tmp_path / "out").write_text('"a"\n' * 3)
    assert (
        "has 3 answers already, and there are 2 requests" in call(capsys, "--file", tmp_path / "in.jsonl", "--output", tmp_path / "out")[2]
    )
    assert (tmp_path / "out").read_text() == '"a"\n' * 3


def test_standard_input(gateway, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"sent": "a"}\n{"sent": "b"}\n'))
    assert call(capsys, "-")[:2] == (0, ["a", "b"])


def test_without_region_or_credentials(gateway, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert call(capsys, "{}")[2] == "No AWS region is set; give --region, for example us-east-1, or set AWS_REGION.\n"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert call(capsys, "{}", "--region", "eu-west-1")[2].startswith("There are no AWS credentials here;")
    assert gateway.calls == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--async", "{}"],
        ["--region", "x", "{}"],
        ["--output", "x", "{}"],
        ["--concurrency", "0", "-"],
        ["--url", "http://x", "--endpoint", "y", "{}"],
    ],
)
def test_impossible_arguments(arguments):
    with pytest.raises(SystemExit) as caught:
        invoke.main(arguments)
    assert caught.value.code == 2


class Queue:
    """What an asynchronous endpoint does with what is put into S3: answers it after a while, or says why not."""

    def __init__(self, s3, after: int):
        self.s3, self.after, self.pending, self.lock = s3, after, [], threading.Lock()

    def invoke_endpoint_async(self, EndpointName, InputLocation, **_):
        bucket, key = s3.split_uri(InputLocation)
        asked = self.s3.get_object(Bucket=bucket, Key=key)
        status, _, answer = answering("", {"content-type": asked["ContentType"]}, asked["Body"].read())
        name = key.rpartition("/")[2]
        good, bad = f"s3://{bucket}/synpg-async/output/{name}.out", f"s3://{bucket}/synpg-async/output/failed/{name}"
        text = f'Received server error ({status}) from primary with message "{answer.decode()}".'
        self.pending = [self.after, *((good, answer) if status == 200 else (bad, text.encode()))]
        return {"OutputLocation": good, "FailureLocation": bad}

    def sleep(self, seconds: float) -> None:
        if self.pending:
            self.pending[0] -= 1
            if self.pending[0] == 0:
                bucket, key = s3.split_uri(self.pending[1])
                self.s3.put_object(Bucket=bucket, Key=key, Body=self.pending[2])


@pytest.fixture
def queue(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
        s3.create_bucket(Bucket="models")
        variant = {"VariantName": "main", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.xlarge"}
        sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/r")
        asynchronous = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://models/synpg-async/output/"}}}
        for name, more in ("there", asynchronous), ("plain", {}):
            sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **more)
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        yield Queue(s3, after=3)


@pytest.mark.slow
def test_asynchronous(queue, capsys, monkeypatch):
    made = runtime.AsyncEndpoint(Session(), "there")
    made.runtime, made.sleep = queue, queue.sleep
    assert made.send(b'{"sent": "a"}\n{"sent": "b"}', LINES) == '"a"\n"b"'
    [key] = [item["Key"] for item in queue.s3.list_objects_v2(Bucket="models", Prefix="synpg-async/input/")["Contents"]]
    with pytest.raises(runtime.Unanswered, match="The model answered 400"):
        made.send(b"{}", "application/json")
    with pytest.raises(runtime.Unanswered, match="answered 500"):
        made.send(json.dumps(POISON).encode(), LINES, attempts=2)
    assert made.retried == 1
    made.timeout = 0.0
    with pytest.raises(runtime.Unanswered, match="No answer came to s3://models/synpg-async/output/"):
        made.send(b'{"sent": "a"}', LINES)
    assert invoke.main(["--endpoint", "plain", "--async", "{}"]) == 1
    assert "The endpoint plain is not asynchronous; leave --async out." in capsys.readouterr().err
    assert invoke.main(["--endpoint", "none", "--async", "{}"]) == 1
    assert "DescribeEndpoint was refused: Could not find endpoint" in capsys.readouterr().err
