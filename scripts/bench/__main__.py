"""Measure this project's engines beside the published code and CTranslate2, alone and through TorchServe.

    python -m scripts.bench                                     everything, both artifacts, about ten minutes
    python -m scripts.bench --quick                             a tiny random artifact, to check that everything runs
    python -m scripts.bench --only steps --artifacts published  parts: steps, requests, quality, server, cold
    python -m scripts.bench --held-out test.tsv.gz              quality over unseen `sentence<TAB>parse` lines
    python -m scripts.bench --bars                              the last line is JSON: each target, what was measured, whether it is met
    python -m scripts.bench --bars --against ../earlier         also against another checkout of the project, through TorchServe
    python -m scripts.bench --soak 10                           minutes of mixed traffic instead: memory over time, statuses
    python -m scripts.bench --save scripts/bench                also write results.json, results.png and README.md's tables

"published": random networks of the published shape that write the benchmark's sentences (`published.py`). "demo": the shipped
model. Progress goes to standard error, tables to standard output. Compare numbers of one run only: within a run everything is
measured in turn, round by round. `README.md` explains the tables.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from handler import artifacts
from scripts.bench import compare, conditions, plot, published, quality, report, soak, torchserve, variants, workload
from scripts.bench.workers import EngineError
from scripts.common.command import run
from scripts.common.paths import DEMO
from scripts.serving import archive
from scripts.training import command

SECTIONS = {"published": ("steps", "requests", "quality", "server", "cold"), "demo": ("requests", "quality", "server")}
SENTENCES = {**command.SENTENCES, EngineError: lambda error: f"The benchmark cannot go on: {str(error).rstrip('.')}."}
CLIENTS = 1, 4, 16, 64
MIXED = 1000  # requests before a worker's memory is read, for the bars
MARKERS = "<!-- results: `python -m scripts.bench --save` writes from here -->\n", "<!-- to here -->\n"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(name: str, folder: Path, sections: set[str], options, scratch: Path) -> dict:
    """All wanted of one artifact."""
    config = artifacts.read_config(folder / "config.json")
    shape = config.paraphraser
    result: dict[str, Any] = {
        "title": (
            "Random networks of the published shape"
            if name == "published" and not options.quick
            else "Tiny random networks"
            if name == "published"
            else f"The model in {folder.name}"
        ),
        "networks": {net: asdict(getattr(config, net)) for net in artifacts.NETS},
        "notes": [],
    }
    say(f"{result['title']}: d={shape.d_model}, {shape.n_encoder_layers}+{shape.n_decoder_layers} layers, {shape.vocab_size} entries")
    plan = compare.QUICK if options.quick else compare.Plan(budget=options.budget)
    plan = replace(plan, sizes=(1, 8, 32)) if name == "demo" and not options.quick else plan
    sentences = workload.SENTENCES[-2:-1] if options.quick else workload.SENTENCES  # the shortest, for few dimensions
    if sections & {"steps", "requests"}:
        with compare.Comparison(folder, scratch, plan, not options.no_rival, say, sentences) as comparison:
            result["lengths"] = comparison.lengths()
            result["tuning"] = comparison.tune()
            if "steps" in sections:
                result["steps"], result["floor"] = comparison.steps(), comparison.floor()
            if "requests" in sections:
                result["requests"] = comparison.requests()
            result["memory"] = comparison.memory()
            result["notes"] += comparison.notes
    threads = variants.served()[1]
    if "quality" in sections:
        data = quality.held_out(options.held_out, options.limit) if options.held_out and name == "demo" else None
        result["quality"] = quality.measure(folder, threads, data or quality.own(sentences), say)
        result["notes"] += result["quality"].pop("notes")
    if "server" in sections:
        result["server"] = torchserve.served(
            folder,
            scratch,
            (1, 2) if options.quick else CLIENTS,
            0.5 if options.quick else torchserve.LOAD_SECONDS,
            3 if options.quick else 20,
            MIXED if options.bars and not options.quick else 0,
            say,
        )
        if name == "demo" and options.against:
            result["against"] = torchserve.against(folder, options.against, scratch, torchserve.LOAD_SECONDS, 3 if options.quick else 20)
    if "cold" in sections:
        result["cold"] = torchserve.cold(folder, scratch, 1 if options.quick else 3, 75.0)
        say(f"  cold start {result['cold']['seconds']:.2f} s, echo handler {result['cold']['echo_seconds']:.2f} s")
    return result


def measure_all(options: argparse.Namespace) -> dict:
    """What is wanted of each artifact, and under which conditions."""
    results = {"conditions": conditions.conditions(), "copy_gb_per_second": conditions.copy_bandwidth()}
    for name in options.artifacts:
        sections = set(SECTIONS[name]) & set(options.only)
        # Its own folder: an archive is named by its artifact, and scratch files of one are not the other's.
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            folder = options.demo
            if name == "published" and sections:
                folder = Path(scratch) / "artifact"
                published.make(folder, options.demo, *((published.TINY, 0, workload.SENTENCES[-2:-1]) if options.quick else ()))
            if sections:
                results[name] = measure(name, folder, sections, options, Path(scratch))
    results["load_at_end"] = [round(x, 2) for x in os.getloadavg()]
    if "published" in results and not options.quick:
        results["bars"] = report.bars(results)
    return results


def save(results: dict, folder: Path) -> None:
    """results.json, results.png, and the tables between the markers of README.md if it has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    try:
        plot.draw(results, folder / "results.png")
    except ImportError:
        say(report.NO_PLOT)
    report.fill(folder / "README.md", MARKERS, report.text(results))


def names(allowed):
    def read(text: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in text.split(","))
        if unknown := set(found) - set(allowed):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(allowed)}")
        return found

    return read


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sections = tuple(dict.fromkeys(part for parts in SECTIONS.values() for part in parts))
    parser.add_argument(
        "--only", type=names(sections), default=sections, metavar="A,B", help="only these measurements: " + ", ".join(sections)
    )
    parser.add_argument(
        "--artifacts", type=names(SECTIONS), metavar="A,B", help="of " + ", ".join(SECTIONS) + "; both, and with --quick the first"
    )
    parser.add_argument(
        "--demo", type=Path, default=DEMO, help="artifact to measure as demo; `published` uses its word pieces too (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny networks and one or two rounds, to check that everything runs")
    parser.add_argument(
        "--budget",
        type=float,
        default=compare.Plan.budget,
        metavar="S",
        help="seconds after which a measurement begins no further round (%(default)g)",
    )
    parser.add_argument(
        "--bars", action="store_true", help="also print the targets and whether they are met, as one JSON object on the last line"
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare the shipped model through TorchServe with this one's")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="mixed traffic of eight callers on the demo, nothing else")
    parser.add_argument("--no-rival", action="store_true", help="do not measure CTranslate2")
    parser.add_argument("--held-out", type=Path, metavar="FILE", help="unseen `sentence<TAB>parse` lines to measure the demo's quality on")
    parser.add_argument("--limit", type=int, default=200, help="how many sentences of --held-out to use (%(default)s)")
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="write results.json and results.png there, and the tables into its README.md"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    options.artifacts = options.artifacts or (("published",) if options.quick else tuple(SECTIONS))
    return run(lambda: bench(options), SENTENCES)


def bench(options: argparse.Namespace) -> int:
    """Measure, print the tables, and save them where that was asked for."""
    torch.set_num_threads(1)
    if options.soak:
        return soak_it(options)
    began = time.monotonic()
    results = measure_all(options)
    results["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(report.text(results))
    if options.bars:
        print(report.bars_json(results))
    if options.save:
        save(results, options.save)
    return 0


def soak_it(options: argparse.Namespace) -> int:
    """Serve the demo under mixed traffic, print the figures, and with --save write soak.json and soak.png."""
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        mar = Path(scratch) / "synpg.mar"
        archive.build(options.demo, mar)
        result = soak.soak(mar, Path(scratch) / "state", options.soak, say)
    print(soak.text(result))
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        (options.save / "soak.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
        try:
            soak.draw(result, options.save / "soak.png")
        except ImportError:
            say(report.NO_PLOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
