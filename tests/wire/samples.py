"""Requests that many tests of the wire take, and how they are refused."""

import json

import pytest

from handler.errors import RequestError
from handler.wire.request import MAX_SEED

RAIN = {"sent": "It rains.", "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ rains)) (. .)))", "tmpl": "(ROOT (S (VP ) (. )))"}
PARSE = {"sent": "It rains.", "parse": RAIN["synt"]}


def encode(value) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def refusal(call, *arguments) -> tuple[int, str | None, str]:
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value.status, caught.value.field, caught.value.reason


SEED = f"must be an integer from 0 to {MAX_SEED}"
