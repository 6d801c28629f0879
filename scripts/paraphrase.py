"""Paraphrase a file of sentences, with the model in this machine's processes, a running server, or a SageMaker endpoint.

    python -m scripts.paraphrase sentences.txt                            a sentence a line, every named template
    python -m scripts.paraphrase parsed.tsv --tmpl statement --tmpl '(ROOT (S (VP ) (. )))'
    python -m scripts.paraphrase big.csv --sent-column text --tmpl statement --n-best 3 --seed 1 --output out.parquet
    python -m scripts.paraphrase dev.tsv --endpoint synpg --output out.jsonl
    printf '%s\\n' 'it rains .' | python -m scripts.paraphrase -

FILE is plain text with a sentence a line; or `sentence<TAB>parse`; or a TSV, CSV or Parquet table that names a column `sentence`,
as SST-2's does, and perhaps one `parse` or `constituency_tree`; or JSON Lines: of requests, whose own fields come before
the options, or of a data set's rows with the same two names. Its suffix says which. Text formats may be gzipped. Parquet needs pyarrow
(`pip install -r scripts/client/requirements.txt`).

Results come in the order of the sentences. If a sentence cannot be read or paraphrased, the reason stands in the place of its
paraphrases, the others are not affected, and the exit status is 1. With --output, the same command goes on where an earlier one was
interrupted; until all is done, what is done is in OUTPUT.part. With --seed an interrupted run writes the same bytes as one without a break.
"""

import argparse
import hashlib
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path

from tqdm import tqdm

from handler.wire.request import CATALOGUE
from scripts.client import invoke, local
from scripts.client.corpus import CALL_ROWS, completed, results, server
from scripts.client.journal import Journal
from scripts.client.tables import FORMATS, SUFFIXES, Columns, Source, pyarrow, rows_of, shown
from scripts.common.command import tell
from scripts.common.paths import DEMO
from scripts.training.command import run

OPTIONS = "temperature", "seed", "num_paraphrases", "candidates", "tokenized"  # fields of every request
SHOWN = 12  # hexadecimal digits of a checksum
TOLD = 10  # sentences that are refused for which the reason is also on standard error, where there is an --output


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.paraphrase", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="text, TSV, CSV, JSON Lines or Parquet; - reads standard input")
    parser.add_argument("--input-format", choices=FORMATS, help="of FILE; default: what its suffix or its first line says")
    parser.add_argument("--sent-column", metavar="NAME", help="the column of the sentences, if it has another name than sentence or sent")
    parser.add_argument("--synt-column", metavar="NAME", help="the column of their parses, if there is one")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a file that does not exist yet (default: standard output)")
    parser.add_argument("--format", choices=FORMATS, help="of the output; default: what its suffix says, else text, side by side")
    parser.add_argument("--jsonl", action="store_const", const="jsonl", dest="format", help="the same as --format jsonl")
    parser.add_argument(
        "--tmpl",
        action="append",
        metavar="NAME_OR_TEMPLATE",
        help=f"may be given several times; default: all named ones ({', '.join(CATALOGUE)}, and those that the model adds)",
    )
    parser.add_argument("--like", action="append", metavar="SENTENCE", help="a sentence whose syntax is to be followed; instead of --tmpl")
    parser.add_argument("--temperature", type=float, help="0 takes the likeliest word; the default is 0.5")
    parser.add_argument("--seed", type=int, help="the same for every sentence: the same call makes the same texts again")
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--num-paraphrases", type=int, metavar="N", help="samples per template")
    several.add_argument("--n-best", type=int, metavar="N", help="the same, the best first and each text once: perhaps fewer")
    parser.add_argument("--candidates", type=int, help="how many paraphrases to generate for each one printed, the best of them")
    parser.add_argument("--tokenized", action="store_true", default=None, help="print tokens, not text as people write it")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--artifact", type=Path, default=DEMO, help="the model to load here (default: the demo)")
    place.add_argument("--url", help=f"a running server instead, such as {invoke.URL}")
    place.add_argument("--endpoint", help="the name of a SageMaker endpoint instead")
    parser.add_argument("--processes", type=int, metavar="N", help="of the model here; default: one for each core, if there is work for it")
    parser.add_argument("--async", dest="asynchronous", action="store_true", help="the endpoint is asynchronous: through S3")
    parser.add_argument("--region", help="of the endpoint; default: what AWS is configured with")
    parser.add_argument("--profile", help="AWS profile")
    parser.add_argument(
        "--chunk",
        type=int,
        help=f"sentences a call; an endpoint gives a call 60 s; default: as many as make {CALL_ROWS} paraphrases or candidates",
    )
    parser.add_argument("--concurrency", type=int, help="calls to a server or endpoint under way at a time (2)")
    parser.add_argument("--timeout", type=float, help="seconds to wait for an answer of a server or endpoint")
    args = parser.parse_args(argv)
    check(parser, args)
    return args


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error where options do not go together; fill in what depends on others."""
    args.num_paraphrases = args.num_paraphrases or args.n_best
    args.each = len(args.tmpl or args.like or CATALOGUE) * max(1, args.num_paraphrases or 1)  # paraphrases of a sentence, about
    if args.chunk is None:
        args.chunk = max(1, CALL_ROWS // (args.each * max(1, args.candidates or 1)))
    if args.tmpl and args.like:
        parser.error("give --tmpl or --like, not both")
    if min(number for number in (args.chunk, args.concurrency, args.processes) if number is not None) < 1:
        parser.error("--chunk, --concurrency and --processes must be at least 1")
    if not args.endpoint and (args.asynchronous or args.region or args.profile):
        parser.error("--async, --region and --profile go with --endpoint")
    remote = args.url or args.endpoint
    if (args.processes and remote) or ((args.concurrency or args.timeout) and not remote):
        parser.error("--processes goes with a model here, --concurrency and --timeout with --url or --endpoint")
    args.format = args.format or (SUFFIXES.get(args.output.suffix) if args.output else "text")
    if args.format is None:
        parser.error(f"the suffix of --output says no format; give --format, or one of {', '.join(SUFFIXES)}")
    if args.format == "parquet" and not args.output:
        parser.error("Parquet needs an --output")


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    return run(lambda: paraphrase(args))


def paraphrase(args: argparse.Namespace) -> int:
    """Print or write what came of each sentence, in order, and counts at the end."""
    if args.format == "parquet":
        pyarrow()  # a sentence now is better than one after all the work
    source = Source(args.file, args.input_format, Columns(args.sent_column, args.synt_column))
    total = source.survey()
    options = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    targets = {name: values for name in ("tmpl", "like") if (values := getattr(args, name))}
    if not args.output:
        counts = Counts(total)
        with asked(args, total) as (send, concurrency):
            complete = partial(completed, options=options, targets=targets)
            found = results(send, source.records(), complete, args.chunk, concurrency, args.n_best is not None)
            for piece in shown(args.format, counts.watched(found)):
                tqdm.write(piece, file=sys.stdout, end="")
                sys.stdout.flush()
    else:
        with closing(Journal(args.output, work_of(args, source, options, targets))) as journal:
            counts = written(args, journal, source, total, partial(completed, options=options, targets=targets))
    tell(counts.summary())
    return 1 if counts.refused else 0


def written(args: argparse.Namespace, journal: Journal, source: Source, total: int, complete: Callable[[dict], dict]) -> "Counts":
    """Have done what is not in the journal, and write the output from it."""
    before = journal.done
    counts = Counts(total, before)
    for result in journal.results() if before else ():
        counts.add(result)
    if before:
        tell(f"going on after {before} sentences in {journal.file}")
    try:
        with asked(args, total - before) if before < total else nullcontext((None, 0)) as (send, concurrency):
            records = itertools.islice(source.records(), before, None)
            found = results(send, records, complete, args.chunk, concurrency, args.n_best is not None) if send else iter(())
            for result in counts.watched(found):
                journal.add(result)
                if "error" in result and counts.refused <= TOLD:
                    [(line, *_, why)] = rows_of(result)
                    tqdm.write(f"line {line}: {why}" + ("; others are in the output only" if counts.refused == TOLD else ""), sys.stderr)
        journal.finish(args.format)
    except BaseException:
        if journal.done:
            tell(f"{journal.done} of {total} sentences are done and in {journal.file}; the same command goes on from there")
        raise
    return counts


def work_of(args: argparse.Namespace, source: Source, options: dict, targets: dict) -> dict:
    """What decides the results."""
    here = (args.artifact / "manifest.json").read_bytes() if not args.url and not args.endpoint else b""
    return {
        "FILE": source.digest()[:SHOWN],
        "columns": [source.kind, args.sent_column, args.synt_column],
        "model": args.url or args.endpoint or hashlib.sha256(here).hexdigest()[:SHOWN],
        "options": options,
        "targets": targets,
        "n-best": args.n_best,
    }


def asked(args: argparse.Namespace, total: int) -> AbstractContextManager[tuple[invoke.Sender, int]]:
    """Who is asked, and how many calls are under way at a time. Raises InvokeError, ArtifactError."""
    concurrency = args.concurrency or 2
    if args.endpoint:
        send = invoke.endpoint(args.endpoint, args.region, args.profile, concurrency, args.timeout, args.asynchronous)
        return nullcontext((send, concurrency))
    if args.url:
        return nullcontext((server(args.url, args.timeout or invoke.TIMEOUT), concurrency))
    return local.paraphraser(args.artifact, args.processes or local.as_many_as_pay(total * args.each))


class Counts:
    """How many sentences there are, and what came of them."""

    def __init__(self, total: int, before: int = 0):
        """before: how many of them an earlier run has done."""
        self.total, self.before = total, before
        self.done = self.paraphrases = self.refused = 0
        self.rates, self.began = "", time.monotonic()

    def add(self, result: dict) -> None:
        self.done += 1
        self.paraphrases += sum(map(len, result.get("paraphrases", {}).values()))
        self.refused += "error" in result

    def watched(self, found: Iterable[dict]) -> Iterator[dict]:
        """The results as they come, counted, with a bar on standard error where that is a terminal."""
        earlier = self.paraphrases
        with tqdm(total=self.total, initial=self.before, unit="sentence", file=sys.stderr, disable=None) as bar:
            for result in found:
                self.add(result)
                yield result
                bar.update()
        new, seconds = self.done - self.before, time.monotonic() - self.began
        if new:
            self.rates = f"; {new / seconds:.1f} sentences/s, {(self.paraphrases - earlier) / seconds:.1f} paraphrases/s"

    def summary(self) -> str:
        return f"{self.done} sentences, {self.paraphrases} paraphrases, {self.refused} refused{self.rates}"


if __name__ == "__main__":
    sys.exit(main())
