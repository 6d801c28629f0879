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
from scripts.serving.diagnosis import ServerError
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
