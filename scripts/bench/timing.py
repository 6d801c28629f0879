"""Clocks: interleaved rounds and their summary. Knows no network."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Steps:
    """One run of a decoder, split. CPU seconds count every thread, and leave out what other processes took."""

    first: float  # seconds until the first token, encoder included
    step: float  # seconds of each step after it, median
    cpu: float  # CPU seconds of each step after it, mean


class StepClock:
    """Started when made; `tick` after each step."""

    def __init__(self):
        self.walls, self.cpus = [time.perf_counter()], [time.process_time()]

    def tick(self) -> None:
        self.walls.append(time.perf_counter())
        self.cpus.append(time.process_time())

    def steps(self) -> Steps:
        walls = [after - before for before, after in zip(self.walls, self.walls[1:])]
        return Steps(walls[0], statistics.median(walls[1:]), (self.cpus[-1] - self.cpus[1]) / (len(walls) - 1))


def interleaved(
    calls: dict[Any, Callable], most: int, budget: float, least: int = 1, every: dict[Any, int] | None = None
) -> dict[Any, list]:
    """What each call returned in each round: at most `most` rounds, and after the `least` no new one once `budget`
    seconds are spent. Every round makes every call once (or every so many rounds, if `every` says so), starting one
    further each time, so that whatever else the machine does falls on all of them alike."""
    found: dict[Any, list] = {name: [] for name in calls}
    names, began = list(calls), time.perf_counter()
    for i in range(most):
        if i >= least and time.perf_counter() - began > budget:
            break
        start = i % max(1, len(names))
        for name in names[start:] + names[:start]:
            if i % (every or {}).get(name, 1) == 0:
                found[name].append(calls[name]())
    return found


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the sorted values lie, linear between neighbours."""
    ordered, place = sorted(values), share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(values: list[float]) -> dict:
    """Median, 95th percentile and least of some measurements."""
    return {"p50": statistics.median(values), "p95": percentile(values, 0.95), "least": min(values), "count": len(values)}
