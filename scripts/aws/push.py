"""Put the image into ECR: make the repository if there is none, log in, push, print the digest."""

import json
import os
import sys
from dataclasses import replace

from handler import __version__
from scripts.aws import errors, policies
from scripts.aws.errors import AwsError
from scripts.aws.execution import Access, carry_out, names_for
from scripts.aws.found import image_in_ecr, objections
from scripts.aws.names import PROJECT, Names, pairs
from scripts.aws.plan import Call, Run, command
from scripts.aws.session import Session

DOCKER = os.environ.get("DOCKER") or "docker"


def push(access: Access, local: str, name: str, tag: str) -> int:
    """Push an image that is here to the repository `name`, under a tag."""
    session = access.session()
    names = names_for(session, PROJECT, "serverless")
    names = replace(names, account=access.account(session))
    there = repository(session, name) if names.account.isdigit() else None
    uri = there["repositoryUri"] if there else f"{names.registry}/{name}"
    steps = plan(names, local, uri, name, tag, bool(there))
    if not access.dry_run:
        check(local)
    result = {"image": f"{uri}:{tag}"}
    return carry_out(steps, result, (), session, access.dry_run, lambda answers: {"digest": digest(session, names, uri, tag)})


def repository(session: Session, name: str) -> dict | None:
    try:
        return session.client("ecr").describe_repositories(repositoryNames=[name])["repositories"][0]
    except Exception as error:
        if errors.code(error) == "RepositoryNotFoundException":
            return None
        raise


def plan(names: Names, local: str, uri: str, name: str, tag: str, exists: bool) -> list:
    """Every call and command of a push, in order. A repository that is there already keeps its own rules."""
    steps: list = []
    if not exists:
        steps += [
            Call(
                f"repository {name}",
                "ecr",
                "create_repository",
                {
                    "repositoryName": name,
                    "imageScanningConfiguration": {"scanOnPush": True},
                    "tags": pairs({"project": PROJECT, "version": __version__}),
                },
                ignore_errors=("RepositoryAlreadyExistsException",),
            ),
            Call(
                "which images it keeps",
                "ecr",
                "put_lifecycle_policy",
                {"repositoryName": name, "lifecyclePolicyText": json.dumps(policies.lifecycle())},
            ),
        ]
    target = f"{uri}:{tag}"
    return steps + [
        Call("asking for the registry's password", "ecr", "get_authorization_token", {}, save="login"),
        Run(
            "logging in",
            (DOCKER, "login", "--username", "AWS", "--password-stdin", uri.split("/")[0]),
            secret="${login.authorizationData[0].authorizationToken}",
        ),
        Run(f"tagging {local}", (DOCKER, "tag", local, target)),
        Run(f"pushing {target}", (DOCKER, "push", target), shown=True),
    ]


def check(local: str) -> None:
    """Refuse an image that is not here, or that SageMaker's machines could not run."""
    try:
        built = command((DOCKER, "image", "inspect", "--format", "{{.Architecture}}", local)).strip()
    except AwsError as error:
        if "o such image" not in str(error) and "not known" not in str(error):
            raise
        raise AwsError(f"There is no image {local} here; `python -m scripts.build_image` builds it.") from None
    if built != "amd64":
        raise AwsError(f"{local} is built for {built} and SageMaker's instances are amd64; build it with --platform linux/amd64.")


def digest(session: Session, names: Names, uri: str, tag: str) -> str:
    """The digest that the registry gave the image: by ECR itself, else by docker."""
    image = image_in_ecr(session, names, uri.partition("/")[2], tag)
    if image:
        for line in objections(image):
            print(line, file=sys.stderr)
        return image.uri.partition("@")[2]
    known = json.loads(command((DOCKER, "image", "inspect", "--format", "{{json .RepoDigests}}", f"{uri}:{tag}")) or "[]") or []
    found = [each.partition("@")[2] for each in known if each.startswith(f"{uri}@")]
    if not found:
        raise AwsError(f"{uri}:{tag} was pushed, but neither ECR nor {DOCKER} knows its digest.")
    return found[-1]
