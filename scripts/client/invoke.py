"""Call a running server or a SageMaker endpoint: one request, a file, standard input. Answers go to standard output, a line each."""

import http.client
import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from scripts.common.answers import reason_of
from scripts.common.command import UserError

URL = "http://127.0.0.1:8080/invocations"
TIMEOUT = 120.0  # s without a byte from the server
LINES = "application/jsonlines"
STREAK = 3  # after so many requests in a row without an answer the rest are not sent


class Sender(Protocol):
    """Sends a body and returns the answer's text. Raises InvokeError."""

    def __call__(self, body: bytes, content_type: str = LINES, attempts: int = 1) -> str:
        """attempts: how often an endpoint is asked before it counts as unanswered. A server here is asked once."""


class InvokeError(UserError):
    """The server could not be asked, or refused the body as a whole; one sentence.

    `status` is the answer's; `fewer` says that fewer records may fare better, `stop` that no other request will.
    """

    def __init__(self, sentence: str, status: int = 0, fewer: bool = False, stop: bool = True):
        super().__init__(sentence)
        self.status, self.fewer, self.stop = status, fewer, stop


def post(url: str, body: bytes, content_type: str, timeout: float = TIMEOUT) -> str:
    """POST a body; the answer's text. Raises InvokeError for anything but a 200."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise InvokeError(f"{url} is not an http address.")
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname, place.port, timeout=timeout)
    try:
        connection.request("POST", place.path or "/", body, {"Content-Type": content_type})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except ConnectionRefusedError:
        raise InvokeError(f"Nothing answers at {place.netloc}; is the server running (./scripts/serve.sh)?") from None
    except (OSError, http.client.HTTPException) as error:
        raise InvokeError(f"{place.netloc} did not answer: {error or type(error).__name__}.") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise InvokeError(f"HTTP {answer.status}: {reason_of(text)}", answer.status)
    return text


def server(url: str, timeout: float = TIMEOUT) -> Sender:
    """Ask a server here."""
    return lambda body, content_type=LINES, attempts=1: post(url, body, content_type, timeout)


def endpoint(
    name: str,
    region: str | None = None,
    profile: str | None = None,
    concurrency: int = 1,
    timeout: float | None = None,
    asynchronous: bool = False,
) -> Sender:
    """Ask a SageMaker endpoint. Raises InvokeError where it cannot be: no region, no credentials, no boto3."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError

        from scripts.aws import errors, runtime, session
    except ImportError as error:
        raise InvokeError(f"{error.name} is missing; `pip install -r scripts/requirements.txt` brings it.") from None
    try:
        kind = runtime.AsyncEndpoint if asynchronous else runtime.Endpoint
        asked = kind(session.Session(region, profile), name, concurrency, **({"timeout": timeout} if timeout else {}))
    except (errors.AwsError, BotoCoreError, ClientError) as error:
        raise InvokeError(errors.sentence(error)) from None

    def send(body: bytes, content_type: str = LINES, attempts: int = runtime.ATTEMPTS) -> str:
        try:
            return asked.send(body, content_type, attempts)
        except runtime.Unanswered as error:
            verdict = error.verdict
            raise InvokeError(
                verdict.sentence, verdict.status, verdict.what in (runtime.SPLIT, runtime.AGAIN), verdict.what == runtime.STOP
            ) from None

    return send


def ask(send: Sender, lines: list[str], **more) -> list:
    """The answers to some lines, an object with `error` for each that gets none. Halves what is too much at once."""
    try:
        answers = send("\n".join(lines).encode(), LINES, **more).split("\n")
        if len(answers) != len(lines):
            raise InvokeError(f"{len(lines)} requests were sent and {len(answers)} answers came back.")
        return [json.loads(answer) for answer in answers]
    except (ValueError, RecursionError):
        raise InvokeError("The answer is not JSON Lines.") from None
    except InvokeError as error:
        if error.stop:
            raise
        if len(lines) > 1 and (error.fewer or error.status == 400):
            half = len(lines) // 2
            return ask(send, lines[:half], attempts=2) + ask(send, lines[half:], attempts=2)
        return [{"error": {"code": error.status or 503, "type": "Unanswered", "message": str(error), "field": None}} for _ in lines]


def given_up(answer) -> bool:
    """Whether a request got no answer because of the server, so that it may succeed another time."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return isinstance(error, dict) and error.get("type") == "Unanswered" and error.get("code", 0) >= 500


def answers(send: Sender, lines: Iterable[str], chunk: int, concurrency: int = 1) -> Iterator:
    """Yield the answer to each line of JSON, in order; `chunk` lines a call, `concurrency` calls under way."""
    source, streak = iter(lines), 0
    parts = iter(lambda: list(itertools.islice(source, chunk)), [])
    pool = ThreadPoolExecutor(concurrency)  # not in a `with`, which would wait for the calls under way when the user has stopped it
    try:
        waiting = deque(pool.submit(ask, send, part) for part in itertools.islice(parts, concurrency))
        while waiting:
            for answer in waiting.popleft().result():
                yield answer
                streak = streak + 1 if given_up(answer) else 0
                if streak == STREAK:
                    raise InvokeError(f"{STREAK} requests in a row got no answer: {answer['error']['message']}")
            waiting.extend(pool.submit(ask, send, part) for part in itertools.islice(parts, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def resume(output: Path) -> int:
    """How many lines of an output are done. Removes a half-written last line, and last lines that may succeed another time."""
    if not output.exists():
        return 0
    data = output.read_bytes()
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    try:
        while lines and given_up(json.loads(lines[-1])):
            lines.pop()
    except (ValueError, RecursionError):
        raise InvokeError(f"{output} is no output of this command; give another --output.") from None
    with open(output, "r+b") as file:
        file.truncate(sum(map(len, lines)))
    return len(lines)


def answer_lines(send: Sender, source: Iterable[str], total: int | None, output: Path | None, chunk: int, concurrency: int) -> int:
    """Print the answer to every line, or append it to `output`; returns the exit status."""
    skip = resume(output) if output else 0
    if total is not None and skip > total:
        raise InvokeError(f"{output} has {skip} answers already, and there are {total} requests; give another --output.")
    if skip:
        print(f"going on after {skip} answers in {output}", file=sys.stderr)
    done = refused = 0
    started, tty = time.monotonic(), sys.stderr.isatty()
    of = f" of {total - skip}" if total is not None else ""
    sink = open(output, "a", encoding="utf-8") if output else sys.stdout
    try:
        for answer in answers(send, itertools.islice((line.rstrip("\r\n") for line in source), skip, None), chunk, concurrency):
            print(json.dumps(answer, ensure_ascii=False), file=sink, flush=True)
            done, refused = done + 1, refused + (isinstance(answer, dict) and "error" in answer)
            if tty:
                rate = done / (time.monotonic() - started)
                print(f"\r{done}{of} answered, {refused} refused, {rate:.1f}/s ", end="", file=sys.stderr, flush=True)
    finally:
        if output:
            sink.close()
        if done:
            print(f"{chr(13) if tty else ''}{done} answered, {refused} refused", file=sys.stderr)
    if not done:
        print(f"{done} answered, {refused} refused", file=sys.stderr)
    return 1 if refused else 0
