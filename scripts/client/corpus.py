"""Have a model, a server or a SageMaker endpoint paraphrase the sentences of a file, in order."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from scripts.client import invoke
from scripts.client.invoke import InvokeError
from scripts.client.tables import Record

CALL_ROWS = 32  # paraphrases a call: what goes through the networks at once


def completed(request: dict, options: dict, targets: dict[str, list[str]]) -> dict:
    """A request with the options and the targets (`tmpl` or `like`) that it does not set itself."""
    targets = {} if {"tmpl", "like", "parse"} & request.keys() else targets
    if "parse" in request:  # which is followed as it is
        options = {name: value for name, value in options.items() if name != "candidates"}
    return {**options, **targets, **request}


def labelled(request: dict, answer) -> dict[str, list[str]]:
    """The paraphrases of an answer by what they were asked with: a template, its name, or a parse."""
    asked: Any
    if isinstance(answer, dict) and "paraphrase" not in answer:  # the names were left to the server
        asked, values = list(answer), list(answer.values())
    else:
        asked = request.get("tmpl") or request.get("like") or request.get("parse")
        asked, values = (value if isinstance(value, list) else [value] for value in (asked, answer))
    flat = [text for value in values for text in (value if isinstance(value, list) else [value])]
    flat = [text["paraphrase"] if isinstance(text, dict) else text for text in flat]
    each = len(flat) // max(len(asked), 1)
    if not each or each * len(asked) != len(flat) or not all(isinstance(text, str) for text in flat):
        raise InvokeError("The answer is not what was asked for; is this a SynPG endpoint?")
    found: dict[str, list[str]] = {}
    for i, label in enumerate(asked):
        found.setdefault(label, []).extend(flat[i * each : (i + 1) * each])
    return found


def results(
    send: invoke.Sender, records: Iterable[Record], complete: Callable[[dict], dict], chunk: int, concurrency: int, distinct: bool = False
) -> Iterator[dict]:
    """Yield what came of each record, in order: `line`, `sent`, and `paraphrases` by label or `error`. Raises InvokeError.

    complete: what makes a whole request of a record's. distinct: a text that was there before under its label is left out.
    """
    waiting: deque[tuple[Record, dict]] = deque()

    def lines() -> Iterator[str]:
        for record in records:
            request = {} if record.error else complete(record.request)
            waiting.append((record, request))
            if not record.error:
                yield json.dumps(request, ensure_ascii=False)

    for answer in invoke.answers(send, lines(), chunk, concurrency):
        while waiting[0][0].error:
            yield unread(waiting.popleft()[0])
        record, request = waiting.popleft()
        result = {"line": record.line, "sent": request.get("sent")}
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            yield {**result, "error": answer["error"]}
            continue
        texts = labelled(request, answer)
        yield {**result, "paraphrases": {label: list(dict.fromkeys(found)) for label, found in texts.items()} if distinct else texts}
    yield from (unread(record) for record, _ in waiting)


def unread(record: Record) -> dict:
    """What comes of a record that has no request."""
    return {"line": record.line, "sent": None, "error": {"code": 400, "type": "InvalidRequest", "message": record.error, "field": None}}


def server(url: str, timeout: float) -> invoke.Sender:
    """Ask a server here; a call that it refuses does not end the others, as it does in `invoke.server`."""
    plain = invoke.server(url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/invocations", timeout)

    def send(body: bytes, content_type: str = invoke.LINES, attempts: int = 1) -> str:
        try:
            return plain(body, content_type)
        except InvokeError as error:
            raise InvokeError(str(error), error.status, fewer=error.status >= 413, stop=not error.status) from None

    return send
