"""Candidates and rerank: which candidate is returned, and that it depends on nothing but the row."""

import dataclasses
from collections import Counter

import pytest

from handler import artifacts
from handler.decoding.rerank import EXTRA_PENALTY, MISSING_PENALTY, TEMPERATURE, content_of, rerank_score
from handler.decoding.sampling import Decoded, DecodingOptions
from handler.errors import RequestError
from handler.gpu.engine import CudaGraphEngine
from handler.language.word_classes import ROWS
from handler.pipeline import Pipeline
from handler.planning import PipelineConfig
from handler.wire.request import MAX_CANDIDATES, read_request
from tests.factories import PICNIC, RAIN, tiny_artifact

NN, VBZ, DT = (ROWS[tag] for tag in ("NN", "VBZ", "DT"))
TEMPLATES = ["statement", "command", "two_clauses"]


def decoded(ids, log_probability=0.0):
    return Decoded(list(ids), log_probability, True)


def test_merit_is_the_log_probability_a_token_less_what_is_missing_and_made_up():
    content = Counter({7: 1, 8: 2})
    parse, leaves = decoded([1, 2, 3], -4.0), [DT, NN, NN, VBZ]  # three places for content words
    kept = rerank_score(parse, decoded([7, 8, 8, 9], -6.0), content, leaves)
    assert kept == pytest.approx((-6.0 - 4.0) / 4)
    once = rerank_score(parse, decoded([7, 8, 5, 9], -6.0), content, leaves)  # an 8 is missing, and another word is in its place
    assert once == pytest.approx(kept - (MISSING_PENALTY + EXTRA_PENALTY) / 3)
    short = rerank_score(parse, decoded([7, 8, 9, 9], -6.0), content, leaves[:3])  # it is missing, but nothing is made up
    assert short == pytest.approx(kept - MISSING_PENALTY / 3)
    assert rerank_score(parse, decoded([5, 5, 5, 9], -6.0), Counter(), leaves) == kept  # nothing is known of the sentence


def test_content_words_are_those_with_open_classes_as_often_as_they_are_there():
    assert content_of([(4, DT), (5, NN), (5, NN), (5, VBZ), (6, DT)]) == Counter({5: 3})


@pytest.fixture(scope="module")
def paraphraser(tmp_path_factory):
    return artifacts.load(tiny_artifact(tmp_path_factory.mktemp("candidates") / "tiny", tag_weight=1.0))


def rows_of(paraphraser, value):
    return paraphraser.plan(read_request(value))


@pytest.mark.parametrize("temperature", [0, 1.2])
@pytest.mark.slow
def test_the_answer_is_the_best_of_its_candidates_each_made_alone(paraphraser, temperature):
    value = {**PICNIC, "tmpl": TEMPLATES, "temperature": temperature, "seed": 3}
    rows = rows_of(paraphraser, {**value, "candidates": 6})
    answers, chosen = paraphraser.run(rows), []
    for row, answer in zip(rows, answers):
        made, merits = [], []
        for n in range(6):
            one = row.candidate(n)
            [parse] = paraphraser.generate_parses([one])
            [text] = paraphraser.generate_texts([one], [parse])
            made.append(paraphraser._paraphrase(row, one, parse, text))
            merits.append(paraphraser._rerank_score(row, one, parse, text))
        best = merits.index(max(merits))
        assert (answer.text, answer.parse) == (made[best].text, made[best].parse)
        chosen.append(best)
    assert any(chosen) and len({p.text for p in made}) > 1
    assert paraphraser.run(rows, chunk_rows=4) == answers  # candidates of one row in several chunks
    assert [paraphraser.run([row])[0] for row in rows] == answers
    beside = rows_of(paraphraser, {**RAIN, "num_paraphrases": 3, "seed": 1, "candidates": 2})
    assert paraphraser.run(beside + rows)[3:] == answers


@pytest.mark.parametrize("temperature", [0, 0.5, 1.2])
def test_the_first_candidate_is_what_there_would_be_without_others(paraphraser, temperature):
    value = {**PICNIC, "tmpl": TEMPLATES, "temperature": temperature, "seed": 3, "details": True}
    alone = paraphraser.run(rows_of(paraphraser, {**value, "candidates": 1}))
    firsts = [row.candidate(0) for row in rows_of(paraphraser, {**value, "candidates": 5})]
    parses = paraphraser.generate_parses(firsts)
    made = zip(firsts, parses, paraphraser.generate_texts(firsts, parses))
    assert (
        [paraphraser._paraphrase(row, row, parse, text) for row, parse, text in made]
        == alone
        == paraphraser.run(rows_of(paraphraser, value))
    )


def test_the_others_parses_are_drawn_even_where_texts_are_greedy(paraphraser):
    [row] = rows_of(paraphraser, {**RAIN, "temperature": 0, "seed": 3, "candidates": 3})
    assert row.candidate(0).parse_options == DecodingOptions(0.0, row.options.seed)
    assert row.candidate(2).parse_options == DecodingOptions(TEMPERATURE, 0, 2)
    assert row.candidate(2).options.temperature == 0
    [warm] = rows_of(paraphraser, {**RAIN, "temperature": 1.5, "seed": 3, "candidates": 3})
    assert warm.candidate(1).parse_options.temperature == 1.5
    assert len({tuple(DecodingOptions(1.0, 3, n).uniforms(4, "parse")) for n in range(3)}) == 3


def test_a_greedy_answer_needs_no_seed_to_be_repeated(paraphraser):
    value = {**PICNIC, "tmpl": TEMPLATES, "temperature": 0, "candidates": 4}
    answers = [[p.text for p in paraphraser.run(rows_of(paraphraser, each))] for each in (value, value, {**value, "seed": 77})]
    assert answers[0] == answers[1] == answers[2]
    warm = {**value, "temperature": 0.3}
    assert [row.candidate(1).parse_options.seed for row in rows_of(paraphraser, {**warm, "seed": 5})] == [
        row.options.seed for row in rows_of(paraphraser, {**warm, "seed": 5})
    ]


def test_a_greedy_text_of_the_same_parse_is_written_once(paraphraser):
    parse = "(ROOT (S (NP (PRP )) (VP (VBZ )) (. )))"
    stages = []
    rows = rows_of(paraphraser, {**RAIN, "tmpl": parse.replace("(PRP )", "").replace("(VBZ )", ""), "temperature": 0})
    row = dataclasses.replace(rows[0], follows=True)  # every candidate follows it
    several = dataclasses.replace(row, candidates=8)
    assert paraphraser.run([several], observe=stages.append)[0].text == paraphraser.run([row])[0].text
    assert [(stage.name, stage.rows) for stage in stages] == [("text", 1)]
    stages.clear()
    paraphraser.run([dataclasses.replace(several, options=DecodingOptions(1.0, 3))], observe=stages.append)
    assert [(stage.name, stage.rows) for stage in stages] == [("text", 8)]  # drawn ones may differ


def test_a_text_that_is_written_once_has_its_log_probability_for_whoever_asks(paraphraser):
    whole = {"sent": "it rains .", "parse": RAIN["synt"], "temperature": 0}
    [silent], [told] = (paraphraser.plan(read_request({**whole, "details": details})) for details in (False, True))
    [alone] = paraphraser.run([told])
    assert alone.log_probability < 0
    assert paraphraser.run([silent, told])[1].log_probability == pytest.approx(alone.log_probability)


def test_the_artifact_says_how_many_unless_the_request_does(tmp_path):
    paraphraser = artifacts.load(tiny_artifact(tmp_path / "tiny", tag_weight=1.0))
    paraphraser.planner.config = dataclasses.replace(paraphraser.config, candidates=4)
    [row], [asked] = rows_of(paraphraser, RAIN), rows_of(paraphraser, {**RAIN, "candidates": 2})
    whole = rows_of(paraphraser, {"sent": RAIN["sent"], "parse": RAIN["synt"]})[0]
    assert (row.candidates, asked.candidates, whole.candidates) == (4, 2, 1)
    assert paraphraser.run([row])[0].log_probability is None  # scored for the choice, not for the answer


def test_graphs_choose_the_same(tmp_path):
    plain = artifacts.load(tiny_artifact(tmp_path / "tiny", tag_weight=1.0), compiled=False)
    parts = plain.config, plain.vocabulary, plain.planner.pieces
    graphed = Pipeline(
        *parts,
        CudaGraphEngine(plain.parse_generator.net.net, output_vocab_size=plain.parse_generator.output_vocab_size),
        CudaGraphEngine(plain.text_generator.net.net, always_scored=True),
        lexicon=plain.lexicon,
    )
    value = {**PICNIC, "tmpl": TEMPLATES, "seed": 3, "candidates": 5}
    assert [p.text for p in graphed.run(rows_of(graphed, value))] == [p.text for p in plain.run(rows_of(plain, value))]


@pytest.mark.parametrize("candidates", [0, MAX_CANDIDATES + 1, "2", 2.5, True])
def test_a_request_for_a_bad_number_is_refused(candidates):
    with pytest.raises(RequestError, match="must be an integer from 1 to 32") as caught:
        read_request({**RAIN, "candidates": candidates})
    assert caught.value.field == "candidates"


def test_a_whole_parse_has_no_candidates():
    with pytest.raises(RequestError, match="of no use with parse") as caught:
        read_request({"sent": RAIN["sent"], "parse": RAIN["synt"], "candidates": 2})
    assert caught.value.field == "candidates"
    assert read_request({"sent": RAIN["sent"], "parse": RAIN["synt"], "candidates": None}).candidates is None


@pytest.mark.parametrize("candidates", [0, 33, 1.0, True, "1"])
def test_an_artifact_with_a_bad_number_is_refused(candidates):
    with pytest.raises(ValueError, match="candidates must be an integer from 1 to 32"):
        PipelineConfig("ptb", 5, True, candidates=candidates)
