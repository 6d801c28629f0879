"""Build the container image with the docker command of this machine, and say how large it is.

    python -m scripts.build_image                        synpg-torchserve:VERSION-cpu
    python -m scripts.build_image --gpu                  synpg-torchserve:VERSION-gpu, for NVIDIA GPUs (several GB)
    python -m scripts.build_image --tag me/synpg:test    under another name
    python -m scripts.build_image -- --no-cache          what follows `--` goes to `docker build`

The model in it is model_store/demo; any other is mounted at /opt/ml/model, as SageMaker does. The last line is JSON.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from handler import __version__

ROOT = Path(__file__).resolve().parent.parent
NAME = "synpg-torchserve"


class ImageError(Exception):
    """The image could not be built; one sentence."""


def tag_of(gpu: bool) -> str:
    """The image's name: the project's version, and what it runs on."""
    return f"{NAME}:{__version__}-{'gpu' if gpu else 'cpu'}"


def build_command(tag: str, gpu: bool, extra: list[str]) -> list[str]:
    """`docker build`, with everything that is not in the Dockerfile."""
    return ["docker", "build", "--tag", tag, "--build-arg", f"DEVICE={'gpu' if gpu else 'cpu'}", "--build-arg",
            f"VERSION={__version__}", *extra, str(ROOT)]


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
    return [(int(size), " ".join(step.replace("/bin/sh -c", "").replace("#(nop)", "").split())) for size, step in reversed(found)
            if int(size)]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"docker {arguments[0]} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1].rstrip('.')}.")
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    own, extra = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(prog="python -m scripts.build_image", description=__doc__.split("\n\n")[0],
                                     epilog="What follows `--` goes to `docker build`.")
    parser.add_argument("--gpu", action="store_true", help="with torch's CUDA build instead of the CPU one")
    parser.add_argument("--tag", help=f"name of the image; default {tag_of(False)}")
    options = parser.parse_args(own)
    tag, began = options.tag or tag_of(options.gpu), time.monotonic()
    try:
        check_docker()
        if subprocess.run(build_command(tag, options.gpu, extra), stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
            raise ImageError("docker build failed; its last lines say why.")
        seconds, parts = time.monotonic() - began, layers(tag)
        told = json.loads(docker("image", "inspect", tag))[0]
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    for size, step in parts:
        print(f"{size / 1e6:8.1f} MB  {step[:100]}")
    print(f"{told['Size'] / 1e6:8.1f} MB  {tag}, in {seconds:.0f} s")
    print(json.dumps({"image": tag, "id": told["Id"], "bytes": told["Size"], "seconds": round(seconds, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
