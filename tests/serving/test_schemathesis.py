"""A real TorchServe answers what is drawn from openapi.yaml, valid and not, as openapi.yaml says. Needs tests/schemathesis.txt."""

import json

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, settings

from scripts.common.paths import ROOT

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -r tests/schemathesis.txt")
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SPEC = yaml.safe_load((ROOT / "handler" / "wire" / "openapi.yaml").read_text(encoding="utf-8"))
LINES = [name for name in SPEC["components"]["pathItems"]["Paraphrase"]["post"]["requestBody"]["content"] if name != "application/json"]
# Not that other methods are refused: TorchServe by itself runs the model for them, as openapi.yaml says.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


REQUEST = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Request", "components": SPEC["components"]})


@schemathesis.serializer(*LINES)
def lines(context, value):
    """JSON Lines are text; what was drawn in place of text goes as it is."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()


schema = schemathesis.openapi.from_dict(SPEC)
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


@pytest.mark.filterwarnings("default")
@schema.parametrize()
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_are_as_the_contract_says(case, server):
    answer = case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=120)
    if case.media_type == "application/json" and isinstance(case.body, dict) and not REQUEST.is_valid(case.body):
        assert answer.status_code == 400  # in an array the error stands in the request's place
