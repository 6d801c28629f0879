"""From results to bodies: the form of every answer, errors in place, statuses, headers."""

import json

import pytest

from handler.errors import RequestError, SyntaxTreeError
from handler.wire.request import CATALOGUE, JSON, JSON_LINES, read_request
from handler.wire.response import ATTRIBUTES, ERROR_TYPES, PHRASES, Paraphrase, Response, answer_value, error_value
from tests.bodies import Envelope, build, read_body

BASE = {"sent": "It rains.", "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ rains)) (. .)))"}
BAD = RequestError("is required", "sent")
BAD_VALUE = {"code": 400, "type": "InvalidRequest", "message": "is required", "field": "sent"}


def paraphrase(text: str, truncated: bool = False) -> Paraphrase:
    return Paraphrase(text, "(ROOT (S (VP )))", "(ROOT (S (VP (VB))))", -1.23456789, truncated, 7, 2, False)


def rows(count: int) -> list[Paraphrase]:
    return [paraphrase(f"p{i}") for i in range(count)]


def details(text: str) -> dict:
    return {
        "paraphrase": text,
        "tokens": [text],
        "template": "(ROOT (S (VP )))",
        "parse": "(ROOT (S (VP (VB))))",
        "log_probability": -1.2346,
        "truncated": False,
        "seed": 7,
        "unknown_words": 2,
        "tags_predicted": False,
        "moves": None,
        "source_parse": None,
    }


@pytest.mark.parametrize(
    "value, count, answer",
    [
        ({"tmpl": "command"}, 1, "p0"),
        ({"parse": "(NN x)"}, 1, "p0"),
        ({"tmpl": "command", "num_paraphrases": 2}, 2, ["p0", "p1"]),
        ({"tmpl": ["command"]}, 1, ["p0"]),
        ({"parse": ["(NN x)"]}, 1, ["p0"]),
        ({"tmpl": ["command", "statement"], "num_paraphrases": 2}, 4, ["p0", "p1", "p2", "p3"]),
        ({}, 10, {name: f"p{i}" for i, name in enumerate(CATALOGUE)}),
        ({"num_paraphrases": 3}, 30, {name: [f"p{3 * i}", f"p{3 * i + 1}", f"p{3 * i + 2}"] for i, name in enumerate(CATALOGUE)}),
        ({"tmpl": "command", "details": True}, 1, details("p0")),
        ({"tmpl": ["command", "statement"], "details": True}, 2, [details("p0"), details("p1")]),
        ({"details": True}, 10, {name: details(f"p{i}") for i, name in enumerate(CATALOGUE)}),
    ],
)
def test_the_form_of_an_answer(value, count, answer):
    request = read_request({**BASE, **value})
    assert len(request.targets) * request.num_paraphrases == count
    found = answer_value(request, rows(count))
    assert found == answer
    assert not isinstance(answer, dict) or list(found) == list(answer)  # in the catalogue's order


@pytest.mark.parametrize(
    "fields, paraphrases",
    [
        ({}, "It can't rain."),
        ({"tokenized": False}, "It can't rain."),
        ({"tokenized": True}, "it ca n't rain ."),
    ],
)
def test_answers_are_text_as_people_write_it_or_tokens(fields, paraphrases):
    done = Paraphrase("it ca n't rain .", "", "", -1.0, False, 7, 0, False, written="It can't rain.")
    assert answer_value(read_request({**BASE, "tmpl": "command", **fields}), [done]) == paraphrases
    detailed = answer_value(read_request({**BASE, "tmpl": "command", "details": True, **fields}), [done])
    assert (detailed["paraphrase"], detailed["tokens"]) == (paraphrases, ["it", "ca", "n't", "rain", "."])


def envelope(values, content_type=JSON, accept=None) -> Envelope:
    body = b"\n".join(json.dumps(v).encode() for v in values) if content_type == JSON_LINES else json.dumps(values).encode()
    return read_body(body, content_type, accept)


ONE, TWO = {**BASE, "tmpl": "command"}, {**BASE, "tmpl": ["command", "statement"]}


@pytest.mark.parametrize(
    "values, content_type, accept, answers, body",
    [
        (ONE, JSON, None, [rows(1)], '"p0"'),
        (ONE, JSON, JSON_LINES, [rows(1)], '"p0"'),
        (TWO, JSON, JSON_LINES, [rows(2)], '["p0", "p1"]'),
        ([ONE], JSON, None, [rows(1)], '["p0"]'),
        ([ONE, TWO], JSON, None, [rows(1), rows(2)], '["p0", ["p0", "p1"]]'),
        ([ONE, TWO], JSON, JSON_LINES, [rows(1), rows(2)], '"p0"\n["p0", "p1"]'),
        ([ONE], JSON_LINES, None, [rows(1)], '"p0"'),
        ([ONE, TWO], JSON_LINES, None, [rows(1), rows(2)], '"p0"\n["p0", "p1"]'),
        ([ONE, TWO], JSON_LINES, JSON, [rows(1), rows(2)], '["p0", ["p0", "p1"]]'),
        ([], JSON, None, [], "[]"),
        ([], JSON, JSON_LINES, [], ""),
    ],
)
def test_bodies(values, content_type, accept, answers, body):
    response = build(envelope(values, content_type, accept), answers)
    assert response == Response(200, body, accept or content_type, {})
    assert response.phrase == "OK"


@pytest.mark.parametrize("content_type", [JSON, JSON_LINES])
def test_errors_stand_in_their_places(content_type):
    sent = envelope([ONE, {"sent": 3}, ONE, {**ONE, "parse": "(NN x)"}], content_type)
    tree = SyntaxTreeError("there is no tree", "tmpl.2")  # found later than `read_body`
    response = build(sent, [rows(1), sent.items[1], tree, sent.items[3]])
    body = f"[{response.body.replace(chr(10), ',')}]" if content_type == JSON_LINES else response.body
    assert response.status == 200 and response.content_type == content_type
    assert json.loads(body) == [
        "p0",
        {"error": {"code": 400, "type": "InvalidRequest", "message": "must be a string", "field": "sent"}},
        {"error": {"code": 400, "type": "InvalidRequest", "message": "there is no tree", "field": "tmpl.2"}},
        {"error": {"code": 400, "type": "InvalidRequest", "message": "give tmpl or parse, not both", "field": "parse"}},
    ]


@pytest.mark.parametrize("content_type, accept", [(JSON, None), (JSON, JSON_LINES)])
def test_the_error_of_a_lone_request_is_the_status(content_type, accept):
    response = build(envelope(ONE, content_type, accept), [BAD])
    assert (response.status, response.phrase, response.content_type, response.headers) == (400, "Bad Request", JSON, {})
    assert json.loads(response.body) == BAD_VALUE


def test_a_single_line_is_no_lone_request():
    response = build(envelope([{}], JSON_LINES), [BAD])
    assert (response.status, response.content_type) == (200, JSON_LINES)
    assert response.body == json.dumps({"error": BAD_VALUE})


@pytest.mark.parametrize(
    "status, kind, phrase",
    [
        (400, "InvalidRequest", "Bad Request"),
        (406, "NotAcceptable", "Not Acceptable"),
        (413, "PayloadTooLarge", "Payload Too Large"),
        (415, "UnsupportedMediaType", "Unsupported Media Type"),
    ],
)
def test_refused_bodies(status, kind, phrase):
    response = build(RequestError("because", status=status), [])
    assert (response.status, response.phrase, response.content_type, response.headers) == (status, phrase, JSON, {})
    assert json.loads(response.body) == {"code": status, "type": kind, "message": "because", "field": None}
    assert list(error_value(RequestError("because", status=status))) == ["code", "type", "message", "field"]


def test_every_status_has_a_type_and_an_ascii_phrase():
    assert set(PHRASES) == {200, *ERROR_TYPES} == {200, 400, 406, 413, 415, 503, 504}
    assert all(phrase.isascii() and phrase.isprintable() for phrase in PHRASES.values())


@pytest.mark.parametrize(
    "values, answers, count",
    [
        (ONE, [[paraphrase("a", True)]], 1),
        (TWO, [[paraphrase("a", True), paraphrase("b")]], 1),
        ([TWO, {}, ONE], [[paraphrase("a", True)] * 2, BAD, [paraphrase("a", True)]], 3),
    ],
)
@pytest.mark.parametrize("accept", [JSON, JSON_LINES])
def test_truncated_paraphrases_are_counted_in_a_header(values, answers, count, accept):
    assert build(envelope(values, JSON, accept), answers).headers == {"X-Amzn-SageMaker-Custom-Attributes": f"truncated={count}"}
    assert ATTRIBUTES == "X-Amzn-SageMaker-Custom-Attributes"


@pytest.mark.parametrize("content_type", [JSON, JSON_LINES])
def test_text_outside_ascii_goes_back_as_it_is(content_type):
    text = 'müßte "東京" \\ 😀\n\t'
    response = build(envelope([ONE], content_type), [[paraphrase(text)]])
    assert "müßte" in response.body and "東京" in response.body and "😀" in response.body
    assert "\n" not in response.body  # one answer, one line
    value = json.loads(response.body.encode().decode())
    assert value == (text if content_type == JSON_LINES else [text])
    assert response.content_type.isascii()
