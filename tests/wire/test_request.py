"""From bodies to requests: content types, encodings, JSON, every field and limit. The only exception is RequestError."""

import json
import random

import pytest

from handler.errors import RequestError
from handler.language.trees import MAX_CHARACTERS as MAX_TREE_CHARACTERS
from handler.language.trees import MAX_DEPTH, TEMPLATE_DEPTH, read_tree
from handler.wire.request import (
    CATALOGUE,
    EXAMPLE,
    FIELDS,
    JSON,
    JSON_LINES,
    MAX_CHARACTERS,
    MAX_NODES,
    MAX_ROWS,
    MAX_SEED,
    MAX_TEMPERATURE,
    Limits,
    Request,
    added_templates,
    choose_media_type,
    open_body,
    read_content_type,
    read_item,
    read_request,
)
from tests.bodies import read_body

RAIN = {"sent": "It rains.", "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ rains)) (. .)))", "tmpl": "(ROOT (S (VP ) (. )))"}
PARSE = {"sent": "It rains.", "parse": RAIN["synt"]}
LIKE = {"sent": "It rains."}


def encode(value) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def refusal(call, *arguments) -> tuple[int, str | None, str]:
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value.status, caught.value.field, caught.value.reason


def test_the_notebooks_request():
    request = read_request(RAIN)
    assert request.sentence == "It rains." and request.source == read_tree(RAIN["synt"])
    [target] = request.targets
    assert (target.tree, target.whole, target.field) == (read_tree(RAIN["tmpl"]), False, "tmpl")
    assert (request.names, request.listed) == (None, False)
    assert (request.temperature, request.num_paraphrases, request.details) == (0.5, 1, False)
    assert 0 <= request.seed <= MAX_SEED and request.seed != read_request(RAIN).seed


def test_every_option():
    request = read_request({**RAIN, "temperature": 0, "seed": 7, "num_paraphrases": 3, "details": True})
    assert (request.temperature, request.seed, request.num_paraphrases, request.details) == (0.0, 7, 3, True)
    assert type(request.temperature) is float


def test_null_is_the_same_as_left_out():
    nulls = {name: None for name in FIELDS}
    assert read_request({**nulls, **RAIN, "seed": 1}) == read_request({**RAIN, "seed": 1})
    assert read_request({**nulls, **PARSE, "seed": 1}) == read_request({**PARSE, "seed": 1})
    assert refusal(read_request, {**RAIN, "sent": None}) == (400, "sent", "is required")


# targets


@pytest.mark.parametrize(
    "value, trees, whole, fields, listed",
    [
        ({"tmpl": "statement"}, [CATALOGUE["statement"]], False, ["tmpl"], False),
        ({"tmpl": " \n(S (VP ))"}, ["(ROOT (S (VP )))"], False, ["tmpl"], False),
        ({"tmpl": ["command", "(NP )"]}, [CATALOGUE["command"], "(ROOT (NP ))"], False, ["tmpl.0", "tmpl.1"], True),
        ({"tmpl": ["command"]}, [CATALOGUE["command"]], False, ["tmpl.0"], True),
        ({"parse": RAIN["synt"]}, [RAIN["synt"]], True, ["parse"], False),
        (
            {"parse": ["(S (NP (PRP )) (VP (VB )))", "(NN x)"]},
            ["(ROOT (S (NP (PRP )) (VP (VB ))))", "(ROOT (NN x))"],
            True,
            ["parse.0", "parse.1"],
            True,
        ),
        ({}, list(CATALOGUE.values()), False, ["tmpl"] * len(CATALOGUE), False),
    ],
)
def test_targets(value, trees, whole, fields, listed):
    request = read_request({"sent": RAIN["sent"], "synt": RAIN["synt"], **value})
    assert [str(target.tree) for target in request.targets] == trees
    assert [target.field for target in request.targets] == fields
    assert {target.whole for target in request.targets} == {whole}
    assert request.listed is listed
    assert request.names == (None if value else tuple(CATALOGUE))


def test_sentences_to_be_like():
    one, many = (read_request({**LIKE, "like": like}).targets for like in ("she sings .", ["she sings .", "go home !"]))
    assert [(target.like, target.field, target.whole) for target in one] == [("she sings .", "like", False)]
    assert [(target.like, target.field) for target in many] == [("she sings .", "like.0"), ("go home !", "like.1")]


def test_the_catalogue_is_usable():
    for name, template in CATALOGUE.items():
        assert name.isidentifier() and name == name.lower()
        [target] = read_request({**RAIN, "tmpl": name}).targets
        assert str(target.tree) == template and target.tree.depth() == TEMPLATE_DEPTH
    assert len(set(CATALOGUE.values())) == len(CATALOGUE) >= 5


ADDED = {"exclamation": "(ROOT (S (INTJ ) (, ) (NP ) (VP ) (. )))", "bare_2": "(NP (NN ))"}


def test_a_model_may_add_named_templates():
    templates = {**CATALOGUE, **added_templates(ADDED)}
    [target] = read_request({**RAIN, "tmpl": "exclamation"}, templates=templates).targets
    assert str(target.tree) == ADDED["exclamation"]
    everything = read_request({"sent": RAIN["sent"]}, templates=templates)
    assert everything.names == (*CATALOGUE, *ADDED) == tuple(templates) and len(everything.targets) == len(templates)
    status, field, reason = refusal(lambda: read_request({**RAIN, "tmpl": ["nothing"]}, templates=templates))
    assert (status, field) == (400, "tmpl.0") and reason.endswith("noun_phrase, exclamation, bare_2")
    assert refusal(read_request, {**RAIN, "tmpl": "exclamation"})[0] == 400  # another model's name
    opened = open_body(encode({**RAIN, "tmpl": "bare_2"}), JSON, None)
    assert isinstance(read_item(opened, 0, Limits(templates=templates)), Request)


@pytest.mark.parametrize(
    "value, reason",
    [
        (["x"], "must be an object from name to template"),
        ({"Statement": "(ROOT (NP ))"}, "has the name 'Statement'; a name has 1 to 40 letters"),
        ({"(ROOT": "(ROOT (NP ))"}, "has the name '\\(ROOT'"),
        ({"x" * 41: "(ROOT (NP ))"}, "has the name 'x"),
        ({"": "(ROOT (NP ))"}, "has the name ''"),
        ({"command": "(ROOT (NP ))"}, "has the name command, which has its template already"),
        ({"mine": "statement"}, "the template mine: "),
        ({"mine": 3}, "the template mine: must be a string"),
        ({"mine": "(ROOT"}, "the template mine: 1 opening bracket has no closing one"),
        ({"mine": "(ROOT )"}, "the template mine: there is nothing below the top"),
        ({"mine": "(ROOT (NP (NN rain)))"}, "the template mine: a template has labels only"),
        ({"mine": "(ROOT (S (NP (NN ))))"}, "the template mine: a template has 3 levels at most"),
        ({f"x{i}": "(ROOT (NP ))" for i in range(MAX_ROWS - len(CATALOGUE) + 1)}, "has 55 names, at most 54 can be added"),
    ],
)
def test_added_templates_that_cannot_be_used(value, reason):
    with pytest.raises(ValueError, match=reason):
        added_templates(value)


def test_an_integer_may_be_written_with_a_fraction_of_zero_or_an_exponent():
    text = b'{"sent": "it rains", "tmpl": "command", "seed": 1355.0, "num_paraphrases": 2e0, "candidates": 3.0}'
    [request] = read_body(text, None, None).items
    found = request.seed, request.num_paraphrases, request.candidates
    assert found == (1355, 2, 3) and [type(number) for number in found] == [int] * 3
    [request] = read_body(f'{{"sent": "it rains", "tmpl": "command", "seed": {MAX_SEED}.0}}'.encode(), None, None).items
    assert request.seed == MAX_SEED


def test_the_example_is_valid():
    [request] = read_body(EXAMPLE, None, None).items
    assert isinstance(request, Request) and request.seed == 0


# one request, refused

NAMES = ", ".join(CATALOGUE)
SEED = f"must be an integer from 0 to {MAX_SEED}"
COUNT = f"must be an integer from 1 to {MAX_ROWS}"
TEMPERATURE = f"must be a number from 0 to {MAX_TEMPERATURE}"
LEVELS = f"a template has {TEMPLATE_DEPTH} levels at most: (ROOT (S (NP ) (VP ) (. ))); to follow a whole parse send it as parse"


@pytest.mark.parametrize(
    "value, field, reason",
    [
        # not a request
        (None, None, "a request is a JSON object"),
        (3, None, "a request is a JSON object"),
        ("(ROOT )", None, "a request is a JSON object"),
        ([RAIN], None, "a request is a JSON object"),
        # sent
        ({}, "sent", "is required"),
        ({"synt": RAIN["synt"]}, "sent", "is required"),
        ({**RAIN, "sent": 3}, "sent", "must be a string"),
        ({**RAIN, "sent": ["It rains."]}, "sent", "must be a string"),
        ({**RAIN, "sent": ""}, "sent", "is empty"),
        ({**RAIN, "sent": " \u00a0\n"}, "sent", "is empty"),
        ({**PARSE, "sent": "x" * (MAX_CHARACTERS + 1)}, "sent", f"has {MAX_CHARACTERS + 1} characters, at most {MAX_CHARACTERS} are read"),
        # synt
        ({**RAIN, "synt": 3}, "synt", "must be a string, a bracketed tree"),
        ({**RAIN, "synt": ""}, "synt", "there is no tree"),
        ({**RAIN, "synt": RAIN["synt"][:-1]}, "synt", "1 opening bracket has no closing one"),
        ({**RAIN, "synt": RAIN["synt"] * 2}, "synt", "there are 2 trees, one is expected: send one sentence at a time"),
        ({**RAIN, "synt": "(ROOT (S (NP ) (VP (VBZ rains))))"}, "synt", "every leaf of the parse needs its word"),
        ({**RAIN, "synt": "(ROOT )"}, "synt", "every leaf of the parse needs its word"),
        ({**RAIN, "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ pours)) (. .)))"}, "synt", "its words are not those of sent"),
        ({**RAIN, "synt": "(ROOT (S (VP (VBZ rains)) (NP (PRP It)) (. .)))"}, "synt", "its words are not those of sent"),
        ({**RAIN, "synt": "(ROOT (S (NP (PRP It))))"}, "synt", "its words are not those of sent"),
        (
            {**RAIN, "synt": "(NN " + "x" * MAX_TREE_CHARACTERS},
            "synt",
            f"a tree may have {MAX_TREE_CHARACTERS} characters, this one has {MAX_TREE_CHARACTERS + 4}",
        ),
        # tmpl
        ({**RAIN, "tmpl": "sonnet"}, "tmpl", f"is neither a bracketed template nor one of {NAMES}"),
        ({**RAIN, "tmpl": "Statement"}, "tmpl", f"is neither a bracketed template nor one of {NAMES}"),
        ({**RAIN, "tmpl": ""}, "tmpl", f"is neither a bracketed template nor one of {NAMES}"),
        ({**RAIN, "tmpl": 3}, "tmpl", "must be a string, a bracketed tree"),
        ({**RAIN, "tmpl": False}, "tmpl", "must be a string, a bracketed tree"),
        ({**RAIN, "tmpl": {"name": "command"}}, "tmpl", "must be a string, a bracketed tree"),
        ({**RAIN, "tmpl": []}, "tmpl", "the list is empty"),
        ({**RAIN, "tmpl": ["command", None]}, "tmpl.1", "must be a string, a bracketed tree"),
        ({**RAIN, "tmpl": ["command", ["command"]]}, "tmpl.1", "must be a string, a bracketed tree"),
        ({**RAIN, "tmpl": ["command", "command", "(S"]}, "tmpl.2", "1 opening bracket has no closing one"),
        ({**RAIN, "tmpl": "(S (NP )) (S (VP ))"}, "tmpl", "there are 2 trees, one is expected: send one sentence at a time"),
        ({**RAIN, "tmpl": "(ROOT (SENTENCE ))"}, "tmpl", "label 2 of the tree is not one of the Penn Treebank's"),
        ({**RAIN, "tmpl": "(ROOT (S (NML ) (VP )))"}, "tmpl", "the node NML has no children"),
        ({**RAIN, "tmpl": "(ROOT )"}, "tmpl", "there is nothing below the top of the tree"),
        ({**RAIN, "tmpl": "(ROOT (S (NP (DT )) (VP )))"}, "tmpl", LEVELS),
        ({**RAIN, "tmpl": "(S (NP (DT )) (VP ))"}, "tmpl", LEVELS),
        ({**RAIN, "tmpl": RAIN["synt"]}, "tmpl", LEVELS),
        ({**RAIN, "tmpl": "(ROOT (S (NP it) (VP )))"}, "tmpl", "a template has labels only, no words"),
        # parse
        ({**PARSE, "parse": "statement"}, "parse", "there is text outside the brackets"),
        ({**PARSE, "parse": "(ROOT )"}, "parse", "there is nothing below the top of the tree"),
        ({**PARSE, "parse": [PARSE["parse"], 3]}, "parse.1", "must be a string, a bracketed tree"),
        ({**PARSE, "parse": "(S " * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1)}, "parse", f"a tree may be {MAX_DEPTH} levels deep"),
        ({**PARSE, "parse": f"(ROOT {'(NN )' * MAX_NODES})"}, "parse", f"a tree may have {MAX_NODES} nodes, this one has {MAX_NODES + 1}"),
        ({**PARSE, "tmpl": "command"}, "parse", "give tmpl or parse, not both"),
        # like
        ({**PARSE, "like": "it snows ."}, "parse", "give like or parse, not both"),
        ({**RAIN, "tmpl": "command", "like": "it snows ."}, "like", "give tmpl or like, not both"),
        ({**LIKE, "like": " "}, "like", "is empty"),
        ({**LIKE, "like": ["it snows .", 3]}, "like.1", "must be a string"),
        ({**LIKE, "like": "x" * 1001}, "like", "has 1001 characters, at most 1000 are read"),
        ({**LIKE, "like": []}, "like", "the list is empty"),
        # numbers
        *(({**RAIN, "seed": seed}, "seed", SEED) for seed in (-1, MAX_SEED + 1, 10**400, float("inf"), 1.5, True, "1", [1])),
        *(({**RAIN, "num_paraphrases": n}, "num_paraphrases", COUNT) for n in (0, -1, MAX_ROWS + 1, 10**400, 2.5, True, "2", {})),
        *(
            ({**RAIN, "temperature": t}, "temperature", TEMPERATURE)
            for t in (-0.1, MAX_TEMPERATURE + 0.1, 10**400, float("inf"), float("nan"), True, False, "0.5", [])
        ),
        *(({**RAIN, name: d}, name, "must be true or false") for name in ("details", "tokenized") for d in (0, 1, "true", [], 0.0)),
        # too many rows
        ({**RAIN, "tmpl": ["command"] * (MAX_ROWS + 1)}, "tmpl", f"the list has {MAX_ROWS + 1} entries, at most {MAX_ROWS} are read"),
        ({**PARSE, "parse": ["(NN x)"] * 100_000}, "parse", f"the list has 100000 entries, at most {MAX_ROWS} are read"),
        (
            {**RAIN, "tmpl": ["command"] * 33, "num_paraphrases": 2},
            "num_paraphrases",
            f"33 targets times 2 are more than {MAX_ROWS} paraphrases",
        ),
        (
            {"sent": "It rains.", "num_paraphrases": 7},
            "num_paraphrases",
            f"{len(CATALOGUE)} targets times 7 are more than {MAX_ROWS} paraphrases",
        ),
        # unknown fields; the name goes back only if it is a plain one
        ({**RAIN, "template": "x"}, "template", f"1 unknown field; known are {', '.join(FIELDS)}"),
        ({**RAIN, "Sent": "x", "SYNT": None}, "Sent", f"2 unknown fields; known are {', '.join(FIELDS)}"),
        ({**RAIN, "": 1}, None, f"1 unknown field; known are {', '.join(FIELDS)}"),
        ({**RAIN, "a b\r\n": 1}, None, f"1 unknown field; known are {', '.join(FIELDS)}"),
        ({**RAIN, "näme": 1}, None, f"1 unknown field; known are {', '.join(FIELDS)}"),
        ({**RAIN, "x" * 41: 1}, None, f"1 unknown field; known are {', '.join(FIELDS)}"),
    ],
)
def test_bad_requests(value, field, reason):
    assert refusal(read_request, value) == (400, field, reason)


def test_the_limits_themselves_are_allowed():
    assert len(read_request({**RAIN, "tmpl": ["command"] * MAX_ROWS}).targets) == MAX_ROWS
    assert read_request({**RAIN, "num_paraphrases": MAX_ROWS}).num_paraphrases == MAX_ROWS
    assert read_request({**RAIN, "tmpl": ["command"] * 32, "num_paraphrases": 2}).num_paraphrases == 2
    assert read_request({**RAIN, "seed": MAX_SEED, "temperature": MAX_TEMPERATURE}).seed == MAX_SEED
    assert read_request({**RAIN, "seed": 0, "temperature": 0.0}).seed == 0
    assert len(read_request({**PARSE, "sent": "x" * MAX_CHARACTERS}).sentence) == MAX_CHARACTERS


def test_the_rows_limit_is_an_argument():
    assert len(read_request({**RAIN, "tmpl": ["command"] * 3}, 3).targets) == 3
    assert refusal(read_request, {**RAIN, "tmpl": ["command"] * 4}, 3) == (400, "tmpl", "the list has 4 entries, at most 3 are read")
    assert refusal(read_request, {**RAIN, "num_paraphrases": 4}, 3) == (400, "num_paraphrases", "must be an integer from 1 to 3")
    assert refusal(read_request, {"sent": "It rains."}, 3)[1] == "tmpl"
    assert refusal(read_body, encode({**RAIN, "num_paraphrases": 4}), JSON, None, Limits(max_rows=3))[0] == 400
    [in_array] = read_body(encode([{**RAIN, "num_paraphrases": 4}]), JSON, None, Limits(max_rows=3)).items
    [on_a_line] = read_body(encode({**RAIN, "num_paraphrases": 4}), JSON_LINES, None, Limits(max_rows=3)).items
    assert in_array.field == on_a_line.field == "num_paraphrases"


@pytest.mark.parametrize(
    "sent, synt",
    [
        ("It rains.", "(S (NP (PRP it)) (VP (VBZ RAINS)))"),  # case and punctuation
        (
            'I can\'t (really) wait: "go"!',
            "(S (PRP I) (MD ca) (RB n't) (-LRB- -LRB-) (RB really) (-RRB- -RRB-) (VB wait) (: :) (`` ``) (VB go) ('' '') (. !))",
        ),
        ("1/2 of it", "(NP (CD 1\\/2) (IN of) (PRP it))"),
        ("½ of it", "(NP (CD 1\\/2) (IN of) (PRP it))"),  # as CoreNLP writes it
        ("café", "(NP (NN cafe\u0301))"),  # composed or not
        ("Straße", "(NP (NN STRASSE))"),
        ("東京 へ", "(NP (NN 東京) (IN へ))"),
        ("It rains", "(S (NP (PRP It)) (VP (VBZ rains) (NP (-NONE- *T*-1))))"),
    ],
)
def test_a_parse_has_the_words_of_its_sentence_however_tokenised(sent, synt):
    assert read_request({"sent": sent, "synt": synt}).source == read_tree(synt)


# media types


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


# bodies


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


# errors in place


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


# nothing of the user's in a message

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


def test_a_phrase_label_on_a_word_is_refused():
    assert refusal(read_request, {**RAIN, "synt": "(ROOT (S (NP It) (VP (VBZ rains)) (. .)))"}) == (
        400,
        "synt",
        "word 1 has the label of a phrase, not a part of speech",
    )
