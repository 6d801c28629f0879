"""What the page is told: the templates to pick from, a tree as a picture, and a request with its answers, drawn and marked."""

import json
from typing import Any

from handler.errors import RequestError, SyntaxTreeError
from handler.language import drawing
from handler.language.trees import TAGS, TEMPLATE_DEPTH, Tree, read_tree, template_of
from handler.wire.answer import Answer
from handler.wire.request import CATALOGUE
from scripts.client.invoke import InvokeError
from scripts.playground import marking, moves
from scripts.playground.service import EXAMPLE, Refused, Service

FIELDS = {"sent", "tmpl", "like", "tree", "temperature", "seed", "num_paraphrases", "candidates"}  # that the page may send
TREE = "tree"  # a template or a whole parse, whichever it is


def opening(service: Service, examples: dict[str, str]) -> dict:
    """What the page shows before anything is asked."""
    return {"service": service.name, "sentence": EXAMPLE, "templates": [template(name, examples.get(name, "")) for name in CATALOGUE]}


def template(name: str, example: str) -> dict:
    """A named template as a card; its picture leaves out ROOT, which all have."""
    picture = drawing.svg(read_tree(CATALOGUE[name]).children[0])
    return {"name": name, "title": title(name), "tree": CATALOGUE[name], "example": example, "svg": picture}


def title(name: str) -> str:
    return name.replace("_", " ").replace("yes no", "yes/no").capitalize()


def drawn(text: str) -> dict:
    """A tree that is being edited: its picture, and what it would be taken for. Raises Refused if it is no tree."""
    tree = read(text)
    whole = is_whole(tree)
    count = len(tree.leaves())
    said = f"A whole parse: the answer will have {count} word{'s' * (count > 1)} and marks." if whole else (
        "A template: the top of the parse. The model completes it."
        if tree.depth() <= TEMPLATE_DEPTH
        else f"A template has {TEMPLATE_DEPTH} levels at most; a whole parse ends in parts of speech, such as NN, everywhere."
    )  # fmt: skip
    return {"svg": drawing.svg(tree), "said": said}


def read(text: Any) -> Tree:
    if not isinstance(text, str) or not text.strip():
        raise Refused("is empty", TREE)
    try:
        tree = read_tree(text)
    except SyntaxTreeError as error:
        raise Refused(error.reason, TREE) from None
    if not tree.children:
        raise Refused("there is nothing below the top of the tree", TREE)
    return tree


def is_whole(tree: Tree) -> bool:
    """Whether a tree goes down to the parts of speech, so that it is a parse to follow and no template."""
    return all(leaf.label in TAGS for leaf in tree.leaves())


def paraphrased(service: Service, fields: dict) -> dict:
    """Ask, and put into a form that the page can show. Raises Refused or InvokeError."""
    request = request_of(fields)
    answer = service.ask(request)
    try:
        answers = [shown(request, label, Answer(one)) for label, one in labelled(request, answer)]
    except (RequestError, ValueError, TypeError, LookupError, AttributeError):
        raise InvokeError(f"What {service.name} answers is no paraphrase with details; is it a SynPG server of this version?") from None
    return {"request": request, "shell": service.shell(json.dumps(request, ensure_ascii=False)), "answers": answers}


def request_of(fields: dict) -> dict:
    """The request that the page's fields stand for. Raises Refused."""
    unknown = sorted(fields.keys() - FIELDS)
    if unknown:
        raise Refused(f"the page has no field {unknown[0]}")
    request = {name: value for name, value in fields.items() if name != TREE}
    if TREE in fields:
        request["parse" if is_whole(read(fields[TREE])) else "tmpl"] = fields[TREE].strip()
    return {**request, "details": True}


def labelled(request: dict, answer: Any) -> list[tuple[str, dict]]:
    """Each paraphrase of an answer with what it was asked with."""
    values: list
    if isinstance(answer, dict) and "paraphrase" not in answer:  # by name: all named templates
        asked, values = list(answer), [one for value in answer.values() for one in (value if isinstance(value, list) else [value])]
    else:
        target = request.get("tmpl") or request.get("like") or request.get("parse")
        asked = target if isinstance(target, list) else [target]
        values = answer if isinstance(answer, list) else [answer]
    if not values:
        raise ValueError("no answer")
    each = len(values) // len(asked)
    return [(str(asked[i // each]), value) for i, value in enumerate(values)]


def shown(request: dict, label: str, answer: Answer) -> dict:
    """An answer as the page shows it: the sentence and the paraphrase in marked pieces, their parses drawn, what made them."""
    text, tree = str(answer), answer.tree
    parse = read_tree(answer["source_parse"]) if answer["source_parse"] else None
    source, target = marking.read(request["sent"], parse), marking.read(text, tree)
    before, after = marking.compare(source, target)
    pieces = marking.pieces(request["sent"], source.tokens, before), marking.pieces(text, target.tokens, after)
    return {
        "label": label_of(request, label),
        "before": listed(pieces[0]),
        "after": listed(pieces[1]),
        "summary": summary(*pieces),
        "moves": moves.sentence(answer["moves"], whole="parse" in request),
        "notes": notes(answer),
        "svg": drawing.svg(tree, after),
        "parse": str(tree),
        "source": parse and {"svg": drawing.svg(parse, before), "parse": str(parse), "template": str(template_of(parse))},
    }


def listed(pieces: list[tuple[str, str]]) -> list[dict]:
    return [{"text": text, "mark": mark} for text, mark in pieces]


def summary(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> str:
    """What the marks say, for those who do not see them."""
    said = []
    for name, mark, pieces in (
        ("Moved", marking.MOVED, after),
        ("New", marking.NEW, after),
        ("In another form", marking.FORM, after),
        ("Missing", marking.MISSING, before),
    ):
        if found := [text.strip() for text, kind in pieces if kind == mark]:
            said.append(f"{name}: {'; '.join(found)}.")
    return " ".join(said) or "The same words in the same order."


def label_of(request: dict, label: str) -> str:
    if label in CATALOGUE:
        return title(label)
    return f"Like “{label}”" if "like" in request else "Your tree" if "parse" in request else "Your template"


def notes(answer: Answer) -> list[str]:
    """What a reader should know of an answer besides its words."""
    unknown = answer["unknown_words"]
    return [
        *(["It was cut short by the step limit."] if answer["truncated"] else []),
        *([f"{unknown} piece{'s' * (unknown > 1)} of the sentence are unknown to the model."] if unknown else []),
    ]
