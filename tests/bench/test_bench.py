"""The benchmark measures what it claims: equal tokens, equal weights, interleaved timing, correct targets."""

import json
import sys
import time
import types
import zipfile

import pytest
import torch

from handler import artifacts
from handler.model.network import EOS, SOS
from handler.wire.request import read_request
from handler.wire.response import Response
from scripts.bench import __main__ as bench
from scripts.bench import compare, ctranslate, published, quality, reference, report, timing, torchserve, workers, workload
from scripts.bench.workers import EngineError, Remote
from scripts.serving import archive
from tests.factories import TOKENS
from tests.reference import Oracle, random_net, tiny_config

BAG, SYNTAX = [6, 30, 41], [SOS, 106, 7, 107, EOS]
SENTENCES = workload.SENTENCES[-2:-1]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "artifact"
    return published.make(folder, bench.DEMO, published.TINY, 0, SENTENCES)


def test_seeds_are_tried_until_both_precisions_write_the_sentences(tmp_path, monkeypatch):
    drawn, asked = [], []
    monkeypatch.setattr(published, "write", lambda *arguments: drawn.append(arguments[-1]))
    monkeypatch.setattr(published, "says", lambda folder, sentences, precision: asked.append(precision) or len(asked) not in (1, 3))
    published.make(tmp_path, bench.DEMO)
    assert (drawn, asked) == ([0, 1, 2], ["fp32", "fp32", "int8", "fp32", "int8"])
    monkeypatch.setattr(published, "says", lambda *_: False)
    with pytest.raises(ValueError, match="none of 8 seeds"):
        published.make(tmp_path, bench.DEMO)


def test_what_a_network_does_not_write_is_noticed(artifact, tmp_path):
    assert published.says(artifact, SENTENCES, "int8")
    assert not published.says(artifact, workload.SENTENCES[:1], "fp32")  # it was not taught this one


@pytest.mark.parametrize("attend_pads", [False, True])
def test_the_published_way_equals_the_oracle(attend_pads):
    net = random_net(tiny_config(attend_pads))
    steps = net.config.max_steps
    assert reference.PlainTransformer(net).greedy(BAG, SYNTAX, steps) == Oracle(net).greedy(BAG, SYNTAX)


@pytest.mark.parametrize("vocabulary", [None, 120])
def test_ctranslate2_has_the_same_weights(tmp_path, vocabulary):
    """With its mask taken from torch's own Transformer too, both say the same: log-probabilities and greedy tokens."""
    pytest.importorskip("ctranslate2")
    net = random_net(tiny_config(attend_pads=True))
    tokens = [*TOKENS, *(f"more{i}" for i in range(net.config.vocab_size - len(TOKENS)))][: net.config.vocab_size]
    plain, size = reference.PlainTransformer(net, apart=False), vocabulary or net.config.vocab_size
    folder = ctranslate.convert(net, tokens, tmp_path / "net", vocabulary)
    rival = ctranslate.Translator(folder, net.config, tokens, "float32", 1)
    memory, ids, expected = plain.memory(BAG, SYNTAX), [SOS], []
    for _ in range(12):
        logits = plain.logits(memory, ids)[:size]
        logits[EOS] = -torch.inf  # as `least` forbids it there
        ids.append(int(logits.argmax()))
    source = rival.source(BAG, SYNTAX)
    assert rival.greedy([source, source], 12, 12) == [ids[1:]] * 2
    assert len(set(ids)) > 2
    for i in range(1, len(ids)):
        expected.append(plain.logits(memory, ids[:i])[:size].log_softmax(-1)[ids[i]].item())
    [scored] = rival.translator.score_batch([source], [[tokens[i] for i in ids[1:]]])
    assert scored.log_probs[: len(expected)] == pytest.approx(expected, abs=2e-4)
    assert rival.steps([source] * 2, 5).step > 0


@pytest.mark.parametrize("entries", [20_000, 50_000])
@pytest.mark.slow
def test_the_published_shape_has_so_many_entries_whatever_the_shipped_model_has(tmp_path, entries):
    folder = published.make(tmp_path / "artifact", bench.DEMO, published.TINY, entries, SENTENCES)
    assert artifacts.read_config(folder / "config.json").paraphraser.vocab_size == entries
    assert len(artifacts.load(folder).vocabulary) == entries


@pytest.mark.slow
def test_the_published_shape_says_the_sentences(artifact):
    paraphraser = artifacts.load(artifact)
    [ids] = workload.answered(paraphraser, workload.bodies(1, 0, SENTENCES))
    assert (len(ids.parse), ids.parse[-1], len(ids.text)) == (52, EOS, 11)
    [row] = workload.rows(paraphraser, workload.bodies(1, 0, SENTENCES))
    [answer] = paraphraser.run([row])
    assert answer.text == SENTENCES[0][0] and not answer.truncated
    _, [known] = workload.known_answers(paraphraser, SENTENCES)
    assert known == ids


def test_too_many_sentences_are_refused(tmp_path):
    with pytest.raises(ValueError, match="fewer sentences"):
        published.make(tmp_path / "artifact", bench.DEMO, published.TINY, 0)


def test_rounds_make_every_call_and_turn():
    order = []
    found = timing.interleaved({name: lambda name=name: order.append(name) or name for name in "abc"}, 3, 100, every={"c": 2})
    assert order == ["a", "b", "c", "b", "a", "c", "a", "b"]
    assert found == {"a": ["a"] * 3, "b": ["b"] * 3, "c": ["c"] * 2}
    assert len(timing.interleaved({"a": lambda: 1}, 9, 0, least=2)["a"]) == 2
    assert timing.summary([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": pytest.approx(2.9), "least": 1.0, "count": 3}


def test_an_engine_in_its_own_process():
    with Remote(list, "ab") as remote:
        remote.ready()
        remote.call("append", "c")
        assert remote.call("copy") == ["a", "b", "c"]
        with pytest.raises(EngineError, match="AttributeError"):
            remote.call("nothing")
    with Remote(int, "no number") as remote, pytest.raises(EngineError, match="ValueError"):
        remote.ready()


@pytest.mark.slow
def test_quick_path_and_what_it_saves(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ctranslate, "available", lambda: False)
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "README.md").write_text(f"before\n\n{bench.MARKERS[0]}old\n{bench.MARKERS[1]}after\n")
    assert bench.main(["--quick", "--only", "steps,requests", "--save", str(saved)]) == 0
    said = capsys.readouterr()
    results = json.loads((saved / "results.json").read_text())
    requests = results["published"]["requests"]
    assert {record["engine"] for record in requests} >= {"fp32", compare.PUBLISHED} and ctranslate.MISSING in said.out
    # Every engine generates the same tokens; the published code goes on to its limits.
    assert {tuple(r["tokens"].values()) for r in report.ours(requests) if r["rows"] == 1} == {(52, 11)}
    assert [tuple(r["tokens"].values()) for r in report.find(requests, engine=compare.PUBLISHED)] == [(161, 41)]
    assert all(record["step_ms"] > 0 for record in results["published"]["steps"])
    assert results["conditions"]["cores"] >= 1 and results["conditions"]["versions"]["torch"]
    readme = (saved / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme and "| fp32" in readme
    assert "Tiny random networks" in said.out and "rows" in said.err


def test_bars():
    def request(engine, rows, seconds):
        return {"engine": engine, "rows": rows, "seconds": {"p50": seconds}}

    def step(engine, net, batch, ms):
        return {"engine": engine, "net": net, "batch": batch, "step_ms": ms}

    requests = [
        request("fp32", 1, 0.2),
        request("int8", 1, 0.1),
        request("int8", 32, 0.8),
        request(compare.PUBLISHED, 1, 4.0),
        request(compare.RIVAL, 1, 0.19),
    ]
    steps = [
        step(engine, net, batch, ms * (1 + batch))
        for net in ("parse", "text")
        for batch in (1, 8, 32)
        for engine, ms in (("int8", 1.0), (compare.RIVAL, 1.4))
    ]
    engines = [
        {"engine": "fp32", "bleu": 50.0, "tokens_as_fp32": {"a": 100.0, "b": 100.0}},
        {"engine": "int8", "bleu": 49.8, "tokens_as_fp32": {"a": 99.5, "b": 98.9}},
    ]
    results = {"published": {"requests": requests, "steps": steps}, "demo": {"quality": {"engines": engines}}}
    bars = {name.split(" (at ")[0]: bar for name, bar in json.loads(report.bars_json(results)).items()}
    assert bars["one request / 32 together, against the published decoding one by one"] == {
        "wanted": [100, 130],
        "measured": [40.0, 160.0],
        "met": False,
    }
    assert bars["one request, against CTranslate2"] == {"wanted": 2.5, "measured": 1.9, "met": False}
    assert bars["32 requests together, against CTranslate2"] == {"wanted": 2.2, "measured": None, "met": None}
    parse, text = (bars[f"decode step of the {net} network at batch 1 / 8 / 32, against CTranslate2"] for net in ("parse", "text"))
    assert (parse["measured"], parse["met"]) == ([1.4, 1.4, 1.4], True)
    assert (text["measured"], text["met"]) == ([1.4, 1.4, 1.4], True)
    assert bars["int8 tokens as fp32, teacher-forced"] == {"wanted": 99.3, "measured": 98.9, "met": False}
    assert bars["BLEU that int8 loses"] == {"wanted": 0.3, "measured": 0.2, "met": True}
    assert bars["memory of a worker after this benchmark's load, published shape / shipped"]["measured"] == [None, None]
    earlier = "shipped model through TorchServe, lone request / 16 callers, against the earlier version"
    assert bars[earlier] == {"wanted": [2, 2.5], "measured": [None, None], "met": None}
    results["demo"]["against"] = {
        "lone": {"now": {"p50": 0.05}, "before": {"p50": 0.11}},
        "per_second_16": {"now": 30.0, "before": 12.0},
    }
    results["demo"]["server"] = {"peak_mb": {"worker": 510.0}, "mixed": 1000}
    bars = {name.split(" (at ")[0]: bar for name, bar in json.loads(report.bars_json(results)).items()}
    assert bars[earlier] == {"wanted": [2, 2.5], "measured": [2.2, 2.5], "met": True}
    mixed = "memory of a worker after this benchmark's load and 1,000 mixed requests, published shape / shipped"
    assert bars[mixed]["measured"] == [None, 510.0]


def test_mixed_requests_are_all_valid_and_of_every_kind():
    found = [read_request(workload.mixed(turn)) for turn in range(84)]
    assert {request.num_paraphrases for request in found} == {1, 2, 3, 4} and {len(request.targets) for request in found} == {1, 2}
    assert {request.temperature for request in found} == {0.0, 0.8}
    assert any(target.whole for request in found for target in request.targets)


def test_the_timed_archive_says_how_long_the_model_took(tiny_archive, tmp_path):
    """All of a request, in however many turns, and nothing of the next one."""
    timed = torchserve.timed(tiny_archive, tmp_path / "timed.mar")
    with zipfile.ZipFile(timed) as changed, zipfile.ZipFile(tiny_archive) as source:
        assert json.loads(changed.read(archive.MANIFEST))["model"]["handler"] == "timed.py"
        assert {*changed.namelist()} == {*source.namelist(), "timed.py"}
        code = changed.read("timed.py").decode()

    class SynPGHandler:
        turns = [{}, {"a": Response(200, "x", "text/plain")}, {"b": Response(200, "y", "text/plain")}]

        def advance(self, bodies, observe):
            time.sleep(0.02)
            return self.turns.pop(0)

    module = types.ModuleType("synpg_handler")
    module.SynPGHandler = SynPGHandler
    scope: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "synpg_handler", module)
        exec(code, scope)
    handler = scope["Timed"]()
    assert handler.advance({}, None) == {}
    [first], [second] = (handler.advance({}, None).values() for _ in range(2))
    assert float(first.headers[torchserve.SECONDS]) >= 0.04 and handler.spent == 0.0
    assert 0.02 <= float(second.headers[torchserve.SECONDS])


def test_agreement_and_tables():
    assert quality.agreement([[1, 2], [3]], [[1, 9], [3]]) == pytest.approx(200 / 3)
    assert quality.differing(["a", "b"], ["a", "c"]) == 50
    assert report.table(["a", "long"], [[1, "x"]]) == "| a | long |\n|---|------|\n| 1 | x    |"


def test_weights_read_and_memory():
    config = tiny_config()
    e, f = config.d_model, config.d_feedforward
    assert compare.conditions.weights_read(config, 10, 4) == 4 * (config.n_decoder_layers * (6 * e * e + 2 * e * f) + 10 * e)
    assert workers.peak_memory() > 1
    assert workers.vm_high_water(2**22 + 1) == 0


@pytest.mark.slow
def test_wrong_options_are_one_sentence(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--only", "nonsense"])
    assert "nonsense: not one of" in capsys.readouterr().err
    assert bench.main(["--demo", "/nowhere", "--only", "quality"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
