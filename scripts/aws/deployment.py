"""Put the model behind a SageMaker endpoint, or run it over a file."""

import json
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.aws import policies
from scripts.aws.errors import AwsError
from scripts.aws.execution import Access, carry_out, names_for
from scripts.aws.found import look, objections
from scripts.aws.names import ENDPOINTS, UNKNOWN, Names
from scripts.aws.serving import plan
from scripts.aws.session import Session
from scripts.aws.settings import Settings


@dataclass(frozen=True)
class Order:
    """What a deployment is made of, beside its settings."""

    name: str
    model: Path  # model.tar.gz
    image: str = ""  # in ECR; "": this version's
    bucket: str = ""  # "": SageMaker's own of the account and region
    role: str = ""  # ARN; "": one is made
    save: Path | None = None  # where the answers of a batch job go


def deploy(access: Access, order: Order, wanted: Settings) -> int:
    """Plan the deployment, show the plan or carry it out, and print the result."""
    check(order, wanted)
    started = time.monotonic()
    session = access.session()
    names = names_for(session, order.name, wanted.mode)
    names = replace(names, account=access.account(session))
    found = look(session, names, order.model, wanted.image_tag, order.bucket, image=order.image, role_given=bool(order.role))
    for line in objections(found.image, serverless=wanted.mode == "serverless"):
        print(line, file=sys.stderr)
    made = plan(found, wanted, order.model, time.strftime("%Y%m%d-%H%M%S", time.gmtime()), order.role, order.save)
    return carry_out(
        made.steps,
        made.result,
        found.missing,
        session,
        access.dry_run,
        lambda answers: {"account": names.account, "seconds": round(time.monotonic() - started, 1)} | next_step(wanted, names),
    )


def next_step(wanted: Settings, names: Names) -> dict[str, str]:
    """The command that sends a request to the new endpoint."""
    if wanted.mode not in ENDPOINTS:
        return {}
    where = f"--endpoint {names.deployment} --region {names.region}{' --async' if wanted.mode == 'async' else ''}"
    return {"ask": f"python -m scripts.invoke {where} --sent 'it rains .' --tmpl statement"}


def check(order: Order, wanted: Settings) -> None:
    """Raise AwsError for what can be seen to be wrong without asking AWS."""
    if order.role and not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+", order.role):
        raise AwsError("--role must be the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME.")
    if order.bucket and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", order.bucket):
        raise AwsError(f"--bucket {order.bucket} is not a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens.")
    if wanted.input and not wanted.input.startswith("s3://") and not Path(wanted.input).is_file():
        raise AwsError(f"--input {wanted.input} is no file here, and no s3:// address.")
    if order.save and (wanted.mode != "batch" or wanted.input.startswith("s3://")):
        raise AwsError("--save is for batch over a file from here; the answers to s3:// input stay in S3.")


def print_policy(access: Access, name: str, bucket: str) -> int:
    """Print the IAM policy that deploying needs, with the account and region filled in where they are known."""
    session = Session(access.region, access.profile)
    account = session.account_if_any() if session.region else UNKNOWN
    region, partition = (session.region, session.partition()) if session.region else ("${region}", "aws")
    print(json.dumps(policies.deployer(name, region, account, partition, bucket), indent=2))
    if account == UNKNOWN or not session.region:
        print("Replace what stands in ${…}: there is no region set here, or there are no credentials to ask with.", file=sys.stderr)
    return 0
