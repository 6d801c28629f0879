"""What the worker tells TorchServe about its work, by TorchServe's own code for metrics."""

import logging
import re
from types import SimpleNamespace

import pytest
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from handler import metrics
from handler.metrics import Metrics
from handler.pipeline import Stage
from handler.wire import response
from scripts.common.paths import ROOT
from tests.waiting import until

PARSE, TEXT = Stage("parse", 0.25, 4, 60), Stage("text", 0.5, 8, 90)


def answer(status: int = 200, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(status=status, headers=headers)


@pytest.fixture
def target() -> MetricsCacheYamlImpl:
    made = MetricsCacheYamlImpl(config_file_path=str(ROOT / "handler/metrics.yaml"))
    made.initialize_cache()
    made.model_name, made.request_ids = "synpg", {0: "a-request"}
    return made


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, float, str | None]]:
    """Name, value and stage of each line that TorchServe would read."""
    found = []
    for record in caplog.records:
        name, value, stage = re.fullmatch(
            r"\[METRICS\](\w+)\.\w+:([\d.]+)\|#(?:Stage:(\w+),)?ModelName:synpg,Level:Model\|#type:\w+\|#hostname:[^,]+,\d+",
            record.getMessage(),
        ).groups()
        found.append((name, float(value), stage))
    caplog.clear()
    return found


def test_counts_are_summed_up_and_written_once(target, caplog):
    caplog.set_level(logging.INFO)
    told_of = Metrics(target)
    told_of.add(0.125, [PARSE, TEXT], [answer(), answer(400)])
    told_of.add(0.0625, [TEXT], [answer(200, **{response.ATTRIBUTES: "truncated=1"})])
    assert not caplog.records  # nothing delays an answer
    told_of.write()
    assert sorted(told(caplog), key=str) == sorted(
        [
            *(("synpg_stage_seconds", value, stage) for value, stage in [(0.125, "other"), (0.0625, "other"), (0.25, "parse")]),
            *[("synpg_stage_seconds", 0.5, "text")] * 2,
            *(("synpg_chunks", 1, "parse"), ("synpg_rows", 4, "parse"), ("synpg_tokens", 60, "parse")),
            *(("synpg_chunks", 2, "text"), ("synpg_rows", 16, "text"), ("synpg_tokens", 180, "text")),
            *(("synpg_batches", 2, None), ("synpg_requests", 3, None)),
            *(("synpg_refused_requests", 1, None), ("synpg_truncated_requests", 1, None)),
        ],
        key=str,
    )
    told_of.write()
    assert not caplog.records
    assert target.request_ids == {0: "a-request"}  # TorchServe's own stays as it is


def test_a_thread_writes_and_outlives_an_error(target, caplog, monkeypatch):
    monkeypatch.setattr(metrics, "INTERVAL", 0.01)
    caplog.set_level(logging.INFO)
    told_of = Metrics(target)
    own = told_of.target
    monkeypatch.setattr(told_of, "target", None)
    told_of.start()
    told_of.add(0.5, [], [])
    until(lambda: [record.getMessage() for record in caplog.records] == ["metrics: AttributeError"])
    caplog.clear()
    monkeypatch.setattr(told_of, "target", own)
    told_of.add(0.25, [], [answer()])
    until(lambda: len(caplog.records) == 5)
    assert ("synpg_requests", 1, None) in told(caplog)
