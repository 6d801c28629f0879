"""From requests to paraphrases without a server: limits, order, independence of the batch, constraints on and off."""

import dataclasses

import pytest

from handler import artifacts
from handler.errors import RequestError
from handler.language.tagger import Tagger
from handler.language.trees import read_tree, template_of
from handler.language.word_classes import ROWS
from handler.wire.request import CATALOGUE, read_request
from tests.factories import PICNIC, RAIN, tiny_artifact
from tests.reference import Oracle


@pytest.fixture(scope="module")
def paraphraser(tmp_path_factory):
    return artifacts.load(tiny_artifact(tmp_path_factory.mktemp("pipeline") / "tiny"))


def texts(paraphraser, value):
    return [p.text for p in paraphraser.run(paraphraser.plan(read_request(value)))]


@pytest.mark.slow
def test_same_seed_same_text_alone_in_a_list_and_in_any_batch(paraphraser):
    templates = list(CATALOGUE.values())
    alone = [texts(paraphraser, {**PICNIC, "tmpl": t, "seed": 5, "temperature": 1.0}) for t in templates]
    assert len({text for [text] in alone}) > 3
    assert texts(paraphraser, {**PICNIC, "tmpl": templates, "seed": 5, "temperature": 1.0}) == [t for [t] in alone]
    rows = paraphraser.plan(read_request({**PICNIC, "tmpl": templates, "seed": 5, "temperature": 1.0}))
    neighbours = paraphraser.plan(read_request({**RAIN, "num_paraphrases": 5, "seed": 1}))
    mixed = paraphraser.run(neighbours + rows[::-1], chunk_rows=4)
    assert [p.text for p in mixed[5:]] == [t for [t] in alone][::-1]


def test_samples_differ_and_the_first_is_the_single_one(paraphraser):
    many = texts(paraphraser, {**RAIN, "num_paraphrases": 4, "seed": 9, "temperature": 1.5})
    assert len(set(many)) > 1
    assert texts(paraphraser, {**RAIN, "seed": 9, "temperature": 1.5}) == many[:1]
    assert texts(paraphraser, {**RAIN, "seed": 10, "temperature": 1.5, "num_paraphrases": 4}) != many


def test_constrained_parses_have_the_asked_top(paraphraser):
    for p in paraphraser.run(paraphraser.plan(read_request({**PICNIC, "tmpl": list(CATALOGUE), "temperature": 2.0, "seed": 1}))):
        assert str(template_of(read_tree(p.parse))) == p.template
        assert p.text and "@@" not in p.text


def test_a_whole_parse_skips_the_parse_generator(paraphraser):
    request = read_request({"sent": "It is raining.", "parse": RAIN["synt"], "seed": 1})
    rows = paraphraser.plan(request)
    assert rows[0].tags == [] and request.source is None
    [done] = paraphraser.run(rows)
    assert done.parse == "(ROOT (S (NP (PRP)) (VP (VBZ) (VP (VBG))) (.)))"
    assert done.template == "(ROOT (S (NP ) (VP ) (. )))"


@pytest.mark.slow
def test_the_whole_chain_equals_the_oracle(tmp_path):
    for attend_pads in (True, False):
        folder = tiny_artifact(tmp_path / str(attend_pads), constrained=False, attend_pads=attend_pads)
        p, plain = artifacts.load(folder), artifacts.load(folder, compiled=False)
        [row] = p.plan(read_request({**PICNIC, "temperature": 0}))
        parse = Oracle(plain.parse_generator.net.net).greedy(row.tags, [1, *row.syntax, 2])
        text = Oracle(plain.text_generator.net.net).greedy(row.pieces, [1, *parse])
        [decoded] = p.generate_parses([row])
        assert decoded.ids == parse
        assert p.generate_texts([row], [decoded])[0].ids == text
        assert p.run([row])[0].text == p.vocabulary.decode_text([i for i in text if i != 2])


@pytest.mark.parametrize(
    "value, field, reason",
    [
        ({**RAIN, "sent": "q" * 70, "synt": f"(ROOT (NN {'q' * 70}))"}, "sent", "70 word pieces, at most 60"),
        ({"sent": "it rains", "tmpl": "statement"}, "synt", "is required: this model has no tagger"),
        ({**RAIN, "synt": f"(ROOT (X {'(NN i) ' * 61}))", "sent": "i" * 61}, "sent", "61 word pieces"),
        ({**RAIN, "tmpl": f"(ROOT (S {'(NP ) ' * 20}))"}, "tmpl", "66 brackets and labels, at most 39"),
        ({**RAIN, "tmpl": f"(ROOT (S {'(NP ) ' * 9} (, )))"}, "tmpl", "no parse of fewer than 64"),
        ({"sent": "it", "parse": f"(ROOT (S {'(NN )' * 30}))"}, "parse", "at most 62"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_costs(paraphraser, value, field, reason):
    with pytest.raises(RequestError, match=reason) as caught:
        paraphraser.plan(read_request(value))
    assert (caught.value.field, caught.value.status) == (field, 400)


def test_the_step_limit_is_reported(tmp_path):
    paraphraser = artifacts.load(tiny_artifact(tmp_path / "tiny"), compiled=False)
    bias = paraphraser.text_generator.net.net.linear.bias
    for logit, truncated in ((-1e4, True), (1e4, False)):  # never <eos>, or at once
        bias[2] = logit
        [done] = paraphraser.run(paraphraser.plan(read_request({**RAIN, "seed": 1})))
        assert done.truncated == truncated and done.text


def test_words_outside_the_vocabulary_are_counted(paraphraser):
    [row] = paraphraser.plan(read_request({"sent": "it is ☂", "parse": "(ROOT (NN x))"}))
    assert row.pieces.count(3) == 1
    assert paraphraser.run([row])[0].unknown_words == 1


def test_raw_mode_takes_the_string_as_it_is(tmp_path):
    p = artifacts.load(tiny_artifact(tmp_path / "raw", tokenization="raw"))
    ids = p.vocabulary.ids
    [row] = p.plan(read_request({**RAIN, "sent": "it is raining."}))
    assert row.pieces[:2] == [ids["it"], ids["is"]]
    assert row.pieces[-2:] == [ids["g@@"], ids["."]]  # the glued full stop spoils `raining`
    [split] = p.plan(dataclasses.replace(read_request(RAIN), sentence="it is raining ."))
    assert split.pieces[-2:] == [ids["ing"], ids["."]]


@pytest.mark.slow
def test_without_a_parse_the_tagger_stands_in(tmp_path):
    p = artifacts.load(tiny_artifact(tmp_path / "plain"))
    p.planner.tagger = Tagger(["PRP", "VBZ", "VBG", "."], [], [], b"", [], {}, {"It": "PRP", "is": "VBZ", "raining": "VBG", ".": "."})
    given = {**RAIN, "seed": 4, "temperature": 1.0}
    bare = {name: given[name] for name in ("sent", "tmpl", "seed", "temperature")} | {"details": True}
    [with_parse], [without] = p.run(p.plan(read_request(given))), p.run(p.plan(read_request(bare)))
    assert (with_parse.text, with_parse.parse) == (without.text, without.parse)
    assert (with_parse.tags_predicted, without.tags_predicted) == (False, True)
    assert without.value(details=True)["tags_predicted"] is True
    assert with_parse.log_probability is None and without.log_probability < 0  # worked out where it is asked for
    [whole] = p.plan(read_request({"sent": RAIN["sent"], "parse": RAIN["synt"]}))
    assert not whole.tags_predicted
    assert p.plan(read_request({"sent": "It is raining. " * 2, "tmpl": "command"}))[0].tags == [
        p.vocabulary.syntax_ids[tag] for tag in ["PRP", "VBZ", "VBG", "."] * 2
    ]


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """As `paraphraser`, with a word for each leaf and the sentence's order, on a CPU with logits processors and on the plain network."""
    folder = tiny_artifact(tmp_path_factory.mktemp("aligned") / "tiny", tag_weight=1.0, order_bonus=2.0)
    return artifacts.load(folder, precision="fp32"), artifacts.load(folder, compiled=False)


@pytest.mark.slow
def test_texts_have_a_word_for_each_leaf_alone_and_in_any_batch(aligned):
    compiled, tensors = aligned
    wholes = ["(ROOT (NN ))", "(ROOT (S (NP (DT ) (NN )) (VP (VBZ )) (. )))", f"(ROOT (X {'(NN )' * 11}))", "(ROOT (S (NP ) (X ) (NN )))"]
    for request in (
        {**PICNIC, "tmpl": ["command", "(ROOT (FRAG (NP ) (. )))"]},
        {"sent": RAIN["sent"], "synt": RAIN["synt"], "parse": wholes},
    ):
        rows = compiled.plan(read_request({**request, "seed": 1, "temperature": 1.0, "num_paraphrases": 4}))
        together = compiled.run(rows)
        assert together == [done for row in rows for done in compiled.run([row])]
        assert [(p.text, p.parse) for p in together] == [(p.text, p.parse) for p in tensors.run(rows)]
        fits = [p for p in together if len(read_tree(p.parse).leaves()) <= 11]
        assert fits and all(len(p.text.split()) == len(read_tree(p.parse).leaves()) and not p.truncated for p in fits)
        assert len({p.text for p in fits}) > 3
    assert [len(p.text.split()) for p in together[::4]] == [1, 4, 11, 3]


def test_a_parse_of_more_leaves_than_words_can_be_written_is_refused(aligned, paraphraser):
    request = read_request({"sent": "it", "parse": ["(ROOT (NN ))", f"(ROOT (X {'(NN )' * 12}))"], "seed": 1})
    with pytest.raises(RequestError, match="has 12 leaves, at most 11 words are written") as caught:
        aligned[0].plan(request)
    assert caught.value.field == "parse.1"
    assert len(paraphraser.plan(request)) == 2


def test_the_sentences_own_tags_are_used_where_they_are_known_and_line_up(aligned, paraphraser):
    p, ids = aligned[0], aligned[0].vocabulary.ids

    def planned(value, tagger=None):
        p.planner.tagger = tagger
        try:
            return p.plan(read_request({"seed": 1, **value}))[0]
        finally:
            p.planner.tagger = None

    everything = Tagger(["NN"], [], [], b"", [], {}, {})
    whole = {"sent": RAIN["sent"], "parse": "(ROOT (NN ))"}
    given = [(ids[piece], ROWS[tag]) for piece, tag in (("it", "PRP"), ("rain@@", "VBG"), (".", "."))]  # `is` is an auxiliary
    row = planned({**whole, "synt": RAIN["synt"]}, everything)
    assert (row.tagged_words, row.tags, row.tags_predicted) == (given, [], False)
    row = planned(whole, everything)
    assert (row.tagged_words, row.tags, row.tags_predicted) == (
        [(ids[piece], ROWS["NN"]) for piece in ("it", "is", "rain@@", ".")],
        [],
        True,
    )
    assert p.run([row])[0].tags_predicted
    row = planned(whole)  # neither parse nor tagger: they are not needed
    assert (row.tagged_words, row.tags_predicted) == ([], False)
    row = planned(RAIN)
    assert row.tagged_words == given and len(row.tags) == 4
    row = planned({"sent": "it ää .", "parse": "(ROOT (NN ))"}, everything)  # `ä@@ ä`: where the word ends is not known
    assert row.pieces.count(3) == 2 and (row.tagged_words, row.tags_predicted) == ([], False)
    assert paraphraser.plan(read_request({**RAIN, "seed": 1}))[0].tagged_words == []  # not used, not looked up


def test_every_stage_that_ran_is_told_with_its_rows_and_tokens(paraphraser):
    whole = {"sent": RAIN["sent"], "parse": RAIN["synt"], "seed": 1}
    rows = [row for request in ({**PICNIC, "seed": 1}, whole) for row in paraphraser.plan(read_request(request))]
    stages = []
    done = paraphraser.run(rows, 1, stages.append)
    assert [(stage.name, stage.rows) for stage in stages] == [("parse", 1), ("text", 1), ("text", 1)]
    ended = 0 if done[0].truncated else 1
    assert stages[0].tokens >= len(done[0].parse.replace("(", " ( ").replace(")", " ) ").split()) + ended
    assert all(stage.seconds > 0 and stage.tokens > 0 for stage in stages)
