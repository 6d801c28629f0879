"""Put the image into ECR: make the repository if there is none, log in, push, print the digest.

    python -m scripts.push_image                the CPU image of this version, as scripts.build_image leaves it
    python -m scripts.push_image --gpu
    python -m scripts.push_image --image mine:1 --tag 1-mine
    python -m scripts.push_image --dry-run      the calls and commands, as JSON

The repository scans what is pushed and keeps the newest images; the password of the registry goes to docker by standard
input. `DOCKER` names another command than docker, such as podman. Standard output is one JSON object with the digest.
"""

import sys

from handler import __version__
from scripts.aws.command import access, parser, run
from scripts.aws.names import REPOSITORY
from scripts.aws.push import push


def main(argv: list[str] | None = None) -> int:
    made = parser("push_image", __doc__)
    made.add_argument("--gpu", action="store_true", help="the image for GPU instances")
    made.add_argument("--image", default="", help=f"a local image; default: {REPOSITORY}:{__version__}-cpu")
    made.add_argument("--repository", default=REPOSITORY, help="name of the repository in ECR (%(default)s)")
    made.add_argument("--tag", default="", help=f"tag of the image in ECR; default: {__version__}-cpu")
    options = made.parse_args(argv)
    version = f"{__version__}-{'gpu' if options.gpu else 'cpu'}"
    return run(lambda: push(access(options), options.image or f"{REPOSITORY}:{version}", options.repository, options.tag or version))


if __name__ == "__main__":
    sys.exit(main())
