"""Results to tables and a plot. Takes plain values, as they are in the JSON; knows no engine."""

import json
import re
from pathlib import Path

from scripts.bench.compare import PUBLISHED, RIVAL
from scripts.bench.variants import PLAIN

NO_PLOT = "matplotlib is not installed, so there is no plot: `pip install -r scripts/bench/requirements.txt`."


def table(head: list[str], rows: list[list]) -> str:
    """A Markdown table, columns aligned for reading as it is."""
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def fill(readme: Path, markers: tuple[str, str], tables: str) -> None:
    """Put tables between the markers of a README, if there is one that has them."""
    if readme.is_file():
        begin, end = map(re.escape, markers)
        before = readme.read_text(encoding="utf-8")
        readme.write_text(re.sub(f"({begin}).*({end})", lambda m: f"{m[1]}\n{tables}\n{m[2]}", before, flags=re.S), encoding="utf-8")


def find(records: list[dict], **wanted) -> list[dict]:
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def ours(records: list[dict]) -> list[dict]:
    return [record for record in records if record["engine"] not in (PUBLISHED, RIVAL)]


def fastest(records: list[dict], key) -> float | None:
    return min(map(key, records), default=None)


def bars(results: dict) -> list[dict]:
    """The project's bars: what, wanted (limits), measured (values), met (None: not measured). The fastest of this project's variants and
    of the rival's settings count. most: a value may be at most its limit; otherwise at least."""
    found = []
    shape, demo = results.get("published", {}), results.get("demo", {})
    quality = demo.get("quality") or shape.get("quality") or {}

    def bar(what: str, wanted: list[float], values: list[float | None], unit: str, most: bool = False) -> None:
        known = [value for value in values if value is not None]
        met = (
            all((value <= limit) if most else (value >= limit) for value, limit in zip(known, wanted))
            if len(known) == len(values)
            else None
        )
        found.append(
            {"what": what, "wanted": wanted, "unit": ("at most, " if most else "at least, ") + unit, "measured": values, "met": met}
        )

    def p50(records):
        return fastest(records, lambda record: record["seconds"]["p50"])

    requests, steps = shape.get("requests", []), shape.get("steps", [])
    for net, wanted in (("parse", [1.4, 1.4, 1.2]), ("text", [1.3, 1.4, 1.4])):
        values = [
            ratio(
                fastest(find(steps, engine=RIVAL, net=net, batch=batch), lambda r: r["step_ms"]),
                fastest(ours(find(steps, net=net, batch=batch)), lambda r: r["step_ms"]),
            )
            for batch in (1, 8, 32)
        ]
        bar(f"decode step of the {net} network at batch 1 / 8 / 32, against CTranslate2", wanted, values, "times its speed")
    one, many = p50(ours(find(requests, rows=1))), p50(ours(find(requests, rows=32)))
    published = p50(find(requests, engine=PUBLISHED, rows=1))
    bar("one request, against CTranslate2", [2.5], [ratio(p50(find(requests, engine=RIVAL, rows=1)), one)], "times faster")
    bar("32 requests together, against CTranslate2", [2.2], [ratio(p50(find(requests, engine=RIVAL, rows=32)), many)], "times faster")
    bar(
        "one request / 32 together, against the published decoding one by one",
        [100, 130],
        [ratio(published, one), ratio(published, many and many / 32)],
        "times faster",
    )
    small = demo.get("requests", [])
    values = [ratio(p50(find(small, engine=RIVAL, rows=rows)), p50(ours(find(small, rows=rows)))) for rows in (1, 32)]
    bar("shipped model, one candidate, one request / 32 together, against CTranslate2", [1.8, 1.2], values, "times faster")
    earlier = demo.get("against", {"lone": {}, "per_second_16": {}})
    lone, rates = (earlier["lone"].get(name, {}).get("p50") for name in ("before", "now")), earlier["per_second_16"]
    values = [ratio(*lone), ratio(rates.get("now"), rates.get("before"))]
    bar("shipped model through TorchServe, lone request / 16 callers, against the earlier version", [2, 2.5], values, "times faster")
    int8 = [record for record in quality.get("engines", []) if record["engine"] != PLAIN]
    plain = find(quality.get("engines", []), engine=PLAIN)
    equal = fastest([{"v": min(record["tokens_as_fp32"].values())} for record in int8], lambda r: r["v"])
    bar("int8 tokens as fp32, teacher-forced", [99.3], [equal], "%")
    losses = [plain[0]["bleu"] - record["bleu"] for record in int8 if plain and None not in (record["bleu"], plain[0]["bleu"])]
    bar("BLEU that int8 loses", [0.3], [max(losses, default=None)], "BLEU", most=True)
    workers = [part.get("server", {}).get("peak_mb", {}).get("worker") for part in (shape, demo)]
    mixed = max((part.get("server", {}).get("mixed", 0) for part in (shape, demo)), default=0)
    told = f"memory of a worker after this benchmark's load{f' and {mixed:,} mixed requests' if mixed else ''}, published shape / shipped"
    bar(told, [700, 500], workers, "MB", most=True)
    bar("published shape as a .mar: cold start, against the echo handler", [2], [shape.get("cold", {}).get("ratio")], "times", most=True)
    overhead = demo.get("server", {}).get("lone", {}).get("overhead_ms")
    bar("lone request through TorchServe, over the engine's own time", [6], [overhead], "ms", most=True)
    return found


def bars_json(results: dict) -> str:
    """The bars as one line: {name: {"wanted", "measured", "met"}}. What takes one value has a number, otherwise a list."""

    def plain(values: list) -> object:
        rounded = [value if value is None else round(value, 3) for value in values]
        return rounded[0] if len(rounded) == 1 else rounded

    return json.dumps(
        {
            f"{bar['what']} ({bar['unit']})": {"wanted": plain(bar["wanted"]), "measured": plain(bar["measured"]), "met": bar["met"]}
            for bar in bars(results)
        }
    )


def several(values: list) -> str:
    return " / ".join("–" if value is None else f"{value:.4g}" for value in values)


def ratio(slow: float | None, fast: float | None) -> float | None:
    return slow / fast if slow and fast else None


def text(results: dict) -> str:
    """Everything as Markdown."""
    c = results["conditions"]
    parts = [
        f"{c['date']}, commit {c['commit']}, {c['cpu']}, {c['cores']} cores, {' '.join(c['instructions']) or 'no AVX2'}; load "
        f"{c['load'][0]:.2f} at the start, {results['load_at_end'][0]:.2f} at the end; Python {c['python']}, "
        + ", ".join(f"{name} {version}" for name, version in c["versions"].items())
        + "."
    ]
    for name in ("published", "demo"):
        if name in results:
            parts += artifact(name, results[name])
    if results.get("bars"):
        met = {True: "yes", False: "no", None: "–"}
        parts += [
            "### Bars",
            table(
                ["what", "wanted", "measured", "met"],
                [
                    [b["what"], b["unit"].replace(", ", f" {several(b['wanted'])} ", 1), several(b["measured"]), met[b["met"]]]
                    for b in results["bars"]
                ],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def artifact(name: str, r: dict) -> list[str]:
    """The tables of one artifact."""
    parts = [f"### {r['title']}"]
    if "lengths" in r:
        parts.append(f"Answers: {r['lengths']['parse']:.0f} parse tokens and {r['lengths']['text']:.0f} text tokens on average.")
    if r.get("requests"):
        parts.append(
            table(
                [
                    "whole requests",
                    "setting",
                    "rows",
                    "p50 ms",
                    "p95 ms",
                    "rows/s",
                    "plan ms",
                    "parse ms",
                    "text ms",
                    "of these encode ms",
                    "runs",
                ],
                [
                    [
                        q["engine"],
                        q["setting"],
                        q["rows"],
                        f"{1e3 * q['seconds']['p50']:.1f}",
                        f"{1e3 * q['seconds']['p95']:.1f}",
                        f"{q['rows_per_second']:.2f}",
                        f"{q['plan_ms']:.1f}",
                        f"{q['stages_ms']['parse']:.1f}",
                        f"{q['stages_ms']['text']:.1f}",
                        encoding(q),
                        q["seconds"]["count"],
                    ]
                    for q in r["requests"]
                ],
            )
        )
    if r.get("steps"):
        parts.append(
            table(
                ["decoder step", "setting", "network", "rows", "ms", "CPU ms", "first token ms"],
                [
                    [
                        s["engine"],
                        s["setting"],
                        s["net"] + (", whole vocabulary" if s["whole_vocabulary"] else ""),
                        s["batch"],
                        f"{s['step_ms']:.2f}",
                        f"{s['step_cpu_ms']:.2f}",
                        f"{s['first_ms']:.1f}",
                    ]
                    for s in r["steps"]
                ],
            )
        )
        if shares := processor_time(r["steps"]):
            parts.append("Least processor time of a step, CTranslate2's over this project's, which other processes disturb less: " + shares)
    if r.get("floor"):
        parts.append(
            table(
                ["weights a step reads", "as", "logits", "MB", "GB/s at that size", "ms", "GB/s from memory", "ms"],
                [
                    [
                        f["net"],
                        f["weights"],
                        f["logits"],
                        f"{f['megabytes']:.1f}",
                        f"{f['gb_per_second']:.1f}",
                        f"{f['floor_ms']:.2f}",
                        f"{f['memory_gb_per_second']:.1f}",
                        f"{f['memory_floor_ms']:.2f}",
                    ]
                    for f in r["floor"]
                ],
            )
        )
    if r.get("memory"):
        parts.append(table(["peak memory", "setting", "MB"], [[m["engine"], m["setting"], f"{m['peak_mb']:.0f}"] for m in r["memory"]]))
    if r.get("quality"):
        parts.append(f"Quality, {r['quality']['of']}:")
        parts.append(
            table(
                [
                    "engine",
                    "tokens as fp32, parse",
                    "text",
                    "right, parse",
                    "text",
                    "BLEU",
                    "texts unlike fp32's",
                    "texts that differ alone and in a batch",
                ],
                [
                    [
                        q["engine"],
                        *(f"{v:.2f} %" for key in ("tokens_as_fp32", "tokens_right") for v in q[key].values()),
                        q["bleu"] if q["bleu"] is not None else "–",
                        f"{q['texts_unlike_fp32']:.2f} %",
                        f"{q['together_alone_differ']:.2f} %",
                    ]
                    for q in r["quality"]["engines"]
                ],
            )
        )
    if r.get("server"):
        s = r["server"]
        parts.append(
            f"TorchServe, {s['engine']}, {s['threads']} thread(s): one request {1e3 * s['lone']['server']['p50']:.1f} ms, in the "
            f"engine alone {1e3 * s['lone']['engine']['p50']:.1f} ms; {s['lone']['overhead_ms']:.1f} ms of it outside of the model; worker "
            f"{s['peak_mb']['worker']:.0f} MB, Java {s['peak_mb']['java']:.0f} MB at most."
        )
        parts.append(
            table(
                ["clients", "p50 ms", "p95 ms", "requests/s", "requests"],
                [
                    [
                        q["clients"],
                        f"{1e3 * q['seconds']['p50']:.0f}",
                        f"{1e3 * q['seconds']['p95']:.0f}",
                        f"{q['per_second']:.2f}",
                        q["seconds"]["count"],
                    ]
                    for q in s["load"]
                ],
            )
        )
    if r.get("against"):
        a = r["against"]
        parts.append(
            "Through TorchServe against the other checkout, in turn: one request "
            + ", ".join(f"{name} {1e3 * times['p50']:.1f} ms" for name, times in a["lone"].items())
            + "; 16 callers "
            + ", ".join(f"{name} {rate:.1f} a second" for name, rate in a["per_second_16"].items())
            + "."
        )
    if r.get("cold"):
        k = r["cold"]
        parts.append(
            f"Cold start to the first answer: {k['seconds']:.2f} s, the echo handler {k['echo_seconds']:.2f} s ({k['runs']} runs "
            f"each). Of it: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in k["parts"].items()) + "."
        )
    return parts + [f"Note: {note}" for note in r.get("notes", [])]


def processor_time(steps: list[dict]) -> str:
    """The rival's over ours for each network and batch size, empty without a rival."""
    told = []
    for net in ("parse", "text"):
        batches = sorted({record["batch"] for record in find(steps, net=net)})
        values = [
            ratio(
                fastest(find(steps, engine=RIVAL, net=net, batch=batch), lambda r: r["step_cpu_ms"]),
                fastest(ours(find(steps, net=net, batch=batch)), lambda r: r["step_cpu_ms"]),
            )
            for batch in batches
        ]
        if all(values):
            told.append(f"{net} {' / '.join(f'{value:.2f}' for value in values)} at {' / '.join(map(str, batches))} rows")
    return "; ".join(told)


def encoding(request: dict) -> str:
    return " + ".join(f"{ms:.1f}" for ms in request["encode_ms"].values()) if "encode_ms" in request else "–"
