"""Who answers the page: a server here, one that is started, an endpoint. And the same from a shell."""

import contextlib
import json
import shlex
import shutil
import subprocess

import pytest

from scripts import build_archive
from scripts.client.invoke import InvokeError
from scripts.playground import page, service
from tests.gateway import Container, Endpoint, Gateway

REQUEST = {"sent": "Tom’s dog can't sing; “why?” $(rm -rf x) `y`", "tmpl": "statement", "temperature": 0, "details": True}


@pytest.fixture
def gateway(synpg, monkeypatch):
    with Gateway({"synpg": Endpoint(synpg), "gone": Endpoint("http://127.0.0.1:9")}) as running:
        for name, value in {
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": running.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("scripts.aws.runtime.Endpoint.sleep", staticmethod(lambda seconds: None))
        yield running


def test_torchserve_answers(server):
    asked = service.local(server.url)
    assert service.is_synpg(asked)
    [answer] = page.paraphrased(asked, {"sent": "The dog slept.", "tmpl": "yes_no_question", "temperature": 0})["answers"]
    assert answer["after"][-1]["text"].endswith("?")
    with pytest.raises(service.Refused, match="sent: is empty"):
        asked.ask({"sent": ""})


def test_an_endpoint_answers_and_refuses_like_a_server(gateway):
    asked = service.endpoint("synpg")
    assert asked.name == "endpoint synpg" and len(asked.examples()) == 10
    with pytest.raises(service.Refused) as caught:
        asked.ask({"sent": ""})
    assert (caught.value.field, caught.value.message) == ("sent", "is empty")


def test_an_endpoint_that_cannot_be_asked_is_one_sentence(gateway, monkeypatch):
    with pytest.raises(InvokeError, match=r"^InvokeEndpoint was refused: Endpoint other of account \d+ not found\.$"):
        service.endpoint("other").examples()
    gateway.refusals = [(403, "UnrecognizedClientException", "The security token included in the request is invalid.")]
    with pytest.raises(InvokeError, match="^AWS does not accept these credentials; "):
        service.endpoint("synpg").examples()
    with pytest.raises(InvokeError, match="^The model did not answer: "):
        service.endpoint("gone").examples()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(InvokeError, match="^No AWS region is set; "):
        service.endpoint("synpg")


def test_a_server_that_is_none_is_one_sentence():
    with pytest.raises(InvokeError, match="^Nothing answers at 127.0.0.1:9; "):
        service.local("http://127.0.0.1:9").examples()
    with pytest.raises(InvokeError, match="^ftp://x is not an http address.$"):
        service.local("ftp://x")
    with Container(lambda *_: (200, {}, b'"hello"')) as other:
        with pytest.raises(InvokeError, match="answers is no paraphrase; is it a SynPG server"):
            service.local(other.url).examples()
    with Container(lambda *_: (404, {}, b"no such page")) as other:
        assert not service.is_synpg(service.local(other.url))


def test_the_server_that_runs_is_used(synpg, monkeypatch, tmp_path):
    monkeypatch.setattr(service, "URL", f"{synpg}/invocations")
    with contextlib.ExitStack() as stack:
        found = service.found_or_started(stack, pytest.fail, tmp_path)
    assert found.name == f"server {synpg.removeprefix('http://')}" and len(found.examples()) == 10
    monkeypatch.setattr(service, "running", lambda state: {"url": "http://127.0.0.1:9"})
    with contextlib.ExitStack() as stack:
        assert service.found_or_started(stack, pytest.fail, tmp_path).name == "server 127.0.0.1:9"


def test_one_is_started_where_none_runs_and_stopped_again(synpg, monkeypatch, tmp_path):
    made = []

    class Started:
        url = synpg

        def __init__(self, archive, state, port):
            made.append((archive.name, port))

        def start(self):
            made.append("start")
            return self

        def stop(self):
            made.append("stop")

    monkeypatch.setattr(service, "URL", "http://127.0.0.1:9/invocations")
    monkeypatch.setattr(service, "Server", Started)
    monkeypatch.setattr(build_archive, "build", lambda artifact, output, kind, if_changed: made.append((artifact.name, kind, if_changed)))
    said = []
    with contextlib.ExitStack() as stack:
        assert service.is_synpg(service.found_or_started(stack, said.append, tmp_path))
        assert made == [("demo", "mar", True), ("synpg.mar", 0), "start"]
    assert made[-1] == "stop"
    assert said == ["No server runs here; one is started, which takes some seconds.", "Stopping the server that was started."]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_command_for_a_shell_asks_the_same(synpg):
    asked = service.local(synpg)
    command = asked.shell(json.dumps(REQUEST, ensure_ascii=False))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {**asked.ask(REQUEST), "seed": json.loads(done.stdout)["seed"]}


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_command_for_an_endpoint_is_signed_and_asks_the_same(gateway):
    asked = service.endpoint("synpg")
    command = asked.shell(json.dumps(REQUEST, ensure_ascii=False))
    host = "https://runtime.sagemaker.us-east-1.amazonaws.com"
    assert host in command and "secret" not in command and "token" not in command
    calls = gateway.calls
    done = subprocess.run(["bash", "-c", command.replace(host, gateway.url)], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["paraphrase"] == asked.ask(REQUEST)["paraphrase"] and gateway.calls == calls + 2


def test_addresses_and_names_are_quoted():
    assert shlex.split(service.curl("http://h/a b", "{}"))[2] == "http://h/a b"
    command = service.signed_curl("a/b'", "cn-north-1", "{}")
    assert "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn/endpoints/a%2Fb%27/invocations" in command
