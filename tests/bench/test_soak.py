"""The soak: its traffic is mixed and repeats, and its table says what was counted."""

import itertools
import json

import pytest

from scripts.bench import soak


def test_the_traffic_is_mixed_and_the_same_each_time():
    sent = list(itertools.islice(soak.bodies(1), 60))
    assert sent == list(itertools.islice(soak.bodies(1), 60)) != list(itertools.islice(soak.bodies(2), 60))
    assert {kind for kind, _ in sent} == {"short", "long", "bad", "array"}
    assert all(isinstance(json.loads(body), list) for kind, body in sent if kind == "array")


def test_the_table_shows_memory_by_quarter_statuses_and_waits():
    memory = [{"seconds": 15.0 * i, "workers": 400.0 + i, "server": 200.0} for i in range(4)]
    text = soak.text({"minutes": 1, "memory": memory, "statuses": {"200": 3, "400": 1}, "waits": {"short": [0.1, 0.2, 3.0]}})
    assert "| 1 | 400 | 200 |" in text and "| 4 | 403 | 200 |" in text
    assert "| 200 | 3 |" in text and "| 400 | 1 |" in text and "| short | 3 | 0.20 | 0.20 | 3.00 |" in text


@pytest.mark.slow
@pytest.mark.server
def test_a_short_soak_counts_every_answer(tiny_archive, tmp_path):
    result = soak.soak(tiny_archive, tmp_path / "state", 0.05, lambda text: None)
    assert result["memory"][0]["workers"] > 50 and result["memory"][0]["server"] > 50
    assert sum(result["statuses"].values()) == sum(map(len, result["waits"].values())) >= soak.CALLERS
    assert set(result["statuses"]) <= {"200", "400"}
    soak.draw(result, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 1000
