"""Evaluate an artifact: BLEU against references, well-formed parses, words kept and repeated, compared with copying the input.

    python -m scripts.evaluate model_store/demo --rebuild test.tsv.gz --pairs edinburgh_test.tsv.gz hans.tsv.gz
    python -m scripts.evaluate model_store/demo --pairs pairs.tsv --limit 200 --json report.json
    python -m scripts.evaluate model_store/demo --templates test.tsv.gz --limit 100

--rebuild files hold `sentence<TAB>parse`: each sentence is made again from its own words and parse.
--pairs files hold `sentence<TAB>reference<TAB>parse of sentence<TAB>parse of reference`: the reference's parse is followed,
then its template alone, through the parse generator. Pairs without both parses are left out and counted.
--templates files hold `sentence<TAB>parse`: sentences of 6 to 15 words under every named template, with their parse and without.

Relations kept: F1 of the head-dependent pairs of sentence and answer, half of it with their class (subject, object, other), half
without class and direction. Content missing: of the sentence's content words. Content made up: of the answer's. Moved: answers whose
parse was made by moving the constituents of the sentence's own.

BLEU (authors): mean of nltk's sentence BLEU-4 without smoothing over blank-separated tokens, as the SynPG authors compute
it. BLEU (corpus): sacrebleu over the same tokens; BLEU of the source: the same against the sentence itself, how much is copied.
All lower-cased. Words per leaf right: of the followed parses' leaves, those at whose place the text has a word of that tag, as
the artifact's own tagger sees it; missing and surplus words count as wrong. Needs nltk and sacrebleu (`tests/requirements.txt`).
"""

import argparse
import sys
from pathlib import Path

import torch

from handler import artifacts, load
from scripts.training.command import run
from scripts.training.evaluation import evaluate, markdown
from scripts.training.meaning import named_templates


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rebuild", type=Path, nargs="*", default=[])
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--templates", type=Path, nargs="*", default=[])
    parser.add_argument("--limit", type=int, help="read only this many lines of each file")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, help="how many to generate for each answer (default: the artifact's own)")
    parser.add_argument("--precision", default="auto", help="fp32, int8, on a GPU bf16 or fp16 (default: as it is served)")
    parser.add_argument("--json", type=Path, help="write the table and its conditions here")
    args = parser.parse_args(argv)
    if not args.rebuild and not args.pairs and not args.templates:
        parser.error("give --rebuild, --pairs or --templates files")
    return run(lambda: evaluate_artifact(args))


def evaluate_artifact(args: argparse.Namespace) -> int:
    """Evaluate the artifact; print the table and write it, with its conditions, where that was asked for."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    paraphraser = load(args.artifact, device, args.precision).pipeline  # its rows, not its answers: these have tokens and scores
    options = {"temperature": args.temperature, "seed": args.seed}
    table = evaluate(paraphraser, args.rebuild, args.pairs, args.limit, options, args.candidates)
    drawn = {**options, "candidates": args.candidates or paraphraser.config.candidates}
    for file in args.templates:
        for with_parse in (True, False):
            table += named_templates(paraphraser, file, args.limit, drawn, with_parse)
    conditions = {
        "artifact": artifacts.fingerprint(args.artifact / "manifest.json")["sha256"],
        **options,
        "limit": args.limit,
        "candidates": args.candidates or paraphraser.config.candidates,
        "device": device,
        "precision": paraphraser.text_generator.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "files": {file.name: artifacts.fingerprint(file)["sha256"] for file in [*args.rebuild, *args.pairs, *args.templates]},
    }
    print(markdown(table))
    if args.json:
        artifacts.write_json(args.json, {"conditions": conditions, "table": table})
    return 0


if __name__ == "__main__":
    sys.exit(main())
