"""From bytes to requests: encodings, JSON, arrays, lines. A bad request spares the others; a body has limits of its own."""

import json

import pytest

from handler.wire.request import JSON, JSON_LINES, Limits, Request
from tests.bodies import read_body
from tests.wire.samples import PARSE, RAIN, SEED, encode, refusal


def test_a_lone_object_an_array_and_lines():
    single, array, lines = (
        read_body(*arguments, None)
        for arguments in ((encode(RAIN), JSON), (encode([RAIN, PARSE]), None), (encode(RAIN) + b"\n" + encode(PARSE), JSON_LINES))
    )
    assert [len(e.items) for e in (single, array, lines)] == [1, 2, 2]
    assert [e.single for e in (single, array, lines)] == [True, False, False]
    assert [e.media_type for e in (single, array, lines)] == [JSON, JSON, JSON_LINES]
    assert [item.targets for item in array.items] == [item.targets for item in lines.items]
    assert not read_body(encode([RAIN]), JSON, None).single and not read_body(encode(RAIN), JSON_LINES, None).single


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes(kind):
    assert read_body(kind(encode(RAIN)), None, None).items[0].sentence == "It rains."


def test_text_outside_ascii_survives_however_it_is_written():
    sent = "Müller ißt 東京 😀 \u2028 e\u0301"
    for ascii_only in (True, False):
        body = json.dumps({**PARSE, "sent": sent}, ensure_ascii=ascii_only).encode()
        for content_type, payload in (
            (JSON, body),
            (JSON, b"\xef\xbb\xbf" + body),
            (JSON_LINES, body),
            (JSON_LINES, b"\xef\xbb\xbf" + body + b"\r\n" + body),
        ):
            assert all(item.sentence == sent for item in read_body(payload, content_type, None).items)


UNREADABLE = [
    (b"", "the body is empty"),
    (b" \r\n\t", "the body is empty"),
    (b"\xef\xbb\xbf", "the body is empty"),
    (b"{", "the body is not JSON: expecting property name enclosed in double quotes at column 2"),
    (b'{"sent": }', "the body is not JSON: expecting value at column 10"),
    (b'{"sent": "a"} x', "the body is not JSON: extra data at column 15"),
    (b'{"sent": "a"}\n{"sent": "b"}', "the body is not JSON: extra data at line 2 column 1"),
    (b'{"sent": "a\tb"}', "the body is not JSON: invalid control character at column 12"),
    (b'{"sent": "a', "the body is not JSON: unterminated string starting at column 10"),
    (b'{"sent": "\\x"}', "the body is not JSON: invalid \\escape at column 11"),
    (b"{'sent': 'a'}", "the body is not JSON: expecting property name enclosed in double quotes at column 2"),
    (b'{"sent": "a",}', "the body is not JSON: expecting property name enclosed in double quotes at column 14"),
    (b"\xff\xfe{", "the body is not UTF-8 (byte 0)"),
    ('{"sent": "ä"}'.encode("latin-1"), "the body is not UTF-8 (byte 10)"),
    ('{"sent": "a"}'.encode("utf-16"), "the body is not UTF-8 (byte 0)"),
    (b'{"sent": "\xed\xa0\x80"}', "the body is not UTF-8 (byte 10)"),
    (b'{"sent": "\\ud800"}', "a string is not valid Unicode: half of a surrogate pair"),
    (b'{"sent": "a", "\\udfff": 1}', "a string is not valid Unicode: half of a surrogate pair"),
    (b'{"sent": "\\ude00\\ud83d"}', "a string is not valid Unicode: half of a surrogate pair"),
    (b'{"temperature": NaN}', "NaN is not JSON"),
    (b"[Infinity]", "Infinity is not JSON"),
    (b'{"seed": -Infinity}', "-Infinity is not JSON"),
    (b'{"sent": "a", "sent": "b"}', "an object names a field twice"),
    (b'{"sent": "a", "tmpl": {"x": 1, "x": 1}}', "an object names a field twice"),
    (b'{"seed": ' + b"9" * 5000 + b"}", "a number has too many digits"),
    (b"[" * 200_000, "the body is nested too deeply"),
    (b'{"sent":' * 200_000, "the body is nested too deeply"),
    (b'{"sent": "a", "tmpl": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "the body is nested too deeply"),
]


@pytest.mark.parametrize("body, reason", UNREADABLE, ids=[reason for _, reason in UNREADABLE])
def test_bodies_that_cannot_be_read(body, reason):
    assert refusal(read_body, body, JSON, None) == (400, None, reason)


@pytest.mark.parametrize("body", [b"null", b"3", b"1e999", b'"text"', b"true"])
def test_json_that_is_no_request(body):
    assert refusal(read_body, body, JSON, None) == (400, None, "a request is a JSON object")
    [item] = read_body(body, JSON_LINES, None).items
    assert item.reason == "a request is a JSON object"


def test_nesting_that_python_can_still_read_is_refused_for_what_it_is():
    for depth in (10, 100, 500):
        assert refusal(read_body, encode(RAIN)[:-1] + b', "seed": ' + b"[" * depth + b"]" * depth + b"}", JSON, None) == (400, "seed", SEED)


def test_no_body_at_all():
    assert refusal(read_body, None, None, None) == (415, None, "the body is not JSON; send it with Content-Type: application/json")
    assert refusal(read_body, None, "application/x-www-form-urlencoded", None)[0] == 415


def test_size_limit():
    body = encode(RAIN)
    assert read_body(body, JSON, None, Limits(len(body))).items
    assert refusal(read_body, body, JSON, None, Limits(len(body) - 1)) == (
        413,
        None,
        f"the body has {len(body)} bytes, at most {len(body) - 1} are read",
    )
    assert refusal(read_body, bytes(Limits().max_body_bytes + 1), JSON, None)[0] == 413
    assert read_body(body + b" " * (Limits().max_body_bytes - len(body)), JSON, None).items


def test_what_is_asked_for_is_checked_before_what_is_sent():
    assert refusal(read_body, bytes(100), "text/csv", "text/html", Limits(10))[0] == 415
    assert refusal(read_body, bytes(100), JSON, "text/html", Limits(10))[0] == 406
    assert refusal(read_body, bytes(100), JSON, "*/*", Limits(10))[0] == 413


def kinds(envelope) -> list:
    """None for a good item, else its field and reason."""
    return [None if isinstance(item, Request) else (item.field, item.reason) for item in envelope.items]


def test_a_bad_item_of_an_array_spares_the_others():
    array = [RAIN, {}, 3, [], {**RAIN, "tmpl": ["command", "("]}, PARSE]
    assert kinds(read_body(encode(array), JSON, None)) == [
        None,
        ("sent", "is required"),
        (None, "a request is a JSON object"),
        (None, "a request is a JSON object"),
        ("tmpl.1", "1 opening bracket has no closing one"),
        None,
    ]


def test_an_empty_array_has_no_items():
    envelope = read_body(b"[]", JSON, None)
    assert (envelope.items, envelope.single) == ([], False)
    [item] = read_body(b"[]", JSON_LINES, None).items  # one line, which is no object
    assert item.reason == "a request is a JSON object"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bad_and_blank_lines_spare_the_others(end):
    lines = [
        encode(RAIN),
        b"",
        b'{"sent"}',
        b" \t",
        b'{"sent": NaN}',
        b'{"sent": "\\ud800"}',
        b'{"sent": "a", "sent": "b"}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        encode([RAIN]),
        encode(RAIN) + encode(RAIN),
        encode(PARSE),
    ]
    expected = [
        None,
        (None, "the line is empty"),
        (None, "the line is not JSON: expecting ':' delimiter at column 8"),
        (None, "the line is empty"),
        (None, "NaN is not JSON"),
        (None, "a string is not valid Unicode: half of a surrogate pair"),
        (None, "an object names a field twice"),
        (None, "a number has too many digits"),
        (None, "the line is nested too deeply"),
        (None, "a request is a JSON object"),
        (None, f"the line is not JSON: extra data at column {len(encode(RAIN)) + 1}"),
        None,
    ]
    for last in (b"", end):
        assert kinds(read_body(end.join(lines) + last, JSON_LINES, None)) == expected
    assert kinds(read_body(end.join(lines) + end + end, JSON_LINES, None)) == [*expected, (None, "the line is empty")]


@pytest.mark.parametrize("body, count", [(b"\n", 1), (b"\r\n", 1), (b" ", 1), (b"\n\n\n", 3)])
def test_blank_lines_alone_are_answered_line_by_line(body, count):
    assert kinds(read_body(body, JSON_LINES, None)) == [(None, "the line is empty")] * count


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf"])
def test_no_line_at_all_is_an_error(body):
    assert refusal(read_body, body, JSON_LINES, None) == (400, None, "the body is empty")


def test_only_line_feeds_end_a_line():
    sent = "a\u2028b\u2029c\u0085d\u000be"
    body = json.dumps({**PARSE, "sent": sent}, ensure_ascii=False).encode()
    assert [item.sentence for item in read_body(body + b"\n" + body, JSON_LINES, None).items] == [sent, sent]


def test_many_lines():
    envelope = read_body(b"\n".join([encode(PARSE), b"x"] * 1000), JSON_LINES, None)
    assert [isinstance(item, Request) for item in envelope.items] == [True, False] * 1000
    errors = envelope.items[1::2]
    assert all(e.__traceback__ is None and e.__context__ is None for e in errors)  # no frames, no copy of the line


def test_rows_of_a_whole_body_are_limited():
    limits = Limits(max_body_rows=5)
    assert len(read_body(encode([RAIN, {"no": 1}, {**RAIN, "num_paraphrases": 3}]), JSON, None, limits).items) == 3
    for body, kind in ((encode([RAIN] * 6), JSON), (b"\n" * 6, JSON_LINES), (encode([RAIN, {**RAIN, "num_paraphrases": 5}]), JSON)):
        assert refusal(read_body, body, kind, None, limits) == (
            413,
            None,
            "the body asks for more than 5 paraphrases, candidates included; send it in parts",
        )


def test_candidates_count_as_paraphrases_of_a_body():
    limits, whole = Limits(max_body_rows=10, candidates=3), {"sent": RAIN["sent"], "parse": RAIN["synt"]}
    for items, fits in (
        ([RAIN] * 3, True),
        ([RAIN] * 4, False),
        ([RAIN] * 3 + [whole], True),
        ([whole] * 10, True),
        ([{**RAIN, "candidates": 1}] * 10, True),
        ([{**RAIN, "candidates": 5, "num_paraphrases": 2}], True),
        ([{**RAIN, "candidates": 5}, RAIN, RAIN], False),
    ):
        if fits:
            assert len(read_body(encode(items), JSON, None, limits).items) == len(items)
        else:
            assert refusal(read_body, encode(items), JSON, None, limits)[0] == 413


def test_a_line_that_is_not_utf8_spares_the_others():
    good, bad, last = read_body(encode(RAIN) + b"\n" + b'{"sent": "\xff"}\n' + encode(RAIN), JSON_LINES, None).items
    assert isinstance(good, Request) and isinstance(last, Request)
    assert (bad.status, bad.reason) == (400, "the line is not UTF-8 (byte 10)")
