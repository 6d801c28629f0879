"""One request: every field and limit. The only exception is RequestError."""

import pytest

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
    open_body,
    read_item,
    read_request,
)
from tests.bodies import read_body
from tests.wire.samples import PARSE, RAIN, SEED, encode, refusal

LIKE = {"sent": "It rains."}


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


NAMES = ", ".join(CATALOGUE)
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


def test_a_phrase_label_on_a_word_is_refused():
    assert refusal(read_request, {**RAIN, "synt": "(ROOT (S (NP It) (VP (VBZ rains)) (. .)))"}) == (
        400,
        "synt",
        "word 1 has the label of a phrase, not a part of speech",
    )
