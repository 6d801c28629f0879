"""Paraphrase a file of sentences with a running server or a SageMaker endpoint; print each sentence with its paraphrases.

    python -m scripts.paraphrase sentences.txt                            a sentence a line, every named template
    python -m scripts.paraphrase parsed.tsv --tmpl statement --tmpl '(ROOT (S (VP ) (. )))'
    python -m scripts.paraphrase dev.tsv --endpoint synpg --jsonl > paraphrases.jsonl
    printf '%s\\n' 'it rains .' | python -m scripts.paraphrase -

FILE is plain text with a sentence a line; or `sentence<TAB>parse`; or any table whose first line names a column `sentence`,
as SST-2's does, and perhaps one `parse` or `constituency_tree`; or JSON Lines: of requests, whose own fields come before
the options, or of a data set's rows with the same two names. It may be gzipped. Answers come in the order of the sentences.
If a sentence cannot be paraphrased, the reason is printed in place of its paraphrases, and the exit status is 1.
"""

import argparse
import json
import sys

from tqdm import tqdm

from handler.wire.request import CATALOGUE
from scripts.client import invoke
from scripts.client.corpus import CALL_ROWS, completed, read, results, server, side_by_side
from scripts.common.command import run


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.paraphrase", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="text, TSV or JSON Lines; - reads standard input")
    parser.add_argument(
        "--tmpl",
        action="append",
        metavar="NAME_OR_TEMPLATE",
        help=f"may be given several times; default: all named ones ({', '.join(CATALOGUE)})",
    )
    parser.add_argument("--like", action="append", metavar="SENTENCE", help="a sentence whose syntax is to be followed; instead of --tmpl")
    parser.add_argument("--temperature", type=float, help="0 takes the likeliest word; the server's default is 0.5")
    parser.add_argument("--seed", type=int, help="the same for every sentence: the same call prints the same again")
    parser.add_argument("--num-paraphrases", type=int, help="samples per template")
    parser.add_argument("--candidates", type=int, help="how many paraphrases to generate for each one printed, the best of them")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--url", default=invoke.URL, help="a running server (%(default)s)")
    place.add_argument("--endpoint", help="the name of a SageMaker endpoint instead")
    parser.add_argument("--async", dest="asynchronous", action="store_true", help="the endpoint is asynchronous: through S3")
    parser.add_argument("--region", help="of the endpoint; default: what AWS is configured with")
    parser.add_argument("--profile", help="AWS profile")
    parser.add_argument("--jsonl", action="store_true", help="an object a line: sent, and paraphrases by template or error")
    parser.add_argument(
        "--chunk",
        type=int,
        help=f"sentences a call; an endpoint gives a call 60 s; default: as many as make {CALL_ROWS} paraphrases or candidates",
    )
    parser.add_argument("--concurrency", type=int, default=2, help="calls under way at a time (%(default)s)")
    parser.add_argument("--timeout", type=float, help="seconds to wait for an answer")
    args = parser.parse_args(argv)
    if args.chunk is None:
        each = max(1, args.num_paraphrases or 1) * max(1, args.candidates or 1)
        args.chunk = max(1, CALL_ROWS // (len(args.tmpl or args.like or CATALOGUE) * each))
    if args.tmpl and args.like:
        parser.error("give --tmpl or --like, not both")
    if args.chunk < 1 or args.concurrency < 1:
        parser.error("--chunk and --concurrency must be at least 1")
    if not args.endpoint and (args.asynchronous or args.region or args.profile):
        parser.error("--async, --region and --profile go with --endpoint")
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    return run(lambda: paraphrase(args))


def paraphrase(args: argparse.Namespace) -> int:
    """Print what came of each sentence, in order, and a count at the end."""
    options = {
        name: value for name in ("temperature", "seed", "num_paraphrases", "candidates") if (value := getattr(args, name)) is not None
    }
    targets = {name: values for name in ("tmpl", "like") if (values := getattr(args, name))}
    requests = [completed(request, options, targets) for request in read(args.file)]
    if args.endpoint:
        send = invoke.endpoint(args.endpoint, args.region, args.profile, args.concurrency, args.timeout, args.asynchronous)
    else:
        send = server(args.url, args.timeout or invoke.TIMEOUT)
    refused = paraphrases = 0
    with tqdm(total=len(requests), unit="sentence", file=sys.stderr, disable=None) as bar:  # no bar unless it is a terminal
        for result in results(send, requests, args.chunk, args.concurrency):
            refused += "error" in result
            paraphrases += sum(map(len, result.get("paraphrases", {}).values()))
            tqdm.write(json.dumps(result, ensure_ascii=False) if args.jsonl else side_by_side(result), file=sys.stdout)
            sys.stdout.flush()
            bar.update()
    print(f"{len(requests)} sentences, {paraphrases} paraphrases, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
