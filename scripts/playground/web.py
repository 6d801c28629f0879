"""The small server behind the page. It listens on the loopback interface, and only the page that it serves may ask it.

A page of another site cannot drive it: a request must name this machine as its Host (against DNS rebinding), come from the page's
own origin, be JSON, and carry the key that is in the address that the command prints. The key also keeps out other users of the
machine. No text of a request is logged.
"""

import errno
import hmac
import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.client.invoke import InvokeError
from scripts.common.command import UserError
from scripts.playground import page
from scripts.playground.service import JSON, Refused, Service

STATIC = Path(__file__).resolve().with_name("static")
FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"), "/page.js": ("page.js", "text/javascript")}
HOSTS = {"127.0.0.1", "localhost"}
MAX_BYTES = 100_000  # of a body; the longest tree has 20,000 characters
PATIENCE = 30.0  # s for a browser to send its request
KEY = "X-Playground-Key"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageError(UserError):
    """The page cannot be served; one sentence."""


class Forbidden(Exception):
    """A request that is not the page's; one sentence."""


class PageServer(ThreadingHTTPServer):
    """Serves the page on a port of the loopback interface, 0 for a free one. Raises PageError if it cannot be had."""

    daemon_threads = True  # an answer that is under way does not keep the command from ending

    def __init__(self, port: int):
        self.key = secrets.token_urlsafe(12)
        self.service: Service | None = None
        self.examples: dict[str, str] = {}
        if not 0 <= port <= 65535:
            raise PageError(f"{port} is not a port: they go from 1 to 65535.")
        try:
            super().__init__(("127.0.0.1", port), PageHandler)
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({(error.strerror or 'no reason').lower()})"
            raise PageError(f"Port {port} {why}; choose another with --port, 0 for any that is free.") from None

    @property
    def address(self) -> str:
        """What to open. The key stands where a browser sends it to nobody."""
        return f"http://127.0.0.1:{self.server_address[1]}/#{self.key}"

    def handle_error(self, request, client_address) -> None:
        """The browser went away; anything else is a bug and keeps its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def answer(self, path: str, fields: dict) -> dict | None:
        """The answer to a call of the page; None if there is no such call. Raises Refused or InvokeError."""
        assert self.service is not None
        if path == "/api/opening":
            return page.opening(self.service, self.examples)
        if path == "/api/tree":
            return page.drawn(fields.get(page.TREE, ""))
        return page.paraphrased(self.service, fields) if path == "/api/paraphrase" else None


class PageHandler(BaseHTTPRequestHandler):
    """One request: a file of the page, or a call of its script."""

    server: PageServer
    server_version, sys_version = "synpg-playground", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        try:
            check_host(self.headers.get("Host"))
        except Forbidden as error:
            return self.refuse(403, str(error))
        if self.path not in FILES:
            return self.refuse(404, "There is no such page.")
        name, kind = FILES[self.path]
        self.reply(200, f"{kind}; charset=utf-8", (STATIC / name).read_bytes())

    def do_POST(self) -> None:
        try:
            self.check()
            answer = self.server.answer(self.path, self.fields())
        except Forbidden as error:
            return self.refuse(403, str(error))
        except Refused as error:
            return self.refuse(400, error.message, error.field)
        except InvokeError as error:
            return self.refuse(502, str(error))
        if answer is None:
            return self.refuse(404, "There is no such call.")
        self.reply(200, JSON, json.dumps(answer, ensure_ascii=False).encode())

    def check(self) -> None:
        """Raises Forbidden unless the page itself asks."""
        check_host(self.headers.get("Host"))
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        if origin != f"http://{self.headers['Host']}" or site not in (None, "same-origin"):
            raise Forbidden("Only the page of this server may ask it.")
        if self.headers.get_content_type() != JSON:
            raise Forbidden(f"A call is {JSON}.")
        if not hmac.compare_digest(self.headers.get(KEY, "").encode(), self.server.key.encode()):
            raise Forbidden("The address lacks its key, or has an old one; open the address that the command printed.")

    def fields(self) -> dict[str, Any]:
        """The JSON object in the body. Raises Refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BYTES:
            raise Refused(f"The page may send {MAX_BYTES} bytes at most.")
        try:
            value = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise Refused("What the page sent is not JSON.") from None
        if not isinstance(value, dict):
            raise Refused("What the page sent is not a JSON object.")
        return value

    def reply(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": content_type, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, field: str | None = None) -> None:
        self.reply(status, JSON, json.dumps({"error": {"message": message, "field": field}}).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing of a request is logged."""


def check_host(host: str | None) -> None:
    """Raises Forbidden unless a request is for this machine, by whatever port: another name may lead here by DNS rebinding."""
    try:
        name = urlsplit(f"//{host or ''}").hostname
    except ValueError:
        name = None
    if name not in HOSTS:
        raise Forbidden("This server answers to http://127.0.0.1 only.")
