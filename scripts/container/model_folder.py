"""What TorchServe is started with: a folder with the model and its effective settings, and a configuration.

The model is read-only and may bring settings of its own (`model-config.yaml`), which win over everything TorchServe is told
otherwise. So TorchServe is given a folder of links to the model's files with a `model-config.yaml` written here.
"""

import gzip
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from scripts.common.damage import DAMAGED, MALFORMED, reason
from scripts.container.environment import MB, Settings, SettingsError

MODEL = "synpg"  # its name in TorchServe
MANIFEST, CONFIG = Path("MAR-INF", "MANIFEST.json"), "model-config.yaml"
DEFAULT_MAX_BODY = 6291456  # bytes; what SageMaker passes on, and the handler reads
BATCH_ROWS = 1_000_000  # paraphrases of one body in a batch job: its time-out is the limit there
QUEUE = 1_000_000  # requests that TorchServe lets wait: more than ever come, for the front keeps the queue and answers when it is full
MAX_DEPTH = 32  # folders in folders of an archive; a model has two
# Settings that are whole numbers, with the least that each may be.
LEAST = {"batchSize": 1, "maxBatchDelay": 0, "startupTimeout": 1, "maxRetryTimeoutInSec": 0}
LEAST_OF_HANDLER = {"max_body_bytes": 1, "max_body_rows": 1, "max_rows": 1, "chunk_rows": 1, "threads": 0}
UNPACKED = {".mar": "a model archive", ".gz": "a tarball", ".tgz": "a tarball"}


def find_model(folder: Path, baked: Path, scratch: Path) -> Path:
    """The folder of the model to serve: `folder`, what is in it, or `baked` if it is empty. Raises SettingsError.

    An archive in `folder` is unpacked under `scratch`; anything else stays where it is.
    """
    try:
        entries = sorted(each for each in folder.iterdir() if not each.name.startswith(".") and each.name != "lost+found")
    except (FileNotFoundError, NotADirectoryError):
        entries = []
    except OSError as error:
        raise SettingsError(f"{folder} cannot be read: {os.strerror(error.errno or 0).lower()}.") from None
    if not entries:
        return baked
    archives = [each for each in entries if each.suffix in UNPACKED and each.is_file()]
    if not (folder / MANIFEST).is_file() and len(archives) == 1:
        folder = unpack(archives[0], scratch / "unpacked")
    inside = [each for each in folder.iterdir() if each.is_dir()]
    if not (folder / MANIFEST).is_file() and len(inside) == 1:
        folder = inside[0]
    if not (folder / MANIFEST).is_file():
        found = ", ".join(each.name for each in entries[:5]) + (", …" if len(entries) > 5 else "")
        raise SettingsError(
            f"{folder} is not a model that this container serves: it has no {MANIFEST}, but {found}; "
            "`python -m scripts.build_archive --format tgz` makes one."
        )
    return folder


def unpack(archive: Path, into: Path) -> Path:
    """`into`, filled with what is in a .mar or a tarball. Raises SettingsError."""
    into.mkdir(parents=True)
    try:
        (unpack_archive if archive.suffix == ".mar" else unpack_tarball)(archive, into)
    except DAMAGED as error:
        raise SettingsError(f"{archive} is not {UNPACKED[archive.suffix]}, or it is damaged: {reason(error)}.") from None
    except OSError as error:
        raise SettingsError(f"{archive} cannot be unpacked under {into}: {error.strerror or error}.") from None
    return into


def unpack_archive(archive: Path, into: Path) -> None:
    """Unpack a .mar. Every member is compared with its checksum."""
    with zipfile.ZipFile(archive) as stored:
        for member in stored.infolist():
            check_depth(archive, member.filename)
            stored.extract(member, into)  # leaves out drives, roots and `..`


def unpack_tarball(archive: Path, into: Path) -> None:
    """Unpack a gzipped tarball. It is read to its end, because the checksum is there."""
    with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as stored:
        for member in stored:
            check_depth(archive, member.name)
            place = (into / member.name).resolve()
            if not (member.isfile() or member.isdir()) or not place.is_relative_to(into.resolve()):
                raise SettingsError(f"{archive} has {member.name[:80]} in it, which is not a file or folder of its own.")
            stored.extract(member, into, set_attrs=False)
        plain.seek(stored.offset)
        if plain.read(tarfile.BLOCKSIZE).strip(b"\0"):  # where tarfile stops without a word
            raise tarfile.ReadError("something other than a file or folder follows in it")
        while plain.read(1 << 20):
            pass


def check_depth(archive: Path, name: str) -> None:
    """Raise SettingsError for a member that lies deeper in folders than a model's ever do."""
    if name.count("/") > MAX_DEPTH:
        raise SettingsError(f"{archive} has folders in it that are more than {MAX_DEPTH} deep.")


def model_config(folder: Path) -> dict:
    """The model's own `model-config.yaml`. Raises SettingsError."""
    try:
        found = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")) if (folder / CONFIG).is_file() else {}
    except (OSError, yaml.YAMLError, *MALFORMED) as error:
        raise SettingsError(f"{folder / CONFIG} cannot be read: {reason(error)}.") from None
    if not isinstance(found or {}, dict) or not isinstance((found or {}).get("handler", {}), dict):
        raise SettingsError(f"{folder / CONFIG} is not a list of settings.")
    check_numbers(folder / CONFIG, found or {})
    return found or {}


NO_LIMIT = 10**12


def check_numbers(file: Path, config: dict) -> None:
    """Raise SettingsError for a setting that must be a whole number and is none."""
    for place, section, least in ("", config, LEAST), ("handler.", config.get("handler", {}), LEAST_OF_HANDLER):
        for key, low in least.items():
            if key in section and (type(section[key]) is not int or section[key] < low):
                raise SettingsError(f"{file}: {place}{key} must be a whole number of at least {low}, not {str(section[key])[:80]!r}.")


def versions(workers: int) -> list[str]:
    """The versions of the model that TorchServe is given: one for each worker, so that each has a queue of its own (`workers.py`)."""
    return [str(number) for number in range(1, workers + 1)]


def budget(settings: Settings) -> dict:
    """The handler's settings that follow from the time-out.

    What the worker has not done some seconds before the front gives up gets an error in its place, so that what is done arrives. A body
    may be estimated to take half as long alone, since callers take turns.
    """
    deadline = max(1, settings.timeout - 8)
    found = {"deadline": deadline, "body_seconds": max(1, deadline // 2), "waiting_seconds": max(1, deadline * 4 // 5)}
    if settings.batch:  # a refusal would fail the whole file
        found |= {"long_bodies": NO_LIMIT, "waiting_seconds": NO_LIMIT, "held_bytes": NO_LIMIT}
    return found


def effective(config: dict, settings: Settings) -> dict:
    """The effective `model-config.yaml` of one worker: the model's own settings, overridden by the environment."""
    asked = {"batchSize": settings.batch_size, "maxBatchDelay": settings.max_batch_delay, "startupTimeout": settings.startup_timeout}
    handler = dict(config.get("handler", {}))
    if settings.max_body is not None:
        handler["max_body_bytes"] = settings.max_body
    handler |= budget(settings)
    if settings.batch:
        handler["max_body_rows"] = max(BATCH_ROWS, handler.get("max_body_rows", 0))
    config = {**config, **{key: value for key, value in asked.items() if value is not None}}
    if config.get("maxBatchDelay") == 0:  # TorchServe takes 0 for not set and waits 100 ms
        config["maxBatchDelay"] = 1
    return {
        **config,
        # `deviceType` is the image's affair: a worker is told its GPU by TorchServe, which counts those it is told of
        "minWorkers": 1,
        "maxWorkers": 1,
        "deviceType": settings.device,
        "responseTimeout": settings.response_timeout,
        "jobQueueSize": QUEUE,
        "handler": handler,
    }


def link_model(model: Path, store: Path, config: dict, version: str) -> None:
    """Fill `store` with links to the model's files, a `model-config.yaml` and a manifest that names it and the version."""
    try:
        manifest = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
        manifest["model"] |= {"configFile": CONFIG, "modelVersion": version}
    except (OSError, *MALFORMED) as error:
        raise SettingsError(f"{model / MANIFEST} is not a manifest: {reason(error)}.") from None
    store.mkdir(parents=True)
    for entry in model.iterdir():
        if entry.name not in (CONFIG, MANIFEST.parts[0]):
            (store / entry.name).symlink_to(entry)
    (store / MANIFEST).parent.mkdir()
    (store / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (store / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")


def properties(text: str, changes: Mapping[str, str | None]) -> str:
    """The text of config.properties with other values; None removes a line."""
    for key, value in changes.items():
        line = re.compile(rf"^{key}=.*\n?", re.M)
        text = line.sub("", text)
        if value is not None:
            text = text.rstrip("\n") + f"\n{key}={value}\n"
    return text


def server_changes(
    settings: Settings, ports: Mapping[str, int], folder: Path, metrics: Path, max_body: int, heap_mb: int, gpus: int, workers: int
) -> dict[str, str | None]:
    """The values of config.properties that are different in the container."""
    inference = f"http://127.0.0.1:{ports['inference']}"
    changes: dict[str, str | None] = {
        "inference_address": inference,
        "management_address": f"http://127.0.0.1:{ports['management']}",
        "metrics_address": f"http://127.0.0.1:{ports['metrics']}",
        "enable_metrics_api": "true",
        "grpc_inference_port": str(ports["grpc_inference"]),
        "grpc_management_port": str(ports["grpc_management"]),
        "metrics_mode": "prometheus",
        "metrics_config": str(metrics),
        "model_store": str(folder),
        "load_models": ",".join(f"{MODEL}={version}" for version in versions(workers)),
        "enable_envvars_config": "true",
        "number_of_gpu": str(gpus),
        "job_queue_size": str(QUEUE),
        # the front refuses what is too large, in JSON
        "max_request_size": str(max_body + MB),
        "max_response_size": str(max(64 * MB, 2 * max_body)),
        "vmargs": f"-Xmx{heap_mb}m -Xss512k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError "
        f"-XX:-UsePerfData {settings.vmargs or ''}".strip(),
    }
    if settings.multi_model:  # the management API on the inference port, as SageMaker calls it
        changes |= {
            "management_address": inference,
            "load_models": None,
            "model_store": "/",
            "enable_model_api": "true",
            "default_workers_per_model": "1",  # each with a queue of its own, as with one model (`workers.py`)
            "default_service_handler": "synpg_handler.py",
            "default_response_timeout": str(settings.response_timeout),
            "models": None,
        }
    return changes
