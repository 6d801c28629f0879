"""Call a running server: one request, a file of requests, or standard input. Answers go to standard output as JSON Lines.

    python -m scripts.invoke '{"sent": "…", "synt": "…", "tmpl": "statement"}'    one request (or a JSON array of them)
    python -m scripts.invoke --sent 'it rains .' --tmpl command --synt '(ROOT …)' --details
    python -m scripts.invoke --file requests.jsonl                                 a request a line
    python -m scripts.invoke - < requests.jsonl

Lines are sent in chunks; an answer stands on the line of its request, `{"error": …}` where it was refused. The exit
status is 0 when every request was answered with a paraphrase, 1 when any was refused or the server could not be reached.
"""

import argparse
import http.client
import itertools
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

URL = "http://127.0.0.1:8080/invocations"
TIMEOUT = 120.0  # s without a byte from the server


class InvokeError(Exception):
    """The server could not be asked, or refused the body as a whole; one sentence."""


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
        raise InvokeError(f"HTTP {answer.status}: {_reason(text)}")
    return text


def _reason(text: str) -> str:
    try:
        value = json.loads(text)
        return f"{value['field']}: {value['message']}" if value.get("field") else value["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(text.split())[:300] or "no message"


def invoke_lines(url: str, lines, chunk: int, timeout: float):
    """Yield the answer to each line of JSON, in order, asking for `chunk` of them at a time."""
    lines = iter(lines)
    while batch := list(itertools.islice(lines, chunk)):
        answers = post(url, "\n".join(batch).encode(), "application/jsonlines", timeout).split("\n")
        if len(answers) != len(batch):
            raise InvokeError(f"{len(batch)} requests were sent and {len(answers)} answers came back.")
        yield from (json.loads(answer) for answer in answers)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.invoke", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("request", nargs="?", help="a JSON object or array; - reads JSON Lines from standard input")
    parser.add_argument("--file", type=Path, help="JSON Lines, a request a line")
    parser.add_argument("--url", default=URL, help="%(default)s")
    parser.add_argument("--chunk", type=int, default=32, help="lines a call (%(default)s)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds to wait for an answer (%(default)g)")
    for name, text in ("sent", "the sentence"), ("synt", "its parse"), ("parse", "a whole parse to follow"):
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--tmpl", action="append", help="a template or its name; may be given several times")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--num-paraphrases", type=int)
    parser.add_argument("--details", action="store_true", default=None)
    args = parser.parse_args(argv)
    fields = {name: value for name in ("sent", "synt", "tmpl", "parse", "temperature", "seed", "num_paraphrases", "details")
              if (value := getattr(args, name)) is not None}
    if sum((args.request is not None, args.file is not None, "sent" in fields)) != 1 or (fields and "sent" not in fields):
        parser.error("give one of: a request, -, --file, --sent with its options")
    if args.chunk < 1:
        parser.error("--chunk must be at least 1")
    refused = done = 0
    try:
        if args.file is None and args.request != "-":
            if len(fields.get("tmpl", ())) == 1:
                fields["tmpl"] = fields["tmpl"][0]
            body = args.request if args.request is not None else json.dumps(fields, ensure_ascii=False)
            print(post(args.url, body.encode(), "application/json", args.timeout))
            return 0
        source = sys.stdin if args.file is None else open(args.file, encoding="utf-8")
        with source:
            for answer in invoke_lines(args.url, (line.rstrip("\r\n") for line in source), args.chunk, args.timeout):
                print(json.dumps(answer, ensure_ascii=False))
                done, refused = done + 1, refused + (isinstance(answer, dict) and "error" in answer)
                if sys.stderr.isatty():
                    print(f"\r{done} answered, {refused} refused", end="", file=sys.stderr, flush=True)
    except (InvokeError, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chr(13) if sys.stderr.isatty() else ''}{done} answered, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
