"""Open a page in the browser to play with the model: a sentence, a template, the answer with its parse drawn.

    python -m scripts.playground                                 the server on this machine; one is started if there is none
    python -m scripts.playground --url http://127.0.0.1:9090     a server at another address
    python -m scripts.playground --endpoint synpg-serverless     a SageMaker endpoint

The page is for this machine only: it listens on 127.0.0.1, loads nothing from elsewhere, and talks to nobody but the server or endpoint.
Ctrl-C ends it, and the server if it was started for the page.
"""

import argparse
import os
import signal
import sys
import webbrowser
from contextlib import ExitStack

from scripts.common.command import run
from scripts.playground import service
from scripts.playground.web import PageServer

PORT = 8765


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.playground", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="a running server; default: the one here, started if there is none")
    where.add_argument("--endpoint", help="the name of a SageMaker endpoint")
    parser.add_argument("--region", help="of the endpoint; default: what AWS is configured with")
    parser.add_argument("--profile", help="AWS profile")
    parser.add_argument("--port", type=int, default=PORT, help="of the page; 0 for a free one (%(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    args = parser.parse_args(argv)
    if not args.endpoint and (args.region or args.profile):
        parser.error("--region and --profile go with --endpoint")
    return run(lambda: play(args), stopped="The page is closed.")


def play(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    for number in signal.SIGTERM, signal.SIGHUP:  # a server that was started is stopped then too
        signal.signal(number, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        page = stack.enter_context(PageServer(args.port))  # first: a port that is taken is told at once
        if args.endpoint:
            say(f"Asking the endpoint {args.endpoint} for an example; one that has slept takes a minute.")
            page.service = service.endpoint(args.endpoint, args.region, args.profile)
        else:
            page.service = service.local(args.url) if args.url else service.found_or_started(stack, say)
        page.examples = page.service.examples()
        say(f"The page is at {page.address}\nIt asks the {page.service.name}. Ctrl-C ends it.")
        if not args.no_browser and (sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(page.address)
        page.serve_forever()
    return 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
