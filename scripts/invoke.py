"""Call a running server, a SageMaker endpoint, or the model itself: one request, a file, standard input. Answers are printed, a line each.

    python -m scripts.invoke '{"sent": "…", "synt": "…", "tmpl": "statement"}'    one request (or a JSON array of them)
    python -m scripts.invoke --sent 'it rains .' --tmpl command --synt '(ROOT …)' --details
    python -m scripts.invoke --sent 'it rains .' --like 'does she sing ?' --tree   its parse drawn
    python -m scripts.invoke --file requests.jsonl                                 a request a line
    python -m scripts.invoke - < requests.jsonl
    python -m scripts.invoke --artifact model_store/demo --sent 'it rains .'       without a server: the model is loaded here
    python -m scripts.invoke --endpoint synpg-serverless --sent 'it rains .'       an endpoint instead of a server here
    python -m scripts.invoke --endpoint synpg-realtime --file requests.jsonl --output answers.jsonl --concurrency 8

Lines are sent in chunks; each answer is on the line of its request, and is `{"error": …}` if there is none. With --output, the
same command continues where an earlier one stopped. The exit status is 0 when every request was answered with a paraphrase,
1 when any was refused or the server could not be reached.

A call to an endpoint is repeated after a pause if the endpoint is throttled, not ready or unreachable, or if its container answers
5xx, but not if the request is wrong. A chunk that is too large or too slow is halved.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handler.language import drawing
from handler.wire.answer import Answer
from handler.wire.request import FIELDS
from scripts.client.invoke import TIMEOUT, URL, Sender, answer_lines, endpoint, server
from scripts.client.local import paraphraser
from scripts.training.command import run


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, dict]:
    """Options, and the fields of the request among them."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.invoke", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("request", nargs="?", help="a JSON object or array; - reads JSON Lines from standard input")
    parser.add_argument("--file", type=Path, help="JSON Lines, a request a line")
    parser.add_argument("--output", type=Path, help="file for the answers to --file; an incomplete one is continued")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default=URL, help="%(default)s")
    where.add_argument("--endpoint", help="the name of a SageMaker endpoint")
    where.add_argument("--artifact", type=Path, help="a model to load here, instead of a server")
    parser.add_argument("--async", dest="asynchronous", action="store_true", help="the endpoint is asynchronous: through S3")
    parser.add_argument("--region", help="of the endpoint; default: what AWS is configured with")
    parser.add_argument("--profile", help="AWS profile")
    parser.add_argument("--chunk", type=int, default=16, help="lines a call; an endpoint gives a call 60 s (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=1, help="calls under way at a time (%(default)s)")
    parser.add_argument(
        "--timeout", type=float, help=f"seconds to wait for an answer ({TIMEOUT:g}; of an endpoint 70, of an asynchronous one 3600)"
    )
    for name, text in ("sent", "the sentence"), ("synt", "its parse"), ("parse", "a whole parse to follow"):
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--tmpl", action="append", help="a template or its name; may be given several times")
    parser.add_argument("--like", action="append", metavar="SENTENCE", help="a sentence whose syntax is to be followed; instead of --tmpl")
    parser.add_argument("--tree", action="store_true", help="draw the parse that was followed under each answer; with --sent")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--num-paraphrases", type=int)
    parser.add_argument("--candidates", type=int, help="how many paraphrases to generate for each one returned, the best of them")
    parser.add_argument("--details", action="store_true", default=None)
    parser.add_argument("--tokenized", action="store_true", default=None, help="answer in tokens, not in text as people write it")
    args = parser.parse_args(argv)
    fields = {name: value for name in FIELDS if (value := getattr(args, name)) is not None}
    if sum((args.request is not None, args.file is not None, "sent" in fields)) != 1 or (fields and "sent" not in fields):
        parser.error("give one of: a request, -, --file, --sent with its options")
    if args.tree and "sent" not in fields:
        parser.error("--tree goes with --sent")
    if args.chunk < 1 or args.concurrency < 1:
        parser.error("--chunk and --concurrency must be at least 1")
    if args.output and not args.file:
        parser.error("--output goes with --file")
    if not args.endpoint and (args.asynchronous or args.region or args.profile):
        parser.error("--async, --region and --profile go with --endpoint")
    return args, fields


def main(argv: list[str] | None = None) -> int:
    args, fields = parse(argv)
    return run(lambda: ask(args, fields))


def drawn(answer: Any) -> Iterator[str]:
    """Each paraphrase of an answer with details, its parse drawn below it."""
    if isinstance(answer, dict) and "paraphrase" in answer:
        yield f"{answer['paraphrase']}\n{drawing.text(Answer(answer).tree)}"
        return
    for one in answer.values() if isinstance(answer, dict) else answer:
        yield from drawn(one)


def ask(args: argparse.Namespace, fields: dict) -> int:
    """Send what the options say; print or write the answers."""
    if args.artifact:
        with paraphraser(args.artifact) as (send, _):
            return ask_by(send, args, fields)
    if args.endpoint:
        return ask_by(endpoint(args.endpoint, args.region, args.profile, args.concurrency, args.timeout, args.asynchronous), args, fields)
    return ask_by(server(args.url, args.timeout or TIMEOUT), args, fields)


def ask_by(send: Sender, args: argparse.Namespace, fields: dict) -> int:
    if args.file is None and args.request != "-":
        for name in ("tmpl", "like"):
            if len(fields.get(name, ())) == 1:
                fields[name] = fields[name][0]
        if args.tree:
            answer = send(json.dumps({**fields, "details": True}, ensure_ascii=False).encode(), "application/json")
            print("\n\n".join(drawn(json.loads(answer))))
            return 0
        body = args.request if args.request is not None else json.dumps(fields, ensure_ascii=False)
        print(send(body.encode(), "application/json"))
        return 0
    if args.file is None:
        return answer_lines(send, sys.stdin, None, None, args.chunk, args.concurrency)
    with open(args.file, encoding="utf-8") as source:
        total = sum(1 for _ in source)
        source.seek(0)
        return answer_lines(send, source, total, args.output, args.chunk, args.concurrency)


if __name__ == "__main__":
    sys.exit(main())
