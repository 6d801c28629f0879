"""What the four commands share: options, who and where, errors as one sentence, and one JSON on standard output."""

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

SHOWN_REGION = "us-east-1"  # of a dry run where no region is set


def parser(name: str, text: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"python -m scripts.{name}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--region", help="AWS region; default: AWS_REGION, or the profile's")
    made.add_argument("--profile", help="profile of the AWS configuration; default: AWS_PROFILE")
    made.add_argument("--dry-run", action="store_true", help="print the calls as JSON and make none of them")
    return made


def name_option(made: argparse.ArgumentParser) -> None:
    made.add_argument("--name", default=PROJECT, help="what the names of everything begin with (%(default)s)")


def open_session(options) -> Session:
    session = Session(options.region, options.profile)
    if not session.region and options.dry_run:
        print(f"No region is set; this is what would be done in {SHOWN_REGION}.", file=sys.stderr)
        session = Session(SHOWN_REGION, options.profile)
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


def guarded(body: Callable[[], int]) -> int:
    """Run a command's body; what goes wrong is one sentence on standard error, and a status."""
    try:
        return body()
    except KeyboardInterrupt:
        print("\nStopped. What was begun goes on in AWS; `python -m scripts.delete` takes it down.", file=sys.stderr)
        return 130
    except (AwsError, BotoCoreError, Boto3Error, ClientError) as error:
        print(sentence(error), file=sys.stderr)
    except OSError as error:
        print(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}.", file=sys.stderr)
    return 1
