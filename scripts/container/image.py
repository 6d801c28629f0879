"""Build the container image with the docker command of this machine, and say how large it is."""

import shutil
import subprocess

from handler import __version__
from scripts.common.command import UserError
from scripts.common.paths import ROOT

NAME = "synpg-torchserve"


class ImageError(UserError):
    """The image could not be built; one sentence."""


def tag_of(gpu: bool) -> str:
    """The image's name: the project's version, and what it runs on."""
    return f"{NAME}:{__version__}-{'gpu' if gpu else 'cpu'}"


def build_command(tag: str, gpu: bool, extra: list[str]) -> list[str]:
    """`docker build`, with everything that is not in the Dockerfile."""
    return [
        "docker",
        "build",
        "--tag",
        tag,
        "--build-arg",
        f"DEVICE={'gpu' if gpu else 'cpu'}",
        "--build-arg",
        f"VERSION={__version__}",
        *extra,
        str(ROOT),
    ]


def check_docker() -> None:
    """Raise ImageError unless there is a docker command and an engine that answers it."""
    if not shutil.which("docker"):
        raise ImageError("There is no docker command on this machine; install Docker (https://docs.docker.com/engine/install/).")
    done = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ImageError(f"The Docker engine does not answer: {said.rstrip('.')}; start it, or set DOCKER_HOST.")


def layers(tag: str) -> list[tuple[int, str]]:
    """Bytes and instruction of the layers of an image that have any, the lowest first."""
    told = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", tag)
    found = [line.split("\t", 1) for line in told.splitlines()]
    return [
        (int(size), " ".join(step.replace("/bin/sh -c", "").replace("#(nop)", "").split())) for size, step in reversed(found) if int(size)
    ]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"docker {arguments[0]} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1].rstrip('.')}.")
    return done.stdout
