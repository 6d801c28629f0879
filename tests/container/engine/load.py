"""Callers of a container, and what they got: every answer by its status, wrong answers, the longest wait."""

import collections
import http.client
import json
import threading
import time

from tests.container.engine.conftest import Running
from tests.factories import PICNIC, body

REQUEST = body({**PICNIC, "temperature": 0})
JSON = {"Content-Type": "application/json"}


class Load:
    """Callers that go on until told to stop."""

    def __init__(self, running: Running, callers: int = 8, keep: bool = True, each: int | None = None):
        """keep: use a connection again. each: calls of each caller, if it is to stop by itself."""
        self.running, self.keep, self.each, self.stopping = running, keep, each, False
        self.got: collections.Counter = collections.Counter()
        self.wrong: list = []  # 200 with another text than the first, or an error that is not as promised
        self.slowest = 0.0
        self.waits: list[float] = []  # seconds of each answer
        self.text: bytes | None = None
        self.threads = [threading.Thread(target=self.call) for _ in range(callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.wait()

    def wait(self):
        for thread in self.threads:
            thread.join()

    def __str__(self):
        return f"{dict(self.got)}, {len(self.wrong)} wrong, longest wait {self.slowest:.1f} s"

    def check(self, answer: http.client.HTTPResponse, text: bytes):
        if answer.status == 200:
            self.text = self.text or text
            right = text == self.text
        else:
            told = json.loads(text)
            right = set(told) == {"code", "type", "message", "field"} and told["code"] == answer.status
            right = right and (answer.status != 503 or answer.getheader("Retry-After") == "1")
        if not right:
            self.wrong.append((answer.status, text[:200]))

    def call(self):
        connection, calls = None, 0
        while not self.stopping and calls != self.each:
            began = time.monotonic()
            try:
                if not connection:
                    connection = http.client.HTTPConnection(self.running.host, self.running.port, timeout=5)
                    connection.connect()
                    connection.sock.settimeout(90)
            except OSError:
                connection = None
                self.got["not accepted"] += 1
                time.sleep(0.1)
                continue
            calls += 1
            try:
                connection.request("POST", "/invocations", REQUEST, JSON)
                answer = connection.getresponse()
                text = answer.read()
                self.waits.append(time.monotonic() - began)
                self.got[answer.status] += 1
                self.check(answer, text)
                if not self.keep or answer.will_close:
                    connection = connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.got[f"lost: {type(error).__name__}: {error}"] += 1
                connection = connection.close()
            self.slowest = max(self.slowest, time.monotonic() - began)
