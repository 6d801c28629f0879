"""Settings from the environment, and what they make of the model's and TorchServe's own."""

import re
from pathlib import Path

import pytest
import yaml

from scripts.container import entrypoint, environment, machine, model_folder
from scripts.container.environment import MB, SettingsError, read_environment
from scripts.container.model_folder import effective, properties
from scripts.serving import archive
from scripts.serving.server import ROOT

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


def test_each_worker_is_a_version_of_the_model():
    ports = dict.fromkeys(entrypoint.PORTS, 1)
    changes = model_folder.server_changes(settings_of(), ports, Path("/store"), Path("/metrics"), MB, 128, 0, 3)
    assert changes["load_models"] == "synpg=1,synpg=2,synpg=3"
