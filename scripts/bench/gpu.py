"""This project's engine on a GPU: whole requests, decoding steps beside their floors, and whether half precision changes answers.

    python -m scripts.bench.gpu                        both artifacts: random networks of the published shape, the shipped model
    python -m scripts.bench.gpu --save scripts/bench   also gpu.json, and the tables between the markers of README.md
    python -m scripts.bench.gpu --quick --device cpu   tiny networks; does everything run?

Needs a CUDA device. Of the packages it needs torch, numpy, safetensors, subword-nmt and onnxruntime alone; TorchServe does not run. The
last line of standard output is one JSON object: {name: {"wanted", "measured", "met"}}.

Two floors stand beside a step. No step is faster than its weights can be read: their bytes over the bandwidth of a large copy. And none is
faster than its launches: as many kernels as it has, in a graph, each adding one number.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handler import artifacts
from handler.gpu.engine import CudaGraphEngine
from handler.pipeline import Pipeline, Stage
from scripts.bench import conditions, published, timing, workload
from scripts.bench.report import fill, table
from scripts.common.command import UserError, run
from scripts.common.paths import DEMO

ROWS = 1, 8, 32, 128, 512  # decoded together
ROUNDS, LONE = 5, 40  # of each number of rows; of a lone request
WANTED_MS, WANTED_PER_SECOND = 25.0, 2000.0  # a lone request of the published shape; paraphrases a second at the best number of rows
STEPS = 30  # timed in a row; a text of the published shape has 41 at most
EMPTY = 200  # kernels in the graph that shows what a launch costs
MARKERS = "<!-- GPU results: `python -m scripts.bench.gpu --save` writes from here -->\n", "<!-- GPU results to here -->\n"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def device_of(name: str) -> torch.device:
    """Raises UserError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"This torch ({torch.__version__}) finds no CUDA device. `--quick --device cpu` checks that everything runs.")
    return torch.device(name)


def loaded(folder: Path, device: torch.device, precision: str) -> Pipeline:
    """The artifact on a GPU. On a CPU, the same code without graphs."""
    if device.type == "cuda":
        pipeline = artifacts.load(folder, device, precision)
    else:
        pipeline = artifacts.load(folder, compiled=False)
        for name in ("parse_generator", "text_generator"):
            plain = getattr(pipeline, name)
            setattr(pipeline, name, CudaGraphEngine(plain.net.net, "fp32", plain.output_vocab_size))
    pipeline.shares_texts = False  # the rows of a batch are a few sentences again and again
    return pipeline


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def requests(pipeline: Pipeline, bodies: list[dict]) -> dict[str, float]:
    """Seconds of some requests done together: whole, planning, both networks; and how many steps both networks made."""
    spent = {"parse": 0.0, "text": 0.0}

    def observe(stage: Stage) -> None:
        spent[stage.name] += stage.seconds

    began = time.perf_counter()
    rows = workload.rows(pipeline, bodies)
    planned = time.perf_counter()
    pipeline.run(rows, len(rows), observe)
    steps = pipeline.parse_generator.steps + pipeline.text_generator.steps  # type: ignore[attr-defined]  # a GPU's engine has them
    return {"whole": time.perf_counter() - began, "plan": planned - began, **spent, "steps": steps}


def whole_requests(pipeline: Pipeline, sizes: tuple[int, ...], rounds: int, lone: int, sentences) -> list[dict]:
    """Medians for each number of requests done together. The first run of each number, which records graphs, does not count."""
    found = []
    for size in sizes:
        turns = [workload.bodies(size, turn, sentences) for turn in range(lone if size == 1 else rounds)]
        requests(pipeline, turns[0])
        runs = [requests(pipeline, bodies) for bodies in turns]
        medians = {name: statistics.median(each[name] for each in runs) for name in runs[0]}
        found.append({"rows": size, **timing.summary([each["whole"] for each in runs]), **medians, "per_second": size / medians["whole"]})
        say(f"  {size} together: {1e3 * medians['whole']:.1f} ms, {found[-1]['per_second']:.0f} a second")
    return found


def clocked(call: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds of a call that the GPU does, mean of so many in a row after as many to warm up."""
    for _ in range(times):
        call()
    wait(device)
    began = time.perf_counter()
    for _ in range(times):
        call()
    wait(device)
    return (time.perf_counter() - began) / times


def launches(step: Callable[[], object], device: torch.device) -> int | None:
    """Kernels that a step launches, copies and fills included; None on a CPU."""
    if device.type != "cuda":
        return None
    step()
    wait(device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        wait(device)
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())


def seconds_of_a_launch(device: torch.device) -> float | None:
    """What one kernel of a graph takes that does next to nothing; None on a CPU."""
    if device.type != "cuda":
        return None
    x, graph = torch.zeros(1, device=device), torch.cuda.CUDAGraph()
    x.add_(1.0)
    wait(device)
    with torch.cuda.graph(graph):
        for _ in range(EMPTY):
            x.add_(1.0)
    return clocked(graph.replay, 50, device) / EMPTY


def bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second that a copy of `size` bytes reads and writes."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / clocked(lambda: target.copy_(source), 10, device)


def bytes_read(engine: CudaGraphEngine) -> int:
    """Bytes of the weights that a step reads whole, whatever the number of rows."""
    parts: list[Tensor] = [*engine.net.logits]
    for layer in engine.net.decoder:
        for sublayer in layer:
            parts += [sublayer.into, sublayer.bias, sublayer.out]
    return sum(part.numel() * part.element_size() for part in parts)


def steps(pipeline: Pipeline, sizes: tuple[int, ...], times: int, launch: float | None, bytes_per_second: float) -> list[dict]:
    """A greedy step of each network without rules, beside its floors."""
    found = []
    for name, engine in (("parse", pipeline.parse_generator), ("text", pipeline.text_generator)):
        assert isinstance(engine, CudaGraphEngine)
        read = bytes_read(engine)
        for size in sizes:
            with torch.inference_mode():
                _, start, step = engine.prepare(size, engine.widths()[-1], None, False, False)
                start()
                count, runs = launches(step, engine.device), []
                for _ in range(times):
                    start()
                    wait(engine.device)
                    began = time.perf_counter()
                    for _ in range(STEPS):
                        step()
                    wait(engine.device)
                    runs.append((time.perf_counter() - began) / STEPS)
            found.append(
                {
                    "net": name,
                    "rows": size,
                    "ms": 1e3 * statistics.median(runs),
                    "launches": count,
                    "launch_floor_ms": None if count is None or launch is None else 1e3 * count * launch,
                    "read_floor_ms": 1e3 * read / bytes_per_second,
                    "megabytes": read / 1e6,
                }
            )
    return found


def agreement(folder: Path, device: torch.device, pipeline: Pipeline, count: int, sentences) -> float:
    """Percent of answers that are the same as in fp32 on the same device."""
    bodies = workload.bodies(count, 0, sentences)
    exact = loaded(folder, device, "fp32")
    texts = [[done.text for done in each.run(workload.rows(each, bodies))] for each in (pipeline, exact)]
    return 100 * sum(mine == other for mine, other in zip(*texts)) / count


def measure(name: str, folder: Path, device: torch.device, options: argparse.Namespace, sentences) -> dict[str, Any]:
    sizes = (1, 4) if options.quick else ROWS
    say(f"{name} on {device}")
    pipeline = loaded(folder, device, "auto")
    launch, speed = seconds_of_a_launch(device), bandwidth(device, 1 << 20 if options.quick else 1 << 30)
    return {
        "precision": pipeline.text_generator.precision,
        "requests": whole_requests(pipeline, sizes, 2 if options.quick else ROUNDS, 2 if options.quick else LONE, sentences),
        "steps": steps(pipeline, sizes, 2 if options.quick else 10, launch, speed),
        "launch_us": None if launch is None else 1e6 * launch,
        "gb_per_second": speed / 1e9,
        "same_as_fp32": agreement(folder, device, pipeline, len(sentences), sentences),
        "mb": torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None,
    }


def bars(results: dict) -> dict[str, dict]:
    """What is wanted of the published shape, as `scripts.bench --bars` prints it."""
    made = results["published"]["requests"]
    lone, best = 1e3 * made[0]["whole"], max(each["per_second"] for each in made)
    return {
        "one request on a GPU, published shape (at most, ms)": {
            "wanted": WANTED_MS,
            "measured": round(lone, 2),
            "met": lone <= WANTED_MS,
        },
        "paraphrases a second on a GPU, published shape, best number of rows (at least)": {
            "wanted": WANTED_PER_SECOND,
            "measured": round(best, 1),
            "met": best >= WANTED_PER_SECOND,
        },
    }


def number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def text(results: dict) -> str:
    """The results as Markdown."""
    c = results["conditions"]
    parts = [f"{c['date']}, commit {c['commit']}, {results['device']}, torch {c['versions']['torch']}, Python {c['python']}."]
    for name in ("published", "demo"):
        if not (r := results.get(name)):
            continue
        title = "Random networks of the published shape" if name == "published" else "The shipped model, one candidate"
        launch = "" if r["launch_us"] is None else f"a launch in a graph {r['launch_us']:.2f} µs, "
        parts += [
            f"### {title}: {r['precision']}",
            table(
                ["requests together", "p50 ms", "p95 ms", "a second", "plan ms", "parse ms", "text ms", "steps", "runs"],
                [
                    [
                        q["rows"],
                        *(f"{1e3 * q[key]:.1f}" for key in ("p50", "p95")),
                        f"{q['per_second']:.1f}",
                        *(f"{1e3 * q[key]:.1f}" for key in ("plan", "parse", "text")),
                        f"{q['steps']:.0f}",
                        q["count"],
                    ]
                    for q in r["requests"]
                ],
            ),
            table(
                ["step", "rows", "ms", "launches", "launch floor ms", "weights MB", "read floor ms"],
                [
                    [
                        s["net"],
                        s["rows"],
                        f"{s['ms']:.3f}",
                        number(s["launches"], "d"),
                        number(s["launch_floor_ms"], ".3f"),
                        f"{s['megabytes']:.1f}",
                        f"{s['read_floor_ms']:.3f}",
                    ]
                    for s in r["steps"]
                ],
            ),
            f"Answers as in fp32: {r['same_as_fp32']:.1f} %; {launch}a copy {r['gb_per_second']:.0f} GB/s; "
            f"memory {number(r['mb'], '.0f')} MB.",
        ]
    return "\n\n".join(parts) + "\n"


def save(results: dict, folder: Path) -> None:
    """gpu.json, and the tables between the markers of README.md if it has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fill(folder / "README.md", MARKERS, text(results))


def bench(options: argparse.Namespace) -> int:
    device = device_of(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU: the same steps on a CPU"
    results: dict[str, Any] = {"conditions": conditions.conditions(), "device": name}
    sentences = workload.SENTENCES[-2:-1] if options.quick else workload.SENTENCES
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch) / "artifact"
        published.make(folder, options.demo, *((published.TINY, 0, sentences) if options.quick else ()))
        results["published"] = measure("published", folder, device, options, sentences)
    if not options.quick:
        results["demo"] = measure("demo", options.demo, device, options, sentences)
    print(text(results))
    print(json.dumps(bars(results)))
    if options.save:
        save(results, options.save)
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only with --quick, to check (%(default)s)")
    parser.add_argument("--demo", type=Path, default=DEMO, help="artifact to measure as demo (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny networks and a round or two, to check that everything runs")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write gpu.json there, and the tables into its README.md")
    return run(lambda: bench(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
