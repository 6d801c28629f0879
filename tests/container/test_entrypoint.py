"""The container's entry point without a container: GPUs, ports, the log, one complete run."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scripts.container import entrypoint
from scripts.container.environment import SettingsError, read_environment
from scripts.serving.server import ROOT, call, free_ports
from tests import waiting
from tests.factories import RAIN, body


def test_batch_jobs_are_told_how_to_call():
    assert entrypoint.parameters(read_environment({}), 1, 8) == {
        "MaxConcurrentTransforms": 16,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 6,
    }
    asked = read_environment({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "50", "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD"})
    assert entrypoint.parameters(asked, 4, 8) == {"MaxConcurrentTransforms": 2, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 50}


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
    chosen = entrypoint.choose_ports(read_environment({"SAGEMAKER_SAFE_PORT_RANGE": "8079-8090"}))
    assert len(set(chosen.values())) == 5 and set(chosen.values()) <= set(range(8079, 8091)) - {8080}
    with pytest.raises(SettingsError, match="must have 5 ports"):
        entrypoint.choose_ports(read_environment({"SAGEMAKER_SAFE_PORT_RANGE": "8079-8083"}))


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
