"""The container's entry point without a container: settings from the environment, the model folder, one complete run."""

import ctypes
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import psutil
import pytest
import yaml

from scripts.container import entrypoint, environment, machine, model_folder
from scripts.container.environment import MB, SettingsError, read_environment
from scripts.container.model_folder import effective, find_model, link_model, properties
from scripts.serving import archive
from scripts.serving.server import ROOT, call, free_ports
from tests import waiting
from tests.factories import RAIN, body, tiny_artifact

CONFIG = yaml.safe_load(archive.SETTINGS.read_text())


def settings_of(**env):
    return read_environment(env)


@pytest.mark.parametrize(
    "env, name, value",
    [
        ({}, "port", 8080),
        ({"SAGEMAKER_BIND_TO_PORT": "9000"}, "port", 9000),
        ({}, "workers", None),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, "workers", 3),
        ({"SAGEMAKER_TS_MIN_WORKERS": "2", "SAGEMAKER_TS_MAX_WORKERS": "4"}, "workers", 2),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3", "TS_DEFAULT_WORKERS_PER_MODEL": "5"}, "workers", 5),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": " "}, "workers", None),
        ({}, "timeout", 58),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "20"}, "timeout", 20),
        ({"SAGEMAKER_BATCH": "True"}, "timeout", 3600),
        ({"SAGEMAKER_TS_RESPONSE_TIMEOUT": "900"}, "timeout", 900),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "20"}, "response_timeout", 30),
        ({"SAGEMAKER_BATCH": "true"}, "batch", True),
        ({"SAGEMAKER_BATCH": "false"}, "batch", False),
        ({}, "multi_model", False),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, "multi_model", True),
        ({"SAGEMAKER_TS_BATCH_SIZE": "4"}, "batch_size", 4),
        ({"SAGEMAKER_TS_MAX_BATCH_DELAY": "0"}, "max_batch_delay", 0),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "25"}, "max_body", 25 * MB),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, "max_body", 100 * MB),
        ({"SAGEMAKER_BATCH_STRATEGY": "MultiRecord"}, "strategy", "MULTI_RECORD"),
        ({"SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD"}, "strategy", "SINGLE_RECORD"),
        ({"SAGEMAKER_CONTAINER_LOG_LEVEL": "35"}, "level", 30),
        ({"SAGEMAKER_CONTAINER_LOG_LEVEL": "0"}, "level", 10),
        ({}, "level", 20),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9010"}, "ports", (9000, 9010)),
        ({"SAGEMAKER_REGION": "eu-west-1"}, "ignored", ()),
        ({"TS_JOB_QUEUE_SIZE": "7"}, "queue", 7),
        ({"TS_ENABLE_MODEL_API": "true"}, "ignored", ("TS_ENABLE_MODEL_API",)),
        ({"SYNPG_DEVICE": "gpu"}, "device", "gpu"),
    ],
)
def test_the_environment_is_read(env, name, value):
    assert getattr(read_environment(env), name) == value


@pytest.mark.parametrize(
    "env, said",
    [
        ({"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT must be a whole number from 1 to 65535, not 'http'."),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "0"}, "SAGEMAKER_MODEL_SERVER_WORKERS must be a whole number from 1 to 256, not '0'."),
        ({"TS_DEFAULT_RESPONSE_TIMEOUT": "-1"}, "TS_DEFAULT_RESPONSE_TIMEOUT must be a whole number from 1 to 86400, not '-1'."),
        ({"SAGEMAKER_BATCH": "maybe"}, "SAGEMAKER_BATCH must be true or false, not 'maybe'."),
        ({"SAGEMAKER_BATCH_STRATEGY": "All"}, "SAGEMAKER_BATCH_STRATEGY must be SINGLE_RECORD or MULTI_RECORD, not 'All'."),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "9-1"}, "SAGEMAKER_SAFE_PORT_RANGE must be two ports, FIRST-LAST, not '9-1'."),
        (
            {"SAGEMAKER_TS_MIN_WORKERS": "3", "SAGEMAKER_TS_MAX_WORKERS": "2"},
            "SAGEMAKER_TS_MIN_WORKERS is 3, more than SAGEMAKER_TS_MAX_WORKERS, which is 2.",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(env, said):
    with pytest.raises(SettingsError, match=f"^{re.escape(said)}$"):
        read_environment(env)


def test_the_readme_has_the_table_of_variables():
    text = (ROOT / "scripts" / "container" / "README.md").read_text(encoding="utf-8")
    assert f"\n{environment.table()}\n" in text, "print(scripts.container.environment.table()) writes it"
    names = [variable.name for variable in environment.VARIABLES]
    assert len(set(names)) == len(names) and not any(environment.OWNED.match(name) for name in names if name != "TS_JOB_QUEUE_SIZE")


@pytest.mark.parametrize(
    "cores, memory, gpus, workers",
    [(4, 8 << 30, 0, 4), (0.6, 1 << 30, 0, 1), (2, 1 << 30, 0, 1), (8, 3 << 30, 0, 5), (48, 64 << 30, 4, 4), (2, None, 0, 2)],
)
def test_workers_follow_cores_and_memory(cores, memory, gpus, workers):
    assert environment.default_workers(cores, memory, gpus) == workers


def test_this_machine_has_cores_and_memory():
    assert machine.cores() > 0 and machine.memory() > MB and machine.memory_kills() >= 0
    assert environment.heap(1 << 30) == 128 and environment.heap(16 << 30) == 512


def test_only_the_front_has_a_full_queue():
    settings = settings_of(TS_JOB_QUEUE_SIZE="100000")
    config = effective(CONFIG, settings)
    ports = dict.fromkeys(entrypoint.PORTS, 1)
    asked = model_folder.server_changes(settings, ports, Path("/store"), Path("/metrics"), MB, 128, 0, 256)
    assert config["jobQueueSize"] == int(asked["job_queue_size"]) > 2 * (100_000 + 8 * 256)  # a request may be sent twice


def test_no_delay_is_the_shortest_that_torchserve_has():
    """It takes 0 for not set, and a lone request would wait 100 ms."""
    assert effective(CONFIG, settings_of(SAGEMAKER_TS_MAX_BATCH_DELAY="0"))["maxBatchDelay"] == 1
    assert effective({**CONFIG, "maxBatchDelay": 0}, settings_of())["maxBatchDelay"] == 1
    assert effective(CONFIG, settings_of(SAGEMAKER_TS_MAX_BATCH_DELAY="7"))["maxBatchDelay"] == 7


def test_the_models_own_settings_yield_to_the_environment():
    kept = effective(CONFIG, settings_of(SAGEMAKER_MODEL_SERVER_WORKERS="2"))
    assert (kept["batchSize"], kept["minWorkers"], kept["maxWorkers"], kept["responseTimeout"]) == (CONFIG["batchSize"], 1, 1, 68)
    # the front waits 58 s: before that, what the worker has not done gets an error in its place
    assert (
        kept["handler"] == {**CONFIG["handler"], "deadline": 50, "body_seconds": 25, "waiting_seconds": 40} and kept["deviceType"] == "cpu"
    )
    changed = effective(
        CONFIG,
        settings_of(SAGEMAKER_TS_BATCH_SIZE="1", SAGEMAKER_BATCH="true", SAGEMAKER_MAX_PAYLOAD_IN_MB="100", SAGEMAKER_STARTUP_TIMEOUT="30"),
    )
    assert (changed["batchSize"], changed["startupTimeout"], changed["responseTimeout"]) == (1, 30, 3610)
    assert changed["continuousBatching"] and kept["continuousBatching"]  # several workers are several versions, each with one worker
    assert (changed["handler"]["deadline"], changed["handler"]["body_seconds"]) == (3592, 1796)
    assert {changed["handler"][name] for name in ("long_bodies", "waiting_seconds", "held_bytes")} == {model_folder.NO_LIMIT}
    assert changed["handler"]["max_body_bytes"] == 100 * MB and changed["handler"]["max_body_rows"] == model_folder.BATCH_ROWS


def test_properties_are_replaced_added_and_taken_out():
    text = properties("# comment\na=1\nb=2\n", {"a": "3", "b": None, "c": "4"})
    assert text == "# comment\na=3\nc=4\n"


def test_batch_jobs_are_told_how_to_call():
    assert entrypoint.parameters(settings_of(), 1, 8) == {
        "MaxConcurrentTransforms": 16,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 6,
    }
    asked = settings_of(SAGEMAKER_MAX_PAYLOAD_IN_MB="50", SAGEMAKER_BATCH_STRATEGY="MULTI_RECORD")
    assert entrypoint.parameters(asked, 4, 8) == {"MaxConcurrentTransforms": 2, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 50}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """/opt/ml with a tiny model, as SageMaker unpacks it."""
    base = tmp_path_factory.mktemp("ml")
    artifact = tiny_artifact(tmp_path_factory.mktemp("tiny") / "artifact")
    for name, source in archive.tarball_members(artifact).items():
        place = base / "model" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    return base


def packed(folder: Path, kind: str, source: Path) -> Path:
    """A folder with an archive of `source` in it."""
    folder.mkdir(parents=True)
    if kind == "mar":
        with zipfile.ZipFile(folder / "synpg.mar", "w") as archive:
            for file in source.rglob("*"):
                archive.write(file, file.relative_to(source))
    else:
        with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
            archive.add(source, "synpg" if kind == "tar with a folder" else ".")
    return folder


def test_a_model_is_found_however_it_lies_there(tmp_path, unpacked):
    model, baked = unpacked / "model", tmp_path / "baked"
    assert find_model(model, baked, tmp_path) == model
    (tmp_path / "empty" / "lost+found").mkdir(parents=True)
    assert find_model(tmp_path / "empty", baked, tmp_path) == find_model(tmp_path / "none", baked, tmp_path) == baked
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "synpg").symlink_to(model)
    assert find_model(tmp_path / "outer", baked, tmp_path) == tmp_path / "outer" / "synpg"
    for kind in "mar", "tar", "tar with a folder":
        found = find_model(packed(tmp_path / kind, kind, model), baked, tmp_path / f"scratch of {kind}")
        assert (found / "MAR-INF" / "MANIFEST.json").is_file() and (found / "artifact" / "config.json").is_file()


def test_what_is_no_model_is_one_sentence(tmp_path, unpacked):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.pth").write_bytes(b"x")
    with pytest.raises(
        SettingsError,
        match=r"^.*other is not a model that this container serves: it has no MAR-INF/MANIFEST\.json, but "
        r"model\.pth; .*\.$",
    ):
        find_model(tmp_path / "other", tmp_path, tmp_path)
    for kind, cut in ("mar", "synpg.mar"), ("tar", "model.tar.gz"):
        archive = packed(tmp_path / kind, kind, unpacked / "model") / cut
        archive.write_bytes(archive.read_bytes()[:-200])
        with pytest.raises(SettingsError, match=rf"^.*{cut} is not a .*, or it is damaged: .*\.$"):
            find_model(tmp_path / kind, tmp_path, tmp_path / f"scratch of {kind}")


@pytest.mark.parametrize("name, kind", [("../outside", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("/etc/outside", tarfile.REGTYPE)])
def test_a_tarball_stays_in_its_folder(tmp_path, name, kind):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "model.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(SettingsError, match="which is not a file or folder of its own"):
        find_model(tmp_path / "in", tmp_path, tmp_path / "scratch")
    assert not (tmp_path / "outside").exists()


def test_the_model_is_linked_and_its_settings_replaced(tmp_path, unpacked):
    link_model(unpacked / "model", tmp_path / "store" / "synpg", {"batchSize": 3}, "2")
    store = tmp_path / "store" / "synpg"
    assert (store / "artifact").is_symlink() and (store / "handler" / "pipeline.py").is_file()
    assert yaml.safe_load((store / "model-config.yaml").read_text()) == {"batchSize": 3}
    manifest = json.loads((store / "MAR-INF" / "MANIFEST.json").read_text())["model"]
    assert (manifest["configFile"], manifest["modelVersion"]) == ("model-config.yaml", "2")


def test_each_worker_is_a_version_of_the_model():
    ports = dict.fromkeys(entrypoint.PORTS, 1)
    changes = model_folder.server_changes(settings_of(), ports, Path("/store"), Path("/metrics"), MB, 128, 0, 3)
    assert changes["load_models"] == "synpg=1,synpg=2,synpg=3"


class Driver:
    """An NVIDIA driver, as far as it is asked."""

    def __init__(self, version, count, status=0):
        self.version, self.count, self.status = version, count, status

    def cuDriverGetVersion(self, pointer):
        pointer._obj.value = self.version

    def cuDeviceGetCount(self, pointer):
        pointer._obj.value = self.count
        return 0

    def cuInit(self, flags):
        return self.status


@pytest.mark.parametrize(
    "driver, said",
    [
        (None, "no NVIDIA driver was found"),
        (Driver(12040, 1), r"knows CUDA 12\.4, this image needs CUDA 13\.0; .*gpu-4-1\.$"),
        (Driver(13000, 0), r"none can be used \(CUDA error 0\)"),
        (Driver(13000, 1, 100), r"none can be used \(CUDA error 100\)"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_one_sentence(monkeypatch, driver, said):
    def load(name):
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(SettingsError, match=said):
        entrypoint.check_gpu("gpu", "13.0")


def test_gpus_are_counted_and_a_cpu_image_asks_for_none(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(13020, 4))
    assert entrypoint.check_gpu("gpu", "13.0") == 4 and entrypoint.check_gpu("cpu", None) == 0
    import torch

    assert entrypoint.torch_cuda() == torch.version.cuda


def test_inner_ports_come_from_the_range():
    chosen = entrypoint.choose_ports(settings_of(SAGEMAKER_SAFE_PORT_RANGE="8079-8090"))
    assert len(set(chosen.values())) == 5 and set(chosen.values()) <= set(range(8079, 8091)) - {8080}
    with pytest.raises(SettingsError, match="must have 5 ports"):
        entrypoint.choose_ports(settings_of(SAGEMAKER_SAFE_PORT_RANGE="8079-8083"))


def test_the_log_has_the_asked_level(capsys):
    log = entrypoint.Log(30)
    log.say("quiet")
    for line in ("2026-01-01T00:00:00 INFO  worker - a", " its second line", "2026-01-01T00:00:00 ERROR x - b", "\tat c"):
        log.server_line(line)
    log.say("loud", 40)
    out = capsys.readouterr().out
    assert re.fullmatch(r"2026-01-01T00:00:00 ERROR x - b\n\tat c\n\S+ ERROR container - loud\n", out)
    assert len(log.recent) == 4


@pytest.mark.parametrize(
    "arguments, env, said",
    [
        (["train"], {}, "This container understands `serve` and nothing else, not 'train'.\n"),
        ([], {}, "This container understands `serve` and nothing else, not 'no command'.\n"),
        (["serve"], {"SAGEMAKER_BATCH": "perhaps"}, "SAGEMAKER_BATCH must be true or false, not 'perhaps'.\n"),
    ],
)
def test_a_wrong_start_is_one_sentence(arguments, env, said, monkeypatch, capsys):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert entrypoint.main(arguments) == 1
    assert capsys.readouterr().err == said


def start(base: Path, **env: str) -> tuple[subprocess.Popen, int]:
    [port] = free_ports(1)
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_MODEL_SERVER_WORKERS": "1", **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.entrypoint", "serve"], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    return process, port


def test_a_server_that_ends_ends_the_container(tmp_path, unpacked):
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text(
        f'#!/bin/sh\ncase "$*" in *-version*) echo "    java.home = {tmp_path}" >&2\n'
        'echo "    java.specification.version = 17" >&2;; *) echo "Error: no memory for Java"; exit 3;; esac\n'
    )
    java.chmod(0o755)
    process, _ = start(unpacked, JAVA_HOME=str(tmp_path))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, "TorchServe ended by itself, with status 3: Error: no memory for Java.\n")


@pytest.mark.server
@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_ends_the_container(tmp_path, unpacked):
    subprocess.run(["cp", "-r", unpacked, tmp_path / "ml"], check=True)
    weights = next((tmp_path / "ml" / "model" / "artifact").glob("parse*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    process, _ = start(tmp_path / "ml")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count("\n") == 1, (out, err)
    assert err.startswith("The model could not be loaded: ") and weights.name in err


@pytest.mark.server
@pytest.mark.slow
def test_one_run(unpacked, tmp_path):
    """Not ready, ready, a worker killed, ready again, and the end: all with a real TorchServe."""
    process, port = start(unpacked, TMPDIR=str(tmp_path))

    def ping():
        try:
            return call(f"http://127.0.0.1:{port}/ping")[0]
        except OSError:
            return None

    def until(status, patience=60.0):
        seen, deadline = [], time.monotonic() + patience
        while not seen or seen[-1] != status:
            assert time.monotonic() < deadline and process.poll() is None, (seen, process.poll())
            seen.append(ping())
            time.sleep(0.05)
        return set(seen) - {status}

    try:
        assert until(200) <= {None, 503}
        url = f"http://127.0.0.1:{port}/invocations"
        assert call(url, body(RAIN))[0] == 200
        [worker] = [
            each for each in psutil.Process(process.pid).children(recursive=True) if "model_service_worker" in " ".join(each.cmdline())
        ]
        worker.kill()
        until(503, 2.0)
        assert call(url, body(RAIN))[0] == 200  # waits for the next worker
        assert until(200) <= {503}
        listening = {
            each.laddr.ip
            for child in psutil.Process(process.pid).children(recursive=True)
            for each in child.net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        }
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
        names = {
            "synpg_stage_seconds_sum",
            "synpg_rows",
            "synpg_tokens",
            "synpg_truncated_requests",
            "synpg_refused_requests",
            "ts_queue_latency_microseconds",
        }
        # the worker tells of its work a second later
        waiting.until(lambda: names <= set(re.findall(r"^(\w+){.*} [\d.]+$", call(f"http://127.0.0.1:{port}/metrics")[1], re.M)))
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (0, ""), out[-2000:]
    assert "raining" not in out and "POST /invocations 200" in out and not list(tmp_path.iterdir())
