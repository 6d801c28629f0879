"""Evaluate an artifact: BLEU against references, well-formed parses, words kept and repeated, compared with copying the input.

    python -m scripts.evaluate model_store/demo --rebuild test.tsv.gz --pairs edinburgh_test.tsv.gz hans.tsv.gz
    python -m scripts.evaluate model_store/demo --pairs pairs.tsv --limit 200 --json report.json
    python -m scripts.evaluate model_store/demo --templates test.tsv.gz --limit 100
    python -m scripts.evaluate model_store/mine --before model_store/demo --rebuild test.tsv       what fine-tuning has changed

--rebuild files hold `sentence<TAB>parse`: each sentence is made again from its own words and parse.
--pairs files hold `sentence<TAB>reference<TAB>parse of sentence<TAB>parse of reference`: the reference's parse is followed,
then its template alone, through the parse generator. Pairs without both parses are left out and counted.
--templates files hold `sentence<TAB>parse`: sentences of 6 to 15 words under every named template, with their parse and without.

--before ARTIFACT evaluates another artifact on the same sentences first. A second table then says by how much the figures differ, with
the 95 % interval of a paired bootstrap over the sentences.
--without movement: parses are generated where they would be made by moving constituents. --without rules: the networks alone, without
movement, lexicon and copying; what has been written is penalised and what has not is favoured by 2 nats.

Relations kept: F1 of the head-dependent pairs of sentence and answer, half of it with their class (subject, object, other), half
without class and direction. Content missing: of the sentence's content words. Content made up: of the answer's. Moved: answers whose
parse was made by moving the constituents of the sentence's own.

BLEU (authors): mean of nltk's sentence BLEU-4 without smoothing over blank-separated tokens, as the SynPG authors compute
it. BLEU (corpus): sacrebleu over the same tokens; BLEU of the source: the same against the sentence itself, how much is copied.
All lower-cased. Words per leaf right: of the followed parses' leaves, those at whose place the text has a word of that tag, as
the artifact's own tagger sees it; missing and surplus words count as wrong. Needs nltk and sacrebleu (`tests/requirements.txt`).
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from handler import artifacts, load
from handler.pipeline import Pipeline
from scripts.common import artifact_files
from scripts.training import comparison
from scripts.training.command import run
from scripts.training.evaluation import COLUMNS, evaluate, markdown
from scripts.training.meaning import named_templates

# Settings of `config.json` with which a part of decoding is left out.
NO_MOVEMENT: dict[str, Any] = {"movement": False, "word_weight": 0.0, "relation_weight": 0.0}
NO_RULES: dict[str, Any] = {
    **NO_MOVEMENT,
    **dict.fromkeys(("tag_weight", "split_weight", "order_bonus", "copy_odds"), 0.0),
    "inflection": False,
    "source_bonus": 2.0,
    "repetition_penalty": 2.0,
}
WITHOUT = {"movement": NO_MOVEMENT, "rules": NO_RULES}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rebuild", type=Path, nargs="*", default=[])
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--templates", type=Path, nargs="*", default=[])
    parser.add_argument("--before", type=Path, metavar="ARTIFACT", help="compare with this artifact")
    parser.add_argument("--without", choices=tuple(WITHOUT), help="leave out what decoding does besides the networks")
    parser.add_argument("--limit", type=int, help="read only this many lines of each file")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, help="how many to generate for each answer (default: the artifact's own)")
    parser.add_argument("--precision", default="auto", help="fp32, int8, on a GPU bf16 or fp16 (default: as it is served)")
    parser.add_argument("--json", type=Path, help="write the table and its conditions here")
    args = parser.parse_args(argv)
    if not args.rebuild and not args.pairs and not args.templates:
        parser.error("give --rebuild, --pairs or --templates files")
    return run(lambda: evaluate_artifacts(args))


def evaluate_artifacts(args: argparse.Namespace) -> int:
    """Evaluate the artifact, perhaps another before it; print the tables and write them, with their conditions, where that was asked
    for."""
    before = evaluate_artifact(args.before, args) if args.before else None
    after = evaluate_artifact(args.artifact, args)
    changes = comparison.changes(before["table"], after["table"]) if before else []
    if before:
        print(f"{args.before}:\n\n{markdown(before['table'])}\n\n{args.artifact}:\n")
    print(markdown(after["table"]))
    if before:
        print(f"\nFrom {args.before} to {args.artifact}:\n\n{comparison.markdown(changes, COLUMNS)}")
    if args.json:
        for row in [*after["table"], *(before or after)["table"]]:
            row.pop("each", None)
        artifact_files.write_json(args.json, {**after, "before": before, "changes": changes} if before else after)
    return 0


def evaluate_artifact(artifact: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The table of an artifact, with its conditions."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    paraphraser = load_without(artifact, args.without, device, args.precision)
    options = {"temperature": args.temperature, "seed": args.seed}
    table = evaluate(paraphraser, args.rebuild, args.pairs, args.limit, options, args.candidates)
    drawn = {**options, "candidates": args.candidates or paraphraser.config.candidates}
    for file in args.templates:
        for with_parse in (True, False):
            table += named_templates(paraphraser, file, args.limit, drawn, with_parse)
    conditions = {
        "artifact": artifacts.fingerprint(artifact / "manifest.json")["sha256"],
        **options,
        "limit": args.limit,
        "candidates": args.candidates or paraphraser.config.candidates,
        **({"without": args.without} if args.without else {}),
        "device": device,
        "precision": paraphraser.text_generator.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "files": {file.name: artifacts.fingerprint(file)["sha256"] for file in [*args.rebuild, *args.pairs, *args.templates]},
    }
    return {"conditions": conditions, "table": table}


def load_without(artifact: Path, left_out: str | None, device: str, precision: str) -> Pipeline:
    """The pipeline of an artifact, as its `config.json` says or without one of `WITHOUT`."""
    if left_out is None:
        return load(artifact, device, precision).pipeline  # its rows, not its answers: these have tokens and scores
    config = artifacts.verify(artifact)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "artifact"
        shutil.copytree(artifact, copy)
        artifact_files.write_config(copy / "config.json", replace(config, pipeline=replace(config.pipeline, **WITHOUT[left_out])))
        artifact_files.write_manifest(copy)
        return load(copy, device, precision).pipeline


if __name__ == "__main__":
    sys.exit(main())
