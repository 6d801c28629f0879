"""The container's environment variables to settings: SageMaker's, its PyTorch container's, and TorchServe's. Pure functions.

`VARIABLES` is the table of them, which `scripts/container/README.md` shows. A value that cannot be meant is an error. SageMaker sets
variables of its own, so an unknown `SAGEMAKER_*` is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.common.command import UserError

MB = 1 << 20
SERVER_MEMORY, WORKER_MEMORY = 450 * MB, 500 * MB  # what TorchServe with this entry point takes at most, and each worker; README.md
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "FATAL"}
STRATEGIES = "SINGLE_RECORD", "MULTI_RECORD"

# TorchServe's own variables that would change what the container is: they have no effect.
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
class Whole:
    """A whole number in a range."""

    low: int
    high: int

    def read(self, name: str, value: str) -> int:
        if not re.fullmatch(r"\d{1,12}", value) or not self.low <= int(value) <= self.high:
            raise SettingsError(f"{name} must be a whole number from {self.low} to {self.high}, not {value!r}.")
        return int(value)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Switch:
    """true or false."""

    def read(self, name: str, value: str) -> bool:
        if value.lower() not in ("true", "false", "1", "0"):  # SageMaker's local mode says "True"
            raise SettingsError(f"{name} must be true or false, not {value.lower()!r}.")
        return value.lower() in ("true", "1")

    def __str__(self) -> str:
        return "true, false"


@dataclass(frozen=True)
class Choice:
    """One of several words, in any case, with or without underscores."""

    among: tuple[str, ...]

    def read(self, name: str, value: str) -> str:
        found = {each.lower().replace("_", ""): each for each in self.among}.get(value.lower().replace("_", ""))
        if not found:
            raise SettingsError(f"{name} must be {' or '.join(self.among)}, not {value!r}.")
        return found

    def __str__(self) -> str:
        return ", ".join(self.among)


@dataclass(frozen=True)
class Ports:
    """The first and the last of a range of ports."""

    def read(self, name: str, value: str) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value)
        first, last = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 0 < first <= last <= 65535:
            raise SettingsError(f"{name} must be two ports, FIRST-LAST, not {value!r}.")
        return first, last

    def __str__(self) -> str:
        return "FIRST-LAST"


@dataclass(frozen=True)
class Text:
    """Any text that fits a pattern."""

    shown: str
    pattern: str = r"[\s\S]+"

    def read(self, name: str, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise SettingsError(f"{name} must be {self.shown}.")
        return value

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True)
class Variable:
    """One variable of the environment; `scripts/container/README.md` shows the table of them."""

    name: str
    kind: Whole | Switch | Choice | Ports | Text
    default: int | str | bool | None  # None: there is a value only where the variable is set
    meaning: str
    otherwise: str = ""  # what holds where there is no value, for the table
    alias: str = ""  # TorchServe's own name for it, which wins

    def read(self, env: Mapping[str, str]) -> Any:
        """The value in an environment; blank counts as not set. Raises SettingsError."""
        name = self.alias if self.alias and env.get(self.alias, "") != "" else self.name
        value = env.get(name, "").strip()
        return self.kind.read(name, value) if value else self.default

    def row(self) -> str:
        """The variable's row in the table."""
        value = str(self.default).lower() if isinstance(self.default, bool) else self.default
        default = self.otherwise or ("" if value is None else f"`{value}`")
        meaning = f"{self.meaning}; `{self.alias}` wins" if self.alias else self.meaning
        return f"| `{self.name}` | {self.kind} | {default} | {meaning} |"


VARIABLES = (
    Variable("SAGEMAKER_BIND_TO_PORT", Whole(1, 65535), 8080, "the port to listen on"),
    Variable("SAGEMAKER_SAFE_PORT_RANGE", Ports(), None, "the range of the five inner ports", "free ports"),
    Variable(
        "SAGEMAKER_MODEL_SERVER_WORKERS",
        Whole(1, 256),
        None,
        "worker processes; with several models each has one",
        "one for each GPU, or one for each core as far as memory allows (450 MB plus 500 MB each)",
        "TS_DEFAULT_WORKERS_PER_MODEL",
    ),
    Variable("SAGEMAKER_TS_MIN_WORKERS", Whole(1, 256), None, "also sets the number of workers, which is fixed; the lower one counts"),
    Variable("SAGEMAKER_TS_MAX_WORKERS", Whole(1, 256), None, "the same"),
    Variable(
        "SAGEMAKER_MODEL_SERVER_TIMEOUT",
        Whole(1, 3600),
        None,
        "seconds within which every request is answered; SageMaker itself waits 60",
        "58; batch: 3600",
    ),
    Variable(
        "SAGEMAKER_TS_RESPONSE_TIMEOUT",
        Whole(1, 86400),
        None,
        "seconds after which a busy worker is killed",
        "the above plus 10",
        "TS_DEFAULT_RESPONSE_TIMEOUT",
    ),
    Variable(
        "SAGEMAKER_STARTUP_TIMEOUT",
        Whole(1, 3600),
        None,
        "seconds for loading the model",
        "the model's, or 120",
        "TS_DEFAULT_STARTUP_TIMEOUT",
    ),
    Variable("SAGEMAKER_TS_BATCH_SIZE", Whole(1, 1024), None, "dynamic batching: requests that a worker has at once", "the model's: 12"),
    Variable(
        "SAGEMAKER_TS_MAX_BATCH_DELAY",
        Whole(0, 60000),
        None,
        "dynamic batching: milliseconds to wait for more requests; 0 counts as 1",
        "the model's: 1",
    ),
    Variable("TS_JOB_QUEUE_SIZE", Whole(1, 100000), 100, "requests that may wait"),
    Variable("SAGEMAKER_MAX_PAYLOAD_IN_MB", Whole(0, 100), None, "largest request body; 0 means 100", "6"),
    Variable("SAGEMAKER_BATCH", Switch(), False, "a batch transform job: no limit on the rows of a body, long time-outs"),
    Variable("SAGEMAKER_BATCH_STRATEGY", Choice(STRATEGIES), None, "reported by `/execution-parameters`", "SINGLE_RECORD"),
    Variable(
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", Whole(1, 10000), None, "reported by `/execution-parameters`", "two batches for each worker"
    ),
    Variable("SAGEMAKER_MULTI_MODEL", Switch(), False, "several models, loaded by SageMaker"),
    Variable("SAGEMAKER_CONTAINER_LOG_LEVEL", Whole(0, 50), 20, "10 debug, 20 info, 30 warning, 40 error, 50 fatal"),
    Variable(
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", Text("media types", r"[\x20-\x7e]+"), None, "the `Accept` header for requests without one"
    ),
    Variable("SAGEMAKER_MODEL_SERVER_VMARGS", Text("flags"), None, "more flags for Java"),
    Variable("SAGEMAKER_BASE_DIR", Text("a folder"), "/opt/ml", "the folder that contains `model/`"),
    Variable("SYNPG_ADDRESS", Text("an IP address", r"[0-9A-Fa-f.:]+"), "0.0.0.0", "the address to listen on"),
    Variable("SYNPG_DEVICE", Choice(("cpu", "gpu")), "cpu", "`cpu` lets a GPU image run without a GPU", "the image's"),
)


def table() -> str:
    """The variables as a table in Markdown."""
    return "\n".join(["| variable | values | default | meaning |", "|---|---|---|---|", *(variable.row() for variable in VARIABLES)])


@dataclass(frozen=True)
class Settings:
    """What the environment asks for. None: the model's own `model-config.yaml` decides."""

    port: int
    address: str  # to listen on
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
    values = {variable.name: variable.read(env) for variable in VARIABLES}
    low, high = values["SAGEMAKER_TS_MIN_WORKERS"], values["SAGEMAKER_TS_MAX_WORKERS"]
    if low and high and low > high:
        raise SettingsError(f"SAGEMAKER_TS_MIN_WORKERS is {low}, more than SAGEMAKER_TS_MAX_WORKERS, which is {high}.")
    batch, response_timeout = values["SAGEMAKER_BATCH"], values["SAGEMAKER_TS_RESPONSE_TIMEOUT"]
    # SageMaker itself gives up after 60 s, and its caller should hear from us before. In a batch job it gives up after what the job
    # says, which the container is not told and which is 3600 at most.
    timeout = values["SAGEMAKER_MODEL_SERVER_TIMEOUT"] or min(response_timeout or (3600 if batch else 58), 3600)
    payload = values["SAGEMAKER_MAX_PAYLOAD_IN_MB"]  # 0: no limit but ours
    return Settings(
        port=values["SAGEMAKER_BIND_TO_PORT"],
        address=values["SYNPG_ADDRESS"],
        base=Path(values["SAGEMAKER_BASE_DIR"]),
        device=values["SYNPG_DEVICE"],
        multi_model=values["SAGEMAKER_MULTI_MODEL"],
        batch=batch,
        workers=values["SAGEMAKER_MODEL_SERVER_WORKERS"] or low or high,
        batch_size=values["SAGEMAKER_TS_BATCH_SIZE"],
        max_batch_delay=values["SAGEMAKER_TS_MAX_BATCH_DELAY"],
        timeout=timeout,
        response_timeout=response_timeout or timeout + 10,
        startup_timeout=values["SAGEMAKER_STARTUP_TIMEOUT"],
        max_body=None if payload is None else (payload or 100) * MB,
        queue=values["TS_JOB_QUEUE_SIZE"],
        level=max(10, values["SAGEMAKER_CONTAINER_LOG_LEVEL"] // 10 * 10),
        default_accept=values["SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"],
        strategy=values["SAGEMAKER_BATCH_STRATEGY"],
        max_transforms=values["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"],
        vmargs=values["SAGEMAKER_MODEL_SERVER_VMARGS"],
        ports=values["SAGEMAKER_SAFE_PORT_RANGE"],
        ignored=tuple(sorted(name for name in env if OWNED.match(name) and name != "TS_JOB_QUEUE_SIZE")),
    )


def default_workers(cores: float, memory: int | None, gpus: int) -> int:
    """One worker for each GPU; without GPUs one for each core, as far as the memory allows."""
    if gpus:
        return gpus
    most = max(1, (memory - SERVER_MEMORY) // WORKER_MEMORY) if memory else 256
    return max(1, min(int(cores), most))


def heap(memory: int | None) -> int:
    """Java's heap in MB: an eighth of the memory, at least what TorchServe needs to pass requests on."""
    return max(128, min(512, (memory or 4096 * MB) // 8 // MB))
