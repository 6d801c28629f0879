"""Content types that are read, and what `Accept` asks for."""

import pytest

from handler.wire.request import JSON, JSON_LINES, choose_media_type, read_content_type
from tests.bodies import read_body
from tests.wire.samples import RAIN, encode, refusal


@pytest.mark.parametrize(
    "header, media_type",
    [
        (None, JSON),
        ("", JSON),
        (" ", JSON),
        ("application/json", JSON),
        ("Application/JSON", JSON),
        ("application/json; charset=utf-8", JSON),
        ('application/json ;Charset="UTF-8"; x=y', JSON),
        ("application/json;charset=us-ascii", JSON),
        ("application/json;", JSON),
        ("application/jsonlines", JSON_LINES),
        ("APPLICATION/X-NDJSON; charset=UTF8", JSON_LINES),
        ("application/x-jsonlines", JSON_LINES),
        ("application/jsonl", JSON_LINES),
    ],
)
def test_content_types(header, media_type):
    assert read_content_type(header) == media_type


@pytest.mark.parametrize(
    "header",
    [
        "text/csv",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "*/*",
        ";",
        "application/json, application/json",
        "application/jsonx",
        "application/octet-stream",
        "\x00",
        "é",
    ],
)
def test_other_content_types_are_415(header):
    assert refusal(read_content_type, header) == (415, None, "the Content-Type must be application/json or application/jsonlines")


@pytest.mark.parametrize("charset", ["latin-1", "iso-8859-1", "utf-16", "", '"'])
def test_other_charsets_are_415(charset):
    assert refusal(read_content_type, f"application/json; charset={charset}") == (415, None, "the charset must be utf-8")


@pytest.mark.parametrize(
    "accept, for_json, for_lines",
    [
        (None, JSON, JSON_LINES),
        ("", JSON, JSON_LINES),
        (" ", JSON, JSON_LINES),
        ("*/*", JSON, JSON_LINES),
        ("application/*", JSON, JSON_LINES),
        ("application/json", JSON, JSON),
        ("Application/JSON; charset=utf-8", JSON, JSON),
        ("application/jsonlines", JSON_LINES, JSON_LINES),
        ("application/x-ndjson", JSON_LINES, JSON_LINES),
        ("application/json, application/jsonlines", JSON, JSON_LINES),
        ("application/json;q=0.5, application/jsonlines;q=0.4", JSON, JSON),
        ("application/json;q=.4 , application/jsonlines; q=0.5", JSON_LINES, JSON_LINES),
        ("application/json;q=0, */*", JSON_LINES, JSON_LINES),
        ("*/*, application/json;q=0", JSON_LINES, JSON_LINES),
        ("*/*;q=0.1, application/jsonlines;q=0", JSON, JSON),
        ("application/*;q=0.2, */*;q=0", JSON, JSON_LINES),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON, JSON_LINES),
        ("application/json;q=nan, application/jsonlines;q=0.1", JSON_LINES, JSON_LINES),
        ("application/json;q=inf, application/jsonlines;q=0.1", JSON_LINES, JSON_LINES),
        ("application/json;q=1e9, application/jsonlines;q=0.1", JSON_LINES, JSON_LINES),
        ("application/json;q=x, application/jsonlines;q=0.1", JSON_LINES, JSON_LINES),
    ],
)
def test_accept(accept, for_json, for_lines):
    assert choose_media_type(accept, JSON) == for_json
    assert choose_media_type(accept, JSON_LINES) == for_lines
    assert read_body(encode(RAIN), JSON, accept).media_type == for_json
    assert read_body(encode(RAIN), JSON_LINES, accept).media_type == for_lines


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/*",
        "application/json;q=0",
        "application/json;q=0.0, application/jsonlines;q=0",
        "*/*;q=0",
        "json",
        ",",
        "application/xml, text/csv;q=0.5",
        "application/json;q=nan",
        "application/json;q=-1",
        "é",
        ";q=1",
    ],
)
def test_impossible_accept_is_406(accept):
    for media_type in (JSON, JSON_LINES):
        assert refusal(choose_media_type, accept, media_type) == (406, None, "answers come as application/json or application/jsonlines")
