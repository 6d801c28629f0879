"""Names and tags. Everything that belongs to a deployment is found by them."""

import hashlib
import json
import re
from dataclasses import dataclass

from handler import __version__
from scripts.aws.errors import AwsError

PROJECT = "synpg"
REPOSITORY = "synpg-torchserve"  # of the image, here and in ECR
VARIANT = "main"  # the only production variant of an endpoint
MODES = ("serverless", "realtime", "async", "batch")
ENDPOINTS = MODES[:3]
LIMIT = 63  # characters in a name of SageMaker's; a role may have 64
UNKNOWN = "${account}"  # stands for the account where no credentials say which it is


@dataclass(frozen=True)
class Names:
    """The names of the resources of one deployment. A deployment is a name in one mode."""

    name: str
    mode: str
    region: str
    account: str = UNKNOWN
    partition: str = "aws"

    def __post_init__(self):
        if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", self.name):
            raise AwsError(f"The name {self.name!r} may have letters, digits and single hyphens between them, nothing else.")
        room = LIMIT - max(len(self.model("0" * 8)), len(self.role), len(self.job("0" * 15))) + len(self.name)
        if len(self.name) > room:
            raise AwsError(f"The name {self.name!r} has {len(self.name)} characters; with what is put behind it, {room} fit.")

    @property
    def deployment(self) -> str:
        """Also the endpoint's name, and the folder in the bucket."""
        return f"{self.name}-{self.mode}"

    @property
    def role(self) -> str:
        return f"{self.deployment}-{self.region}"

    @property
    def role_arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role/{self.role}"

    @property
    def bucket(self) -> str:
        """SageMaker's own default bucket of the account and region."""
        return f"sagemaker-{self.region}-{self.account}"

    @property
    def registry(self) -> str:
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"{self.account}.dkr.ecr.{self.region}.{suffix}"

    @property
    def resource(self) -> str:
        """The endpoint's variant, as Application Auto Scaling calls it."""
        return f"endpoint/{self.deployment}/variant/{VARIANT}"

    @property
    def alarms(self) -> dict[str, str]:
        return {kind: f"{self.deployment}-{kind}" for kind in ("errors", "latency", "backlog")}

    def policy(self, kind: str) -> str:
        """A scaling policy."""
        return f"{self.deployment}-{kind}"

    def model(self, digest: str) -> str:
        """The name of a model or an endpoint configuration. Neither can be changed, so a digest of its content is part of its name."""
        return f"{self.deployment}-{digest}"

    def job(self, moment: str) -> str:
        return f"{self.deployment}-{moment}"

    def tags(self) -> dict[str, str]:
        return {"project": PROJECT, "deployment": self.deployment, "version": __version__}


def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as most services want them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def digest(arguments) -> str:
    """Eight hexadecimal digits that depend on every argument."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:8]
