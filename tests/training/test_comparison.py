"""What two evaluations differ in, and how sure that is."""

import json

import numpy as np
import pytest

from handler import artifacts
from scripts import evaluate
from scripts.training import comparison
from tests.factories import RAIN, tiny_artifact


def test_a_difference_has_an_interval_over_the_sentences_of_both():
    rng = np.random.default_rng(1)
    before = {i: (float(value), 1) for i, value in enumerate(rng.normal(50, 20, 200))}
    after = {i: (value + shift, 1) for (i, (value, _)), shift in zip(before.items(), rng.normal(3, 4, 200))}
    found = comparison.change({**before, 999: (0, 1)}, {**after, 1000: (0, 1)})
    assert found["sentences"] == 200 and found["before"] == pytest.approx(np.mean([value for value, _ in before.values()]))
    assert 2 < found["low"] < found["after"] - found["before"] < found["high"] < 4  # paired: unpaired it would reach below 0
    assert found == comparison.change(before, after)
    same = comparison.change(before, before)
    assert same["low"] == same["high"] == 0


def test_a_share_is_that_of_all_words_together():
    found = comparison.change({0: (100, 1), 1: (0, 9)}, {0: (0, 1), 1: (0, 0)})
    assert (found["before"], found["after"]) == (10, 0)
    assert comparison.change({}, {}) == {"sentences": 0, "before": 0, "after": 0, "low": 0, "high": 0}


@pytest.mark.slow
def test_two_artifacts_are_compared_on_the_same_sentences(tmp_path, capsys):
    pytest.importorskip("nltk")
    pytest.importorskip("sacrebleu")
    first, second = (tiny_artifact(tmp_path / name, seed=seed) for seed, name in enumerate(("first", "second")))
    parse = "(ROOT (S (NP (DT the) (NN n)) (VP (VBZ is) (VP (VBG raining) (PP (IN in) (NP (DT the) (NN n))))) (. .)))"
    (tmp_path / "some.tsv").write_text(f"x\t{RAIN['synt']}\nx\t{parse}\n", encoding="utf-8")
    some, out = str(tmp_path / "some.tsv"), tmp_path / "out.json"
    assert evaluate.main([str(second), "--before", str(first), "--rebuild", some, "--templates", some, "--json", str(out)]) == 0
    said = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["before"]["conditions"]["artifact"] != written["conditions"]["artifact"]
    assert [(row["task"], row["figure"], row["sentences"]) for row in written["changes"]] == [
        ("some.tsv: rebuild", "bleu_authors", 2),
        *(("some.tsv: with parse, all templates", name, 1) for name in ("relations", "missing", "made_up")),
        *(("some.tsv: without parse, all templates", name, 0) for name in ("relations", "missing", "made_up")),
    ]
    for row in written["changes"]:
        for table, figure in ((written["before"]["table"], row["before"]), (written["table"], row["after"])):
            [found] = [other for other in table if other["task"] == row["task"]]
            assert found[row["figure"]] == pytest.approx(figure)
    assert not any("each" in row for row in [*written["table"], *written["before"]["table"]])
    assert said.count("| some.tsv: rebuild |") == 3 and f"From {first} to {second}:" in said and "95 % interval" in said


def test_decoding_without_movement_and_without_rules(tmp_path):
    folder = tiny_artifact(tmp_path / "artifact", tag_weight=1.0, order_bonus=1.0, movement=True, word_weight=4.0)
    config = artifacts.verify(folder).pipeline
    whole, still, bare = (evaluate.load_without(folder, part, "cpu", "fp32").config for part in (None, "movement", "rules"))
    assert whole == config and config.movement
    assert not still.movement and still.tag_weight == still.order_bonus == 1
    assert not bare.movement and bare.tag_weight == bare.order_bonus == 0 and bare.source_bonus == bare.repetition_penalty == 2
    assert artifacts.verify(folder).pipeline == config
