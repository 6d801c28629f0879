"""Paraphrase a file of sentences, on a running server or a SageMaker endpoint; what came of each stands under it.

    python -m scripts.paraphrase sentences.txt                            a sentence a line, every named template
    python -m scripts.paraphrase parsed.tsv --tmpl statement --tmpl '(ROOT (S (VP ) (. )))'
    python -m scripts.paraphrase dev.tsv --endpoint synpg --jsonl > paraphrases.jsonl
    printf '%s\\n' 'it rains .' | python -m scripts.paraphrase -

FILE is plain text with a sentence a line; or `sentence<TAB>parse`; or any table whose first line names a column `sentence`,
as SST-2's does, and perhaps one `parse` or `constituency_tree`; or JSON Lines: of requests, whose own fields come before
the options, or of a data set's rows with the same two names. It may be gzipped. Answers come in the order of the sentences.
What is wrong with a sentence stands in the place of its paraphrases, and the exit status is then 1.
"""

import argparse
import gzip
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from handler.request import CATALOGUE
from scripts import invoke
from scripts.invoke import InvokeError

SENTENCE, PARSE = ("sentence", "sent"), ("parse", "synt", "constituency_tree")  # names of a table's columns
CALL_ROWS = 32  # paraphrases a call: what goes through the networks at once
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv", ".txt": "text"}


class InputError(Exception):
    """The file is not what it should be; one sentence."""


def read(file: str) -> list[dict]:
    """The requests of a file, `-` is standard input, without the options of the command line."""
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    name = Path(file.removesuffix(".gz"))
    try:
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{file} is not text in UTF-8: {error}.") from None
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
                raise InputError(f"Line {number}: the second column is no bracketed parse; if it is something else, "
                                 "name the columns on the first line.")
        requests.append(request)
    return requests


def read_json_lines(lines: list[str]) -> list[dict]:
    requests = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as error:
                raise InputError(f"Line {number} is not JSON: {error}.") from None
            if not isinstance(value, dict):
                raise InputError(f"Line {number} is not a JSON object.")
            if "sentence" in value:  # a data set's row; a request has no such field
                parse = next((value[name] for name in PARSE if value.get(name)), None)
                value = {"sent": value["sentence"], **({"synt": parse} if parse else {})}
            requests.append(value)
    return requests


def completed(request: dict, options: dict, templates: list[str] | None) -> dict:
    """A request with the options it does not set itself."""
    targets = {"tmpl": templates} if templates and not {"tmpl", "parse"} & request.keys() else {}
    if "parse" in request:  # which is followed as it is
        options = {name: value for name, value in options.items() if name != "candidates"}
    return {**options, **targets, **request}


def labelled(request: dict, answer) -> dict[str, list[str]]:
    """The paraphrases of an answer by what they were asked with: a template, its name, or a parse."""
    if isinstance(answer, dict) and "paraphrase" not in answer:  # the names were left to the server
        asked, values = list(answer), list(answer.values())
    else:
        asked = request.get("tmpl") or request.get("parse")
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


def results(send, requests: list[dict], chunk: int, concurrency: int):
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
    lines = [f"  {label if i == 0 else '':{width}}  {text}" for label, texts in result["paraphrases"].items()
             for i, text in enumerate(texts)]
    return "\n".join([sentence, *lines, ""])


def sender(args) -> invoke.Send:
    """How the server or the endpoint is asked."""
    if args.endpoint:
        return invoke.endpoint(args.endpoint, args.region, args.profile, args.concurrency, args.timeout, args.asynchronous)
    url = args.url if urlsplit(args.url).path.strip("/") else args.url.rstrip("/") + "/invocations"

    def send(body: bytes, content_type: str, attempts: int = 1) -> str:
        try:
            return invoke.post(url, body, content_type, args.timeout or invoke.TIMEOUT)
        except InvokeError as error:  # a server that says no to one call may take the next
            raise InvokeError(str(error), error.status, fewer=error.status >= 413, stop=not error.status) from None
    return send


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.paraphrase", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="text, TSV or JSON Lines; - reads standard input")
    parser.add_argument("--tmpl", action="append", metavar="NAME_OR_TEMPLATE",
                        help=f"may be given several times; default: all named ones ({', '.join(CATALOGUE)})")
    parser.add_argument("--temperature", type=float, help="0 takes the likeliest word; the server's default is 0.5")
    parser.add_argument("--seed", type=int, help="the same for every sentence: the same call prints the same again")
    parser.add_argument("--num-paraphrases", type=int, help="samples per template")
    parser.add_argument("--candidates", type=int, help="paraphrases made for each one printed, which is the best of them")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--url", default=invoke.URL, help="a running server (%(default)s)")
    place.add_argument("--endpoint", help="the name of a SageMaker endpoint instead")
    parser.add_argument("--async", dest="asynchronous", action="store_true", help="the endpoint is asynchronous: through S3")
    parser.add_argument("--region", help="of the endpoint; default: what AWS is configured with")
    parser.add_argument("--profile", help="AWS profile")
    parser.add_argument("--jsonl", action="store_true", help="an object a line: sent, and paraphrases by template or error")
    parser.add_argument("--chunk", type=int, help="sentences a call; an endpoint gives a call 60 s; "
                        f"default: as many as make {CALL_ROWS} paraphrases or candidates")
    parser.add_argument("--concurrency", type=int, default=2, help="calls under way at a time (%(default)s)")
    parser.add_argument("--timeout", type=float, help="seconds to wait for an answer")
    args = parser.parse_args(argv)
    if args.chunk is None:
        each = max(1, args.num_paraphrases or 1) * max(1, args.candidates or 1)
        args.chunk = max(1, CALL_ROWS // (len(args.tmpl or CATALOGUE) * each))
    if args.chunk < 1 or args.concurrency < 1:
        parser.error("--chunk and --concurrency must be at least 1")
    if not args.endpoint and (args.asynchronous or args.region or args.profile):
        parser.error("--async, --region and --profile go with --endpoint")
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    options = {name: value for name in ("temperature", "seed", "num_paraphrases", "candidates")
               if (value := getattr(args, name)) is not None}
    refused = paraphrases = 0
    try:
        requests = [completed(request, options, args.tmpl) for request in read(args.file)]
        with tqdm(total=len(requests), unit="sentence", file=sys.stderr, disable=None) as bar:  # none where nobody looks
            for result in results(sender(args), requests, args.chunk, args.concurrency):
                refused += "error" in result
                paraphrases += sum(map(len, result.get("paraphrases", {}).values()))
                tqdm.write(json.dumps(result, ensure_ascii=False) if args.jsonl else side_by_side(result), file=sys.stdout)
                sys.stdout.flush()
                bar.update()
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more on its way out
        return 1
    except (InputError, InvokeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{len(requests)} sentences, {paraphrases} paraphrases, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
