"""The settings of a deployment. Every combination that AWS would refuse later is refused here first."""

import re
from dataclasses import dataclass, field

from handler import __version__
from scripts.aws.errors import AwsError
from scripts.aws.names import ENDPOINTS, MODES

GPU_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"  # the one whose driver (580) runs CUDA 13, which torch is built for
MEMORY = range(1024, 6145, 1024)  # MB of a serverless endpoint
TRANSFORM_LIMIT = 100  # MB in flight to one instance of a transform job
ENVIRONMENT_LIMIT = 100


@dataclass(frozen=True)
class Settings:
    """One deployment. A field that does not belong to the mode stays as it is here."""

    mode: str
    # serverless
    memory: int = 3072  # MB; the CPU grows with it
    concurrency: int = 5  # requests at once; each has a container of its own
    provisioned: int = 0  # containers kept warm, and paid for while they are
    max_provisioned: int = 0  # 0: no autoscaling
    # instances
    instance: str = "ml.m5.xlarge"
    count: int = 1
    min_count: int = 1
    max_count: int = 0  # 0: no autoscaling
    target: float = 0.0  # per instance: invocations a minute, or requests at once, or requests waiting (async); 0: a default
    scale_on: str = "invocations"  # or "concurrency"
    startup_timeout: int = 600  # s until /ping must say 200
    download_timeout: int = 600  # s for the model from S3
    # async
    per_instance: int = 4  # requests at once on one instance
    success_topic: str = ""  # SNS
    error_topic: str = ""
    # alarms
    alarms: bool = False
    alarm_topic: str = ""
    latency_alarm: float = 10.0  # s, 99th percentile
    # batch
    input: str = ""  # s3://…, or a file here
    strategy: str = "SingleRecord"  # a line a request: one that asks for much cannot fail its neighbours
    payload: int = 1  # MB a request
    transforms: int = 0  # requests at once to one instance; 0: the container says how many suit it
    timeout: int = 600  # s a request of a job may take
    # every mode
    environment: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)

    @property
    def gpu(self) -> bool:
        return self.mode != "serverless" and bool(re.match(r"ml\.[gp]\d", self.instance))

    @property
    def image_tag(self) -> str:
        return f"{__version__}-{'gpu' if self.gpu else 'cpu'}"

    @property
    def scaled(self) -> bool:
        return bool(self.max_provisioned if self.mode == "serverless" else self.max_count)


# field -> the modes it means something in; the others have all
BELONGS = {
    **dict.fromkeys(("memory", "concurrency", "provisioned", "max_provisioned"), ("serverless",)),
    **dict.fromkeys(("instance", "count"), ("realtime", "async", "batch")),
    **dict.fromkeys(("min_count", "max_count", "startup_timeout", "download_timeout"), ("realtime", "async")),
    **dict.fromkeys(("target",), ENDPOINTS),
    **dict.fromkeys(("scale_on",), ("realtime",)),
    **dict.fromkeys(("per_instance", "success_topic", "error_topic"), ("async",)),
    **dict.fromkeys(("alarms", "alarm_topic", "latency_alarm"), ENDPOINTS),
    **dict.fromkeys(("input", "strategy", "payload", "transforms", "timeout"), ("batch",)),
}
OPTIONS = {
    "instance": "--instance-type",
    "count": "--instances",
    "min_count": "--min-instances",
    "max_count": "--max-instances",
    "per_instance": "--concurrency-per-instance",
    "environment": "--env",
    "tags": "--tag",
}


def option(name: str) -> str:
    """The option of the command that sets a field."""
    return OPTIONS.get(name, "--" + name.replace("_", "-"))


def settings(mode: str, given: dict) -> Settings:
    """Settings from the options that were given, checked."""
    for name in given:
        if mode not in BELONGS.get(name, MODES):
            raise AwsError(f"{option(name)} is for {' and '.join(BELONGS[name])}, not for {mode}.")
    if mode == "async" and given.get("min_count") is None and given.get("max_count"):
        given = {**given, "min_count": 0}
    made = Settings(mode, **given)
    verify(made)
    return made


def verify(s: Settings) -> None:
    """Raise AwsError, naming the option, unless AWS can be asked for this."""

    def between(name: str, low: float, high: float) -> None:
        if not low <= getattr(s, name) <= high:
            raise AwsError(f"{option(name)} must be from {low} to {high}, not {getattr(s, name)}.")

    if s.mode == "serverless":
        if s.memory not in MEMORY:
            raise AwsError(f"--memory must be one of {', '.join(map(str, MEMORY))} (MB), not {s.memory}.")
        between("concurrency", 1, 200)
        between("provisioned", 0, s.concurrency)
        if s.max_provisioned:
            if not s.provisioned:
                raise AwsError("--max-provisioned scales provisioned concurrency, and there is none; give --provisioned too.")
            between("max_provisioned", s.provisioned, s.concurrency)
    else:
        _instance(s)
        between("count", 1, 1000)
    if s.mode in ("realtime", "async"):
        between("startup_timeout", 60, 3600)
        between("download_timeout", 60, 3600)
        _range(s, between)
    if s.mode == "async":
        between("per_instance", 1, 1000)
    if s.mode == "batch":
        _transform(s, between)
    if s.target < 0 or (s.target and not s.scaled):
        raise AwsError("--target is for autoscaling and above 0; give --max-instances (or --max-provisioned) with it.")
    if s.scale_on not in ("invocations", "concurrency"):
        raise AwsError(f"--scale-on is invocations or concurrency, not {s.scale_on}.")
    if s.alarm_topic and not s.alarms:
        raise AwsError("--alarm-topic says where alarms go; give --alarms too.")
    for name in ("alarm_topic", "success_topic", "error_topic"):
        if getattr(s, name) and not re.fullmatch(r"arn:[\w-]+:sns:[\w-]+:\d{12}:[\w.-]+", getattr(s, name)):
            raise AwsError(f"{option(name)} must be the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME.")
    _environment(s)


def _instance(s: Settings) -> None:
    found = re.fullmatch(r"ml\.([a-z0-9-]+)\.[a-z0-9]+", s.instance)
    if not found:
        raise AwsError(f"--instance-type must look like ml.m5.xlarge, not {s.instance}.")
    family = found[1]
    if re.match(r"(inf|trn|dl)\d", family):
        raise AwsError(f"{s.instance} has an accelerator that torch on CPU or CUDA cannot use; take ml.m5.xlarge or ml.g5.xlarge.")
    if re.match(r"[a-z]+\d+g", family):
        raise AwsError(f"{s.instance} is an ARM machine and the image is built for x86-64; take ml.m5.xlarge or ml.c6i.xlarge.")
    if s.gpu and s.mode == "batch":
        raise AwsError(
            f"{s.instance}: GPU instances of batch transform have drivers too old for CUDA 13 (470 or 535); "
            "take a CPU instance, or an asynchronous endpoint."
        )
    if re.match(r"p[23]$", family):
        raise AwsError(f"{s.instance} has GPUs that CUDA 13 no longer supports; take ml.g4dn.xlarge or later.")


def _range(s: Settings, between) -> None:
    """The instances that autoscaling may take."""
    if not s.max_count:
        if s.min_count != 1:
            raise AwsError("--min-instances is for autoscaling; give --max-instances too.")
        return
    if s.mode == "realtime" and s.min_count == 0:
        raise AwsError(
            "A real-time endpoint of one model cannot scale to zero (only inference components can); take serverless, or async, which does."
        )
    between("min_count", 0, s.count)
    between("max_count", s.count, 1000)


def _transform(s: Settings, between) -> None:
    if not s.input:
        raise AwsError("--input says what to paraphrase: a file of JSON Lines here, or s3://BUCKET/KEY-OR-PREFIX.")
    if s.strategy not in ("MultiRecord", "SingleRecord"):
        raise AwsError(f"--strategy is MultiRecord or SingleRecord, not {s.strategy}.")
    between("payload", 1, TRANSFORM_LIMIT)
    between("transforms", 0, TRANSFORM_LIMIT)
    if s.payload * s.transforms > TRANSFORM_LIMIT:
        raise AwsError(f"--payload times --transforms may be {TRANSFORM_LIMIT} MB, not {s.payload * s.transforms}.")
    between("timeout", 1, 3600)


def _environment(s: Settings) -> None:
    if len(s.environment) > ENVIRONMENT_LIMIT:
        raise AwsError(f"--env may be given {ENVIRONMENT_LIMIT} times, not {len(s.environment)}.")
    for key, value in s.environment.items():
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,1023}", key) or len(value) > 1024:
            raise AwsError(f"--env {key}: a name has letters, digits and underscores; name and value have up to 1024 characters.")
    for key in s.tags:
        if key in ("project", "deployment", "version") or key.startswith("aws:"):
            raise AwsError(f"--tag {key}: this tag is set by the command itself.")
