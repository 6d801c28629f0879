"""AWS clients, made in one place, and the account and region that they are for."""

import base64
import os
import sys
import time

import boto3
from botocore import exceptions
from botocore.config import Config

from handler import __version__
from scripts.aws import errors
from scripts.aws.names import PROJECT, UNKNOWN

AGENT = f"{PROJECT}/{__version__}"


class Session:
    """Clients by service name, for one region and profile, each made once."""

    def __init__(self, region: str | None = None, profile: str | None = None):
        region = region or os.environ.get("AWS_REGION")  # which boto3 itself does not read, unlike AWS's other tools
        self.boto = boto3.Session(region_name=region or None, profile_name=profile)
        self.region = self.boto.region_name
        self.clients: dict = {}
        self.sleep = time.sleep

    def client(self, service: str, **settings):
        """A client that repeats throttled calls by itself."""
        if service not in self.clients:
            config = Config(user_agent_extra=AGENT, **{"retries": {"mode": "standard", "max_attempts": 6}, **settings})
            self.clients[service] = self.boto.client(service, config=config)
        return self.clients[service]

    def partition(self) -> str:
        """aws, aws-cn, aws-us-gov…"""
        try:
            return self.boto.get_partition_for_region(self.region)
        except exceptions.UnknownRegionError:
            return "aws"

    def account(self) -> str:
        return self.client("sts").get_caller_identity()["Account"]

    def account_if_any(self) -> str:
        """The account, or what stands for it where there are no credentials. Says so if there are some that cannot be used."""
        try:
            return self.account()
        except exceptions.NoCredentialsError:
            return UNKNOWN
        except exceptions.InvalidRegionError:
            raise
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            print(f"{errors.sentence(error)} What they would tell is shown as ${{…}}.", file=sys.stderr)
            return UNKNOWN

    @staticmethod
    def password(token: str) -> str:
        """The password in a token of ECR's."""
        return base64.b64decode(token).decode().partition(":")[2]


class Progress:
    """Progress on standard error. A passing line is overwritten by the next; it is left out unless this is a terminal."""

    def __init__(self, stream=None):
        self.stream, self.pending = stream or sys.stderr, 0

    def __call__(self, text: str, passing: bool = False) -> None:
        visible = self.stream.isatty()
        if passing and not visible:
            return
        clear = "\r" + " " * self.pending + "\r" if self.pending else ""
        self.pending = len(text) if passing else 0
        print(clear + text, end="" if passing else "\n", file=self.stream, flush=True)
