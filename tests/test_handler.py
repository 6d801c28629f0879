"""The handler with TorchServe's own Context: every body type, one status for each request, independent neighbours, one load."""

import gc
import json
import logging
from types import SimpleNamespace

import pytest
from ts.context import Context, RequestProcessor
from ts.service import Service

from handler import artifacts
from handler.synpg_handler import SynPGHandler
from tests.factories import PICNIC, RAIN, body, tiny_artifact


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_artifact(folder / "artifact")
    return folder


def make_context(model_dir, **options):
    context = Context("synpg", str(model_dir), {"model": {"handler": "synpg_handler.py"}}, 8, None, False, "0.12.0")
    context.model_yaml_config = {"handler": options}
    return context


@pytest.fixture(scope="module")
def handler(model_dir):
    handler = SynPGHandler()
    handler.initialize(make_context(model_dir, threads=1, max_rows=12, max_body_bytes=20_000, max_body_rows=40))
    return handler


def test_garbage_is_looked_for_again_once_the_model_is_loaded(model_dir):
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)  # as `sitecustomize.py` does in a worker
    try:
        SynPGHandler().initialize(make_context(model_dir, threads=1))
        assert gc.get_threshold() == before and gc.isenabled() and gc.get_freeze_count() > 10_000
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def test_the_artifacts_candidates_count_in_a_bodys_limit(tmp_path):
    tiny_artifact(tmp_path / "artifact", candidates=3)
    handler = SynPGHandler()
    handler.initialize(make_context(tmp_path, threads=1, max_body_rows=6))
    fits, too_many, fewer = call(
        handler, tmp_path, (body([RAIN] * 2), JSON), (body([RAIN] * 3), JSON), (body([{**RAIN, "candidates": 2}] * 3), JSON)
    )
    assert (fits[0], too_many[0], fewer[0]) == (200, 413, 200)


def call(handler, model_dir, *requests):
    """(body, headers) each through `handle` as one batch; returns (status, content type, decoded body) each."""
    context = make_context(model_dir)
    context.request_ids = {i: f"id{i}" for i in range(len(requests))}
    context.request_processor = [RequestProcessor(dict(headers)) for _, headers in requests]
    data = [{"body": bytearray(b)} if isinstance(b, bytes) else b for b, _ in requests]
    out = handler.handle(data, context)
    assert isinstance(out, list) and len(out) == len(requests)
    answers = []
    for i, text in enumerate(out):
        status, phrase = context.get_response_status(i)
        assert phrase.isascii()
        kind = context.get_response_content_type(i)
        answers.append((int(status), kind, [json.loads(line) for line in text.split("\n")] if "lines" in kind else json.loads(text)))
    return answers


JSON = {"Content-Type": "application/json"}


@pytest.mark.slow
def test_the_notebooks_payload_gets_one_string(handler, model_dir):
    [(status, kind, value)] = call(handler, model_dir, (body(PICNIC), JSON))
    assert (status, kind) == (200, "application/json")
    assert isinstance(value, str) and value


def test_one_bad_request_does_not_disturb_its_neighbours(handler, model_dir):
    good = body({**PICNIC, "seed": 1}), JSON
    alone = call(handler, model_dir, good)[0]
    bad = [
        (b"{", JSON),
        (b"\xff", JSON),
        (body({**PICNIC, "tmpl": "(ROOT"}), JSON),
        (b"x" * 20_001, JSON),
        (body(PICNIC), {"content-type": "text/csv"}),
        (body(PICNIC), {**JSON, "ACCEPT": "text/html"}),
        ({"data": bytearray(b"form")}, {"content-type": "application/x-www-form-urlencoded"}),
        ({}, {}),
        (body({"sent": "it rains", "tmpl": "statement"}), JSON),
    ]
    answers = call(handler, model_dir, good, *bad, good)
    assert answers[0] == answers[-1] == alone
    assert [status for status, _, _ in answers[1:-1]] == [400, 400, 400, 413, 415, 406, 415, 415, 400]
    for _, kind, value in answers[1:-1]:
        assert kind == "application/json" and set(value) == {"code", "type", "message", "field"}
    assert answers[3][2]["field"] == "tmpl" and answers[-2][2]["field"] == "synt"


def test_arrays_and_lines_answer_in_order_errors_in_place(handler, model_dir):
    values = [{**RAIN, "seed": 2}, {"sent": 3}, {**RAIN, "seed": 2, "tmpl": ["statement", "command"]}, {**RAIN, "nope": 1}]
    [(status, _, array)] = call(handler, model_dir, (body(values), JSON))
    lines = b"\n".join(body(v) for v in values) + b"\n"
    [(_, kind, listed)] = call(handler, model_dir, (lines, {"content-type": "application/jsonlines"}))
    assert status == 200 and kind == "application/jsonlines" and listed == array
    assert isinstance(array[0], str) and len(array[2]) == 2
    assert array[1] == {"error": {"code": 400, "type": "InvalidRequest", "message": "must be a string", "field": "sent"}}
    assert array[3]["error"]["field"] == "nope"


def test_catalogue_lists_and_details(handler, model_dir):
    base = {k: RAIN[k] for k in ("sent", "synt")}
    whole, several, detailed = (
        value
        for _, _, value in call(
            handler,
            model_dir,
            (body({**base, "seed": 1}), JSON),
            (body({**RAIN, "num_paraphrases": 3}), JSON),
            (body({**RAIN, "details": True, "seed": 4}), JSON),
        )
    )
    assert set(whole) >= {"statement", "two_clauses"} and all(isinstance(v, str) for v in whole.values())
    assert len(several) == 3
    told = {"paraphrase", "tokens", "template", "parse", "log_probability", "truncated", "seed", "unknown_words", "tags_predicted"}
    assert set(detailed) == told | {"moves", "source_parse"}
    assert detailed["seed"] == 4 and detailed["log_probability"] < 0


def test_the_limits_of_the_configuration_hold(handler, model_dir):
    [(status, _, value)] = call(handler, model_dir, (body([RAIN] * 41), JSON))
    assert status == 413 and "40 paraphrases" in value["message"]
    [(status, _, value)] = call(handler, model_dir, (body({**RAIN, "num_paraphrases": 13}), JSON))
    assert status == 400 and value["field"] == "num_paraphrases" and "12" in value["message"]


def test_the_artifact_is_loaded_once(model_dir, monkeypatch):
    loads = []
    load = artifacts.load
    monkeypatch.setattr(artifacts, "load", lambda *a: loads.append(a) or load(*a))
    handler = SynPGHandler()
    handler.initialize(make_context(model_dir, threads=1))
    for _ in range(3):
        call(handler, model_dir, (body(RAIN), JSON))
    assert len(loads) == 1


def test_nothing_a_user_wrote_is_logged_even_when_we_fail(model_dir, caplog):
    caplog.set_level(logging.DEBUG)
    handler = SynPGHandler()
    handler.initialize(make_context(model_dir, threads=1))
    call(handler, model_dir, (body({**RAIN, "seed": 1}), JSON), (body({"sent": "xyzzy"}), JSON))

    def fail(tries, observe):
        raise KeyError(" ".join(["rain" + "ing", "xy" + "zzy"]))  # pieces: a traceback shows the source line

    handler.model.pipeline.decode = fail
    with pytest.raises(RuntimeError, match="^internal error$") as caught:
        call(handler, model_dir, (body(RAIN), JSON))
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "KeyError" in caplog.text and "in fail" in caplog.text
    assert "raining" not in caplog.text and "xyzzy" not in caplog.text


def test_a_gpu_that_is_not_there_is_an_error(model_dir):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    context = make_context(model_dir)
    context.system_properties["gpu_id"] = 0
    with pytest.raises(RuntimeError, match="given GPU 0"):
        SynPGHandler().initialize(context)


def test_taking_turns_needs_one_worker(model_dir):
    context = make_context(model_dir)
    context.model_yaml_config.update(continuousBatching=True, maxWorkers=2)
    with pytest.raises(RuntimeError, match="continuousBatching needs maxWorkers 1"):
        SynPGHandler().initialize(context)


def test_settings_of_the_environment_win(model_dir, monkeypatch):
    monkeypatch.setenv("SYNPG_HANDLER", '{"deadline": 50, "body_seconds": 25}')
    handler = SynPGHandler()
    handler.initialize(make_context(model_dir, deadline=600, waiting_seconds=7))
    budget = handler.scheduler.budget
    assert (budget.deadline, budget.body_seconds, budget.waiting_seconds) == (50, 25, 7)


def test_torchserve_gets_only_the_answers_that_are_done(model_dir):
    """Through TorchServe's own Service, which encodes an answer for each request id that the handler leaves in the context."""
    handler = SynPGHandler()
    context = make_context(model_dir, threads=1, chunk_seconds=1e-9, short_cost=0)
    context.model_yaml_config["continuousBatching"] = True
    handler.initialize(context)
    service = Service("synpg", str(model_dir), None, handler.handle, None, 8)
    service.context.model_yaml_config = context.model_yaml_config
    service.context.metrics = SimpleNamespace(request_ids=None, add_metric=lambda *a, **k: None, add_time=lambda *a: None)
    service.set_cl_socket(None)

    def ask(**bodies):
        batch = [
            {"requestId": name.encode(), "headers": [], "parameters": [{"name": "body", "contentType": "application/json", "value": text}]}
            for name, text in bodies.items()
        ]
        sent = service.predict(batch)
        assert sent[:4] == (200).to_bytes(4) and sent.endswith(b"\xff" * 4)
        return {name for name in bodies if name.encode() in sent}, sent

    large, lone = bytearray(body({**RAIN, "num_paraphrases": 12, "seed": 1})), bytearray(body(RAIN))
    assert ask(large=large)[0] == set()  # no answer yet, and that is no error
    steps = [ask(large=large, lone=lone)[0] for _ in range(2)]
    assert {"lone"} in steps and not any("large" in done for done in steps)
    for _ in range(20):
        done, sent = ask(large=large)
        if done:
            break
    assert done == {"large"} and json.loads(sent[sent.index(b'["') : sent.rindex(b"]") + 1])
    assert not handler.scheduler.jobs
