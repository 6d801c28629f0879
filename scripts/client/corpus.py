"""Read sentences from a file, have a server or a SageMaker endpoint paraphrase them, and show the results."""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.client import invoke
from scripts.client.invoke import InvokeError
from scripts.common.command import InputError
from scripts.common.damage import DAMAGED, reason

SENTENCE, PARSE = ("sentence", "sent"), ("parse", "synt", "constituency_tree")  # names of a table's columns
CALL_ROWS = 32  # paraphrases a call: what goes through the networks at once
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv", ".txt": "text"}


def read(file: str) -> list[dict]:
    """The requests of a file, `-` is standard input, without the options of the command line."""
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    name = Path(file.removesuffix(".gz"))
    try:
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text in UTF-8: {error}.") from None
    except DAMAGED as error:
        raise InputError(f"{file} is not a gzipped file, or it is damaged: {reason(error)}.") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    kind = SUFFIXES.get(name.suffix) or kind_of(lines)
    requests = {"text": read_text, "tsv": read_table, "jsonl": read_json_lines}[kind](lines)
    if not requests:
        raise InputError(f"There is no sentence in {'standard input' if file == '-' else file}.")
    return requests


def kind_of(lines: list[str]) -> str:
    """What a file without a telling name is, by its first line that is not blank."""
    first = next((line for line in lines if line.strip()), "")
    return "jsonl" if first.lstrip().startswith("{") else "tsv" if "\t" in first else "text"


def read_text(lines: list[str]) -> list[dict]:
    return [{"sent": line.strip()} for line in lines if line.strip()]


def read_table(lines: list[str]) -> list[dict]:
    header = [name.strip().lower() for name in lines[0].split("\t")]
    sentence, parse = (next((i for i, name in enumerate(header) if name in names), None) for names in (SENTENCE, PARSE))
    start = 0 if sentence is None else 1
    if sentence is None:
        sentence, parse = 0, 1
    requests = []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) <= sentence:
            raise InputError(f"Line {number} has {len(cells)} columns, the sentence is in the {sentence + 1}th.")
        request = {"sent": cells[sentence].strip()}
        if parse is not None and len(cells) > parse and cells[parse].strip():
            request["synt"] = cells[parse].strip()
            if not request["synt"].startswith("("):
                raise InputError(
                    f"Line {number}: the second column is no bracketed parse; if it is something else, name the columns on the first line."
                )
        requests.append(request)
    return requests


def read_json_lines(lines: list[str]) -> list[dict]:
    requests = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"Line {number} is not JSON: {reason(error)}.") from None
            if not isinstance(value, dict):
                raise InputError(f"Line {number} is not a JSON object.")
            if "sentence" in value:  # a data set's row; a request has no such field
                parse = next((value[name] for name in PARSE if value.get(name)), None)
                value = {"sent": value["sentence"], **({"synt": parse} if parse else {})}
            requests.append(value)
    return requests


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


def results(send: invoke.Sender, requests: list[dict], chunk: int, concurrency: int) -> Iterator[dict]:
    """Yield what came of each request, in order: `sent`, and `paraphrases` by label or `error`. Raises InvokeError."""
    lines = (json.dumps(request, ensure_ascii=False) for request in requests)
    for request, answer in zip(requests, invoke.answers(send, lines, chunk, concurrency)):
        failed = isinstance(answer, dict) and isinstance(answer.get("error"), dict)
        yield {"sent": request.get("sent"), **({"error": answer["error"]} if failed else {"paraphrases": labelled(request, answer)})}


def side_by_side(result: dict) -> str:
    """A sentence and its paraphrases, as people read them."""
    sentence = str(result["sent"]).strip()
    if "error" in result:
        error = result["error"]
        return f"{sentence}\n  ! {error['field'] + ': ' if error.get('field') else ''}{error['message']}\n"
    width = max(map(len, result["paraphrases"]))
    lines = [
        f"  {label if i == 0 else '':{width}}  {text}" for label, texts in result["paraphrases"].items() for i, text in enumerate(texts)
    ]
    return "\n".join([sentence, *lines, ""])


def server(url: str, timeout: float) -> invoke.Sender:
    """Ask a server here; a call that it refuses does not end the others, as it does in `invoke.server`."""
    plain = invoke.server(url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/invocations", timeout)

    def send(body: bytes, content_type: str = invoke.LINES, attempts: int = 1) -> str:
        try:
            return plain(body, content_type)
        except InvokeError as error:
            raise InvokeError(str(error), error.status, fewer=error.status >= 413, stop=not error.status) from None

    return send
