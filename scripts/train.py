"""Train the two networks from sentences with their parses, resumably, and write an artifact.

    python -m scripts.train WORK --train train.tsv.gz --dev dev.tsv.gz                both networks, one after the other
    python -m scripts.train WORK --train … --dev … --vectors glove.txt                  the same, words begin at their vectors
    python -m scripts.train WORK --train … --dev … --net paraphraser --epochs 3        one of them (run two side by side)
    python -m scripts.train WORK --from model_store/demo --train … --dev …             fine-tune on text of your own
    python -m scripts.train WORK --from … --merges 20000 --train … --dev …             the same, with a larger vocabulary
    python -m scripts.train WORK --from … --merges 50000 --vectors glove.txt --train … and with words seldom seen, from their vectors
    python -m scripts.train WORK --from … --net paraphraser --train … --dev …          one network; the other stays as it is
    python -m scripts.train WORK --export model_store/mine                             write what is trained as an artifact

After an interruption the same command continues from the last checkpoint in WORK. No pairs are needed: the paraphraser learns
(words of s, parse of s) -> s, the parse generator (tags of s, template of s) -> parse of s.
Source: Huang and Chang, EACL 2021 (arXiv 2101.10579).
"""

import argparse
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path

import torch

from handler import artifacts
from scripts.training import moved_pairs
from scripts.training.command import run
from scripts.training.corpus import prepare
from scripts.training.export import export
from scripts.training.mismatch import Mismatch
from scripts.training.trainer import FINE_TUNE, LIMITS, MERGES, NETS, RECIPES, Training, limits_of

# Options that make the bags of training differ from their targets, as in use they do.
MISMATCHES = {
    "distractors": "of the bags that also have words of other sentences",
    "omitted": "of the bags of whose words a third is left out",
    "inflected": "of the words that are in the bag in another form, where they have one",
    "no_stop": "of the bags without the final mark",
    "moved": "of the sentences whose targets are made by moving constituents, with the words of the source",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder of checkpoints and the prepared corpus")
    parser.add_argument("--train", type=Path, help="sentence<TAB>parse, .tsv or .tsv.gz")
    parser.add_argument("--dev", type=Path, help="the same, held out")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write an artifact from the checkpoints and stop")
    parser.add_argument(
        "--average", type=float, default=1.0, metavar="SHARE", help="with --export: of the trained weights; the rest is those of --from"
    )
    parser.add_argument("--net", choices=(*NETS, "both"), default="both", help="the network to train (%(default)s)")
    parser.add_argument("--epochs", type=float, help="instead of the recipe's; may be changed when training continues")
    parser.add_argument("--from", dest="base", type=Path, metavar="ARTIFACT", help="fine-tune this artifact; its vocabulary is kept")
    parser.add_argument("--merges", type=int, help="BPE merges (default: 20000, or with --from its vocabulary as it is)")
    parser.add_argument(
        "--vectors",
        type=Path,
        help="word vectors as text, `word numbers` on a line, most frequent first; their words join the vocabulary, and words start "
        "from their vectors (with --from and --merges: the rare ones)",
    )
    parser.add_argument("--peak-rate", type=float, help="learning rate, instead of the recipe's")
    parser.add_argument("--word-dropout", type=float, metavar="SHARE", help="of a bag's pieces hidden, instead of the recipe's")
    for option in fields(Mismatch):
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=float, metavar="SHARE", help=MISMATCHES[option.name])
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    args = parser.parse_args(argv)
    if not 0 < args.average <= 1:
        parser.error("--average must be a share above 0 and at most 1")
    if args.vectors and args.base and not args.merges:
        parser.error("--vectors with --from needs --merges: the vocabulary is learned anew")
    return run(lambda: train(args, parser), "Stopped; the same command goes on from the last checkpoint.")


def train(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Export, or prepare the corpus unless it is there, then train."""
    if args.export:
        export(args.work, args.export, args.average)
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    mismatch = mismatch_of(args, parser)
    base = args.work / "base"
    if not (args.work / "corpus" / "corpus.json").exists():
        prepare_work(args, parser)
    elif args.base and not base.exists():
        parser.error(f"{args.work} was begun without --from")
    if mismatch.moved and not (args.work / "corpus" / moved_pairs.TARGETS).exists():
        if not args.train:
            parser.error("--moved needs --train")
        moved_pairs.prepare(args.work / "corpus", args.train)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in NETS if args.net == "both" else (args.net,):
        recipe = replace(RECIPES[name], **FINE_TUNE) if base.exists() else RECIPES[name]
        recipe = replace(recipe, **{key: value for key in ("epochs", "peak_rate") if (value := getattr(args, key))})
        if args.word_dropout is not None:
            recipe = replace(recipe, word_dropout=args.word_dropout)
        recipe = replace(recipe, mismatch=mismatch)
        Training(name, args.work, recipe, device).run(lambda text: print(text, flush=True))
    return 0


def mismatch_of(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Mismatch:
    """The options that say how bags differ from their targets."""
    try:
        return Mismatch(**{name: value for name in MISMATCHES if (value := getattr(args, name)) is not None})
    except ValueError as error:
        parser.error(str(error))


def prepare_work(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Fill a new WORK with the prepared corpus and a copy of the artifact that fine-tuning begins from."""
    if not (args.train and args.dev):
        parser.error("a new WORK needs --train and --dev")
    base, limits, keep = args.work / "base", LIMITS, args.base and not args.merges
    if args.base:
        settings = artifacts.verify(args.base)
        if args.vectors and settings.paraphraser.attend_pads:
            parser.error("--vectors needs an artifact that masks pads: all words can be written with attended ones")
        shutil.copytree(args.base, base, dirs_exist_ok=True)
        if keep or settings.paraphraser.attend_pads:
            limits = limits_of(settings)
    files = {"train": args.train, "dev": args.dev}
    prepare(args.work / "corpus", files, args.merges or MERGES, limits, base if keep else None, args.vectors)


if __name__ == "__main__":
    sys.exit(main())
