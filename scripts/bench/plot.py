"""The plot of the results: latency, throughput, decoder steps. Needs matplotlib."""

from pathlib import Path

from scripts.bench.report import fastest, find


def draw(results: dict, file: Path) -> None:
    """Write `file`; raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    artifacts = [results[name] for name in ("published", "demo") if results.get(name, {}).get("requests")]
    if not artifacts:
        return
    figure, axes = pyplot.subplots(len(artifacts), 3, figsize=(15, 4.2 * len(artifacts)), squeeze=False, layout="constrained")
    for row, artifact in zip(axes, artifacts):
        engines = list(dict.fromkeys(record["engine"] for record in artifact["requests"]))
        colours = {engine: f"C{i}" for i, engine in enumerate(engines)}
        _latency(row[0], artifact, engines, colours)
        _throughput(row[1], artifact, engines, colours)
        _steps(row[2], artifact, engines, colours)
    c = results["conditions"]
    figure.suptitle(f"{c['cpu']}, {c['cores']} cores, {c['date']}, commit {c['commit']}", fontsize=9)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _latency(axis, artifact: dict, engines: list[str], colours: dict) -> None:
    alone = [record for engine in engines for record in find(artifact["requests"], engine=engine, rows=1)]
    bars = axis.barh(
        [record["engine"] for record in alone],
        [1e3 * record["seconds"]["p50"] for record in alone],
        color=[colours[record["engine"]] for record in alone],
    )
    axis.bar_label(bars, fmt="%.0f", padding=3)
    axis.set(xscale="log", xlabel="ms, median, one request", title=artifact["title"])
    axis.set_xlim(1, 3 * max(1e3 * record["seconds"]["p50"] for record in alone))  # from 1 ms, and room for the numbers
    axis.invert_yaxis()


def _throughput(axis, artifact: dict, engines: list[str], colours: dict) -> None:
    for engine in engines:
        points = sorted((record["rows"], record["rows_per_second"]) for record in find(artifact["requests"], engine=engine))
        axis.plot(*zip(*points), marker="o", label=engine, color=colours[engine])
    axis.set(xscale="log", yscale="log", xlabel="requests together", ylabel="requests a second")
    axis.legend(fontsize=8)


def _steps(axis, artifact: dict, engines: list[str], colours: dict) -> None:
    steps = artifact.get("steps") or []
    places = sorted({(record["net"], record["batch"]) for record in steps})
    shown = [engine for engine in engines if find(steps, engine=engine)]
    for i, engine in enumerate(shown):
        best = [fastest(find(steps, engine=engine, net=net, batch=batch), lambda record: record["step_ms"]) or 0 for net, batch in places]
        axis.bar(
            [x + 0.8 * i / len(shown) for x in range(len(places))],
            best,
            0.8 / len(shown),
            align="edge",
            label=engine,
            color=colours[engine],
        )
    axis.set_xticks([x + 0.4 for x in range(len(places))], [f"{net}\n{batch}" for net, batch in places])
    axis.set(ylabel="ms a decoder step", xlabel="network, rows", yscale="log" if places else "linear")
