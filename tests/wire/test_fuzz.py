"""Bodies and trees drawn at random, the same each time: each is read, or refused by a RequestError that tells nothing of what was sent."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.errors import RequestError, SyntaxTreeError
from handler.language.trees import LABELS, check_brackets, read_tree
from handler.scheduling import cost
from handler.wire.request import CATALOGUE, FIELDS, MAX_NODES, Limits, Request, open_body, read_item, rows_of
from handler.wire.response import ERROR_TYPES, refusal
from tests.bodies import Envelope, read_body

SECRET = "xylophonist"  # a caller's word; no error may repeat it
PLACES = [f"{name}.{place}" for name in ("tmpl", "like", "parse") for place in range(64)]
fuzz = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

texts = st.one_of(st.text(max_size=40), st.sampled_from([SECRET, "it rains .", "", " ", "\ud800", "é" * 20, "(", "NaN"]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_subnormal=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=10,
)
brackets = st.lists(
    st.one_of(
        st.sampled_from(["(", ")", "(", ")", " ", SECRET, "NML", "-NONE-", "TOP", "NP-SBJ=1|2", "\x00"]), st.sampled_from(sorted(LABELS))
    ),
    max_size=60,
).map(" ".join)
labels = st.sampled_from(sorted(LABELS))
trees = st.recursive(
    st.tuples(labels, st.sampled_from(["", "it", "rains", SECRET])).map("({0[0]} {0[1]})".format),
    lambda inner: st.tuples(labels, st.lists(inner, min_size=1, max_size=4).map(" ".join)).map("({0[0]} {0[1]})".format),
    max_leaves=30,
)
templates = st.one_of(st.sampled_from(sorted(CATALOGUE)), trees, brackets)
requests = st.fixed_dictionaries(
    {"sent": st.one_of(st.just("it rains ."), texts, values)},
    optional={
        "synt": st.one_of(trees, brackets, values),
        "tmpl": st.one_of(templates, st.lists(templates, max_size=4), values),
        "like": st.one_of(texts, st.lists(texts, max_size=3), values),
        "parse": st.one_of(trees, st.lists(trees, max_size=3), values),
        "temperature": st.one_of(st.floats(0, 5, allow_subnormal=False), values),
        "seed": st.one_of(st.integers(0, 2**53), values),
        "num_paraphrases": st.one_of(st.integers(-1, 70), values),
        "candidates": st.one_of(st.integers(-1, 40), values),
        "details": st.one_of(st.booleans(), values),
        "tokenized": st.one_of(st.booleans(), values),
        SECRET: values,
    },
)
jsons = st.one_of(requests, st.lists(st.one_of(requests, values), max_size=5), values).map(lambda value: json.dumps(value).encode())
bodies = st.one_of(
    st.binary(max_size=200),
    jsons,
    st.tuples(jsons, st.integers(0, 300), st.binary(max_size=3)).map(lambda it: it[0][: it[1]] + it[2] + it[0][it[1] :]),  # damaged
    st.lists(jsons, max_size=4).map(b"\n".join),
)
headers = st.one_of(
    st.none(),
    st.sampled_from(["application/json", "application/jsonlines", "application/jsonlines; charset=utf-8", "*/*;q=nan", ";", "text/csv"]),
    st.text(max_size=30),
)


def harmless(error: RequestError) -> None:
    assert error.status in ERROR_TYPES and error.reason
    answer = refusal(error)
    assert SECRET not in error.reason and (error.field in (None, *FIELDS, *PLACES) or "unknown field" in error.reason)  # its name is told
    assert json.loads(answer.body)["code"] == error.status


@fuzz
@given(bodies, headers, headers)
def test_a_body_is_read_or_refused(body, content_type, accept):
    limits = Limits(max_body_rows=300, candidates=4)
    try:
        envelope = read_body(body, content_type, accept, limits)
    except RequestError as error:
        harmless(error)
        return
    assert isinstance(envelope, Envelope)
    for item in envelope.items:
        if isinstance(item, RequestError):
            harmless(item)
        else:
            assert isinstance(item, Request) and 1 <= rows_of(item, limits) <= 64 * 32 and 0 < cost(item, 4) < 64 * 32 * 1000
    opened = open_body(body, content_type, accept, limits)  # part by part it is the same
    parts = [read_item(opened, place, limits) for place in range(len(opened.parts))]
    assert [type(part) for part in parts] == [type(item) for item in envelope.items]


@fuzz
@given(requests)
def test_the_fields_of_a_request(value):
    try:
        read_body(json.dumps([value]).encode(), None, None)
    except RequestError as error:
        harmless(error)


@fuzz
@given(st.one_of(brackets, trees))
def test_a_tree_is_read_or_refused_and_its_brackets_alone_never_refuse_a_good_one(text):
    try:
        tree = read_tree(text)
    except SyntaxTreeError as error:
        harmless(error)
        return
    check_brackets(text, MAX_NODES)
    assert str(read_tree(str(tree))) == str(tree)


@pytest.mark.parametrize("text", ["(" * 20_000, ")" * 20_000, "(NP " * 9_000 + ")" * 2_000, "(NN a) " * 2_800])
def test_large_brackets_are_refused_before_a_tree_is_built(text, monkeypatch):
    monkeypatch.setattr("handler.wire.request.read_tree", lambda text: pytest.fail("a tree was built"))
    item = read_item(open_body(json.dumps([{"sent": "x", "parse": text[:20_000]}]).encode(), None, None), 0)
    assert isinstance(item, RequestError) and item.field == "parse"


def test_every_field_is_drawn():
    drawn = set()

    @settings(fuzz, max_examples=100)
    @given(requests)
    def collect(value):
        drawn.update(value)

    collect()
    assert {*FIELDS, SECRET} <= drawn
