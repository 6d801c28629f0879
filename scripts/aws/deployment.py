"""Put the model behind a SageMaker endpoint, or run it over a file. Run again to change it: the old one serves until the new one does."""

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

from scripts.aws import policies
from scripts.aws.command import carry_out, names_for, open_session
from scripts.aws.errors import AwsError
from scripts.aws.found import look, objections
from scripts.aws.names import ENDPOINTS, UNKNOWN
from scripts.aws.serving import plan
from scripts.aws.session import Session
from scripts.aws.settings import BELONGS, Settings, settings


def deploy(options) -> int:
    if options.mode == "policy":
        return print_policy(options)
    given = {name: value for name in BELONGS if (value := getattr(options, name)) is not None}
    given |= {name: dict(values) for name in ("environment", "tags") if (values := getattr(options, name))}
    wanted = settings(options.mode, given)
    check(options, wanted)
    started = time.monotonic()
    session = open_session(options.region, options.profile, options.dry_run)
    names = names_for(session, options.name, options.mode)
    names = replace(names, account=session.account_if_any() if options.dry_run else session.account())
    found = look(session, names, options.model, wanted.image_tag, options.bucket, image=options.image, role_given=bool(options.role))
    for line in objections(found.image, serverless=wanted.mode == "serverless"):
        print(line, file=sys.stderr)
    made = plan(found, wanted, options.model, time.strftime("%Y%m%d-%H%M%S", time.gmtime()), options.role, options.save)
    return carry_out(
        made.steps,
        made.result,
        found.missing,
        session,
        options.dry_run,
        lambda answers: {"account": names.account, "seconds": round(time.monotonic() - started, 1)} | next_step(wanted, names),
    )


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
