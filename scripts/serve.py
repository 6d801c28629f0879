"""Start TorchServe with one archive, and stop it with every process that it started.

    python -m scripts.serve start                      model_store/synpg.mar on the ports of config.properties
    python -m scripts.serve start --port 9090          this port for inference, free ones for everything else
    python -m scripts.serve stop
    python -m scripts.serve java                       which Java would run it; exit status 1 if there is none

`./scripts/serve.sh` installs what is missing, builds the archive and calls this. In a program or a test:

    with Server("model_store/synpg.mar", folder, port=0) as server:
        http.client.HTTPConnection("127.0.0.1", server.port).request("POST", "/predictions/synpg", …)
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from scripts.common.command import run
from scripts.common.paths import ARCHIVE
from scripts.serving.java import find_java
from scripts.serving.server import CONFIG, START_TIMEOUT, STATE, Server, demonstrate, stop


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.serve", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("java", help="say which Java would run TorchServe")
    for name, text in ("start", "start TorchServe and wait until the model answers"), ("stop", "stop it"):
        command = commands.add_parser(name, help=text)
        command.add_argument("--state", type=Path, default=STATE, help="folder for its log and its record (%(default)s)")
        if name == "start":
            command.add_argument("--archive", type=Path, default=ARCHIVE, help="the archive to serve (%(default)s)")
            command.add_argument("--config", type=Path, default=CONFIG, help="TorchServe's configuration (%(default)s)")
            command.add_argument("--port", type=int, help="inference port, 0 for a free one; all other ports are then free ones")
            command.add_argument(
                "--timeout", type=float, default=START_TIMEOUT, help="seconds to wait until the model is ready (%(default)g)"
            )
    options = parser.parse_args(argv)
    body = {
        "java": java,
        "stop": lambda: end(options.state),
        "start": lambda: start(Server(options.archive, options.state, options.port, options.config), options.timeout),
    }[options.command]
    return run(body, stopped="Interrupted; nothing is left running.")


def java() -> int:
    print(find_java())
    return 0


def end(state: Path) -> int:
    print("The server has stopped." if stop(state) else "No server is running.")
    return 0


def start(server: Server, timeout: float) -> int:
    """Start a server, send it an example, and leave it running. A start that is told to end stops the server again."""
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    begun = time.monotonic()
    server.start(timeout, say=lambda text: print(text, flush=True))
    try:
        print(f"The model is ready at {server.url} after {time.monotonic() - begun:.1f} s", flush=True)
        demonstrate(server)
    except BaseException:
        server.stop()
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
