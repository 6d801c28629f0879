"""No message quotes the request, whatever is wrong with it."""

import random

import pytest

from handler.errors import RequestError
from handler.wire.request import FIELDS, JSON, JSON_LINES, read_request
from tests.bodies import read_body
from tests.wire.samples import RAIN, encode, refusal

WORD = "zebra"


def with_marker() -> list[tuple]:
    """Bad (body, content type, accept), the marker somewhere in each."""
    tree = f"(ROOT (S (NP (NN {WORD})) (VP (VB {WORD}))))"
    good = {"sent": f"{WORD} {WORD}", "synt": tree, "tmpl": "command"}
    trees = [
        WORD,
        f"({WORD} x)",
        f"(NN {WORD}",
        f"(NN {WORD} {WORD})",
        f"(NN (DT x) {WORD})",
        f"(NN {WORD} (DT x))",
        f"{tree} {tree}",
        f"{tree} {WORD}",
        f"{tree})",
        f"(NML {WORD})",
        f"(NP-{WORD} ))",
        f"(-NONE- {WORD})",
        f"({WORD}-SBJ )",
        f"(({WORD} x))",
        "(S " * 101 + WORD,
        f"(NN {WORD}{'x' * 20_000})",
    ]
    values = [
        *({**good, "synt": t} for t in [*trees, "(NN x)", f"(NP (NN ) (NN {WORD}))"]),
        *({**good, "tmpl": t} for t in [*trees, tree, f"(ROOT (NP {WORD}))"]),
        *({**good, "tmpl": ["command", t]} for t in trees),
        *({"sent": WORD, "parse": t} for t in trees),
        *({"sent": WORD, "parse": [t]} for t in trees),
        *({**good, field: v} for field in FIELDS if field != "tmpl" for v in ({WORD: WORD}, {"x": [WORD]}, [WORD])),
        *({**good, field: WORD} for field in ("temperature", "seed", "num_paraphrases", "details", "tokenized")),
        {**good, "parse": tree},
        {**good, "sent": WORD},
        {**good, "sent": WORD * 300},
        {**good, f"{WORD} ": 1},
        {**good, f"ä{WORD}": 1},
        {**good, WORD * 9: WORD},
        WORD,
        [[WORD]],
        {WORD + "-": {}},
    ]
    bodies = [(encode(value), JSON, None) for value in values if not isinstance(value, list)]
    raw = [
        f'{{"sent": "{WORD}"',
        f'{{"sent": {WORD}}}',
        f'{{"{WORD}"}}',
        f'{{"sent": "{WORD}\n"}}',
        f'{{"sent": "{WORD}\\{WORD}"}}',
        f"{WORD}",
        f'"{WORD}" {WORD}',
        f'{{"{WORD}": 1, "{WORD}": 2}}',
        f'{{"sent": "{WORD}\\ud800"}}',
        f'{{"sent": "{WORD}", "seed": NaN}}',
        f'{{"{WORD}": -Infinity}}',
        f'{{"sent": "{WORD}", "seed": {"7" * 5000}}}',
        f'"{WORD}' + "[" * 9999,
        '{"a":' * 99_999 + f'"{WORD}"',
    ]
    bodies += [(text.encode() + end, JSON, None) for text in raw for end in (b"", b"\xff")]
    bodies += [(encode(good), kind, None) for kind in (WORD, f"text/{WORD}", f"application/json; charset={WORD}")]
    return bodies + [(encode(good), JSON, accept) for accept in (WORD, f"{WORD}/*", f"application/{WORD}", f"*/*;q={WORD}")]


def check_error(error: RequestError):
    assert WORD not in error.reason and (error.field is None or WORD not in error.field)
    assert WORD not in str(error) and WORD not in repr(error)
    assert error.reason.isascii() and "\n" not in error.reason and len(error.reason) < 250
    assert error.status in (400, 406, 413, 415)
    if error.field is not None:
        assert error.field.split(".")[0] in FIELDS


def test_no_message_quotes_the_request():
    bad = with_marker()
    assert len(bad) > 150
    for body, content_type, accept in bad:
        with pytest.raises(RequestError) as caught:
            read_body(body, content_type, accept)
        check_error(caught.value)
        if content_type == JSON and accept is None and b"\n" not in body and b"\xff" not in body:
            [item] = read_body(body, JSON_LINES, None).items
            check_error(item)


def test_only_a_plain_unknown_name_goes_back_and_only_as_the_field():
    _, field, reason = refusal(read_request, {**RAIN, WORD: WORD})
    assert field == WORD and WORD not in reason


def test_mutated_bodies_are_read_or_refused():
    """Whatever bytes arrive: requests, or RequestErrors that quote nothing."""
    rng = random.Random(0)
    insertions = [
        b"\\",
        b'"',
        b"\\ud800",
        b"NaN",
        b"\n",
        b"\r\n",
        b"{",
        b"[",
        b"]",
        b",",
        b":",
        b"\xef\xbb\xbf",
        b"\xff",
        b"9" * 400,
        b"(",
        b")",
        b"null",
        b"1e999",
        b"true",
        b"-NONE-",
        b"NML",
        "é".encode(),
    ]
    parse = f"(ROOT (NP (NN {WORD}) (. .)))"
    good = [
        encode({"sent": f"{WORD} .", "synt": parse, "tmpl": ["(ROOT (NP (NP ) (. )))", "command"]}),
        encode({"sent": WORD, "parse": parse, "seed": 3, "temperature": 0.1, "num_paraphrases": 2, "details": True}),
    ]
    seen = {"read": 0, "refused": 0}
    for _ in range(3000):
        body = bytearray(rng.choice(good))
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(body))
            if rng.random() < 0.5:
                body[at:at] = rng.choice(insertions)
            else:
                del body[at : at + rng.randint(1, 4)]
        try:
            items = read_body(body, rng.choice((JSON, JSON_LINES)), None).items
        except RequestError as error:
            items = [error]
        for item in items:
            seen["refused" if isinstance(item, RequestError) else "read"] += 1
            if isinstance(item, RequestError) and (item.field is None or item.field.split(".")[0] in FIELDS):
                check_error(item)
    assert min(seen.values()) > 300
