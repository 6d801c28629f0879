"""The container when something breaks: no caller waits forever, and the log gives the reason."""

import json
import subprocess
import time

import pytest

from tests.container.engine.conftest import Running, docker, unpack
from tests.container.engine.load import Load


@pytest.mark.parametrize("keep", [False, True], ids=["a connection each", "kept connections"])
def test_sigterm_under_load_loses_no_accepted_request(image, model, keep):
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        with Load(running, keep=keep) as load:
            time.sleep(3)
            before, began = sum(load.got.values()), time.monotonic()
            docker("stop", "--time", "30", running.name)
            took = time.monotonic() - began
        print(load, f"stopped in {took:.1f} s")
        assert before and set(load.got) <= {200, "not accepted"} and not load.wrong, load
        assert running.state()["ExitCode"] == 0 and took < 28
        assert "every request was answered" in running.log()


def test_a_killed_worker_costs_nobody_the_answer(image, model):
    with Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_ready()
        seen = []
        with Load(running) as load:
            for _ in range(2):
                time.sleep(2)
                running.run(f"import os; os.kill({running.workers()[0]}, 9)")
                began = time.monotonic()
                while time.monotonic() - began < 60:
                    seen.append(running.ping())
                    if seen[-1] == 200 and 503 in seen:
                        break
                    time.sleep(0.05)
                print(f"healed after {time.monotonic() - began:.1f} s")
                assert 503 in seen and seen[-1] == 200
                seen.clear()
        print(load)
        assert set(load.got) == {200} and not load.wrong, load
        assert load.slowest < 60 and running.state()["Running"]


def cut(folder):
    weights = folder / "artifact" / "paraphraser.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def foreign(folder):
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    manifest["model"]["handler"] = "other.py"
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))


def other_sizes(folder):
    config = json.loads((folder / "artifact" / "config.json").read_text())
    config["paraphraser"]["vocab_size"] += 1
    (folder / "artifact" / "config.json").write_text(json.dumps(config))


def no_manifest(folder):
    (folder / "MAR-INF" / "MANIFEST.json").unlink()


@pytest.mark.parametrize(
    "spoil, said",
    [
        (cut, "paraphraser.safetensors"),
        (foreign, "No module named 'other'"),
        (other_sizes, "config.json"),
        (no_manifest, "it has no MAR-INF/MANIFEST.json"),
    ],
)
def test_a_model_that_cannot_be_served_ends_the_container(image, tmp_path, spoil, said):
    spoil(unpack(tmp_path / "model"))
    with Running(image, tmp_path / "model", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        assert running.wait_ended() == 1
        error = running.log(errors=True)
        assert error.count("\n") == 1 and said in error, error


def test_a_disk_that_is_full_from_the_start_ends_the_container(image, model):
    with Running(image, model, tmp="/tmp:size=4k", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        assert running.wait_ended() == 1
        error = running.log(errors=True)
        assert error.count("\n") == 1 and "No space left on device" in error, error


def test_too_little_memory_is_said(image, model):
    with Running(image, model, memory="160m", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        assert running.wait_ended(120) in (1, 137)
        assert running.state()["OOMKilled"] or "memory" in running.log(errors=True)


@pytest.mark.parametrize(
    "env, said",
    [
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "many"}, "SAGEMAKER_MODEL_SERVER_WORKERS must be a whole number from 1 to 256, not 'many'.\n"),
        (
            {"SYNPG_DEVICE": "gpu"},
            "This image is for GPUs and there is none here: no NVIDIA driver was found; choose a GPU instance, or the CPU image.\n",
        ),
    ],
)
def test_what_cannot_be_meant_ends_the_container(image, env, said):
    with Running(image, **env) as running:
        assert running.wait_ended(20) == 1 and running.log(errors=True) == said


def test_other_commands_are_refused(image):
    done = subprocess.run(["docker", "run", "--rm", image, "train"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "This container understands `serve` and nothing else, not 'train'.\n")
