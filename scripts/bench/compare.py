"""One artifact, all engines: which threads suit each, decoder steps, whole requests, memory. Interleaved throughout."""

import contextlib
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler import artifacts
from scripts.bench import conditions, ctranslate, engines, timing, variants, workload
from scripts.bench.workers import EngineError, Remote

PUBLISHED, RIVAL = "published code", "CTranslate2"
KEPT = 1.5  # a setting this many times slower than its engine's best is not tried at larger sizes
WARM = 4  # single requests after which an engine has compiled or chosen what it wants to
NETS = {"parse": "parse_generator", "text": "paraphraser"}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...] = (1, 8, 32, 128)  # rows of a request batch
    batches: tuple[int, ...] = (1, 8, 32)  # rows of a decoder step
    rounds: int = 20  # at most, of each measurement
    budget: float = 8.0  # s after which a measurement begins no further round
    steps: int = 41  # of each decoder run
    tune: tuple[int, ...] = (1, 8, 32)  # rows at which threads and compute types are tried
    threads: tuple[int, ...] | None = None  # None: one, two, and as many as there are cores


QUICK = Plan(sizes=(1, 4), batches=(1, 4), rounds=2, budget=2.0, steps=6, tune=(1,), threads=(1,))


class Comparison:
    """The engines over one artifact. A context: the processes end with it."""

    def __init__(self, folder: Path, scratch: Path, plan: Plan, rival: bool = True, say=print, sentences=workload.SENTENCES):
        self.folder, self.plan, self.say, self.sentences, self.notes = folder, plan, say, sentences, []
        self.converted, self.rival = scratch / "ctranslate2", rival and ctranslate.available()
        if rival and not self.rival:
            self.notes.append(ctranslate.MISSING)
        self.config = artifacts.read_config(folder / "config.json")
        self.remotes: dict[tuple[str, str], Remote] = {}  # (engine, setting)
        self.best: dict[tuple[str, int], str] = {}  # (engine, rows) -> its best setting
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Comparison":
        cores = len(os.sched_getaffinity(0))
        threads = sorted(self.plan.threads or {1, min(2, cores), cores})
        try:
            if self.rival:
                engines.convert(self.folder, self.converted)
            wanted: list[tuple[str, str, int, tuple[Any, ...]]] = [
                (name, _threads(count), count, (engines.Ours, self.folder, options, count))
                for name, options in variants.known().items()
                for count in threads
            ]
            wanted += [
                (PUBLISHED, _threads(count), count, (engines.Published, self.folder, count)) for count in sorted({threads[0], threads[-1]})
            ]
            wanted += [
                (RIVAL, f"{kind}, {_threads(count)}", count, (engines.Rival, self.folder, self.converted, kind, count))
                for kind in (ctranslate.compute_types() if self.rival else ())
                for count in threads
            ]
            for engine, setting, count, made_of in wanted:  # all at once: most of a start is waiting
                self.remotes[engine, setting] = self.stack.enter_context(Remote(*made_of, threads=count))
            for (engine, setting), remote in list(self.remotes.items()):
                try:
                    remote.ready()
                except EngineError as error:
                    self.notes.append(f"{engine} ({setting}) is left out: {error}.")
                    self.remotes.pop((engine, setting)).close()
            plain = next((remote for (engine, _), remote in self.remotes.items() if engine == variants.PLAIN), None)
            if plain is None:
                raise EngineError("the fp32 engine does not start: " + "; ".join(self.notes))
            self.ids = plain.call("answered", workload.bodies(len(self.sentences), 0, self.sentences))
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stack.close()

    def names(self) -> list[str]:
        return list(dict.fromkeys(engine for engine, _ in self.remotes))

    def lengths(self) -> dict[str, float]:
        """Mean tokens of an answer, <eos> included."""
        return {stage: statistics.mean(len(getattr(ids, stage)) for ids in self.ids) for stage in NETS}

    def work(self, count: int, first: int = 0) -> tuple[list[dict], list[workload.Ids]]:
        """`count` requests from the `first` sentence on, and their ids."""
        ids = [self.ids[(first + i) % len(self.ids)] for i in range(count)]
        return workload.bodies(count, first, self.sentences), ids

    def tune(self) -> list[dict]:
        """Each engine's best setting by whole requests at a few sizes; sizes not tried take the largest one's."""
        records = []
        for engine in self.names():
            alive = [setting for name, setting in self.remotes if name == engine]
            for size in self.plan.tune:
                if engine != PUBLISHED or size == self.plan.tune[0]:  # it does one request after the other
                    rounds = 1 if engine == PUBLISHED else {1: WARM, 8: 2}.get(size, 1)
                    runs = timing.interleaved({s: lambda s=s: self._request(engine, s, size) for s in alive}, rounds, self.plan.budget)
                    took = {setting: min(run.seconds for run in found) for setting, found in runs.items()}
                    records += [{"engine": engine, "setting": s, "rows": size, "seconds": t} for s, t in took.items()]
                    alive = sorted((s for s in alive if took[s] <= KEPT * min(took.values())), key=took.__getitem__)
                self.best[engine, size] = alive[0]
            for size in self.plan.sizes:
                self.best.setdefault((engine, size), alive[0])
            self.say(f"  {engine}: " + "; ".join(f"{size} rows {self.best[engine, size]}" for size in self.plan.sizes))
            # What has never been best is not needed again; fewer processes, quieter caches.
            for name, setting in list(self.remotes):
                if name == engine and setting not in {s for (e, _), s in self.best.items() if e == engine}:
                    self.remotes.pop((name, setting)).close()
        return records

    def _request(self, engine: str, setting: str, size: int, first: int = 0) -> engines.Run:
        return self.remotes[engine, setting].call("requests", *self.work(size, first))

    def steps(self) -> list[dict]:
        """Decoder steps of each network at each batch size, every engine in every setting that suited it somewhere."""
        records = []
        for stage, net in NETS.items():
            for batch in self.plan.batches:
                calls = {}
                for (engine, setting), remote in self.remotes.items():
                    if engine == PUBLISHED or engine in variants.DRAFTING:  # they have no step of their own
                        continue
                    count = min(self.plan.steps, getattr(self.config, net).max_steps)
                    calls[engine, setting, net] = lambda r=remote, c=count: r.call("steps", net, self.ids[0], batch, c)
                    if engine == RIVAL and stage == "parse" and (self.converted / f"{net}_whole").is_dir():
                        calls[engine, setting, f"{net}_whole"] = lambda r=remote, c=count: r.call(
                            "steps", f"{net}_whole", self.ids[0], batch, c
                        )
                for (engine, setting, which), runs in timing.interleaved(calls, self.plan.rounds, self.plan.budget).items():
                    records.append(
                        {
                            "engine": engine,
                            "setting": setting,
                            "net": stage,
                            "batch": batch,
                            "whole_vocabulary": which.endswith("_whole"),
                            "step_ms": 1e3 * statistics.median(run.step for run in runs),
                            "step_cpu_ms": 1e3 * statistics.median(run.cpu for run in runs),
                            "first_ms": 1e3 * statistics.median(run.first for run in runs),
                            "runs": len(runs),
                        }
                    )
                self.say(
                    f"  steps of the {stage} network, {batch} rows: "
                    + ", ".join(
                        f"{r['engine']} ({r['setting']}) {r['step_ms']:.2f} ms" for r in records if (r["net"], r["batch"]) == (stage, batch)
                    )
                )
        return records

    def requests(self) -> list[dict]:
        """Whole requests at each size, each engine at its best setting there."""
        records = []
        for size in self.plan.sizes:
            calls: dict[Any, Callable] = {}
            turn: dict = {}
            for engine in self.names():
                if engine == PUBLISHED and size > 1:
                    continue

                def call(engine=engine):
                    turn[engine] = turn.get(engine, -1) + 1  # every engine has the sentences in the same order
                    return self._request(engine, self.best[engine, size], size, turn[engine])

                calls[engine] = call
                if size < 128 and engine != PUBLISHED:
                    call()  # the first at a size may make room that the next ones find made
            found = timing.interleaved(
                calls,
                self.plan.rounds,
                self.plan.budget * (4 if size == 1 else 1.5),
                least=min(2 if size < 128 else 1, self.plan.rounds),
                every={PUBLISHED: 5},
            )  # slow and steady
            for engine, runs in found.items():
                records.append(self._summary(engine, size, runs))
            self.say(
                f"  {size} rows: " + ", ".join(f"{r['engine']} {1e3 * r['seconds']['p50']:.0f} ms" for r in records if r["rows"] == size)
            )
        return records

    def _summary(self, engine: str, size: int, runs: list[engines.Run]) -> dict:
        median = lambda values: statistics.median(list(values))  # noqa: E731
        seconds = timing.summary([run.seconds for run in runs])
        record = {
            "engine": engine,
            "setting": self.best[engine, size],
            "rows": size,
            "seconds": seconds,
            "rows_per_second": size / seconds["p50"],
            "plan_ms": 1e3 * median(run.plan for run in runs),
            "stages_ms": {s: 1e3 * median(run.stages[s] for run in runs) for s in NETS},
            "tokens": {s: median(run.tokens[s] for run in runs) for s in NETS},
        }
        remote = self.remotes[engine, self.best[engine, size]]
        if engine not in (PUBLISHED, RIVAL):
            ids = self.work(min(size, engines.CHUNK_ROWS))[1]
            chunks = -(-size // engines.CHUNK_ROWS)
            record["encode_ms"] = {s: chunks * 1e3 * min(remote.call("encode", net, ids) for _ in range(2)) for s, net in NETS.items()}
        return record

    def memory(self) -> list[dict]:
        return [
            {"engine": engine, "setting": setting, "peak_mb": remote.call("memory")} for (engine, setting), remote in self.remotes.items()
        ]

    def floor(self) -> list[dict]:
        """What reading the weights alone would take a step, by network and width of a weight."""
        records = []
        syntax = max(artifacts.read_vocabulary(self.folder / "vocab.json").syntax_ids.values()) + 1
        for stage, net in NETS.items():
            config = getattr(self.config, net)
            logits = syntax if stage == "parse" else config.vocab_size
            for name, width in (("fp32", 4), ("int8", 1)):
                size = conditions.weights_read(config, logits, width)
                rate, far = conditions.bandwidth(size), conditions.bandwidth(1 << 28)
                records.append(
                    {
                        "net": stage,
                        "weights": name,
                        "logits": logits,
                        "megabytes": size / 1e6,
                        "gb_per_second": rate,
                        "floor_ms": size / rate / 1e6,
                        "memory_gb_per_second": far,
                        "memory_floor_ms": size / far / 1e6,
                    }
                )
        return records


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count != 1)
