"""The container's entry point: start TorchServe on the model behind a front, and end when it ends.

    python -m scripts.container serve

1. reads the environment (`environment.py`) and writes the effective configuration under the temporary folder, the only one
   it writes to (`model_folder.py`);
2. starts Java with TorchServe on the loopback interface, and listens on the container's port itself (`front.py`);
3. on SIGTERM: /ping says 503, what was accepted is answered, within 25 s, then Java is told to end; exit status 0;
4. exit status 1 with one line that names the cause when a setting is wrong, the model cannot be loaded, the GPU this image is
   for is missing, or the server ends by itself or stays without a worker.
"""

import asyncio
import contextlib
import ctypes
import datetime
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from scripts.common.command import run
from scripts.common.paths import ROOT
from scripts.container import environment, machine, model_folder
from scripts.container.environment import LEVELS, MB, Settings, SettingsError
from scripts.container.front import Front, FrontSettings, Workers
from scripts.container.http11 import Backend
from scripts.serving.diagnosis import FAILED, ServerError, cause, until_told
from scripts.serving.java import find_java
from scripts.serving.server import LOG_CONFIG, UNWANTED_ENV, free_ports

BAKED = ROOT / "model"  # the model of the image, served when none is mounted
METRICS = ROOT / "handler" / "metrics.yaml"
NATIVE = ROOT / "native"  # Netty's library, where the image has it: the temporary folder may not be executable
PATIENCE = 25.0  # s for running requests after SIGTERM; SageMaker kills after 30
MOST_CONNECTIONS = 2000  # open at once, or four for each request that may wait
END_TIME = 4.0  # s that Java gets to end by itself
WATCH = 0.5, 2.0  # s between looks at the workers, without and with a GPU, where TorchServe runs nvidia-smi for each
PORTS = "inference", "management", "metrics", "grpc_inference", "grpc_management"
CLASSES = "lib/torchserve.jsa"  # of Java's home, where the image has it: TorchServe's classes, loaded and checked
JAVA_SAYS = re.compile(r"(Error: |Error occurred|Terminating due to|Exception in thread \"main\"|# A fatal error)")  # of its own end
LEVEL = re.compile(r"^\S+ (TRACE|DEBUG|INFO|WARN|ERROR|FATAL) ")


class Log:
    """The container's log, on standard output: our lines and TorchServe's, of a level or above."""

    def __init__(self, level: int):
        self.level = level
        self.recent: deque = deque(maxlen=400)  # TorchServe's last lines, whatever their level
        self._shown = level <= 20

    def say(self, text: str, level: int = 20, name: str = "container") -> None:
        if level >= self.level:
            now = datetime.datetime.now().isoformat(timespec="milliseconds").replace(".", ",")
            print(f"{now} {LEVELS[level]:5} {name} - {text}", flush=True)

    def access(self, text: str) -> None:
        self.say(text, name="access")

    def server_line(self, line: str) -> None:
        """Pass on a line of TorchServe. A line without a level has that of the line before."""
        self.recent.append(line)
        if match := LEVEL.match(line):
            self._shown = next(number for number, name in LEVELS.items() if name == match[1].replace("TRACE", "DEBUG")) >= self.level
        if self._shown:
            print(line, flush=True)

    def cause(self) -> str:
        return cause("\n".join(self.recent))

    async def last_words(self) -> str:
        """The cause of the end, once the log tells it."""
        for pause in until_told(self.cause):
            await asyncio.sleep(pause)
        return self.cause()


def check_gpu(device: str, needs: str | None) -> int:
    """How many GPUs the workers get. Raises SettingsError if this image is for GPUs and they cannot be used.

    needs: the CUDA version that torch was built for.
    """
    if device == "cpu":
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise SettingsError(
            "This image is for GPUs and there is none here: no NVIDIA driver was found; choose a GPU instance, or the CPU image."
        ) from None
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    found = f"{version.value // 1000}.{version.value % 1000 // 10}"
    if needs and version.value // 1000 < int(needs.split(".")[0]):
        raise SettingsError(
            f"The NVIDIA driver of this host is too old: it knows CUDA {found}, this image needs CUDA {needs}; for "
            "SageMaker choose the inference AMI al2023-ami-sagemaker-inference-gpu-4-1."
        )
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        raise SettingsError(f"This image is for GPUs and none can be used (CUDA error {status}); choose a GPU instance, or the CPU image.")
    return count.value


def torch_cuda() -> str | None:
    """The CUDA version of the installed torch, without the seconds that importing it takes."""
    spec = importlib.util.find_spec("torch")
    text = Path(spec.origin).with_name("version.py").read_text() if spec and spec.origin else ""
    match = re.search(r"^cuda\b[^=]*= '([\d.]+)'", text, re.M)
    return match[1] if match else None


def choose_ports(settings: Settings) -> dict[str, int]:
    """The inner ports: free ones, or ports of the range that SageMaker names where containers share a network."""
    if not settings.ports:
        return dict(zip(PORTS, free_ports(len(PORTS))))
    first, last = settings.ports
    ports = [port for port in range(first, last + 1) if port != settings.port][: len(PORTS)]
    if len(ports) < len(PORTS):
        raise SettingsError(f"SAGEMAKER_SAFE_PORT_RANGE must have {len(PORTS)} ports besides SAGEMAKER_BIND_TO_PORT.")
    return dict(zip(PORTS, ports))


def parameters(settings: Settings, workers: int, batch_size: int) -> dict:
    """The answer of /execution-parameters: how a batch transform job should call.

    One record a request: what arrives together is run together anyway, one bad line fails no other, and no request can take as
    long as a body of thousands of lines. Enough at once that the workers' next batch waits for them.
    """
    payload = max(1, (settings.max_body or 6 * MB) // MB)
    at_once = settings.max_transforms or max(1, min(2 * batch_size * workers, 100 // payload))
    return {"MaxConcurrentTransforms": at_once, "BatchStrategy": settings.strategy or "SINGLE_RECORD", "MaxPayloadInMB": payload}


def java_command(java: Path, scratch: Path, log_level: int, text: str, store: Path) -> list[str]:
    """The command line of TorchServe's Java part. The Python launcher is left out because it would not pass on signals."""
    spec = importlib.util.find_spec("ts")
    assert spec and spec.origin  # requirements.txt names it
    home = Path(spec.origin).parent.parent
    vmargs = re.findall(r"^vmargs=(.*)$", text, re.M)[-1].split()
    if (java / CLASSES).is_file():
        vmargs.append(f"-XX:SharedArchiveFile={java / CLASSES}")
    return [
        str(java / "bin" / "java"),
        f"-Dmodel_server_home={home}",
        f"-Dlog4j.configurationFile=file://{LOG_CONFIG}",
        f"-Djava.io.tmpdir={scratch}",
        "-Dsynpg.access=off",
        f"-Dsynpg.level={'debug' if log_level < 20 else 'info'}",
        f"-Djava.library.path={NATIVE}",
        *vmargs,
        "-cp",
        str(home / "ts" / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(scratch / "config.properties"),
        "-s",
        str(store),
        "-ncs",
    ]


def end_of_java(status: int, memory: str, lines: Iterable[str]) -> str:
    """Why TorchServe ended by itself: one sentence.

    status: of the process, negative for a signal. memory: what is known of a full memory. lines: of the log, the last ones.
    """
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended by itself, with status {status}"
    # Only what Java says of its own end: the last line of the log is mostly of something else.
    said = [line for line in lines if JAVA_SAYS.match(line)]
    why = memory or (said[-1].rstrip(".") if said else "")
    return f"TorchServe {how}{': ' * bool(why)}{why}."


class Container:
    """One run, from the settings to the exit status."""

    def __init__(self, settings: Settings, log: Log, scratch: Path):
        self.settings, self.log, self.scratch = settings, log, scratch
        self.gpus = check_gpu(settings.device, torch_cuda() if settings.device == "gpu" else None)
        if settings.device == "cpu" and Path("/dev/nvidia0").exists():
            log.say("This host has a GPU, which this image does not use", 30)
        self.ports = choose_ports(settings)
        memory = machine.memory()
        workers = settings.workers or environment.default_workers(machine.cores(), memory, self.gpus)
        if settings.multi_model:
            if settings.workers and settings.workers > 1:
                log.say("With SAGEMAKER_MULTI_MODEL each model has one worker, whatever SAGEMAKER_MODEL_SERVER_WORKERS says", 30)
            workers = 1
        self.give_up = 150.0  # s without a worker, or without an answer of TorchServe
        batch_size, max_body, startup = 1, settings.max_body or model_folder.DEFAULT_MAX_BODY, 120
        if not settings.multi_model:
            model = model_folder.find_model(settings.base / "model", BAKED, scratch)
            log.say(f"Serving {model} with {workers} worker{'s' * (workers > 1)}")
            config = model_folder.effective(model_folder.model_config(model), settings)
            batch_size, startup = config.get("batchSize", 1), config.get("startupTimeout", 120)
            max_body = config["handler"].get("max_body_bytes", max_body)
            for version in model_folder.versions(workers):
                model_folder.link_model(model, scratch / "store" / version, config, version)
            self.give_up = startup + config.get("maxRetryTimeoutInSec", 300)
        store = Path("/") if settings.multi_model else scratch / "store"
        heap = environment.heap(memory)
        changes = model_folder.server_changes(settings, self.ports, store, METRICS, max_body, heap, self.gpus, workers)
        text = model_folder.properties((ROOT / "config.properties").read_text(), changes)
        (scratch / "config.properties").write_text(text)
        home = Path(os.environ.get("JAVA_HOME") or "/nowhere")
        java = home if (home / "bin" / "java").is_file() else find_java()  # the image names its own; asking it costs half a second
        self.command = java_command(java, scratch, settings.level, text, store)
        inference = Backend(self.ports["inference"])
        self.workers = Workers(
            Backend(self.ports["inference" if settings.multi_model else "management"]),
            None if settings.multi_model else model_folder.MODEL,
            workers,
        )
        waiting = settings.queue + batch_size * workers
        connections = machine.connections(max(MOST_CONNECTIONS, 4 * waiting))
        self.front = Front(
            FrontSettings(
                settings.timeout,
                max_body,
                waiting,
                max(heap * MB // 4, max_body),
                2 * batch_size * workers,
                parameters(settings, workers, batch_size),
                settings.multi_model,
                settings.default_accept,
                connections,
                connections * 3 // 4,
            ),
            inference,
            Backend(self.ports["metrics"]),
            self.workers,
            log.access,
        )
        self.kills = machine.memory_kills()
        self.told_to_end = asyncio.Event()

    async def run(self) -> int:
        """Serve until told to end or until it cannot go on; the exit status."""
        for number in signal.SIGTERM, signal.SIGINT:
            asyncio.get_running_loop().add_signal_handler(number, self.told_to_end.set)
        try:
            await self.front.listen(self.settings.port, self.settings.address)
        except OSError as error:
            raise SettingsError(f"Port {self.settings.port} cannot be listened on: {os.strerror(error.errno or 0).lower()}.") from None
        env = {
            name: value
            for name, value in os.environ.items()
            if name not in (*UNWANTED_ENV, "TS_JOB_QUEUE_SIZE", *(each.alias for each in environment.VARIABLES), *self.settings.ignored)
        }
        env |= {
            "TMPDIR": str(self.scratch),
            "TEMP": str(self.scratch),
            "HOME": str(self.scratch),
            "LOG_LOCATION": str(self.scratch),
            "METRICS_LOCATION": str(self.scratch),
        }
        if self.settings.multi_model:  # with one model they are in its `model-config.yaml`
            env["SYNPG_HANDLER"] = json.dumps(model_folder.budget(self.settings))
        # In a session of its own: a Ctrl-C at a terminal is ours to handle.
        java = await asyncio.create_subprocess_exec(
            *self.command,
            env=env,
            cwd=self.scratch,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            limit=1 << 20,
        )
        assert java.stdout is not None  # it is a pipe
        reading = asyncio.create_task(self._read(java.stdout))
        tasks = [asyncio.create_task(each) for each in (self.told_to_end.wait(), java.wait(), self._watch())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self.told_to_end.is_set():
                self.log.say(f"Ending: {self.front.active} requests are being answered")
                watching = tasks[2]
                left = await self.front.drain(PATIENCE)
                watching.cancel()
                self.log.say(
                    f"Ended; {left} requests were left without an answer" if left else "Ended; every request was answered",
                    30 if left else 20,
                )
                return 0
            await self.front.fail()
            if tasks[1].done():
                raise ServerError(end_of_java(java.returncode or 0, self._memory(), self.log.recent))
            raise ServerError(tasks[2].result())
        finally:
            for task in tasks:
                task.cancel()
            await self._end(java)
            reading.cancel()
            await asyncio.gather(reading, *tasks, return_exceptions=True)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit; what is left of it is read next
                continue
            if not line:
                return
            self.log.server_line(line.decode("utf-8", "replace").rstrip())

    async def _watch(self) -> str:
        """Look at the workers until the container cannot go on; returns the reason."""
        began = without = time.monotonic()
        loaded = was_ready = False
        while True:
            ready = await self.workers.look() and not self.workers.complaint
            now = time.monotonic()
            if ready != was_ready:
                self.log.say(f"Ready after {now - began:.1f} s" if ready else f"Not ready: {self.workers.complaint}", 20 if ready else 30)
                if not ready and (memory := self._memory()):
                    self.log.say(memory[0].upper() + memory[1:], 40)
            was_ready, loaded = ready, loaded or ready
            without = now if self.workers.any else without
            if not loaded and FAILED.search("\n".join(self.log.recent)):
                return f"The model could not be loaded: {self._memory() or await self.log.last_words()}."
            if not self.settings.multi_model and now - without > self.give_up:
                return f"There was no worker for {now - without:.0f} s: {self._memory() or self.log.cause()}."
            if loaded and now - self.workers.told > self.give_up:
                return f"TorchServe has not answered for {now - self.workers.told:.0f} s."
            await asyncio.sleep(WATCH[self.gpus > 0] if loaded else 0.1)

    def _memory(self) -> str:
        """A sentence part if the kernel has killed a process of ours since the last look, else empty."""
        kills, self.kills = self.kills, machine.memory_kills()
        return f"a process was killed because the memory of {(machine.memory() or 0) // MB} MB is full" if self.kills > kills else ""

    async def _end(self, java: asyncio.subprocess.Process) -> None:
        """End Java, and by it the workers; whatever of them is left is killed."""
        if java.returncode is None:
            java.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_TIME):
                    await java.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(java.pid, signal.SIGKILL)


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    return run(lambda: serve(arguments), stopped="Stopped before the server was started.")


def serve(arguments: list[str]) -> int:
    """Run the container with a command line; the exit status."""
    if arguments != ["serve"]:
        raise SettingsError(f"This container understands `serve` and nothing else, not {' '.join(arguments) or 'no command'!r}.")
    settings = environment.read_environment(os.environ)
    log = Log(settings.level)
    if settings.ignored:
        log.say(f"Ignored, since the container sets it itself: {', '.join(settings.ignored)}", 30)
    with tempfile.TemporaryDirectory(prefix="synpg-", ignore_cleanup_errors=True) as scratch:

        async def run_container() -> int:
            return await Container(settings, log, Path(scratch)).run()

        return asyncio.run(run_container())
