"""A model is ready when all of its workers have loaded it."""

import json

import pytest

from scripts.serving.readiness import read_versions, read_workers


@pytest.mark.parametrize(
    "status, workers, expected",
    [
        (200, [], (0, set(), False)),
        (200, [{"pid": 1, "status": "READY"}], (1, {1}, True)),
        (200, [{"pid": 1, "status": "READY"}, {"pid": 2, "status": "UNLOADING"}], (2, {1}, False)),
        (404, [{"pid": 1, "status": "READY"}], (0, set(), False)),
    ],
)
def test_a_model_is_ready_when_every_worker_has_loaded_it(status, workers, expected):
    found = read_workers(status, json.dumps([{"workers": workers}]))
    assert (found.total, found.loaded, found.ready) == expected


def test_an_answer_about_workers_that_makes_no_sense_is_a_value_error():
    for body in "[]", "{}", "1", "null", '[{"workers": null}]', '[{"workers": [{}]}]', "no JSON":
        with pytest.raises(ValueError):
            read_workers(200, body)
    for body in "1", "null", "[1]", "[{}]", '[{"modelVersion": "1", "workers": null}]', "no JSON":
        with pytest.raises(ValueError):
            read_versions(200, body)


def test_the_workers_of_each_version_are_read():
    told = [{"modelVersion": version, "workers": [{"pid": pid, "status": "READY"}]} for version, pid in (("1", 7), ("2", 8))]
    found = read_versions(200, json.dumps(told))
    assert {version: states.loaded for version, states in found.items()} == {"1": {7}, "2": {8}}
    assert read_versions(404, json.dumps(told)) == {}
