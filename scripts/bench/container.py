"""Starts of the container and of TorchServe with an echo handler in the same image, in turn, on one core and with 1 GB.

    python -m scripts.bench.container IMAGE
    python -m scripts.bench.container IMAGE --beside OTHER --rounds 5    also the container of another image

Needs a Docker engine on this machine: the containers are called at their own addresses. Times go from `docker run` to the first
answer of /invocations. CPU seconds are of the whole container until then, and depend less on what else the machine does.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from scripts.bench import timing, workload
from scripts.common.command import run
from scripts.container.image import ImageError, check_docker, docker

# TorchServe calls it once without data, to initialise. Its worker imports torch whatever the handler does.
HANDLER = "def handle(data, context):\n    return [row.get('body') or b'' for row in data or ()]\n"
MANIFEST = {"runtime": "python", "model": {"modelName": "echo", "modelVersion": "1", "handler": "echo.py"}}
CONFIG = """inference_address=http://0.0.0.0:8080
management_address=http://127.0.0.1:8081
metrics_address=http://127.0.0.1:8082
disable_token_authorization=true
default_workers_per_model=1
"""
TORCHSERVE = "-m ts.model_server --start --foreground --ncs --ts-config /echo/config.properties --model-store /echo --models echo=echo"
PATIENCE = 120.0  # s
# What the container has used, of both versions of control groups: CPU seconds and the most memory in MB, pages of files included.
USED = """
import pathlib
root = pathlib.Path("/sys/fs/cgroup")
if (root / "cpu.stat").is_file():
    cpu, most = int((root / "cpu.stat").read_text().split()[1]) / 1e6, root / "memory.peak"
else:
    cpu, most = int((root / "cpuacct/cpuacct.usage").read_text()) / 1e9, root / "memory/memory.max_usage_in_bytes"
print(cpu, int(most.read_text()) / 1e6 if most.is_file() else 0)
"""


def echo_folder(folder: Path) -> Path:
    """Fill a folder with what TorchServe needs to echo."""
    (folder / "echo" / "MAR-INF").mkdir(parents=True)
    (folder / "echo" / "echo.py").write_text(HANDLER)
    (folder / "echo" / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(MANIFEST))
    (folder / "config.properties").write_text(CONFIG)
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    return folder


def limits(core: int, memory: str) -> list[str]:
    """Options of `docker run`: the container's core and memory, and a file system that is read-only but for /tmp."""
    return ["--cpuset-cpus", str(core), "--memory", memory, "--memory-swap", memory, "--read-only", "--tmpfs", "/tmp:exec"]


def own(image: str) -> list[str]:
    """The rest of `docker run` for the container as it serves the model in the image."""
    return ["--env", "SAGEMAKER_MODEL_SERVER_WORKERS=1", image, "serve"]


def echo(image: str, folder: Path) -> list[str]:
    """The same for TorchServe alone, with its own settings but for addresses and tokens."""
    places = [part for name in ("TEMP", "TMPDIR", "LOG_LOCATION", "METRICS_LOCATION") for part in ("--env", f"{name}=/tmp")]
    return [*places, "--volume", f"{folder}:/echo:ro", "--workdir", "/tmp", "--entrypoint", "python", image, *TORCHSERVE.split()]


@contextlib.contextmanager
def started(options: list[str]) -> Iterator[tuple[str, str]]:
    """Name and address of a container, which is removed afterwards."""
    name = f"cold-{uuid.uuid4().hex[:12]}"
    try:
        docker("run", "--detach", "--name", name, *options)
        networks = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", name))
        yield name, next(iter(networks.values()))["IPAddress"]
    finally:
        with contextlib.suppress(ImageError):  # it may not have been made
            docker("rm", "--force", "--volumes", name)


def cold_start(options: list[str]) -> tuple[float, float, float]:
    """Seconds to the first answer, CPU seconds of the container until then, and the most memory in MB. Raises ImageError."""
    began, body = time.perf_counter(), json.dumps(workload.served()).encode()
    with started(options) as (name, host):
        while not answers(host, body):
            if time.perf_counter() - began > PATIENCE:
                raise ImageError(f"{options[-1]} did not answer within {PATIENCE:g} s.")
            time.sleep(0.01)
        took = time.perf_counter() - began
        cpu, memory = map(float, docker("exec", name, "python", "-c", USED).split())
    return took, cpu, memory


def told(name: str, found: tuple[float, float, float]) -> tuple[float, float, float]:
    """`found`, which is told on standard error."""
    print(f"{name}: {found[0]:.2f} s, {found[1]:.2f} s of CPU, {found[2]:.0f} MB", file=sys.stderr, flush=True)
    return found


def answers(host: str, body: bytes) -> bool:
    """Whether a call is answered with 200; it waits for the model where the server lets it."""
    connection = http.client.HTTPConnection(host, 8080, timeout=PATIENCE)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def table(found: dict[str, list[tuple[float, float, float]]]) -> str:
    """Medians of each, and the times over those of the echo handler round by round."""
    lines = ["| | first answer, s | over echo | CPU, s | peak memory, MB |", "|---|--:|--:|--:|--:|"]
    for name, rounds in found.items():
        took, cpu, memory = (statistics.median(each) for each in zip(*rounds))
        ratio = statistics.median(mine[0] / other[0] for mine, other in zip(rounds, found["echo"]))
        lines.append(f"| {name} | {took:.2f} | {ratio:.2f} | {cpu:.2f} | {memory:.0f} |")
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> int:
    """Measure in turn, and print the table."""
    check_docker()
    with tempfile.TemporaryDirectory(prefix="echo-") as scratch:
        common = limits(options.core, options.memory)
        cases = {"container": own(options.image), "echo": echo(options.image, echo_folder(Path(scratch)))}
        if options.beside:
            cases["beside"] = own(options.beside)
        calls = {name: lambda name=name, rest=rest: told(name, cold_start([*common, *rest])) for name, rest in cases.items()}
        found = timing.interleaved(calls, options.rounds, 600.0)
    print(table(found))
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.container", description=__doc__.split("\n\n")[0])
    parser.add_argument("image")
    parser.add_argument("--beside", metavar="IMAGE", help="another image whose container is started in turn with them")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each (%(default)s)")
    parser.add_argument("--core", type=int, default=0, help="the core that the containers get (%(default)s)")
    parser.add_argument("--memory", default="1g", help="the memory that they get (%(default)s)")
    return run(lambda: measure(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
