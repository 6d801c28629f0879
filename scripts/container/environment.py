"""The container's environment variables to settings: SageMaker's, its PyTorch container's, and TorchServe's. Pure functions.

`scripts/container/README.md` lists them. A value that cannot be meant is an error; SageMaker sets variables of its own, so an
unknown `SAGEMAKER_*` is none.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.common.command import UserError

MB = 1 << 20
SERVER_MEMORY, WORKER_MEMORY = 450 * MB, 550 * MB  # what TorchServe with this entry point takes, and each worker of it
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "FATAL"}
STRATEGIES = "SINGLE_RECORD", "MULTI_RECORD"

# TorchServe's own variables that are settings here, and those that would change what the container is.
ALIASES = {
    "TS_DEFAULT_WORKERS_PER_MODEL": "SAGEMAKER_MODEL_SERVER_WORKERS",
    "TS_DEFAULT_RESPONSE_TIMEOUT": "SAGEMAKER_TS_RESPONSE_TIMEOUT",
    "TS_DEFAULT_STARTUP_TIMEOUT": "SAGEMAKER_STARTUP_TIMEOUT",
}
OWNED = re.compile(
    r"TS_(INFERENCE_ADDRESS|MANAGEMENT_ADDRESS|METRICS_ADDRESS|GRPC_\w+|MODEL_STORE|WORKFLOW_STORE|LOAD_MODELS"
    r"|DISABLE_TOKEN_AUTHORIZATION|ENABLE_MODEL_API|ENABLE_METRICS_API|METRICS_MODE|METRICS_CONFIG|CONFIG_FILE"
    r"|DECODE_INPUT_REQUEST|ALLOWED_URLS|OPEN_INFERENCE_PROTOCOL|KEYSTORE\w*|CERTIFICATE_FILE|PRIVATE_KEY_FILE"
    r"|MODEL_SERVER_HOME|NUMBER_OF_GPU|MAX_REQUEST_SIZE|MAX_RESPONSE_SIZE|JOB_QUEUE_SIZE"
    r"|DISABLE_SYSTEM_METRICS)$"
)


class SettingsError(UserError):
    """The container cannot run with what it was given; one sentence."""


@dataclass(frozen=True)
class Settings:
    """What the environment asks for. None: the model's own `model-config.yaml` decides."""

    port: int
    base: Path  # has `model/` in it
    device: str  # "cpu" or "gpu": what torch of this image is for
    multi_model: bool
    batch: bool  # a batch transform job
    workers: int | None
    batch_size: int | None
    max_batch_delay: int | None  # ms
    timeout: int  # s; every request is answered within
    response_timeout: int  # s; a worker that is busy with one batch for longer is killed
    startup_timeout: int | None  # s
    max_body: int | None  # bytes
    queue: int  # requests that may wait
    level: int  # 10 to 50, as Python's logging
    default_accept: str | None  # where a request says none
    strategy: str | None
    max_transforms: int | None
    vmargs: str | None
    ports: tuple[int, int] | None  # first and last that may be used inside
    ignored: tuple[str, ...] = ()  # variables that were set and have no effect


def read_environment(env: Mapping[str, str]) -> Settings:
    """Settings of an environment. Raises SettingsError."""
    aliased = {ALIASES[name]: name for name in env if name in ALIASES and env[name] != ""}  # TorchServe's names win

    def text(name: str) -> str | None:
        return env.get(name, "").strip() or None

    def whole(name: str, low: int, high: int) -> int | None:
        name = aliased.get(name, name)
        value = text(name)
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,12}", value) or not low <= int(value) <= high:
            raise SettingsError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
        return int(value)

    def switch(name: str) -> bool:
        value = (text(name) or "false").lower()  # SageMaker's local mode says "True"
        if value not in ("true", "false", "1", "0"):
            raise SettingsError(f"{name} must be true or false, not {value!r}.")
        return value in ("true", "1")

    def choice(name: str, among: tuple[str, ...]) -> str | None:
        value = text(name)
        found = {each.lower().replace("_", ""): each for each in among}.get((value or "").lower().replace("_", ""))
        if value and not found:
            raise SettingsError(f"{name} must be {' or '.join(among)}, not {value!r}.")
        return found

    batch = switch("SAGEMAKER_BATCH")
    timeout = whole("SAGEMAKER_MODEL_SERVER_TIMEOUT", 1, 3600)
    response_timeout = whole("SAGEMAKER_TS_RESPONSE_TIMEOUT", 1, 86400)
    # SageMaker itself gives up after 60 s, and its caller should hear from us before; in a batch job after what the job says,
    # which is not told and is 3600 at most.
    timeout = timeout or min(response_timeout or (3600 if batch else 58), 3600)
    workers = whole("SAGEMAKER_MODEL_SERVER_WORKERS", 1, 256)
    low, high = whole("SAGEMAKER_TS_MIN_WORKERS", 1, 256), whole("SAGEMAKER_TS_MAX_WORKERS", 1, 256)
    if low and high and low > high:
        raise SettingsError(f"SAGEMAKER_TS_MIN_WORKERS is {low}, more than SAGEMAKER_TS_MAX_WORKERS, which is {high}.")
    payload = whole("SAGEMAKER_MAX_PAYLOAD_IN_MB", 0, 100)  # 0: no limit but ours
    level = whole("SAGEMAKER_CONTAINER_LOG_LEVEL", 0, 50)
    ports = None
    if value := text("SAGEMAKER_SAFE_PORT_RANGE"):
        match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value)
        ports = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 0 < ports[0] <= ports[1] <= 65535:
            raise SettingsError(f"SAGEMAKER_SAFE_PORT_RANGE must be two ports, FIRST-LAST, not {value!r}.")
    accept = text("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT")
    if accept and not re.fullmatch(r"[\x20-\x7e]+", accept):
        raise SettingsError("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT must be media types.")
    return Settings(
        port=whole("SAGEMAKER_BIND_TO_PORT", 1, 65535) or 8080,
        base=Path(text("SAGEMAKER_BASE_DIR") or "/opt/ml"),
        device=choice("SYNPG_DEVICE", ("cpu", "gpu")) or "cpu",
        multi_model=switch("SAGEMAKER_MULTI_MODEL"),
        batch=batch,
        workers=workers or low or high,
        batch_size=whole("SAGEMAKER_TS_BATCH_SIZE", 1, 1024),
        max_batch_delay=whole("SAGEMAKER_TS_MAX_BATCH_DELAY", 0, 60000),
        timeout=timeout,
        response_timeout=response_timeout or timeout + 10,
        startup_timeout=whole("SAGEMAKER_STARTUP_TIMEOUT", 1, 3600),
        max_body=None if payload is None else (payload or 100) * MB,
        queue=whole("TS_JOB_QUEUE_SIZE", 1, 100000) or 100,
        level=20 if level is None else max(10, level // 10 * 10),
        default_accept=accept,
        strategy=choice("SAGEMAKER_BATCH_STRATEGY", STRATEGIES),
        max_transforms=whole("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", 1, 10000),
        vmargs=text("SAGEMAKER_MODEL_SERVER_VMARGS"),
        ports=ports,
        ignored=tuple(sorted(name for name in env if OWNED.match(name) and name != "TS_JOB_QUEUE_SIZE")),
    )


def default_workers(cores: float, memory: int | None, gpus: int) -> int:
    """One for each GPU; without, one for each core that is ours, as far as the memory goes."""
    if gpus:
        return gpus
    most = max(1, (memory - SERVER_MEMORY) // WORKER_MEMORY) if memory else 256
    return max(1, min(int(cores), most))


def heap(memory: int | None) -> int:
    """Java's heap in MB: what TorchServe needs to pass requests on, an eighth of the memory if that is more."""
    return max(128, min(512, (memory or 4096 * MB) // 8 // MB))


def cores() -> float:
    """Cores that this container may use."""
    usable = float(len(os.sched_getaffinity(0)))
    quota = _first_numbers("/sys/fs/cgroup/cpu.max") or [
        *_first_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
        *_first_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ]
    if len(quota) == 2 and quota[0] > 0:
        usable = min(usable, quota[0] / quota[1])
    return usable


def memory() -> int | None:
    """Bytes that this container may use."""
    limits = [
        value
        for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        for value in _first_numbers(name)
        if 0 < value < 1 << 50
    ]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([*limits, machine])


def memory_kills() -> int:
    """How many processes of this container were killed because its memory was full."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            if match := re.search(r"^oom_kill (\d+)", Path(name).read_text(), re.M):
                return int(match[1])
        except OSError:
            continue
    return 0


def _first_numbers(name: str) -> list[int]:
    """The numbers of a one-line file of the kernel's; none where there is no limit or no file."""
    try:
        words = Path(name).read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if all(re.fullmatch(r"-?\d+", word) for word in words) else []
