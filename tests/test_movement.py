"""Templates met by moving the source's own constituents: rows, candidates, the choice by meaning."""

import dataclasses

import pytest

from handler import artifacts
from handler.decoding.rerank import meaning_score, promise
from handler.decoding.sampling import Decoded
from handler.language.relations import Meaning
from handler.language.trees import read_tree
from handler.pipeline import Run
from handler.planning import FRAME_GAP, PipelineConfig, Planner
from handler.wire.request import read_request
from tests.factories import RAIN, tiny_artifact

SENTENCE = {
    "sent": "It is raining in the n .",
    "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ is) (VP (VBG raining) (PP (IN in) (NP (DT the) (NN n))))) (. .)))",
}
FRONTED = "(ROOT (S (PP ) (, ) (NP ) (VP ) (. )))"


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A tiny artifact that moves constituents, with four candidates."""
    return artifacts.load(tiny_artifact(tmp_path_factory.mktemp("moving") / "tiny", tag_weight=1.0, movement=True, candidates=4))


def rows_of(pipeline, value):
    return pipeline.plan(read_request({"temperature": 0, **value}))


def test_a_template_that_movement_reaches_has_parses_of_the_sentences_own_words(moving):
    [row] = rows_of(moving, {**SENTENCE, "tmpl": FRONTED})
    assert row.moved and row.moved[0].moves == ("front_pp",)
    first = row.candidate(0)
    said = moving.vocabulary.decode_text(first.pieces)
    assert said == "in the n , it is raining ." and first.follows and first.moves == ("front_pp",) and first.tags == []
    assert len(first.tagged_words) == len([word for word in said.split() if word != "is"])  # of which the auxiliary is none
    [answer] = moving.run([dataclasses.replace(row, candidates=1)])
    assert answer.moves == ("front_pp",) and answer.parse == "(ROOT (S (PP (IN) (NP (DT) (NN))) (,) (NP (PRP)) (VP (VBZ) (VP (VBG))) (.)))"
    assert answer.source_parse == str(read_tree(SENTENCE["synt"]))


def test_where_moves_reach_the_template_all_candidates_are_moved(moving):
    """A generated parse mostly has places for other words than the sentence's; it does not compete."""
    asked = {**SENTENCE, "tmpl": FRONTED}
    [row] = rows_of(moving, asked)
    [many], [one] = rows_of(moving, {**asked, "candidates": 32}), rows_of(moving, {**asked, "candidates": 1})
    assert 1 <= row.candidates == len(row.moved) <= 4 and one.candidates == 1 and many.candidates == len(many.moved) <= 8
    assert all(many.candidate(number).follows for number in range(many.candidates))
    assert moving.run([one])[0].moves == many.moved[0].moves


def test_an_empty_frame_competes_only_for_want_of_better(moving, monkeypatch):
    """Rerank counts relations, and a frame keeps all of them; it would often win."""
    asked = {**SENTENCE, "tmpl": FRONTED}
    best = rows_of(moving, asked)[0].moved[0]
    other, frame = (
        dataclasses.replace(best, moves=(name,), resort=rank) for name, rank in (("other", FRAME_GAP - 1), ("frame", FRAME_GAP))
    )
    monkeypatch.setattr(Planner, "moved", lambda *_: [best, other, frame])
    rows = rows_of(moving, {**asked, "num_paraphrases": 3})
    assert best.resort == 0
    assert [[one.moves[0] for one in row.moved] for row in rows] == [["front_pp", "other"], ["other", "frame"], ["frame"]]


def test_samples_begin_with_different_moved_parses_and_go_on_with_generated_ones(moving, tmp_path):
    still = artifacts.load(tiny_artifact(tmp_path / "tiny", tag_weight=1.0, candidates=4))
    rows, others = (rows_of(one, {**SENTENCE, "tmpl": FRONTED, "num_paraphrases": 12}) for one in (moving, still))
    kinds = [bool(row.moved) for row in rows]
    assert kinds == sorted(kinds, reverse=True) and {*kinds} == {True, False}
    assert [row.moved[0].moves for row in rows if row.moved] == [
        one.moves for one in rows_of(moving, {**SENTENCE, "tmpl": FRONTED, "candidates": 32})[0].moved
    ]
    at = kinds.index(False)
    assert rows[at].candidates == 4 and moving.generate_parses([rows[at].candidate(0)]) == still.generate_parses([others[at].candidate(0)])


def test_a_template_that_no_movement_reaches_is_the_parse_generators(moving):
    [row] = rows_of(moving, {**SENTENCE, "tmpl": "(ROOT (UCP (NP ) (CC ) (ADJP )))"})
    assert row.moved == () and not any(row.candidate(number).follows for number in range(4))
    assert moving.run([row])[0].moves is None


def test_a_row_with_moved_parses_is_the_same_alone_and_in_any_batch(moving):
    rows = rows_of(
        moving, {**SENTENCE, "tmpl": [FRONTED, "statement", "yes_no_question"], "temperature": 0.9, "seed": 5, "num_paraphrases": 2}
    )
    rows += rows_of(moving, {**RAIN, "tmpl": "statement"})
    together = moving.run(rows)
    assert together == [moving.run([row])[0] for row in rows] == moving.run(rows, chunk_rows=3)


@pytest.mark.parametrize("temperature", [0, 0.9])
@pytest.mark.parametrize("ranks, decoded", [((400, 0, 400), 1), ((0, 400, 0), 2), ((1, 0, 1), 3)])
def test_candidates_that_cannot_win_are_not_decoded_and_answers_are_the_same(moving, monkeypatch, ranks, decoded, temperature):
    """Candidates that say the same differ in what they can score by their rank as a last resort, 100 nats a token where it is 400."""
    [row] = rows_of(moving, {**SENTENCE, "tmpl": FRONTED, "temperature": temperature, "seed": 5})
    moved = tuple(dataclasses.replace(row.moved[0], resort=rank, moves=(f"move {i}",)) for i, rank in enumerate(ranks))
    row = dataclasses.replace(row, moved=moved, candidates=len(moved))
    monkeypatch.setattr(moving, "shares_texts", False)
    few: list[int] = []
    answers = moving.run([row], observe=lambda stage: few.append(stage.rows))
    assert sum(few) == decoded
    assert answers[0].moves == (f"move {ranks.index(min(ranks))}",)  # of equals the first
    run = Run([row])
    moving.decode(run.take(8))
    assert run.undecided == 0  # so nobody waits for those that were left out
    assert moving.run([row, row], chunk_rows=1) == 2 * answers  # what an earlier chunk decoded counts too
    monkeypatch.setattr(moving.text_generator, "free_rows", 3)
    every: list[int] = []
    assert moving.run([row], observe=lambda stage: every.append(stage.rows)) == answers
    assert every == [3]  # all at once, where that takes no longer


def test_words_of_moved_leaves_do_not_pass_to_another_request_with_the_same_parse(tmp_path):
    pipeline = artifacts.load(tiny_artifact(tmp_path / "tiny", tag_weight=1.0, movement=True, word_weight=50.0))
    statement = {"sent": "the n is in it .", "synt": "(ROOT (S (NP (DT the) (NN n)) (VP (VBZ is) (PP (IN in) (NP (PRP it)))) (. .)))"}
    [moved] = rows_of(pipeline, {**statement, "tmpl": "statement"})
    [given] = rows_of(pipeline, {**statement, "parse": statement["synt"]})
    assert moved.candidate(0).pieces == given.pieces and moved.candidate(0).leaf_words and not given.leaf_words
    alone = [pipeline.run([row])[0].text for row in (moved, given)]
    assert alone[0] == statement["sent"] != alone[1]
    assert [answer.text for answer in pipeline.run([moved, given])] == alone
    assert [answer.text for answer in pipeline.run([given, moved])] == alone[::-1]


def test_a_last_resort_is_worth_less_by_its_rank(moving):
    [row] = rows_of(moving, {**SENTENCE, "tmpl": FRONTED})
    candidate = row.candidate(0)
    [decoded] = moving._run_chunk([candidate], lambda stage: None)
    plain, resort = (moving._rerank_score(row, dataclasses.replace(candidate, resort=rank), *decoded[1:]) for rank in (0, 4))
    assert plain - resort == pytest.approx(1.0)


def test_a_final_mark_does_not_pass_to_another_request_with_the_same_parse(tmp_path):
    pipeline = artifacts.load(tiny_artifact(tmp_path / "tiny", tag_weight=1.0))
    [row] = rows_of(pipeline, {"sent": SENTENCE["sent"], "parse": SENTENCE["synt"]})
    rows = [dataclasses.replace(row, mark=pipeline.vocabulary.ids[mark]) for mark in ".?"]
    alone = [pipeline.run([one])[0].text for one in rows]
    assert [text[-1] for text in alone] == [".", "?"]
    assert [answer.text for answer in pipeline.run(rows)] == alone


def test_without_a_parse_and_without_a_parser_nothing_moves(moving):
    whole = rows_of(moving, {"sent": SENTENCE["sent"], "parse": SENTENCE["synt"]})
    assert whole[0].moved == () and whole[0].source is None and moving.run(whole)[0].source_parse is None


def test_the_choice_prefers_who_does_what_to_whom():
    source = read_tree("(ROOT (S (NP (DT the) (NN dog)) (VP (VBD bit) (NP (DT the) (NN man))) (. .)))")
    parse, text = Decoded([1], -1.0, True), Decoded([1, 2, 3, 4, 5, 6, 7], -1.0, True)

    def score(words, weight=4.0):
        return meaning_score(parse, text, promise(Meaning(source), Meaning(source, words.split()), weight))

    right, reversed_, invented = "the dog bit the man !", "the man bit the dog !", "the cat bit the man !"
    assert score(right) > score(reversed_) > score(invented)
    assert score(right, 0.0) == score(reversed_, 0.0) > score(invented, 0.0)
    assert score("the dog bit") < score(invented)  # cut short
    assert score("the dog bit the man .") < score(right)  # says the sentence as it was


@pytest.mark.parametrize(
    "change",
    [{"movement": 1}, {"movement": True, "constrained": False}, {"movement": True, "tokenization": "raw"}, {"relation_weight": -1}],
)
def test_settings_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match="movement|relation_weight"):
        PipelineConfig(**{"tokenization": "ptb", "bpe_threshold": 5, "constrained": True, **change})
