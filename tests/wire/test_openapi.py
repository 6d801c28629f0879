"""`handler/wire/openapi.yaml` agrees with the code: names, limits, media types, examples, the form of every answer."""

import dataclasses
import functools
import json

import jsonschema
import openapi_spec_validator
import pytest
import yaml

import handler
from handler import scheduling
from handler.errors import RequestError
from handler.language import trees
from handler.wire import request
from handler.wire.request import CATALOGUE, FIELDS, JSON, JSON_LINES, MEDIA_TYPES, Request, read_request
from handler.wire.response import ATTRIBUTES, ERROR_TYPES, Paraphrase, answer_value, error_value, refusal
from scripts.common.paths import ROOT
from tests.bodies import build, read_body

SPEC = yaml.safe_load((ROOT / "handler" / "wire" / "openapi.yaml").read_text(encoding="utf-8"))
SCHEMAS = SPEC["components"]["schemas"]
OPERATION = SPEC["components"]["pathItems"]["Paraphrase"]["post"]


def resolve(node):
    """What a `$ref` stands for."""
    if not isinstance(node, dict) or "$ref" not in node:
        return node
    return resolve(functools.reduce(lambda value, key: value[key], node["$ref"].removeprefix("#/").split("/"), SPEC))


def check(value, schema) -> None:
    jsonschema.Draft202012Validator({**schema, "components": SPEC["components"]}).validate(value)


def fits(value, schema) -> bool:
    return jsonschema.Draft202012Validator({**schema, "components": SPEC["components"]}).is_valid(value)


def encode(value) -> bytes:
    """An example as it is sent: JSON, or for JSON Lines the text itself."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def response_to(body: bytes, content_type: str, accept: str | None = None):
    """The response of a server whose every paraphrase is `will it rain ?`"""
    try:
        envelope = read_body(body, content_type, accept)
    except RequestError as error:
        return build(error, [])
    done = Paraphrase("will it rain ?", "(ROOT (S ))", "(ROOT (S (VP (VB))))", -1.5, False, 1, 0, False)
    return build(
        envelope, [item if isinstance(item, RequestError) else [done] * len(item.targets) * item.num_paraphrases for item in envelope.items]
    )


def form(value):
    """A value with its strings, numbers and booleans replaced by their types; errors stay as they are."""
    if isinstance(value, list):
        return [form(v) for v in value]
    if isinstance(value, dict):
        return {k: v if k == "error" else form(v) for k, v in value.items()}
    return type(value).__name__


def test_it_is_openapi():
    assert SPEC["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(SPEC)


def test_it_has_the_projects_version():
    assert SPEC["info"]["version"] == handler.__version__


def test_both_paths_are_one_operation():
    assert set(SPEC["paths"]) == {"/invocations", "/predictions/synpg", "/ping"}
    assert resolve(SPEC["paths"]["/invocations"]) == resolve(SPEC["paths"]["/predictions/synpg"]) == {"post": OPERATION}


def test_media_types():
    assert set(OPERATION["requestBody"]["content"]) == set(MEDIA_TYPES)
    for media_type, content in OPERATION["requestBody"]["content"].items():
        assert (resolve(content["schema"]) is SCHEMAS["RequestLines"]) == (MEDIA_TYPES[media_type] == JSON_LINES)
    assert set(OPERATION["responses"]["200"]["content"]) == set(MEDIA_TYPES.values()) == {JSON, JSON_LINES}
    assert set(OPERATION["responses"]["200"]["headers"]) == {ATTRIBUTES}


def test_fields_limits_and_defaults():
    fields = SCHEMAS["Request"]["properties"]
    assert tuple(fields) == FIELDS and SCHEMAS["Request"]["additionalProperties"] is False
    assert fields["sent"]["maxLength"] == request.MAX_CHARACTERS
    assert SCHEMAS["Tree"]["maxLength"] == SCHEMAS["Template"]["anyOf"][1]["maxLength"] == trees.MAX_CHARACTERS
    assert f"at most {trees.MAX_DEPTH} levels" in SCHEMAS["Tree"]["description"]
    assert f"at most {request.MAX_NODES} nodes" in SCHEMAS["Tree"]["description"]
    assert f"at most {trees.TEMPLATE_DEPTH} levels" in SCHEMAS["Template"]["anyOf"][1]["description"]
    assert fields["tmpl"]["anyOf"][1]["maxItems"] == fields["parse"]["anyOf"][1]["maxItems"] == request.MAX_ROWS
    assert (fields["temperature"]["minimum"], fields["temperature"]["maximum"]) == (0, request.MAX_TEMPERATURE)
    assert (fields["seed"]["minimum"], fields["seed"]["maximum"]) == (0, request.MAX_SEED)
    assert (fields["num_paraphrases"]["minimum"], fields["num_paraphrases"]["maximum"]) == (1, request.MAX_ROWS)
    assert (fields["candidates"]["minimum"], fields["candidates"]["maximum"]) == (1, request.MAX_CANDIDATES)
    description = " ".join(SPEC["info"]["description"].split())
    assert f"{request.Limits().max_body_bytes:,} bytes and {request.Limits().max_body_rows:,} paraphrases" in description
    least = read_request({"sent": "It rains."})
    for name in ("temperature", "num_paraphrases", "details", "tokenized"):
        assert fields[name]["default"] == getattr(least, name)


def test_the_catalogue():
    ours, added = SCHEMAS["TemplateName"]["anyOf"]
    assert ours["enum"] == list(CATALOGUE) and added["pattern"] == f"^{request.NAME.pattern}$"
    listed = [line for line in SCHEMAS["TemplateName"]["description"].splitlines() if line.startswith("- ")]
    assert listed == [f"- `{name}`: {template}" for name, template in CATALOGUE.items()]
    assert SCHEMAS["CatalogueAnswer"]["minProperties"] == len(CATALOGUE)


def test_error_types_and_statuses():
    pairs = [kind["properties"] for kind in SCHEMAS["Error"]["oneOf"]]
    assert {pair["code"]["const"]: pair["type"]["const"] for pair in pairs} == ERROR_TYPES
    of_the_server = {"404", "408", "500", "507"}  # TorchServe's, or those of the container's front
    assert set(OPERATION["responses"]) == {"200", *of_the_server, *map(str, ERROR_TYPES)}
    for status, kind in ERROR_TYPES.items():
        assert OPERATION["responses"][str(status)]["$ref"].endswith(f"/{kind}")
        check(error_value(RequestError("because", status=status)), SCHEMAS["Error"])
        assert not fits({**error_value(RequestError("because", status=status)), "type": "Other"}, SCHEMAS["Error"])
    assert not fits({"code": 400, "type": "InvalidRequest", "message": "because"}, SCHEMAS["Error"])


def examples(content: dict) -> dict:
    return {name: resolve(example)["value"] for name, example in content["examples"].items()}


REQUESTS = [
    (kind, name, value) for kind, content in OPERATION["requestBody"]["content"].items() for name, value in examples(content).items()
]


@pytest.mark.parametrize("media_type, name, value", REQUESTS, ids=[f"{kind}-{name}" for kind, name, _ in REQUESTS])
def test_request_examples_are_accepted_and_answered_in_the_form_shown(media_type, name, value):
    check(value, OPERATION["requestBody"]["content"][media_type]["schema"])
    items = read_body(encode(value), media_type, None).items
    assert isinstance(items[0], Request)
    assert all(isinstance(item, Request) for item in items) != ("bad" in name)
    response = response_to(encode(value), media_type)
    assert response.status == 200
    content = OPERATION["responses"]["200"]["content"][response.content_type]
    shown = examples(content)[name]
    found = response.body if response.content_type == JSON_LINES else json.loads(response.body)
    for answer in (shown, found):
        check(answer, content["schema"])
    if response.content_type == JSON_LINES:
        shown, found = ([json.loads(line) for line in text.split("\n")] for text in (shown, found))
        for answer in shown + found:
            check(answer, {"anyOf": [SCHEMAS["Answer"], SCHEMAS["ErrorInPlace"]]})
    assert form(found) == form(shown)


def test_every_request_example_has_its_answer():
    for media_type in (JSON, JSON_LINES):
        asked, answered = OPERATION["requestBody"]["content"][media_type], OPERATION["responses"]["200"]["content"][media_type]
        assert list(asked["examples"]) == list(answered["examples"])
    contents = *OPERATION["requestBody"]["content"].values(), *OPERATION["responses"]["200"]["content"].values()
    used = {example["$ref"].rsplit("/", 1)[1] for content in contents for example in content["examples"].values()}
    assert set(SPEC["components"]["examples"]) == used


RAIN = {"sent": "It rains.", "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ rains)) (. .)))", "tmpl": "statement"}
REFUSED = {  # example -> what it answers
    "not_json": (b'{"sent": }', JSON),
    "missing_field": (encode({"synt": RAIN["synt"]}), JSON),
    "unknown_field": (encode({**RAIN, "template": "statement"}), JSON),
    "bad_tree": (encode({**RAIN, "tmpl": ["statement", "(ROOT (S (NP ) (VP )"]}), JSON),
    "out_of_range": (encode({**RAIN, "temperature": 9}), JSON),
    "not_acceptable": (encode(RAIN), JSON, "text/html"),
    "too_large": (bytes(request.Limits().max_body_bytes + 1), JSON),
    "content_type": (b"sent=It+rains.", "application/x-www-form-urlencoded"),
    "charset": (encode(RAIN), "application/json; charset=latin-1"),
}


SCHEDULED = {
    "too_long": scheduling.too_long(840, scheduling.Budget().body_seconds, 4),
    "busy": scheduling.busy("work of about 420 seconds is waiting already"),
    "no_time": scheduling.no_time(scheduling.Budget().deadline),
}


OF_OTHERS = {  # examples of what TorchServe and the container's front answer under the same statuses -> their form
    "failed": "ServerError",
    "busy_torchserve": "ServerError",
    "busy_container": "FrontError",
    "no_answer": "FrontError",
}


def test_the_promised_budgets_are_those_of_the_settings():
    budget, config = scheduling.Budget(), yaml.safe_load((ROOT / "handler" / "model-config.yaml").read_text())["handler"]
    assert {name: config[name] for name in scheduling.Budget.__annotations__} == dataclasses.asdict(budget)
    description = " ".join(SPEC["info"]["description"].split())
    assert f"about {budget.chunk_seconds:g} seconds" in description and f"more than {budget.body_seconds:g} seconds" in description
    assert f"not done {budget.deadline:g} seconds" in description


def test_error_examples_are_what_is_answered():
    shown = {
        name: (int(status), value)
        for status, response in OPERATION["responses"].items()
        if int(status) in ERROR_TYPES
        for name, value in examples(resolve(response)["content"][JSON]).items()
    }
    for name, kind in OF_OTHERS.items():
        check(shown.pop(name)[1], SCHEMAS[kind])
    assert set(shown) == {*REFUSED, *SCHEDULED}
    for name, (status, value) in shown.items():
        check(value, SCHEMAS["Error"])
        response = refusal(SCHEDULED[name]) if name in SCHEDULED else response_to(*REFUSED[name])
        assert (response.status, json.loads(response.body)) == (status, value)


@pytest.mark.parametrize(
    "value",
    [
        {**RAIN},
        {**RAIN, "tmpl": None},
        {**RAIN, "tmpl": ["command"] * 64},
        {"sent": "x", "parse": [" (NN x)"]},
        {"sent": "é", "parse": "(NN x)", "synt": None, "tmpl": None},
        {**RAIN, "seed": 0, "temperature": 0, "num_paraphrases": 64},
        {**RAIN, "seed": 2**53 - 1, "temperature": 5},
        {**RAIN, "seed": None, "temperature": None, "num_paraphrases": None},
        {**RAIN, "candidates": 32},
        {"sent": "it", "parse": "(ROOT (S (NN it)))", "candidates": None},
        {**RAIN, "sent": "x" * 1000, "synt": f"(NN {'x' * 1000})"},
    ],
)
@pytest.mark.parametrize("details", [None, False, True])
def test_schema_and_code_accept_the_same(value, details):
    value = {**value, "details": details}
    check(value, SCHEMAS["Request"])
    accepted = read_request(value)
    done = Paraphrase("a", "(ROOT (S ))", "(ROOT (S (VP (VB))))", -1.0, True, 1, 0, False)
    answer = answer_value(accepted, [done] * len(accepted.targets) * accepted.num_paraphrases)
    check(json.loads(json.dumps(answer)), SCHEMAS["Answer"])


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        {**RAIN, "sent": None},
        {**RAIN, "sent": " "},
        {**RAIN, "sent": 1},
        {**RAIN, "sent": "x" * 1001},
        {**RAIN, "synt": 1},
        {**RAIN, "synt": "it rains"},
        {**RAIN, "synt": "(" * 20_001},
        {**RAIN, "tmpl": "Sonnet"},
        {**RAIN, "tmpl": []},
        {**RAIN, "tmpl": ["command"] * 65},
        {**RAIN, "tmpl": [None]},
        {**RAIN, "tmpl": True},
        {**RAIN, "parse": "(NN x)"},
        {"sent": "x", "parse": "statement"},
        {"sent": "x", "parse": []},
        {**RAIN, "temperature": 5.1},
        {**RAIN, "temperature": -1},
        {**RAIN, "temperature": True},
        {**RAIN, "seed": -1},
        {**RAIN, "seed": 2**53},
        {**RAIN, "seed": 0.5},
        {**RAIN, "seed": True},
        {**RAIN, "num_paraphrases": 0},
        {**RAIN, "num_paraphrases": 65},
        {**RAIN, "candidates": 0},
        {**RAIN, "candidates": 33},
        {"sent": "it", "parse": "(ROOT (S (NN it)))", "candidates": 2},
        {**RAIN, "num_paraphrases": "2"},
        {**RAIN, "details": 1},
        {**RAIN, "details": "yes"},
        {**RAIN, "tokenized": 0},
        {**RAIN, "template": "x"},
    ],
)
def test_schema_and_code_refuse_the_same(value):
    assert not fits(value, SCHEMAS["Request"])
    with pytest.raises(RequestError) as caught:
        read_request(value)
    check({"error": error_value(caught.value)}, SCHEMAS["ErrorInPlace"])


def test_the_schema_of_details_is_exact():
    value = Paraphrase("a", "(ROOT (S ))", "(ROOT (S ))", -1.0, True, 1, 0, False).value(details=True)
    check(value, SCHEMAS["Details"])
    assert list(SCHEMAS["Details"]["properties"]) == SCHEMAS["Details"]["required"] == list(value)
    assert not fits({**value, "score": 1}, SCHEMAS["Details"])


def test_the_truncation_header():
    schema = OPERATION["responses"]["200"]["headers"][ATTRIBUTES]["schema"]
    envelope = read_body(encode(RAIN), JSON, None)
    headers = build(envelope, [[Paraphrase("a", "(ROOT )", "(ROOT )", -1.0, True, 1, 0, False)]]).headers
    check(headers[ATTRIBUTES], schema)
    assert not fits("truncated=0", schema)
