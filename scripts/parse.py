"""The syntax trees of sentences, by the parser that serves requests without a parse.

    python -m scripts.parse sentences.txt
    printf '%s\\n' 'it rains .' | python -m scripts.parse - --artifact model_store/mine

A sentence a line goes in. `sentence<TAB>tree` a line comes out, which is what training and evaluation read. Blank lines are left out.
"""

import argparse
import sys
from pathlib import Path

from handler import artifacts
from handler.language.tokenizer import tokenize
from handler.parsing.parser import Parser
from scripts.common.command import InputError
from scripts.common.paths import DEMO
from scripts.training.command import run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.parse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="text in UTF-8, a sentence a line; - reads standard input")
    parser.add_argument(
        "--artifact", type=Path, default=DEMO, help=f"an artifact with {artifacts.PARSER}, or such a file (default: the demo)"
    )
    args = parser.parse_args(argv)
    return run(lambda: parse(args.file, args.artifact))


def parse(file: str, artifact: Path) -> int:
    """Print each sentence with its tree."""
    parser = load(artifact)
    for sentence in sentences(file):
        print(f"{sentence}\t{parser.parse(tokenize(sentence))}", flush=True)
    return 0


def load(artifact: Path) -> Parser:
    """The parser of an artifact, or of a file of its own."""
    if not artifact.is_dir():
        return artifacts.load_parser(artifact)
    if not (artifact / artifacts.PARSER).is_file():
        raise InputError(f"The artifact {artifact} has no {artifacts.PARSER}; `python -m scripts.train_parser` trains one.")
    return artifacts.load_parser(artifact / artifacts.PARSER)


def sentences(file: str) -> list[str]:
    """The lines of a file that are not blank, with single blanks between their words; `-` is standard input."""
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    found = [" ".join(line.split()) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    if not found:
        raise InputError(f"There is no sentence in {'standard input' if file == '-' else file}.")
    return found


if __name__ == "__main__":
    sys.exit(main())
