"""The templates: what each named one makes of a sentence, which ones a corpus has most often, and names of your own.

    python -m scripts.templates                                   the named templates, an example of each
    python -m scripts.templates --sent 'The old bridge was closed because of the flood.'
    python -m scripts.templates --corpus parsed.tsv --most 20     the most frequent tops of its parses
    python -m scripts.templates --corpus parsed.tsv --sent 'It rains.'         which of these fit a sentence
    python -m scripts.templates --artifact model_store/mine --add exclamation '(ROOT (S (INTJ ) (, ) (NP ) (VP ) (. )))'
    python -m scripts.templates --artifact model_store/mine --remove exclamation

A template is the top three levels of a parse. It fits a sentence whose own constituents can be moved into it, and the line below the
answer says by which moves. It fits with a frame only where words such as `in fact` have to be put around the sentence. Where no move
reaches it, the model writes freely, and the answer is mostly worse. FILE has `sentence<TAB>parse` lines
(`python -m scripts.parse` makes them), perhaps gzipped.

An added name is written into the artifact's config.json and counts like the others: in `"tmpl"`, in error messages, and in requests
without a target, which ask for all names.
"""

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from handler import artifacts, load
from handler.errors import ArtifactError, RequestError, SyntaxTreeError
from handler.language.trees import read_tree, template_of
from handler.movement.propose import LAST_RESORT
from handler.wire.request import CATALOGUE
from scripts.common import artifact_files
from scripts.common.command import InputError, tell
from scripts.common.paths import DEMO
from scripts.training.command import run
from scripts.training.corpus import read_columns

FRAME = 3  # of LAST_RESORT: from here on a move only puts words around the sentence, such as `in fact`
EXAMPLE = "We will have a picnic tomorrow if it is sunny."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.templates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sent", metavar="SENTENCE", help=f"the sentence to rewrite ({EXAMPLE})")
    parser.add_argument("--corpus", type=Path, metavar="FILE", help="count the templates of its parses; with --sent, try the most frequent")
    parser.add_argument("--most", type=int, default=20, help="how many templates of a corpus (%(default)s)")
    parser.add_argument("--artifact", type=Path, default=DEMO, help="the model (default: the demo)")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", nargs=2, metavar=("NAME", "TEMPLATE"), help="give a template a name in the artifact")
    change.add_argument("--remove", metavar="NAME", help="take an added name out of the artifact")
    args = parser.parse_args(argv)
    if args.most < 1:
        parser.error("--most must be at least 1")
    if (args.add or args.remove) and (args.sent or args.corpus):
        parser.error("--add and --remove go with --artifact alone")
    return run(lambda: templates(args))


def templates(args: argparse.Namespace) -> int:
    """Do what the options say."""
    if args.add or args.remove:
        return change(args.artifact, args.add, args.remove)
    if not args.corpus:
        return try_named(args.artifact, args.sent or EXAMPLE)
    found, unread = tops(args.corpus)
    if args.sent:
        return try_templates(args.artifact, args.sent, [template for template, _ in found.most_common(args.most)])
    names = {template: name for name, template in {**CATALOGUE, **artifacts.verify(args.artifact).pipeline.templates}.items()}
    for template, number in found.most_common(args.most):
        print(f"{100 * number / found.total():5.1f} %  {template}  {names.get(template, '')}".rstrip())
    without = f", {unread} lines without a parse that can be read" if unread else ""
    tell(f"{found.total()} parses, {len(found)} templates{without}")
    return 0


def tops(file: Path) -> tuple[Counter[str], int]:
    """How often a file of parses has each template, and how many of its lines have no parse that can be read."""
    found: Counter[str] = Counter()
    unread = 0
    for _, parse, *_ in read_columns(file, 2):
        try:
            found[str(template_of(read_tree(parse)))] += 1
        except SyntaxTreeError:
            unread += 1
    if not found:
        raise InputError(f"There is no parse in {file}.")
    return found, unread


def try_named(artifact: Path, sentence: str) -> int:
    """Print each named template with what the model makes of the sentence under it."""
    model = load(artifact, threads=1)
    titles = [f"{name}  {template}" for name, template in model.templates.items()]
    return report(model.answer([request(sentence, name) for name in model.templates]), titles)


def try_templates(artifact: Path, sentence: str, wanted: list[str]) -> int:
    """Print each template with what the model makes of the sentence under it."""
    model = load(artifact, threads=1)
    names = {template: f"{name}  {template}" for name, template in model.templates.items()}
    return report(model.answer([request(sentence, template) for template in wanted]), [names.get(t, t) for t in wanted])


def request(sentence: str, template: str) -> dict:
    return {"sent": sentence, "tmpl": template, "temperature": 0, "details": True}


def report(answers: list, titles: list[str]) -> int:
    """Print an answer with its details, or the error in its place, under each title."""
    fitting = framed = 0
    for title, answer in zip(titles, answers):
        if isinstance(answer, RequestError):
            if answer.field != "tmpl":  # of the sentence: it will be the same for all
                raise InputError(f"{answer}.")
            print(f"{title}\n    cannot be read: {answer.reason}")
            continue
        moves = answer["moves"]
        if moves is None:
            fits = "does not fit, written freely"
        elif sum(LAST_RESORT.get(move, 0) for move in moves) >= FRAME:
            framed, fits = framed + 1, f"fits with a frame only: {', '.join(moves)}"
        else:
            fitting, fits = fitting + 1, f"fits: {', '.join(moves) or 'as it is'}"
        print(f"{title}\n    {answer}\n    {fits}")
    tell(f"{fitting} of {len(answers)} templates fit, {framed} with a frame only")
    return 0


def change(artifact: Path, added: list[str] | None, removed: str | None) -> int:
    """Give a template a name in an artifact, or take a name out of it."""
    names = artifacts.verify(artifact).pipeline.templates
    if removed is not None and removed not in names:
        raise InputError(f"{removed} is no name that {artifact} adds; it adds {', '.join(names) or 'none'}.")
    names = {name: template for name, template in names.items() if name != removed}
    write_templates(artifact, names | ({added[0]: added[1]} if added else {}))
    now = ", ".join(artifacts.verify(artifact).pipeline.templates) or "no names"
    print(f"{artifact} adds {now}; build its archive anew to serve it so")
    return 0


def write_templates(folder: Path, templates: dict[str, str]) -> None:
    """Replace the named templates that an artifact adds, and seal it. Raises ArtifactError, and then nothing is written."""
    config = artifacts.verify(folder)
    try:
        config = replace(config, pipeline=replace(config.pipeline, templates=templates))
    except ValueError as error:
        raise ArtifactError("config.json", "usable templates", str(error)) from None
    artifacts.check_templates(artifacts.load(folder), templates)
    artifact_files.write_config(folder / "config.json", config)
    artifact_files.write_manifest(folder)


if __name__ == "__main__":
    sys.exit(main())
