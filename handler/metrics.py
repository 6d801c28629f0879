"""What the worker did, told to TorchServe under the names of `metrics.yaml`.

TorchServe reads metrics as lines of the worker's standard output, some twenty for one request. Written before the answer they
delay it by a millisecond or more. So counts are summed up, and all is written a second later by a thread of its own.
"""

import copy
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

from handler.pipeline import Stage
from handler.wire import response

logger = logging.getLogger(__name__)
INTERVAL = 1.0  # s, from the first thing that is to be told to its telling; Prometheus asks every 15 s


class Metrics:
    """Thread-safe. After `start`, a thread writes what was added."""

    def __init__(self, target: Any):
        """target: TorchServe's `context.metrics`."""
        self.target = copy.copy(target)
        self.target.request_ids = {}  # the copy's: a sum is of many requests
        self.lock, self.added = threading.Lock(), threading.Event()
        self.counts: Counter[tuple[str, str]] = Counter()  # (name, stage or "") -> sum
        self.seconds: list[tuple[str, float]] = []  # stage, how long it took

    def start(self) -> None:
        threading.Thread(target=self._keep_writing, name="metrics", daemon=True).start()

    def add(self, other: float, stages: list[Stage], answers: Iterable[response.Response]) -> None:
        """What one batch took: the stages, other seconds of the worker, and the answers that were ready."""
        answers = list(answers)
        counts: Counter[tuple[str, str]] = Counter()
        for stage in stages:
            counts["synpg_chunks", stage.name] += 1
            counts["synpg_rows", stage.name] += stage.rows
            counts["synpg_tokens", stage.name] += stage.tokens
        counts["synpg_batches", ""] = 1
        counts["synpg_requests", ""] = len(answers)
        counts["synpg_refused_requests", ""] = sum(answer.status >= 400 for answer in answers)
        counts["synpg_truncated_requests", ""] = sum(response.ATTRIBUTES in answer.headers for answer in answers)
        with self.lock:
            self.counts.update(counts)
            self.seconds += [("other", other), *((stage.name, stage.seconds) for stage in stages)]
        self.added.set()

    def write(self) -> None:
        """Tell TorchServe what was added since the last time."""
        with self.lock:
            counts, seconds = self.counts, self.seconds
            self.counts, self.seconds = Counter(), []
            self.added.clear()
        for stage, value in seconds:
            self._write("synpg_stage_seconds", round(value, 6), stage, "Seconds", MetricTypes.HISTOGRAM)
        for (name, stage), value in counts.items():
            self._write(name, value, stage, "Count", MetricTypes.COUNTER)

    def _write(self, name: str, value: float, stage: str, unit: str, kind: MetricTypes) -> None:
        dimensions = [Dimension("Stage", stage)] if stage else []
        self.target.add_metric(name, value, unit, dimensions=dimensions, metric_type=kind)

    def _keep_writing(self) -> None:
        while True:
            self.added.wait()
            time.sleep(INTERVAL)
            try:
                self.write()
            except Exception as error:  # the next second's are still to be told
                logger.error("metrics: %s", type(error).__name__)
