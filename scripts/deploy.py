"""Put the model behind a SageMaker endpoint, or run it over a file. Run again to change it; the old one serves until then.

    python -m scripts.deploy serverless                                     billed by the request
    python -m scripts.deploy realtime --instance-type ml.g5.xlarge --max-instances 3 --alarms
    python -m scripts.deploy async --max-instances 2                        scales to zero
    python -m scripts.deploy batch --input requests.jsonl --save answers.jsonl
    python -m scripts.deploy serverless --dry-run                           the calls, as JSON; needs no account
    python -m scripts.deploy policy                                         the IAM policy that deploying needs

The image is taken from ECR by its digest (`scripts.push_image`), the model is uploaded (`scripts.build_archive --format tgz`).
`scripts.delete` removes everything. Standard output is one JSON object, standard error says what happens.
"""

import argparse
import sys
from pathlib import Path

from scripts.aws.command import access, name_option, parser, run
from scripts.aws.deployment import Order, deploy, print_policy
from scripts.aws.names import MODES, REPOSITORY
from scripts.aws.settings import BELONGS, Settings, option, settings
from scripts.common.paths import TARBALL

HELP = {  # field of Settings -> help; its option, type and default are taken from there
    "memory": "MB, 1024 to 6144 in steps of 1024; the CPU grows with it",
    "concurrency": "concurrent requests, up to 200",
    "provisioned": "containers kept warm; each is billed while it exists",
    "max_provisioned": "autoscale up to this many warm containers",
    "instance": "instance type; one with GPUs (ml.g5.xlarge) gets the GPU image and the inference AMI that CUDA 13 needs",
    "count": "number of instances at the start",
    "min_count": "autoscale down to this many; async allows 0, which is its default",
    "max_count": "autoscale up to this many",
    "target": "target of autoscaling: invocations a minute or concurrent requests for each instance, waiting requests for each "
    "instance (async), share of the warm containers in use (serverless)",
    "scale_on": "what to scale on, invocations or concurrency",
    "startup_timeout": "seconds until the container must be ready",
    "download_timeout": "seconds until the model must be downloaded from S3",
    "per_instance": "concurrent requests on one instance",
    "success_topic": "SNS topic that is notified of each answer",
    "error_topic": "SNS topic that is notified of each failure",
    "alarms": "CloudWatch alarms on server errors and slow answers",
    "alarm_topic": "SNS topic that the alarms notify",
    "latency_alarm": "seconds that the slowest of a hundred answers may take",
    "input": "JSON Lines: a file here, or s3://BUCKET/KEY-OR-PREFIX",
    "strategy": "SingleRecord: one line in a request; MultiRecord: as many lines as fit into --payload",
    "payload": "largest request, in MB",
    "transforms": "concurrent requests to one instance, at most 100 / --payload; default: the container's own",
    "timeout": "seconds a request may take",
}
GROUPS = {
    "serverless": ("memory", "concurrency", "provisioned", "max_provisioned"),
    "instances (realtime, async, batch)": ("instance", "count"),
    "endpoints on instances (realtime, async)": ("min_count", "max_count", "scale_on", "startup_timeout", "download_timeout"),
    "endpoints (serverless, realtime, async)": ("target", "alarms", "alarm_topic", "latency_alarm"),
    "async": ("per_instance", "success_topic", "error_topic"),
    "batch": ("input", "strategy", "payload", "transforms", "timeout"),
}


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def arguments() -> argparse.ArgumentParser:
    made = parser("deploy", __doc__)
    made.add_argument("mode", choices=(*MODES, "policy"), help="how to serve; policy prints the IAM policy that deploying needs")
    name_option(made)
    made.add_argument("--model", type=Path, default=TARBALL, help="model.tar.gz for S3 (model_store/synpg.tar.gz)")
    made.add_argument("--image", default="", help=f"REPOSITORY:TAG or REPOSITORY@DIGEST in ECR ({REPOSITORY}, this version's)")
    made.add_argument("--bucket", default="", help="for the model and results; default: sagemaker-REGION-ACCOUNT, made if missing")
    made.add_argument("--role", default="", help="ARN of an execution role of yours; default: one is made, with the least it needs")
    made.add_argument("--env", dest="environment", type=pair, action="append", metavar="KEY=VALUE", help="environment of the container")
    made.add_argument("--tag", dest="tags", type=pair, action="append", metavar="KEY=VALUE", help="on everything that is made")
    for title, fields in GROUPS.items():
        group = made.add_argument_group(title)
        for name in fields:
            default = Settings.__dataclass_fields__[name].default
            flag = option(name)
            if default is False:
                group.add_argument(flag, dest=name, action="store_true", default=None, help=HELP[name])
            else:
                shown = f" ({default})" if default not in ("", 0) else ""
                group.add_argument(flag, dest=name, type=type(default), help=HELP[name] + shown)
            if name == "input":
                group.add_argument("--save", type=Path, help="write the answers to this file when the job is done")
    return made


def given(options: argparse.Namespace) -> dict:
    """The fields of Settings that the command line has."""
    fields = {name: value for name in BELONGS if (value := getattr(options, name)) is not None}
    return fields | {name: dict(values) for name in ("environment", "tags") if (values := getattr(options, name))}


def main(argv: list[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    if options.mode == "policy":
        return run(lambda: print_policy(access(options), options.name, options.bucket))
    order = Order(options.name, options.model, options.image, options.bucket, options.role, options.save)
    return run(lambda: deploy(access(options), order, settings(options.mode, given(options))))


if __name__ == "__main__":
    sys.exit(main())
