"""The templates: what each named one makes of a sentence, and which ones a corpus of parses has most often.

    python -m scripts.templates                                   the named templates, an example of each
    python -m scripts.templates --sent 'The old bridge was closed because of the flood.'
    python -m scripts.templates --corpus parsed.tsv --most 20     the most frequent tops of its parses

A template is the top three levels of a parse. `moves` says how the sentence reaches it by its own constituents; where it says `generated`,
none fits, and the answer is mostly worse. FILE has `sentence<TAB>parse` lines (`python -m scripts.parse` makes them), perhaps gzipped.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from handler import load
from handler.errors import RequestError
from handler.language.trees import template_of
from handler.wire.request import CATALOGUE
from scripts.common.command import InputError
from scripts.common.paths import DEMO
from scripts.training.command import run
from scripts.training.parser_data import read_trees

EXAMPLE = "We will have a picnic tomorrow if it is sunny."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.templates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--sent", default=EXAMPLE, metavar="SENTENCE", help="the sentence to rewrite (%(default)s)")
    what.add_argument("--corpus", type=Path, metavar="FILE", help="count the templates of its parses instead")
    parser.add_argument("--most", type=int, default=20, help="how many templates of a corpus (%(default)s)")
    parser.add_argument("--artifact", type=Path, default=DEMO, help="the model (default: the demo)")
    args = parser.parse_args(argv)
    if args.most < 1:
        parser.error("--most must be at least 1")
    return run(lambda: of_corpus(args.corpus, args.most) if args.corpus else of_sentence(args.artifact, args.sent))


def of_sentence(artifact: Path, sentence: str) -> int:
    """Print each named template with what the model makes of the sentence under it."""
    try:
        answers = load(artifact, threads=1).paraphrase(sentence, temperature=0, details=True)
    except RequestError as error:
        raise InputError(f"{error.field}: {error.reason}" if error.field else error.reason) from None
    for name, answer in answers.items():
        moves = "generated" if answer["moves"] is None else ", ".join(answer["moves"]) or "none needed"
        print(f"{name}  {CATALOGUE[name]}\n    {answer}\n    moves: {moves}")
    return 0


def of_corpus(file: Path, most: int) -> int:
    """Print the most frequent templates of a file of parses: share, template, its name if it has one."""
    names = {template: name for name, template in CATALOGUE.items()}
    found = Counter(str(template_of(tree)) for tree, _ in read_trees(file))
    if not found:
        raise InputError(f"There is no parse in {file}.")
    for template, number in found.most_common(most):
        print(f"{100 * number / found.total():5.1f} %  {template}  {names.get(template, '')}".rstrip())
    print(f"{found.total()} parses, {len(found)} templates", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
