"""Put the model behind a SageMaker endpoint, or run it over a file. Run again to change it: the old one serves until the new one does.

    python -m scripts.deploy serverless                                     billed by the request
    python -m scripts.deploy realtime --instance-type ml.g5.xlarge --max-instances 3 --alarms
    python -m scripts.deploy async --max-instances 2                        scales to zero
    python -m scripts.deploy batch --input requests.jsonl --save answers.jsonl
    python -m scripts.deploy serverless --dry-run                           the calls, as JSON; needs no account
    python -m scripts.deploy policy                                         what the one who deploys must be allowed

The image is taken from ECR by its digest (`scripts.push_image`), the model is uploaded (`scripts.build_archive --format tgz`).
`scripts.delete` removes everything. Standard output is one JSON object, standard error says what happens.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

from scripts.aws import policies
from scripts.aws.command import carry_out, guarded, name_option, names_for, open_session, parser
from scripts.aws.errors import AwsError
from scripts.aws.found import look, objections
from scripts.aws.names import ENDPOINTS, MODES, REPOSITORY, ROOT, UNKNOWN
from scripts.aws.serving import plan
from scripts.aws.session import Session
from scripts.aws.settings import BELONGS, OPTIONS, Settings, settings

MODEL = ROOT / "model_store" / "synpg.tar.gz"
HELP = {  # field of Settings -> help; its option, type and default are taken from there
    "memory": "MB, 1024 to 6144 in steps of 1024; the CPU grows with it",
    "concurrency": "requests at once, up to 200",
    "provisioned": "containers kept warm, billed while they are",
    "max_provisioned": "autoscale the warm ones up to this many",
    "instance": "a GPU one (ml.g5.xlarge) takes the GPU image and the inference AMI that CUDA 13 needs",
    "count": "to begin with",
    "min_count": "autoscale down to; async: 0, and 0 is the default there",
    "max_count": "autoscale up to",
    "target": "what autoscaling holds: invocations a minute or requests at once on an instance, waiting requests on one (async), "
              "share of the warm ones in use (serverless)",
    "scale_on": "invocations or concurrency",
    "startup_timeout": "seconds until the container must be ready",
    "download_timeout": "seconds for the model from S3",
    "per_instance": "requests at once on one instance",
    "success_topic": "SNS topic told of each answer",
    "error_topic": "SNS topic told of each failure",
    "alarms": "CloudWatch alarms on server errors and slow answers",
    "alarm_topic": "SNS topic that they tell",
    "latency_alarm": "seconds that the slowest of a hundred answers may take",
    "input": "JSON Lines: a file here, or s3://BUCKET/KEY-OR-PREFIX",
    "strategy": "SingleRecord, a line a request, or MultiRecord, as many as fit --payload",
    "payload": "MB a request",
    "transforms": "requests at once to one instance, times --payload at most 100; default: the container says",
    "timeout": "seconds a request may take",
}
GROUPS = {"serverless": ("memory", "concurrency", "provisioned", "max_provisioned"),
          "instances (realtime, async, batch)": ("instance", "count"),
          "endpoints on instances (realtime, async)": ("min_count", "max_count", "scale_on", "startup_timeout", "download_timeout"),
          "endpoints (serverless, realtime, async)": ("target", "alarms", "alarm_topic", "latency_alarm"),
          "async": ("per_instance", "success_topic", "error_topic"),
          "batch": ("input", "strategy", "payload", "transforms", "timeout")}


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def arguments() -> argparse.ArgumentParser:
    made = parser("deploy", __doc__)
    made.add_argument("mode", choices=(*MODES, "policy"), help="how to serve; policy prints the deployer's IAM policy")
    name_option(made)
    made.add_argument("--model", type=Path, default=MODEL, help="model.tar.gz for S3 (model_store/synpg.tar.gz)")
    made.add_argument("--image", default="", help=f"REPOSITORY:TAG or REPOSITORY@DIGEST in ECR ({REPOSITORY}, this version's)")
    made.add_argument("--bucket", default="", help="for the model and results; default: sagemaker-REGION-ACCOUNT, made if missing")
    made.add_argument("--role", default="", help="ARN of an execution role of yours; default: one is made, with the least it needs")
    made.add_argument("--env", dest="environment", type=pair, action="append", metavar="KEY=VALUE", help="environment of the container")
    made.add_argument("--tag", dest="tags", type=pair, action="append", metavar="KEY=VALUE", help="on everything that is made")
    for title, fields in GROUPS.items():
        group = made.add_argument_group(title)
        for name in fields:
            default = Settings.__dataclass_fields__[name].default
            flag = OPTIONS.get(name, "--" + name.replace("_", "-"))
            if default is False:
                group.add_argument(flag, dest=name, action="store_true", default=None, help=HELP[name])
            else:
                shown = f" ({default})" if default not in ("", 0) else ""
                group.add_argument(flag, dest=name, type=type(default), help=HELP[name] + shown)
            if name == "input":
                group.add_argument("--save", type=Path, help="write the answers to this file when the job is done")
    return made


def main(argv: list[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    return guarded(lambda: deploy(options))


def deploy(options) -> int:
    if options.mode == "policy":
        return print_policy(options)
    given = {name: value for name in BELONGS if (value := getattr(options, name)) is not None}
    given |= {name: dict(values) for name in ("environment", "tags") if (values := getattr(options, name))}
    wanted = settings(options.mode, given)
    check(options, wanted)
    started = time.monotonic()
    session = open_session(options)
    names = names_for(session, options.name, options.mode)
    names = replace(names, account=session.account_if_any() if options.dry_run else session.account())
    found = look(session, names, options.model, wanted.image_tag, options.bucket, image=options.image, role_given=bool(options.role))
    for line in objections(found.image, serverless=wanted.mode == "serverless"):
        print(line, file=sys.stderr)
    made = plan(found, wanted, options.model, time.strftime("%Y%m%d-%H%M%S", time.gmtime()), options.role, options.save)
    return carry_out(made.steps, made.result, found.missing, session, options.dry_run,
                     lambda answers: {"account": names.account, "seconds": round(time.monotonic() - started, 1)} | next_step(wanted, names))


def next_step(wanted: Settings, names) -> dict[str, str]:
    """How an endpoint is asked."""
    if wanted.mode not in ENDPOINTS:
        return {}
    where = f"--endpoint {names.deployment} --region {names.region}{' --async' if wanted.mode == 'async' else ''}"
    return {"ask": f"python -m scripts.invoke {where} --sent 'it rains .' --tmpl statement"}


def check(options, wanted: Settings) -> None:
    """What can be wrong with the options without asking AWS."""
    if options.role and not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+", options.role):
        raise AwsError("--role must be the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME.")
    if options.bucket and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", options.bucket):
        raise AwsError(f"--bucket {options.bucket} is not a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens.")
    if wanted.input and not wanted.input.startswith("s3://") and not Path(wanted.input).is_file():
        raise AwsError(f"--input {wanted.input} is no file here, and no s3:// address.")
    if options.save and (wanted.mode != "batch" or wanted.input.startswith("s3://")):
        raise AwsError("--save is for batch over a file from here; the answers to s3:// input stay in S3.")


def print_policy(options) -> int:
    """The IAM policy of the one who deploys, with the account and region filled in where they are known."""
    session = Session(options.region, options.profile)
    account = session.account_if_any() if session.region else UNKNOWN
    region, partition = (session.region, session.partition()) if session.region else ("${region}", "aws")
    print(json.dumps(policies.deployer(options.name, region, account, partition, options.bucket), indent=2))
    if account == UNKNOWN or not session.region:
        print("Replace what stands in ${…}: there is no region set here, or there are no credentials to ask with.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
