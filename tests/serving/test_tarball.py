"""The tarball for SageMaker: its files in /opt/ml/model, and its `code/inference.py` as AWS's containers run it."""

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from handler import __version__, sagemaker_toolkit
from handler.scheduling import Scheduler
from handler.wire.response import ATTRIBUTES
from scripts.build_archive import main
from scripts.common.paths import DEMO
from scripts.serving import archive
from scripts.serving.archive import ArchiveError, build_tarball, check_tarball, members
from scripts.serving.java import find_java
from scripts.serving.server import free_ports
from tests.factories import PICNIC, RAIN, body, tiny_artifact

# Run where only the unpacked tarball can be imported, by AWS's way: `code/` is on the path, the model's folder is not.
FOUR_FUNCTIONS = """
import code, json, pdb, sys
import inference
model = inference.model_fn(sys.argv[1])
answers = [inference.output_fn(inference.predict_fn(inference.input_fn(text, kind), model), "application/json")
           for text, kind in json.loads(sys.argv[2])]
print(json.dumps([answers, [module.__file__ for name, module in sys.modules.items()
                            if name.split(".")[0] in ("inference", "handler", "scripts", "tests")]]))
"""
STOCK_PROPERTIES = """\
vmargs=-XX:-UseContainerSupport
enable_envvars_config=true
decode_input_request=false
load_models=ALL
disable_token_authorization=true
enable_model_api=true
"""  # of AWS's PyTorch containers
JSON, LINES = "application/json", "application/jsonlines"


@pytest.fixture(scope="module")
def tarball(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tarball")
    build_tarball(tiny_artifact(folder / "artifact"), folder / "synpg.tar.gz")
    return folder / "synpg.tar.gz"


def unpack(tarball, folder):
    with tarfile.open(tarball) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python 3.11.3 and before do not have
        tar.extractall(folder)


@pytest.fixture()
def model_dir(tarball, tmp_path):
    """The tarball unpacked, read-only as SageMaker mounts it."""
    folder = tmp_path / "model"
    unpack(tarball, folder)
    for file in folder.rglob("*"):
        file.chmod(0o555 if file.is_dir() else 0o444)
    yield folder
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


def test_members_are_plain_files_at_the_top(tarball):
    with tarfile.open(tarball) as tar:
        entries = tar.getmembers()
        manifest = json.load(tar.extractfile("MAR-INF/MANIFEST.json"))
        pins = tar.extractfile("code/requirements.txt").read().decode()
    assert {(e.isreg(), e.mode, e.uid, e.gid, e.uname, e.gname, e.mtime) for e in entries} == {(True, 0o644, 0, 0, "", "", 0)}
    assert sorted(e.name for e in entries) == sorted(
        [*members(tarball.parent / "artifact"), "code/inference.py", "code/requirements.txt", "MAR-INF/MANIFEST.json"]
    )
    assert manifest["model"] == {
        "modelName": "synpg",
        "modelVersion": __version__,
        "handler": "synpg_handler.py",
        "configFile": "model-config.yaml",
    }
    assert re.fullmatch(r"onnxruntime==\S+\nsubword-nmt==\S+\nsafetensors==\S+\n", pins)
    assert all(line in archive.PINS.read_text() for line in pins.split())


def test_same_sources_make_the_same_bytes(tarball, tmp_path):
    copied = shutil.copytree(tarball.parent / "artifact", tmp_path / "elsewhere")
    for file in copied.iterdir():
        os.utime(file, (1, 1))
    build_tarball(copied, tmp_path / "out" / "another.tar.gz")
    assert (tmp_path / "out" / "another.tar.gz").read_bytes() == tarball.read_bytes()


@pytest.mark.slow
def test_the_shipped_model_fits_every_kind_of_endpoint(tmp_path, capsys):
    if not (DEMO / "manifest.json").is_file():
        pytest.skip("there is no model_store/demo")
    output = tmp_path / "synpg.tar.gz"
    arguments = ["--format", "tgz", "--output", str(output), "--if-changed"]
    assert main(arguments) == 0 and main(arguments) == 0
    built, kept = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf".*synpg\.tar\.gz built: version {re.escape(__version__)}, \d+ files, \d+\.\d MB", built)
    assert "is up to date" in kept
    assert output.stat().st_size < 100e6 and [file.name for file in tmp_path.iterdir()] == ["synpg.tar.gz"]


def test_failure_is_a_sentence_and_leaves_what_was_there(tmp_path, capsys):
    artifact, output = tiny_artifact(tmp_path / "artifact"), tmp_path / "out" / "synpg.tar.gz"
    output.parent.mkdir()
    output.write_bytes(b"the one before")
    (artifact / "vocab.json").write_text("[]")
    assert main(["--format", "tgz", "--artifact", str(artifact), "--output", str(output)]) == 1
    assert main(["--format", "tgz", "--output", "synpg.mar"]) == 1
    damaged, named = capsys.readouterr().err.splitlines()
    assert "vocab.json" in damaged and named == "synpg.mar must end in .tar.gz."
    assert output.read_bytes() == b"the one before" and list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(
    "case, sentence",
    [
        ("changed", "handler/errors.py differs"),
        ("missing", "not its sources' files: handler/errors.py"),
        ("link", "handler/errors.py is not one of its sources' plain files"),
        ("extra", "extra.txt is not one of"),
        ("twice", "duplicates"),
        ("cut", "is not a tarball"),
        ("noise", "is not a tarball"),
    ],
)
def test_check_finds_what_differs(tarball, tmp_path, case, sentence):
    other = tmp_path / "synpg.tar.gz"
    with tarfile.open(tarball) as good, tarfile.open(other, "w:gz") as bad:
        for entry in good:
            content = good.extractfile(entry)
            if entry.name == "handler/errors.py":
                if case == "missing":
                    continue
                if case == "link":
                    entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
                elif case == "changed":
                    content = SimpleNamespace(read=lambda size, content=content: content.read(size).upper())
                elif case == "twice":
                    bad.addfile(entry, good.extractfile(entry))
            bad.addfile(entry, content)
        if case == "extra":
            bad.addfile(tarfile.TarInfo("extra.txt"))
    if case in ("cut", "noise"):
        other.write_bytes(tarball.read_bytes()[:2000] if case == "cut" else b"noise")
    with pytest.raises(ArchiveError, match=sentence):
        check_tarball(other, tarball.parent / "artifact")


@pytest.mark.slow
def test_the_four_functions_from_the_tarball_alone(model_dir):
    requests = [
        [body({**RAIN, "temperature": 0}).decode(), JSON],
        [body({"sent": ""}).decode(), JSON],
        ["{", JSON],
        [body({**RAIN, "temperature": 0}).decode() + "\n{}", LINES],
    ]
    done = subprocess.run(
        [sys.executable, "-c", FOUR_FUNCTIONS, str(model_dir), json.dumps(requests)],
        capture_output=True,
        text=True,
        cwd=model_dir,
        env={**os.environ, "PYTHONPATH": str(model_dir / "code")},
    )
    assert done.returncode == 0, done.stderr
    answers, files = json.loads(done.stdout)
    assert all(file.startswith(str(model_dir)) for file in files), files
    (text, kind), empty, broken, (lines, lines_kind) = answers
    assert isinstance(json.loads(text), str) and (kind, lines_kind) == (JSON, LINES)
    assert json.loads(empty[0])["field"] == "sent" and json.loads(broken[0])["code"] == 400
    first, second = map(json.loads, lines.split("\n"))
    assert first == json.loads(text) and second["error"]["field"] == "sent"


class Context:
    """As much of the model server's context as the functions use."""

    def __init__(self, headers):
        self.headers, self.status, self.returned = headers, None, {}
        self.system_properties = {"gpu_id": None}

    def get_all_request_header(self, i):
        return self.headers

    def set_response_status(self, code, phrase, idx):
        self.status = code, phrase

    def set_response_header(self, idx, name, value):
        self.returned[name] = value


@pytest.fixture(scope="module")
def model(tarball):
    return sagemaker_toolkit.model_fn(tarball.parent, Context({}))


@pytest.mark.parametrize(
    "text, headers, status, kind",
    [
        (body(RAIN), {"Content-Type": JSON}, 200, JSON),
        (body(RAIN), {"Content-Type": LINES}, 200, LINES),
        (body(RAIN), {"Content-Type": LINES, "accept": JSON}, 200, JSON),
        (body({**RAIN, "tmpl": "nothing"}), {"Content-Type": JSON}, 400, JSON),
        (body(RAIN), {"Content-Type": JSON, "Accept": "text/csv"}, 406, JSON),
        (body(RAIN), {"Content-Type": "text/csv"}, 415, JSON),
        (b"x" * 6_300_000, {"Content-Type": JSON}, 413, JSON),
    ],
)
def test_status_and_headers_go_through_the_context(model, text, headers, status, kind):
    context = Context({"body": {"content-type": JSON}, **headers})
    asked = sagemaker_toolkit.input_fn(text, headers["Content-Type"], context)
    answer, answer_kind = sagemaker_toolkit.output_fn(sagemaker_toolkit.predict_fn(asked, model, context), JSON, context)
    assert context.status[0] == status and answer_kind == kind
    assert status == 200 or json.loads(answer)["code"] == status


def test_a_cut_answer_says_so_and_a_fault_quotes_nobody(model, caplog):
    context = Context({})
    cut = [{**RAIN, "tmpl": "two_clauses", "seed": seed, "temperature": 5} for seed in range(16)]
    sagemaker_toolkit.output_fn(
        sagemaker_toolkit.predict_fn(sagemaker_toolkit.input_fn(body(cut), JSON, context), model, context), JSON, context
    )
    assert re.fullmatch(r"truncated=\d+", context.returned[ATTRIBUTES])

    def respond(text, *headers):
        raise ValueError(text)

    broken = SimpleNamespace(respond=respond)
    with pytest.raises(RuntimeError, match="^internal error$") as caught:
        sagemaker_toolkit.predict_fn(sagemaker_toolkit.input_fn(body(RAIN), JSON), broken)
    assert caught.value.__suppress_context__ and "ValueError" in caplog.text and "raining" not in caplog.text


def call(text: bytes, scheduler: Scheduler) -> tuple[tuple[int, str], Any]:
    context = Context({"Content-Type": JSON})
    answer = sagemaker_toolkit.predict_fn(sagemaker_toolkit.input_fn(text, JSON, context), scheduler, context)
    value = json.loads(sagemaker_toolkit.output_fn(answer, JSON, context)[0])
    return context.status, value


@pytest.mark.parametrize(
    "environment, deadline, body_seconds",
    [
        ({}, 50, 25),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600"}, 3590, 1795),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600", "SAGEMAKER_TS_RESPONSE_TIMEOUT": "30"}, 20, 10),
        ({"SAGEMAKER_TS_RESPONSE_TIMEOUT": "5"}, 1, 1),
    ],
)
def test_the_budget_is_what_the_container_gives_a_request(tarball, monkeypatch, environment, deadline, body_seconds):
    for name in sagemaker_toolkit.TIMEOUTS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    given = sagemaker_toolkit.model_fn(tarball.parent).budget
    assert (given.deadline, given.body_seconds) == (deadline, body_seconds)


def test_a_body_that_would_take_too_long_is_told_the_estimate(model):
    slow = Scheduler(model.pipeline, model.limits, sagemaker_toolkit.budget({}))
    slow.rate = 0.1  # s a unit: a slow machine
    many = body([{**RAIN, "num_paraphrases": 64}] * 2)
    (status, _), value = call(many, slow)
    assert status == 413 and re.search(r"would take about \d+ seconds, at most 25 are allowed", value["message"])
    assert call(body(RAIN), slow)[0][0] == 200 and not slow.jobs


def test_what_is_not_done_by_the_deadline_gets_an_error_in_its_place(model):
    ticks = itertools.count(step=10)  # each look at the clock is 10 s later
    given = replace(sagemaker_toolkit.budget({}), short_cost=0, chunk_seconds=1e-9)  # a candidate a chunk
    (status, _), values = call(body([RAIN] * 9), Scheduler(model.pipeline, model.limits, given, lambda: next(ticks)))
    assert status == 200 and isinstance(values[0], str)
    assert values[-1]["error"]["code"] == 504 and "within 50 seconds" in values[-1]["error"]["message"]


def test_the_toolkits_transformer(model_dir, monkeypatch):
    """AWS's toolkit itself, its own request context included, over the unpacked tarball."""
    pytest.importorskip("sagemaker_inference", reason="pip install sagemaker-inference")
    from sagemaker_inference.transformer import Transformer
    from ts.context import Context as ServerContext
    from ts.context import RequestProcessor

    monkeypatch.syspath_prepend(str(model_dir / "code"))
    context = ServerContext("model", str(model_dir), {}, 1, None, "1.0")
    transformer = Transformer()

    def transform(text: bytes, **headers):
        context.request_processor = [RequestProcessor({name.replace("_", "-"): value for name, value in headers.items()})]
        [answer] = transformer.transform([{"body": bytearray(text)}], context)
        return context.get_response_status(0)[0], answer, context.get_response_content_type(0)

    try:
        status, answer, kind = transform(body({**RAIN, "temperature": 0}), Content_Type=JSON)
        assert (status, kind) == (200, JSON) and isinstance(json.loads(answer), str)
        assert transform(body({**RAIN, "temperature": 0}) + b"\n{}", Content_Type=LINES)[2] == LINES
        status, answer, kind = transform(b'{"sent": ""}', Content_Type=JSON)
        assert (status, kind) == (400, JSON) and json.loads(answer)["field"] == "sent"
        assert transform(b"{}", Content_Type=JSON, Accept="text/csv")[0] == 406
    finally:
        sys.modules.pop("inference", None)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("manifest", [True, False], ids=["our handler", "their toolkit"])
def test_a_server_set_up_as_in_awss_container(demo_tarball, tmp_path, manifest):
    """TorchServe prefers the manifest's handler to the configured one; without a manifest it is AWS's, and `code/inference.py`."""
    handler = "nowhere.py"
    if not manifest:
        handler = pytest.importorskip(
            "sagemaker_pytorch_serving_container.handler_service", reason="pip install sagemaker-pytorch-inference"
        ).__file__
    model_dir = tmp_path / "model"
    unpack(demo_tarball, model_dir)
    if not manifest:
        shutil.rmtree(model_dir / "MAR-INF")
    ports = free_ports(4)
    text = STOCK_PROPERTIES + (
        f"inference_address=http://127.0.0.1:{ports[0]}\nmanagement_address=http://127.0.0.1:{ports[0]}\n"
        f"metrics_address=http://127.0.0.1:{ports[1]}\ngrpc_inference_port={ports[2]}\ngrpc_management_port={ports[3]}\n"
        f"default_workers_per_model=1\ndefault_service_handler={handler}:handle\n"
    )
    (tmp_path / "ts.properties").write_text(text)
    (tmp_path / "store").mkdir()
    env = {
        **os.environ,
        "JAVA_HOME": str(find_java()),
        "PYTHONPATH": str(model_dir / "code"),
        "TEMP": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "LOG_LOCATION": str(tmp_path),
        "METRICS_LOCATION": str(tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "ts.model_server",
        "--start",
        "--foreground",
        "--ncs",
        "--ts-config",
        "ts.properties",
        "--model-store",
        "store",
        "--models",
        f"model={model_dir}",
    ]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True)

    def call(text: bytes) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=120)
        connection.request("POST", "/invocations", text, {"Content-Type": JSON})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    try:
        deadline = time.monotonic() + 120
        while "WORKER_MODEL_LOADED" not in (tmp_path / "log").read_text():
            assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.2)
        greedy = body({**PICNIC, "temperature": 0})
        expected, _ = sagemaker_toolkit.output_fn(
            sagemaker_toolkit.predict_fn(sagemaker_toolkit.input_fn(greedy, JSON), sagemaker_toolkit.model_fn(model_dir)), JSON
        )
        assert call(greedy) == (200, expected)
        status, answer = call(b'{"sent": ""}')
        assert status == 400 and json.loads(answer)["field"] == "sent"
        # What tells them apart: JSON that is not UTF-8 never gets as far as `input_fn`.
        assert call(b'{"sent": "\xff"}')[0] == (400 if manifest else 500)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def demo_tarball(tmp_path_factory):
    if not (DEMO / "manifest.json").is_file():
        pytest.skip("there is no model_store/demo")
    output = tmp_path_factory.mktemp("demo-tarball") / "synpg.tar.gz"
    build_tarball(DEMO, output)
    return output
