"""SynPG called from Python: the same answers as on the wire, and trees to look at."""

import json

import pytest

import handler
from handler.errors import ArtifactError, RequestError
from handler.wire.answer import Answer
from handler.wire.request import CATALOGUE
from scripts.common.paths import DEMO
from scripts.templates import write_templates
from tests.bodies import answer, build, read_body
from tests.factories import RAIN, tiny_artifact


@pytest.fixture(scope="module")
def model():
    return handler.load(DEMO)


SENTENCE = "We will have a picnic if it is sunny."


def test_one_sentence_in_three_lines(model):
    assert model.paraphrase(SENTENCE, "clause_first", temperature=0).lower().startswith("if it is sunny")


@pytest.mark.parametrize(
    "fields",
    [
        {"tmpl": "statement"},
        {"tmpl": ["statement", "yes_no_question"], "num_paraphrases": 2, "seed": 3},
        {"seed": 5},
        {"tmpl": "statement", "details": True, "seed": 1},
        {"like": "did she sing ?", "temperature": 0},
    ],
)
def test_answers_are_those_of_the_wire(model, fields):
    fields = {"seed": 7, **fields}
    envelope = read_body(json.dumps({"sent": SENTENCE, **fields}).encode(), None, None)
    [result] = answer(model.pipeline, [envelope])
    arguments = {("template" if name == "tmpl" else name): value for name, value in fields.items()}
    assert model.paraphrase(SENTENCE, **arguments) == json.loads(build(*result).body)


def test_a_template_by_an_example_sentence(model):
    asked, told = model.paraphrase(SENTENCE, like=["Did she sing?", "She sings."], temperature=0, details=True)
    assert asked["template"] == "(ROOT (SQ (VBD ) (NP ) (VP ) (. )))" and told["template"] == CATALOGUE["statement"]


def test_a_real_move_beats_a_frame_that_keeps_as_much(model):
    sentence = "My phone was stolen on the bus yesterday."
    answer = model.paraphrase(sentence, "two_clauses", temperature=0, details=True)
    assert (str(answer), answer["moves"]) == ("My phone was stolen on the bus, and this happened yesterday.", ["happened"])


def test_many_requests_with_an_error_in_its_place(model):
    good = {"sent": SENTENCE, "tmpl": "statement", "temperature": 0}
    first, error, last = model.answer([good, {"sent": ""}, good])
    assert first == last == model.paraphrase(SENTENCE, "statement", temperature=0)
    assert isinstance(error, RequestError) and (error.field, error.reason) == ("sent", "is empty")
    with pytest.raises(RequestError, match="must be a number from 0 to 5"):
        model.paraphrase(SENTENCE, temperature=9)


def test_the_body_of_a_request_is_answered_as_by_a_server(model):
    good = {"sent": SENTENCE, "tmpl": "statement", "temperature": 0}
    text = model.paraphrase(SENTENCE, "statement", temperature=0)
    assert model.respond(json.dumps(good).encode()).body == json.dumps(text, ensure_ascii=False)
    lines = model.respond(json.dumps(good).encode() + b"\n{", "application/jsonlines")
    assert (lines.status, lines.content_type) == (200, "application/jsonlines") and json.loads(lines.body.split("\n")[0]) == text
    assert "error" in json.loads(lines.body.split("\n")[1])
    assert [model.respond(*bad).status for bad in ((b"{",), (b"{}", "text/csv"), (b"{}", None, "text/html"))] == [400, 415, 406]


def test_more_requests_than_a_server_would_take_are_answered(model):
    assert len(model.answer([{"sent": ""}] * 20_000)) == 20_000 and model.answer([]) == []


def test_without_a_target_there_is_an_answer_for_each_named_template(model):
    answers = model.paraphrase("it rains .", temperature=0, details=True)
    assert list(answers) == list(CATALOGUE) and all(isinstance(answer, Answer) for answer in answers.values())


def test_names_that_the_model_adds_are_as_good_as_the_others(tmp_path):
    folder = tiny_artifact(tmp_path / "tiny")
    write_templates(folder, {"short": "(ROOT (NP ))"})
    model, fields = handler.load(folder), {"synt": RAIN["synt"], "temperature": 0}
    answers = model.paraphrase(RAIN["sent"], **fields)
    assert list(answers) == [*CATALOGUE, "short"] == list(model.templates)
    assert answers["short"] == model.paraphrase(RAIN["sent"], "short", **fields) == model.paraphrase(RAIN["sent"], "(ROOT (NP ))", **fields)
    with pytest.raises(RequestError, match="one of statement, .*, noun_phrase, short$"):
        model.paraphrase(RAIN["sent"], "shorter")
    wire = json.dumps({"sent": RAIN["sent"], **fields}).encode()
    assert json.loads(model.scheduler().respond(wire).body) == answers


def test_an_answer_shows_itself(model):
    answer = model.paraphrase("it rains .", "statement", temperature=0, details=True)
    assert str(answer) == answer["paraphrase"] and len(answer.tree.leaves()) == 3
    assert all(leaf.word for leaf in answer.tree.leaves())
    assert "<svg" in answer._repr_html_() and ">rains</text>" in answer._repr_html_()


def test_the_parser_is_at_hand(model, tmp_path):
    assert str(model.parse("it rains .")) == "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))"
    other = handler.load(tiny_artifact(tmp_path / "tiny"))
    with pytest.raises(RequestError, match="no parser"):
        other.parse("it rains .")
    with pytest.raises(RequestError, match="needs a parser") as found:
        other.paraphrase("it rains .", like="it rains .")
    assert found.value.field == "like"


def test_what_cannot_be_loaded_says_why(tmp_path):
    with pytest.raises(ArtifactError):
        handler.load(tmp_path)
    with pytest.raises(AttributeError):
        getattr(handler, "nothing")  # noqa: B009 -- the attribute is what is tested


def test_answers_are_text_or_tokens(model):
    text, tokens = (model.paraphrase("it rains .", "statement", temperature=0, tokenized=asked) for asked in (False, True))
    assert text != tokens and text.replace(" ", "").lower() == tokens.replace(" ", "")
