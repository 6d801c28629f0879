"""The command line of the commands for AWS: the options that all of them have, and how they end."""

import argparse
from collections.abc import Callable

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from scripts.aws.errors import sentence
from scripts.aws.execution import Access
from scripts.aws.names import PROJECT
from scripts.common import command

SENTENCES: command.Sentences = dict.fromkeys((BotoCoreError, Boto3Error, ClientError), sentence)
STOPPED = "Stopped. What was begun goes on in AWS; `python -m scripts.delete` takes it down."


def parser(name: str, text: str) -> argparse.ArgumentParser:
    """A command's parser, with the options that all of these commands have."""
    made = argparse.ArgumentParser(prog=f"python -m scripts.{name}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--region", help="AWS region; default: AWS_REGION, or the profile's")
    made.add_argument("--profile", help="profile of the AWS configuration; default: AWS_PROFILE")
    made.add_argument("--dry-run", action="store_true", help="print the calls as JSON without making them")
    return made


def name_option(made: argparse.ArgumentParser) -> None:
    made.add_argument("--name", default=PROJECT, help="prefix of all names (%(default)s)")


def access(options: argparse.Namespace) -> Access:
    """What the options of `parser` say."""
    return Access(options.region, options.profile, options.dry_run)


def run(main: Callable[[], int]) -> int:
    """Run the body of a command. Errors of boto3 are told in a sentence too."""
    return command.run(main, SENTENCES, STOPPED)
