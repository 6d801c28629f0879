"""The content of the image, and what it serves under which conditions."""

import json
import threading
import time

import pytest

from handler import __version__
from handler.wire.request import CATALOGUE
from tests import waiting
from tests.container.engine.conftest import Running, docker
from tests.factories import PICNIC, RAIN, body
from tests.gateway import Endpoint, Gateway, batch_transform

MB = 1 << 20
SHORT = body({"sent": "it rains .", "parse": "(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))", "temperature": 0})


def test_the_image_is_small_and_says_what_sagemaker_asks(image):
    told = json.loads(docker("image", "inspect", image))[0]
    assert told["Size"] < 1.0e9
    labels = told["Config"]["Labels"]
    for label in "accept-bind-to-port", "multi-models":
        assert labels[f"com.amazonaws.sagemaker.capabilities.{label}"] == "true"
    assert labels["org.opencontainers.image.version"] == __version__
    assert told["Config"]["Entrypoint"][0] != "/bin/sh" and told["Config"]["Cmd"] == ["serve"]
    assert told["Config"]["User"] in ("", "0", "root")


def test_nothing_but_what_it_needs_is_in_the_image(image):
    program = (
        "import os; print('\\n'.join(os.path.join(root, name) for top in ('/opt/synpg', '/tmp', '/root', '/home') "
        "for root, _, names in os.walk(top) for name in names))"
    )
    files = docker("run", "--rm", "--entrypoint", "python", image, "-c", program).splitlines()
    ours = {file.removeprefix("/opt/synpg/") for file in files if "__pycache__" not in file}
    assert {"scripts/container/entrypoint.py", "model/artifact/manifest.json", "model/MAR-INF/MANIFEST.json", "config.properties"} <= ours
    odd = [
        file
        for file in ours
        if file.startswith("/")
        and not file.startswith(("/root/.bashrc", "/root/.profile"))
        or "test" in file
        or ".git" in file
        or file.endswith(("train.py", "deploy.py", "build_archive.py"))
    ]
    assert not odd


def test_ping_says_200_when_the_model_answers_and_not_before(image, model):
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        answered = []

        def first_caller():
            while not answered:  # until the port is open; from then on it waits for the model
                try:
                    answered.append((running.call(data=SHORT)[0], time.monotonic()))
                except OSError:
                    time.sleep(0.02)

        caller = threading.Thread(target=first_caller)
        caller.start()
        seen, ready = running.wait_ready(), time.monotonic()
        began = time.monotonic()
        assert running.call(data=SHORT)[0] == 200 and time.monotonic() - began < 2
        caller.join()
        assert set(seen[:-1]) <= {None, 503} and 503 in seen
        assert answered[0][0] == 200 and ready - answered[0][1] < 3, "ping was late"
        print(f"first 200 of /ping {ready - running.began:.1f} s, first paraphrase {answered[0][1] - running.began:.1f} s after docker run")
        for _ in range(20):
            assert running.ping() == 200


def test_the_wire_contract_through_boto3(container):
    with Gateway({"synpg": Endpoint(container.url)}) as gateway:
        client = gateway.client()

        def invoke(data, content_type="application/json", **more):
            answer = client.invoke_endpoint(EndpointName="synpg", ContentType=content_type, Body=data, **more)
            return answer, answer["Body"].read()

        answer, text = invoke(body({**PICNIC, "temperature": 0}))
        assert answer["ContentType"] == "application/json" and "picnic" in json.loads(text)
        assert json.loads(text) == json.loads(container.call(data=body({**PICNIC, "temperature": 0}))[2])
        assert list(json.loads(invoke(body({"sent": PICNIC["sent"], "synt": PICNIC["synt"], "seed": 1}))[1])) == list(CATALOGUE)
        answer, text = invoke(SHORT + b"\n{", "application/jsonlines")
        lines = text.decode().split("\n")
        assert answer["ContentType"] == "application/jsonlines" and json.loads(lines[1])["error"]["code"] == 400
        for data, content_type, status in (
            (b"{", "application/json", 400),
            (b"x", "text/csv", 415),
            (b" " * 7 * MB, "application/json", 413),
        ):
            with pytest.raises(client.exceptions.ModelError) as caught:
                invoke(data, content_type)
            assert caught.value.response["OriginalStatusCode"] == status
            assert set(json.loads(caught.value.response["OriginalMessage"])) == {"code", "type", "message", "field"}


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/"),
        ("OPTIONS", "/"),
        ("GET", "/models"),
        ("GET", "/models/synpg"),
        ("PUT", "/models/synpg?min_worker=0"),
        ("POST", "/models?url=http://example.com/x.mar"),
        ("DELETE", "/models/synpg"),
        ("POST", "/predictions/synpg"),
        ("POST", "/models/synpg/invoke"),
        ("POST", "/explanations/synpg"),
        ("GET", "/api-description"),
    ],
)
def test_nothing_else_can_be_reached(container, method, path):
    assert container.call(path, b"" if method in ("PUT", "POST") else None, {}, method)[0] == 404
    assert container.ping() == 200


def test_one_port_is_open_to_the_outside(container):
    program = (
        "import psutil; print(sorted({(c.laddr.ip.removeprefix('::ffff:'), c.laddr.port) for c in psutil.net_connections('inet') "
        "if c.status == 'LISTEN'}))"
    )
    listening = container.run(program)
    assert "('0.0.0.0', 8080)" in listening and listening.count("0.0.0.0") == 1 and "'::'" not in listening


def test_metrics_and_log(container):
    assert container.call(data=body({"sent": "supercalifragilistic", "tmpl": "command"}))[0] == 200
    assert container.call(data=b'{"supercalifragilistic": 1}')[0] == 400
    names = (
        'synpg_stage_seconds_sum{Stage="text"',
        'synpg_tokens{Stage="parse"',
        "synpg_refused_requests{",
        "ts_queue_latency_microseconds{",
        "synpg_batches{",
    )

    def all_told() -> bool:
        metrics = container.call("/metrics")[2].decode()
        return all(name in metrics for name in names)

    waiting.until(all_told)  # the worker tells of its work a second later
    log = container.log()
    assert "POST /invocations 400 " in log and "supercalifragilistic" not in log


def test_an_empty_mount_serves_the_model_of_the_image(image, tmp_path):
    (tmp_path / "model").mkdir()
    with Running(
        image,
        tmp_path / "model",
        SAGEMAKER_MODEL_SERVER_WORKERS="1",
        SAGEMAKER_BIND_TO_PORT="9999",
        SAGEMAKER_SAFE_PORT_RANGE="9000-9050",
        SAGEMAKER_CONTAINER_LOG_LEVEL="40",
    ) as running:
        running.wait_ready()
        status, _, text = running.call(data=body({**PICNIC, "temperature": 0}))
        assert status == 200 and "picnic" in json.loads(text)
        assert running.log() == ""  # nothing went wrong


@pytest.mark.parametrize("memory", ["1g", "3g"])
def test_serverless_conditions(image, model, memory):
    with Running(image, model, memory=memory, cpus="1") as running:
        running.wait_ready()
        assert len(running.workers()) == 1
        with Gateway({"synpg": Endpoint(running.url, max_bytes=4 * MB)}) as gateway:
            answer = gateway.client().invoke_endpoint(EndpointName="synpg", ContentType="application/json", Body=body(PICNIC))
            assert json.loads(answer["Body"].read())
        blank = body({**RAIN, "seed": 1})
        assert running.call(data=blank[:-1] + b" " * (4 * MB - len(blank)) + blank[-1:])[0] == 200
        threads = [
            threading.Thread(target=running.call, kwargs={"data": body({"sent": PICNIC["sent"], "synt": PICNIC["synt"]})})
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert running.state()["Running"] and not running.state()["OOMKilled"] and running.ping() == 200
        print(memory, docker("stats", "--no-stream", "--format", "{{.MemUsage}}", running.name))


def test_batch_transform(image, model, tmp_path):
    with Running(image, model, SAGEMAKER_BATCH="True", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        assert json.loads(running.call("/execution-parameters")[2]) == {
            "MaxConcurrentTransforms": 16,
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": 6,
        }
        records = [SHORT, b'{"sent": ""}', body({**RAIN, "seed": 3})] * 6
        (tmp_path / "in.jsonl").write_bytes(b"\n".join(records) + b"\n")
        one = batch_transform(running.url, tmp_path / "in.jsonl", tmp_path, "application/jsonlines").read_bytes()
        many = batch_transform(
            running.url,
            tmp_path / "in.jsonl",
            tmp_path,
            "application/jsonlines",
            BatchStrategy="MultiRecord",
            MaxPayloadInMB=1,
            MaxConcurrentTransforms=1,
        ).read_bytes()
        assert one == many
        lines = [json.loads(line) for line in one.decode().splitlines()]
        assert len(lines) == len(records) and lines[1]["error"]["field"] == "sent" and lines[0] == lines[3] == "It rains."
        assert running.call(data=SHORT * 200_000, headers={"Content-Type": "application/jsonlines"})[0] == 413
