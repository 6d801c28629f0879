"""Run TorchServe with one archive. Every process of it can be found and ended, and every failure is one sentence."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from scripts.common.damage import DAMAGED, reason, unpack_members
from scripts.common.paths import ROOT, shown
from scripts.serving.diagnosis import FAILED, ServerError, cause, until_told
from scripts.serving.java import find_java
from scripts.serving.readiness import read_workers

CONFIG, STATE = ROOT / "config.properties", ROOT / ".cache"
LOG_CONFIG = Path(__file__).resolve().with_name("log4j2.xml")
START_TIMEOUT = 180.0  # s
EXAMPLE = {
    "sent": "we will have a picnic if it is a sunny day tomorrow.",
    "synt": "(ROOT (S (NP (PRP we)) (VP (MD will) (VP (VB have) (NP (DT a) (NN picnic)) (SBAR (IN if) (S (NP (PRP it)) "
    "(VP (VBZ is) (NP (DT a) (JJ sunny) (NN day)) (NP (NN tomorrow))))))) (. .)))",
    "tmpl": "(ROOT (S (SBAR ) (, ) (NP ) (VP ) (. )))",
}

# Every address TorchServe listens on, in config.properties' terms; True: a URL, False: a bare port.
ADDRESSES = {
    "inference_address": True,
    "management_address": True,
    "metrics_address": True,
    "grpc_inference_port": False,
    "grpc_management_port": False,
}
# Variables that would change the server without the caller's knowledge.
UNWANTED_ENV = "PYTHONPATH", "PYTHONHOME", "TS_CONFIG_FILE", "TS_OPEN_INFERENCE_PROTOCOL"
MODELS = "unpacked"  # folder of the temporary one with the model's files; TorchServe makes another, `models`
TEMPORARY = "synpg-"  # how the name of a temporary folder outside the state folder begins
SOCKET_PATH_MAX = 103  # bytes; the worker's socket lies in the temporary folder, whose path must be this short


class Server:
    """One TorchServe with one model, in a process group of its own.

    archive: the .mar file.
    state:   folder for its log, temporary files and record; one server a folder.
    port:    None: the ports of `config`; 0: free ports; otherwise this one for inference and free ones for the rest.
    """

    def __init__(self, archive: Path | str, state: Path | str, port: int | None = None, config: Path | str = CONFIG, model: str = "synpg"):
        self.archive, self.state, self.config = Path(archive).resolve(), Path(state).resolve(), Path(config)
        self.model = model
        self.wanted_port = port
        self.log = self.state / "logs" / "torchserve.log"
        self.url = self.management_url = ""  # known once started

    @property
    def port(self) -> int:
        """The inference port."""
        return urlsplit(self.url).port or 80

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self, timeout: float = START_TIMEOUT, say=lambda text: None) -> "Server":
        """Start it and wait until the worker has loaded the model. Raises ServerError and leaves nothing running."""
        deadline = time.monotonic() + timeout
        if not self.archive.is_file():
            raise ServerError(f"There is no archive {shown(self.archive)}; build it with `python -m scripts.build_archive`.")
        java = find_java()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if os.getuid() not in (0, self.state.stat().st_uid):
            raise ServerError(f"{shown(self.state)} belongs to another user; name a folder of your own with --state.")
        with locked(self.state / "serve.lock"):
            if record := running(self.state):
                raise ServerError(f"A server is already running at {record['url']}; {stop_hint(self.state)}.")
            text, addresses = configure(self.config.read_text(), self.wanted_port)
            check_ports(text, addresses)
            temporary = make_temporary(self.state)
            try:
                self._unpack(temporary / MODELS / self.model)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            config = self.state / "torchserve.properties"
            config.write_text(text)
            self.url, self.management_url = addresses["inference_address"], addresses["management_address"]
            say(f"Starting TorchServe; its log is {shown(self.log)}")
            try:
                self._launch(config, java, temporary)
                self._wait(deadline, timeout)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> bool:
        """Stop it, whoever started it; False if nothing was running."""
        return stop(self.state)

    def _unpack(self, folder: Path) -> None:
        """The archive's files, in a folder that TorchServe is given in its place: it would unpack the archive itself, in Java, which takes
        seconds for 130 MB (scripts/bench/README.md). Raises ServerError."""
        try:
            unpack_members(self.archive, folder)
        except DAMAGED as error:
            raise ServerError(f"{shown(self.archive)} is not a model archive, or it is damaged: {reason(error)}.") from None
        except OSError as error:
            raise ServerError(f"{shown(self.archive)} cannot be unpacked under {folder}: {error.strerror or error}.") from None

    def _launch(self, config: Path, java: Path, temporary: Path) -> None:
        env = {name: value for name, value in os.environ.items() if name not in UNWANTED_ENV}
        env |= {
            "JAVA_HOME": str(java),
            "TMPDIR": str(temporary),
            "TEMP": str(temporary),
            "LOG_LOCATION": str(self.log.parent),
            "METRICS_LOCATION": str(self.log.parent),
        }
        # `torchserve --start`, by module: a console script breaks when its virtual environment is moved.
        command = [
            sys.executable,
            "-m",
            "ts.model_server",
            "--start",
            "--ncs",
            "--ts-config",
            str(config),
            "--log-config",
            str(LOG_CONFIG),
            "--model-store",
            str(temporary / MODELS),
            "--models",
            f"{self.model}={self.model}",
        ]
        with open(self.log, "wb") as log:
            launcher = subprocess.Popen(
                command, cwd=self.state, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        # A session of its own: its id is the launcher's, outlives the launcher, and names Java and the workers.
        record = {"group": launcher.pid, "url": self.url, "temporary": str(temporary), "state": str(self.state)}
        (self.state / "server.json").write_text(json.dumps(record))
        if launcher.wait(timeout=60) != 0:  # it only starts Java
            raise ServerError(f"TorchServe could not be started: {self._cause()}.")

    def _wait(self, deadline: float, timeout: float) -> None:
        """Wait until every worker is ready. Raises ServerError when the server ends, the model fails to load, or the time is over."""
        while True:
            if not running(self.state):
                raise ServerError(f"TorchServe ended while starting: {self._cause()}; its log is {shown(self.log)}.")
            if FAILED.search(self.log.read_text(errors="replace")):
                for pause in until_told(self._cause):
                    time.sleep(pause)
                raise ServerError(f"The model could not be loaded: {self._cause()}; the log is {shown(self.log)}.")
            if self.ready():
                return
            if time.monotonic() > deadline:
                raise ServerError(f"The model was not ready after {timeout:g} s; the log is {shown(self.log)}.")
            time.sleep(0.2)

    def ready(self) -> bool:
        """Whether every worker has loaded the model."""
        try:
            status, body = call(f"{self.management_url}/models/{self.model}", timeout=5)
            return read_workers(status, body).ready
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _cause(self) -> str:
        """The line of the log that says why."""
        return cause(self.log.read_text(errors="replace"))


def configure(text: str, port: int | None) -> tuple[str, dict[str, str]]:
    """The text of config.properties with the ports that were asked for, and its addresses as URLs."""
    if port is not None and not 0 <= port <= 65535:
        raise ServerError(f"{port} is not a port: they go from 1 to 65535.")
    free = free_ports(len(ADDRESSES))
    addresses = {}
    for key, is_url in ADDRESSES.items():
        match = re.search(rf"^{key}=(.*)$", text, re.M)
        if not match:
            raise ServerError(f"The configuration sets no {key}.")
        value = match[1].strip() if is_url else f"http://127.0.0.1:{match[1].strip()}"
        if port is not None:
            chosen = port if port and key == "inference_address" else free.pop()
            value = f"http://{urlsplit(value).hostname}:{chosen}"
            text = text.replace(match[0], f"{key}={value if is_url else chosen}")
        addresses[key] = value
    return text, addresses


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on; all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def check_ports(text: str, addresses: dict[str, str]) -> None:
    """Raise ServerError for a port that cannot be listened on."""
    for key, address in addresses.items():
        if key == "metrics_address" and re.search(r"^enable_metrics_api=false", text, re.M):
            continue
        place = urlsplit(address)
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as TorchServe does
                probe.bind((place.hostname, place.port))
        except OSError as error:
            raise ServerError(
                f"Port {place.port} ({key}) cannot be used: {os.strerror(error.errno or 0).lower()}; "
                "free it, or choose another with --port."
            ) from None


def running(state: Path) -> dict | None:
    """The record of the server that `state` belongs to, if any process of it is alive. A file that is no record counts as none."""
    record = read_record(state)
    return record if record and members(record) else None


def read_record(state: Path) -> dict | None:
    """What server.json of a state folder says, of a server that may have ended."""
    try:
        record = json.loads((state / "server.json").read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return record if is_record(record) else None


def make_temporary(state: Path) -> Path:
    """A new folder for the temporary files of a server, with a name that nobody can foresee where others can write.

    That of a server that was killed is removed first.
    """
    if record := read_record(state):
        remove_temporary(record)
    temporary = state / "tmp"
    if len(os.fsencode(temporary / ".ts.sock.9000")) > SOCKET_PATH_MAX:
        return Path(tempfile.mkdtemp(prefix=TEMPORARY))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    return temporary


def remove_temporary(record: dict) -> None:
    """Remove the temporary files of a recorded server, if the record names such a folder and it is ours."""
    temporary = Path(record["temporary"])
    if temporary == Path(record["state"]) / "tmp" or temporary.name.startswith(TEMPORARY):
        with contextlib.suppress(OSError):
            if temporary.lstat().st_uid == os.getuid():
                shutil.rmtree(temporary, ignore_errors=True)


def is_record(value) -> bool:
    """Whether a value is what `Server` writes into server.json."""
    return (
        isinstance(value, dict)
        and type(value.get("group")) is int
        and all(isinstance(value.get(key), str) and value[key] for key in ("url", "temporary", "state"))
    )


def members(record: dict) -> list:
    """The live processes of a recorded server: of its process group, and started for its folder."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == record["group"] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    # A number is used again in time: only a group that names one of the folders is ours.
    named = any(record[key] in argument for key in ("state", "temporary") for process in found for argument in _command(process))
    return found if named else []


def stop(state: Path | str, patience: float = 20.0) -> bool:
    """Stop the server that `state` belongs to and remove its temporary files; False if none was running."""
    state = Path(state).resolve()
    record = running(state)
    if not record:
        return False
    import psutil

    processes = members(record)
    # Java ends its workers itself, more quietly than they do on a signal.
    java = [process for process in processes if "org.pytorch.serve.ModelServer" in _command(process)]
    for process in java or processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + patience
    while members(record):
        if time.monotonic() > deadline + 10:
            raise ServerError(f"Process group {record['group']} does not end, not even when killed.")
        if time.monotonic() > deadline:
            os.killpg(record["group"], signal.SIGKILL)
        time.sleep(0.1)
    remove_temporary(record)
    (state / "server.json").unlink(missing_ok=True)
    return True


def _command(process) -> list[str]:
    import psutil

    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextlib.contextmanager
def locked(file: Path):
    """Hold a lock on starts in this folder. It ends with the process that holds it."""
    with open(file, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerError("A server is being started in this folder right now; wait for it, or stop it.") from None
        yield


def call(url: str, body: bytes | None = None, timeout: float = 120) -> tuple[int, str]:
    """GET, or POST of JSON; returns status and body. No proxy is used."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "localhost", place.port, timeout=timeout)
    try:
        connection.request("GET" if body is None else "POST", place.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def stop_hint(state: Path) -> str:
    return (
        "stop it with `"
        + ("./scripts/serve.sh --stop" if state == STATE else f"python -m scripts.serve stop --state {shlex.quote(str(state))}")
        + "`"
    )


def demonstrate(server: Server) -> None:
    """Send the README's example and show how it is done."""
    url, body = f"{server.url}/predictions/{server.model}", json.dumps(EXAMPLE, ensure_ascii=False)
    try:
        status, answer = call(url, body.encode())
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"The model did not answer the example ({error}); the log is {shown(server.log)}.") from None
    if status != 200:
        raise ServerError(f"The model answered the example with HTTP {status}: {' '.join(answer.split())[:300]}")
    print(
        f"\nrequest     {body}\nparaphrase  {answer}\n\nThe same from a shell:\n\n"
        f"  curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(body)}\n\n"
        f"It runs until stopped; {stop_hint(server.state)}.",
        flush=True,
    )
