"""The syntax trees of sentences, by the parser that serves requests without one.

    python -m scripts.parse sentences.txt
    printf '%s\\n' 'it rains .' | python -m scripts.parse - --artifact model_store/demo/parser.safetensors

A sentence a line; `sentence<TAB>tree` a line comes out, which is what training and evaluation read. Blank lines are left out.
"""

import argparse
import sys
from pathlib import Path

from handler import artifacts
from handler.errors import ArtifactError
from handler.language.tokenizer import tokenize

ARTIFACT = Path(__file__).parent.parent / "model_store" / "demo" / "parser.safetensors"


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(
        prog="python -m scripts.parse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("file", metavar="FILE", help="text in UTF-8, - is standard input")
    options.add_argument("--artifact", type=Path, default=ARTIFACT, metavar="FILE", help="the parser (default: that of model_store/demo)")
    args = options.parse_args(argv)
    try:
        parser = artifacts.load_parser(args.artifact)
        lines = (sys.stdin.buffer if args.file == "-" else open(args.file, "rb")).read().decode("utf-8-sig").splitlines()
    except (ArtifactError, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    for sentence in filter(None, (" ".join(line.split()) for line in lines)):
        print(f"{sentence}\t{parser.parse(tokenize(sentence))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
