"""What the commands for AWS share: options, who and where, errors as one sentence, and one JSON on standard output."""

import argparse
import json
import sys
from collections.abc import Callable

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from scripts.aws import plan
from scripts.aws.errors import AwsError, sentence
from scripts.aws.names import PROJECT, Names
from scripts.aws.session import Progress, Session
from scripts.common import command

SHOWN_REGION = "us-east-1"  # of a dry run where no region is set
SENTENCES: command.Sentences = dict.fromkeys((BotoCoreError, Boto3Error, ClientError), sentence)
STOPPED = "Stopped. What was begun goes on in AWS; `python -m scripts.delete` takes it down."


def parser(name: str, text: str) -> argparse.ArgumentParser:
    """A command's options, with those that all of these commands have."""
    made = argparse.ArgumentParser(prog=f"python -m scripts.{name}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--region", help="AWS region; default: AWS_REGION, or the profile's")
    made.add_argument("--profile", help="profile of the AWS configuration; default: AWS_PROFILE")
    made.add_argument("--dry-run", action="store_true", help="print the calls as JSON and make none of them")
    return made


def name_option(made: argparse.ArgumentParser) -> None:
    made.add_argument("--name", default=PROJECT, help="what the names of everything begin with (%(default)s)")


def run(main: Callable[[], int]) -> int:
    """Run the body of a command; errors of boto3 are told in a sentence too."""
    return command.run(main, SENTENCES, STOPPED)


def open_session(region: str | None, profile: str | None, dry_run: bool) -> Session:
    """A session in the region that was asked for, or that is configured. A dry run does without one."""
    session = Session(region, profile)
    if not session.region and dry_run:
        print(f"No region is set; this is what would be done in {SHOWN_REGION}.", file=sys.stderr)
        session = Session(SHOWN_REGION, profile)
    if not session.region:
        raise AwsError("No AWS region is set; give --region, for example us-east-1, or set AWS_REGION.")
    return session


def names_for(session: Session, name: str, mode: str) -> Names:
    """Names, checked before the account is asked for."""
    return Names(name, mode, session.region, partition=session.partition())


def carry_out(
    steps: list, result: dict, missing: tuple, session: Session, dry_run: bool, then: Callable[[dict], dict] = lambda answers: {}
) -> int:
    """Show the steps, or take them; then print the result."""
    if dry_run:
        print(json.dumps({"calls": plan.show(steps), "result": result, "missing": list(missing)}, indent=2))
        return 0
    if missing:
        raise AwsError("\n".join(missing))
    answers = plan.apply(steps, session, Progress())
    print(json.dumps(result | then(answers)))
    return 0
