"""Train the part-of-speech tagger for requests without a parse, and write it as one file.

    python -m scripts.train_tagger model_store/demo/tagger.safetensors --train train.tsv.gz --dev dev.tsv.gz
    python -m scripts.train_tagger OUT_FILE --train my.tsv --dev my_dev.tsv --sample 0      trees of your own

Files hold `sentence<TAB>parse[<TAB>source]`; words and tags are the parse's leaves. Every sentence is learned from twice,
as written and in lower case, because people type both. Trees by hand count more (`--weights`, copies per epoch); of all
other sources together `--sample` sentences are drawn, the lexicon reads everything. Accuracy is measured, with the file
as it is served, on the dev and test sentences of the `--gold` sources, or on all where those are absent.

If it is written into an artifact as `tagger.safetensors`, it becomes part of it: the manifest is updated. Needs nltk
(`tests/requirements.txt`).

The perceptron and its averaging are nltk's PerceptronTagger. Its features and its list of unambiguous words are replaced by
those of `handler/language/tagger.py`. Afterwards small weights are removed and the others are rounded. The record is written
beside the file.
"""

import argparse
import hashlib
import json
import logging
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from handler import artifacts
from scripts.common import artifact_files
from scripts.common.command import InputError
from scripts.training.command import run
from scripts.training.tagger import Recipe, evaluate, read_sentences, save, speed, train


def read_weights(text: str) -> dict[str, int]:
    """`masc=6,gum_open=3` as a dictionary."""
    try:
        weights = {source: int(n) for source, n in (item.split("=") for item in text.split(",") if item)}
    except ValueError:
        raise argparse.ArgumentTypeError("expected SOURCE=COPIES,SOURCE=COPIES") from None
    if any(n < 1 for n in weights.values()):
        raise argparse.ArgumentTypeError("copies must be 1 or more")
    return weights


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.train_tagger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_FILE", help="file to write, such as model_store/demo/tagger.safetensors")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    parser.add_argument(
        "--weights",
        type=read_weights,
        default="masc=2,mctb=2,gum_open=1",
        help="how often an epoch reads each source with manual tags (%(default)s)",
    )
    parser.add_argument("--sample", type=int, default=7_000, help="how many sentences of all other sources are read; 0 = all (%(default)s)")
    parser.add_argument("--gold-only", action="store_true", help="train on the --gold sources only")
    parser.add_argument("--gold", default="masc,mctb", help="sources to measure on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="times the sentences are read (%(default)s)")
    parser.add_argument(
        "--prune", type=float, default=Recipe.prune, help="smallest weight to keep; use a smaller value for small corpora (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random order of sentences (%(default)s)")
    args = parser.parse_args(argv)
    return run(lambda: train_and_measure(args))


def train_and_measure(args: argparse.Namespace) -> int:
    """Train, write the file and its record, and print the record."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("nltk.tag.perceptron").setLevel(logging.INFO)

    files = {"train": args.train, "dev": args.dev, **({"test": args.test} if args.test else {})}
    recipe = Recipe(args.weights, args.sample, tuple(args.gold.split(",")), args.epochs, args.seed, args.prune)
    splits = {name: read_sentences(file) for name, file in files.items()}
    sentences = splits.pop("train")
    if args.gold_only:
        sentences = [s for s in sentences if s.source in recipe.gold]
        if not sentences:
            raise InputError(f"{args.train}: no sentence of {args.gold} in it.")
    began = time.monotonic()
    trainer, lexicon = train(sentences, recipe, lambda text: print(text, file=sys.stderr, flush=True))
    seconds = time.monotonic() - began
    sizes = save(args.out, trainer, lexicon, recipe.prune)
    held_out = [s for split in splits.values() for s in split]
    record = {
        "recipe": asdict(recipe),
        "gold_only": args.gold_only,
        "data": {name: {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for name, file in files.items()},
        "training_seconds": round(seconds),
        "nltk": version("nltk"),
        "python": platform.python_version(),
        "size": sizes,
        "accuracy": evaluate(artifacts.load_tagger(args.out), splits, recipe.gold),
        "speed": speed(args.out, held_out),
    }
    args.out.with_suffix(".record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if (args.out.parent / "manifest.json").is_file() and args.out.name == artifacts.TAGGER:
        artifact_files.write_manifest(args.out.parent)
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
