"""What the page is told: trees, requests, answers."""

import json
import xml.etree.ElementTree as xml

import pytest

from handler.wire.request import CATALOGUE
from scripts.client.invoke import InvokeError
from scripts.playground import page
from scripts.playground.service import EXAMPLE, Refused, Service, local

SENT = {"sent": "The lawyer thanked the scientists.", "temperature": 0}
DEEP = "(ROOT (S (NP (NP ) (PP )) (VP )))"  # neither a template nor a whole parse
WHOLE = "(ROOT (S (NP (DT ) (NNS )) (VP (VBD ) (VP (VBN ) (PP (IN ) (NP (DT ) (NN ))))) (. )))"


def made(answer) -> Service:
    """A service that gives this answer to everything."""
    return Service("made up", lambda body, content_type: answer if isinstance(answer, str) else json.dumps(answer), lambda body: body)


def test_the_opening_shows_each_template_with_what_the_service_makes_of_it(synpg):
    asked = local(synpg)
    told = page.opening(asked, asked.examples())
    assert [card["name"] for card in told["templates"]] == list(CATALOGUE) and told["sentence"] == EXAMPLE
    card = next(card for card in told["templates"] if card["name"] == "yes_no_question")
    assert card["title"] == "Yes/no question" and card["example"].endswith("?")
    assert [mark.text for mark in xml.fromstring(card["svg"]) if mark.text] == ["SQ", "MD", "NP", "VP", "."]


@pytest.mark.parametrize(
    "text, said",
    [
        ("(ROOT (S (NP ) (VP ) (. )))", "A template: the top of the parse. The model completes it."),
        (WHOLE, "A whole parse: the answer will have 8 words and marks."),
        ("(ROOT (S (NP (DT the) (NN dog)) (VP (VBZ sings))))", "A whole parse: the answer will have 3 words and marks."),
        (DEEP, "A template has 3 levels at most; a whole parse ends in parts of speech, such as NN, everywhere."),
    ],
)
def test_a_tree_that_is_edited_is_drawn_and_named(text, said):
    drawn = page.drawn(text)
    assert drawn["said"] == said and drawn["svg"].startswith("<svg ")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "is empty"),
        (None, "is empty"),
        ("(ROOT (S (NP )", "2 opening brackets have no closing one"),
        ("(ROOT )", "there is nothing below the top of the tree"),
        ("(ROOT (DOG ))", "label 2 of the tree is not one of the Penn Treebank's"),
        ("(" * 30_000, "a tree may have 20000 characters, this one has 30000"),
    ],
)
def test_a_broken_tree_is_refused_in_words(text, reason):
    with pytest.raises(Refused) as caught:
        page.drawn(text)
    assert (caught.value.field, caught.value.message) == ("tree", reason)


def test_a_tree_is_sent_as_what_it_is():
    assert page.request_of({**SENT, "tree": WHOLE}) == {**SENT, "parse": WHOLE, "details": True}
    template = CATALOGUE["statement"]
    assert page.request_of({**SENT, "tree": f" {template}\n"}) == {**SENT, "tmpl": template, "details": True}
    with pytest.raises(Refused, match="the page has no field synt"):
        page.request_of({**SENT, "synt": WHOLE})


def test_an_answer_is_marked_drawn_and_explained(synpg):
    told = page.paraphrased(local(synpg), {**SENT, "tmpl": "what_question"})
    assert told["request"] == {**SENT, "tmpl": "what_question", "details": True}
    assert json.dumps(told["request"]) in told["shell"] and f"{synpg}/invocations" in told["shell"]
    [answer] = told["answers"]
    assert answer["label"] == "What question" and answer["moves"].endswith("what is asked.") and answer["notes"] == []
    assert "".join(piece["text"] for piece in answer["before"]) == SENT["sent"]
    assert {"text": "Which", "mark": "new"} in answer["after"] and "New: Which." in answer["summary"]
    image = xml.fromstring(answer["svg"])
    assert ["which"] == [mark.text for mark in image if mark.get("class") == "word new"]
    assert answer["source"]["template"] == "(ROOT (S (NP ) (VP ) (. )))" and "lawyer" in answer["source"]["parse"]


def test_every_target_and_sample_is_shown_under_its_name(synpg):
    asked = local(synpg)

    def labels(**fields):
        return [answer["label"] for answer in page.paraphrased(asked, {**SENT, **fields})["answers"]]

    assert labels() == [page.title(name) for name in CATALOGUE]
    assert labels(num_paraphrases=2, tmpl="statement", temperature=1, seed=1) == ["Statement"] * 2
    assert labels(tmpl=["statement", "command"]) == ["Statement", "Command"]
    assert labels(like="Did she sing?") == ["Like “Did she sing?”"]
    assert labels(tree=CATALOGUE["statement"]) == ["Your template"]
    [answer] = page.paraphrased(asked, {**SENT, "tree": WHOLE})["answers"]
    assert answer["label"] == "Your tree" and answer["moves"] == page.moves.YOURS and answer["source"] is None


@pytest.mark.parametrize(
    "fields, field, message",
    [
        ({"sent": ""}, "sent", "is empty"),
        ({**SENT, "like": ""}, "like", "is empty"),
        ({**SENT, "tmpl": "sonnet"}, "tmpl", "is neither a bracketed template nor one of " + ", ".join(CATALOGUE)),
        ({**SENT, "temperature": "hot"}, "temperature", "must be a number from 0 to 5.0"),
        (
            {**SENT, "tree": DEEP},
            "tmpl",
            f"a template has 3 levels at most: {CATALOGUE['statement']}; to follow a whole parse send it as parse",
        ),
    ],
)
def test_what_the_service_refuses_has_its_field(synpg, fields, field, message):
    with pytest.raises(Refused) as caught:
        page.paraphrased(local(synpg), fields)
    assert (caught.value.field, caught.value.message) == (field, message)


@pytest.mark.parametrize("answer", ["no JSON", [], {}, "3", ["text"], {"paraphrase": "It rains."}, {"error": "?"}, "[" * 100_000])
def test_an_answer_that_is_none_is_told_in_a_sentence(answer):
    with pytest.raises(InvokeError, match="^(What|The answer of) made up .*; is it a SynPG server.*\\?$"):
        page.paraphrased(made(answer), {**SENT, "tmpl": "statement"})


def test_what_was_cut_or_is_unknown_is_noted():
    one = {"paraphrase": "It rains", "tokens": ["it", "rains"], "parse": "(ROOT (S (NP (PRP)) (VP (VBZ))))", "moves": None, "seed": 1}
    answer = {**one, "truncated": True, "unknown_words": 2, "source_parse": None}
    [shown] = page.paraphrased(made(answer), {**SENT, "tmpl": "statement"})["answers"]
    assert shown["moves"] == page.moves.GENERATED
    assert shown["notes"] == ["It was cut short by the step limit.", "2 pieces of the sentence are unknown to the model."]


def test_marks_are_said_too():
    assert page.summary([("It", ""), (" rains", "missing")], [("Then", "new"), (" it", "moved")]) == "Moved: it. New: Then. Missing: rains."
    assert page.summary([("It rains.", "")], [("It rains.", "")]) == "The same words in the same order."
