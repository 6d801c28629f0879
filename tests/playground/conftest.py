"""The page of the playground, before the shipped model without TorchServe, and before answers that a test makes up."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest

from handler import load
from scripts.common.paths import DEMO
from scripts.playground import service
from scripts.playground.web import KEY, PageServer
from tests.gateway import Container


@pytest.fixture(scope="session")
def synpg():
    """The address of a server that answers as the shipped model does, with the checks of the wire contract."""
    model = load(DEMO, threads=1)
    lock = threading.Lock()

    def answer(path, headers, body):
        with lock:
            built = model.respond(body, headers.get("content-type"), headers.get("accept"))
        return built.status, {"Content-Type": built.content_type}, built.body.encode()

    with Container(answer) as running:
        yield running.url


class Page:
    """A page that is being served, and calls to it as its script makes them."""

    def __init__(self, asked: service.Service):
        self.server = PageServer(0)
        self.server.service = asked
        self.address, self.key = self.server.address, self.server.key
        self.host = urlsplit(self.address).netloc

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def headers(self) -> dict:
        return {"Host": self.host, "Origin": f"http://{self.host}", "Content-Type": "application/json", KEY: self.key}

    def send(self, method: str, path: str, headers: dict, body: bytes = b"") -> tuple[int, dict, bytes]:
        """Status, headers and body of an answer to exactly these headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_address[1], timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def call(self, name: str, fields: dict, **headers) -> tuple[int, dict]:
        """A call of the page's script; `headers` change those that it sends, None leaves one out."""
        status, _, body = self.send("POST", f"/api/{name}", {**self.headers(), **headers}, json.dumps(fields).encode())
        return status, json.loads(body)


@pytest.fixture
def serve():
    """Makes pages: serve(service) is a `with` block's context."""
    return Page


@pytest.fixture(scope="session")
def page(synpg):
    """The page before the shipped model."""
    with Page(service.local(synpg)) as running:
        running.server.examples = running.server.service.examples()
        yield running
