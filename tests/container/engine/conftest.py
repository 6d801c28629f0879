"""The image, built once a run, and containers of it. These tests are a group of their own, because building takes minutes:

    ./scripts/test.sh tests/container/engine     skipped, with the reason, where no Docker engine answers

The tests call containers at their own addresses, which works with a Linux engine on this machine. Behind a published port
Docker's proxy would answer, and a connection that the container refuses would look accepted.
"""

import contextlib
import http.client
import json
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from scripts import build_image
from scripts.common.paths import DEMO
from scripts.container.image import ImageError, check_docker
from scripts.serving import archive

TAG = "synpg-torchserve:test"


def pytest_collection_modifyitems(config, items):
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    reason = None
    if not any("container" in Path(argument.split("::")[0]).parts for argument in config.args):
        reason = "a group of its own: ./scripts/test.sh tests/container/engine"
    elif ours:
        try:
            check_docker()
        except ImageError as error:
            reason = str(error)
    if reason:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=reason))


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


class Running:
    """One container, as SageMaker runs it: read-only but for /tmp, the model mounted read-only, `serve`."""

    def __init__(
        self,
        image: str,
        model: Path | None = None,
        memory: str = "2g",
        cpus: str = "2",
        tmp: str = "/tmp",
        volumes: dict[str, Path] | None = None,
        **env: str,
    ):
        volumes = {**({"/opt/ml/model": model} if model else {}), **(volumes or {})}
        self.name = f"synpg-test-{uuid.uuid4().hex[:12]}"
        self.began = time.monotonic()
        docker(
            "run",
            "--detach",
            "--name",
            self.name,
            "--read-only",
            "--tmpfs",
            tmp,
            "--memory",
            memory,
            "--memory-swap",
            memory,
            "--cpus",
            cpus,
            *(part for place, source in volumes.items() for part in ("--volume", f"{source}:{place}:ro")),
            *(part for name, value in env.items() for part in ("--env", f"{name}={value}")),
            image,
            "serve",
        )
        networks = json.loads(
            docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", self.name)
        )  # Docker 29 has no other place
        self.host = next(iter(networks.values()))["IPAddress"]
        self.port = int(env.get("SAGEMAKER_BIND_TO_PORT", 8080))
        self.url = f"http://{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.log()[-6000:])
        docker("rm", "--force", "--volumes", self.name)

    def call(self, path: str = "/invocations", data: bytes | None = None, headers=None, method: str | None = None, timeout: float = 100):
        """(status, headers by lower-case name, body)."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(
                method or ("GET" if data is None else "POST"),
                path,
                data,
                {"Content-Type": "application/json"} if headers is None else headers,
            )
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ping(self) -> int | None:
        try:
            return self.call("/ping", timeout=2)[0]
        except OSError:
            return None

    def wait_ready(self, patience: float = 120) -> list:
        """Wait for the first 200; what /ping said until then."""
        seen = []
        while not seen or seen[-1] != 200:
            assert time.monotonic() - self.began < patience and self.state()["Running"], seen
            seen.append(self.ping())
            time.sleep(0.05)
        return seen

    def state(self) -> dict:
        return json.loads(docker("inspect", "--format", "{{json .State}}", self.name))

    def wait_ended(self, patience: float = 90) -> int:
        """Wait until it ends by itself; its exit status."""
        deadline = time.monotonic() + patience
        while self.state()["Running"]:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)
        return self.state()["ExitCode"]

    def log(self, errors: bool = False) -> str:
        """What it wrote; `errors`: to standard error only."""
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True)
        return done.stderr if errors else done.stdout + done.stderr

    def run(self, program: str) -> str:
        """What a Python program prints inside."""
        return docker("exec", self.name, "python", "-c", program)

    def workers(self) -> list[int]:
        """Process ids, inside, of the model's workers."""
        return json.loads(
            self.run(
                "import psutil; print([p.pid for p in psutil.process_iter() "
                "if ' '.join(p.cmdline()[1:2]).endswith('model_service_worker.py')])"
            )
        )


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """The image of this very Dockerfile."""
    assert build_image.main(["--tag", TAG]) == 0
    return TAG


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The shipped model as SageMaker unpacks its tarball."""
    folder = tmp_path_factory.mktemp("ml") / "model"
    unpack(folder)
    return folder


def unpack(folder: Path) -> Path:
    for name, source in archive.tarball_members(DEMO).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with archive.opened(source) as content, open(folder / name, "wb") as copy:
            shutil.copyfileobj(content, copy)
    return folder


@pytest.fixture(scope="session")
def container(image, model):
    """A container that is up for the whole run, in SageMaker's conditions for one instance with 2 GB."""
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(Running(image, model, SAGEMAKER_MODEL_SERVER_WORKERS="1"))
        running.wait_ready()
        yield running
