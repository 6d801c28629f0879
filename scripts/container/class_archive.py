"""Write the archive of the classes that TorchServe loads, in the Dockerfile: `python -m scripts.container.class_archive FILE`.

The archive halves the work of starting Java. The container is run once to write it, so the build fails if the image does not
serve its own model.
"""

import os
import subprocess
import sys
import tempfile
import time
from typing import TextIO

import psutil

from scripts.common.command import UserError, run
from scripts.serving.server import call

PATIENCE = 300.0  # s
CONTAINER = [sys.executable, "-m", "scripts.container", "serve"]


def write(file: str) -> None:
    """Serve until the model is ready, end Java, and wait for the archive that it writes as it ends."""
    env = {
        **os.environ,
        "SYNPG_DEVICE": "cpu",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "SAGEMAKER_MODEL_SERVER_VMARGS": f"-XX:ArchiveClassesAtExit={file}",
    }
    with tempfile.TemporaryFile("w+") as log:  # ending Java is an error to the container, and Java warns of classes it leaves out
        try:
            run_once(env, log)
            if not os.path.isfile(file):
                raise UserError(f"Java left no {file}.")
        except UserError:
            log.seek(0)
            sys.stderr.write(log.read())
            raise


def run_once(env: dict[str, str], log: TextIO) -> None:
    """Run the container with its output in `log` until the model is ready, then end Java. Raises UserError if it never is."""
    deadline = time.monotonic() + PATIENCE
    container = subprocess.Popen(CONTAINER, env=env, stdout=log, stderr=subprocess.STDOUT)
    while not ready():
        if container.poll() is not None or time.monotonic() > deadline:
            container.kill()
            raise UserError("The image does not serve its own model.")
        time.sleep(0.2)
    call("http://127.0.0.1:8080/metrics")
    [java] = [each for each in psutil.Process(container.pid).children() if each.name() == "java"]
    java.terminate()
    container.wait(PATIENCE)


def ready() -> bool:
    try:
        return call("http://127.0.0.1:8080/ping")[0] == 200
    except OSError:
        return False


def main(argv: list[str] | None = None) -> int:
    [file] = sys.argv[1:] if argv is None else argv

    def body() -> int:
        write(file)
        return 0

    return run(body)


if __name__ == "__main__":
    sys.exit(main())
