"""Build the container image with the docker command of this machine, and say how large it is.

    python -m scripts.build_image                        synpg-torchserve:VERSION-cpu
    python -m scripts.build_image --gpu                  synpg-torchserve:VERSION-gpu, for NVIDIA GPUs (several GB)
    python -m scripts.build_image --tag me/synpg:test    under another name
    python -m scripts.build_image -- --no-cache          what follows `--` goes to `docker build`

The model in it is model_store/demo; any other is mounted at /opt/ml/model, as SageMaker does. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import time

from scripts.common.command import run
from scripts.container.image import ImageError, build_command, check_docker, docker, layers, tag_of


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    own, extra = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(
        prog="python -m scripts.build_image",
        description=__doc__.split("\n\n")[0],
        epilog="Arguments after `--` are passed to `docker build`.",
    )
    parser.add_argument("--gpu", action="store_true", help="build for NVIDIA GPUs instead of CPUs")
    parser.add_argument("--tag", help=f"name of the image ({tag_of(False)})")
    options = parser.parse_args(own)
    return run(lambda: build(options.tag or tag_of(options.gpu), options.gpu, extra))


def build(tag: str, gpu: bool, extra: list[str]) -> int:
    """Build the image and print its layers, its size and a line of JSON."""
    began = time.monotonic()
    check_docker()
    if subprocess.run(build_command(tag, gpu, extra), stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        raise ImageError("docker build failed; its last lines say why.")
    seconds, parts = time.monotonic() - began, layers(tag)
    told = json.loads(docker("image", "inspect", tag))[0]
    for size, step in parts:
        print(f"{size / 1e6:8.1f} MB  {step[:100]}")
    print(f"{told['Size'] / 1e6:8.1f} MB  {tag}, in {seconds:.0f} s")
    print(json.dumps({"image": tag, "id": told["Id"], "bytes": told["Size"], "seconds": round(seconds, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
