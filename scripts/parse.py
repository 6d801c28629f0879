"""The syntax trees of sentences, by the parser that serves requests without a parse.

    python -m scripts.parse sentences.txt > parsed.tsv
    printf '%s\\n' 'it rains .' | python -m scripts.parse - --artifact model_store/mine
    python -m scripts.parse --prose manual/*.txt --split corpus       corpus/train.tsv, dev.tsv and test.tsv, to fine-tune with

A sentence a line goes in. `sentence<TAB>tree` a line comes out, which is what training and evaluation read. Blank lines are left out.

With --prose the files are running text in English. Whole sentences of 6 to 25 tokens are taken from it; headings, code, tables,
formulas and all other sentences are left out. With --split about 85 % of the sentences are for training, 5 % to be held out
meanwhile, and 10 % to measure with. Which ones is decided by hashes: of the files' names if there are at least 20 files, so that a
file is never divided, else of the sentences. A sentence that comes again is left out.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from handler import artifacts
from handler.language.tokenizer import tokenize
from handler.parsing.parser import Parser
from scripts.common.command import InputError, tell
from scripts.common.paths import DEMO
from scripts.training import prose, splits
from scripts.training.command import run
from scripts.training.progress import counted


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.parse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="text in UTF-8, a sentence a line; - reads standard input")
    parser.add_argument("--prose", action="store_true", help="the files are running text; take the whole sentences from it")
    parser.add_argument("--split", type=Path, metavar="FOLDER", help="write train.tsv, dev.tsv and test.tsv there, and print no trees")
    parser.add_argument(
        "--artifact", type=Path, default=DEMO, help=f"an artifact with {artifacts.PARSER}, or such a file (default: the demo)"
    )
    args = parser.parse_args(argv)
    return run(lambda: parse(args.files, args.artifact, args.prose, args.split))


def parse(files: list[str], artifact: Path, running: bool, folder: Path | None) -> int:
    """Print each sentence with its tree, or write them to the three files of a folder. running: the files are running text."""
    torch.set_num_threads(1)  # a second one makes sentences slower, not faster
    parser = load(artifact)
    texts = {file: prose.sentences(read(file)) if running else lines(read(file)) for file in files}
    if not any(texts.values()):
        names = ", ".join("standard input" if file == "-" else file for file in files[:3]) + ", …" * (len(files) > 3)
        raise InputError(f"There is no sentence in {names}.")
    if folder is None:
        for sentence, tree in trees(parser, [sentence for text in texts.values() for sentence in text], "parsed"):
            print(f"{sentence}\t{tree}", flush=True)
        return 0
    divided = splits.divide({Path(file).name: text for file, text in texts.items()})
    if empty := [name for name, sentences in divided.items() if not sentences]:
        raise InputError(f"There are too few sentences for three files: none for {', '.join(empty)}.")
    for name, sentences in divided.items():
        splits.write(folder, name, trees(parser, sentences, f"{name}, of {len(sentences)} sentences parsed"))
        tell(f"{folder / name}.tsv: {len(sentences)} sentences")
    return 0


def trees(parser: Parser, sentences: list[str], what: str) -> Iterator[tuple[str, str]]:
    """Each sentence with its tree. Says on standard error how many there have been."""
    for sentence in counted(sentences, what, tell):
        yield sentence, str(parser.parse(tokenize(sentence)))


def load(artifact: Path) -> Parser:
    """The parser of an artifact, or of a file of its own."""
    if not artifact.is_dir():
        return artifacts.load_parser(artifact)
    if not (artifact / artifacts.PARSER).is_file():
        raise InputError(f"The artifact {artifact} has no {artifacts.PARSER}; `python -m scripts.train_parser` trains one.")
    return artifacts.load_parser(artifact / artifacts.PARSER)


def read(file: str) -> str:
    """The text of a file; `-` is standard input."""
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return data.decode("utf-8-sig").replace("\r\n", "\n")


def lines(text: str) -> list[str]:
    """The lines that are not blank, with single blanks between their words."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
