"""The wire contract, first half: reads a body into valid requests. Standard library only. `openapi.yaml` is the contract in OpenAPI.

A body is one JSON object, a JSON array of objects, or JSON Lines. An error of the whole body (type, encoding, size) is
raised. An error in one request of an array or in one line takes the place of that request; the others are not affected.
"""

import codecs
import json
import random
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from handler.errors import RequestError, SyntaxTreeError
from handler.language.trees import MAX_CHARACTERS as MAX_TREE_CHARACTERS
from handler.language.trees import TAGS, TEMPLATE_DEPTH, Tree, check_brackets, read_tree, words

JSON, JSON_LINES = "application/json", "application/jsonlines"
MEDIA_TYPES = {
    JSON: JSON,
    JSON_LINES: JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}

MAX_CHARACTERS = 1_000  # of `sent`; no network here reads half as much, and BPE of a long word takes time
MAX_NODES = 500  # of a tree; no network here reads a third as many, and a node takes fifty times the memory of its text
MAX_ROWS = 64  # paraphrases one request may ask for: targets times num_paraphrases
MAX_CANDIDATES = 32  # for each of them
MAX_TEMPERATURE = 5.0
MAX_SEED = 2**53 - 1  # the largest integer every JSON reader keeps exact

# The named templates. A name says what kind of sentence comes out. A model may add names, see `added_templates`.
CATALOGUE = {
    "statement": "(ROOT (S (NP ) (VP ) (. )))",
    "adverb_first": "(ROOT (S (ADVP ) (, ) (NP ) (VP ) (. )))",
    "preposition_first": "(ROOT (S (PP ) (, ) (NP ) (VP ) (. )))",
    "clause_first": "(ROOT (S (SBAR ) (, ) (NP ) (VP ) (. )))",
    "two_clauses": "(ROOT (S (S ) (, ) (CC ) (S ) (. )))",
    "command": "(ROOT (S (VP ) (. )))",
    "yes_no_question": "(ROOT (SQ (MD ) (NP ) (VP ) (. )))",
    "what_question": "(ROOT (SBARQ (WHNP ) (SQ ) (. )))",
    "how_question": "(ROOT (SBARQ (WHADVP ) (SQ ) (. )))",
    "noun_phrase": "(ROOT (NP (NP ) (PP ) (. )))",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # of an added template
EXAMPLE = json.dumps(
    {"sent": "it rains .", "synt": "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))", "tmpl": "statement", "seed": 0}
).encode()  # a small request, to warm up with
FIELDS = "sent", "synt", "tmpl", "like", "parse", "temperature", "seed", "num_paraphrases", "candidates", "details", "tokenized"


@dataclass(frozen=True)
class Target:
    """The syntax that one paraphrase must follow."""

    tree: Tree
    whole: bool  # True: a full parse, followed exactly. False: a template, which the parse generator completes
    field: str  # where it stands in the request: `tmpl`, `tmpl.2`, `parse`; for error messages
    like: str | None = None  # a sentence whose parse's top is the template; `tree` is then empty until the parser has read it


@dataclass(frozen=True)
class Request:
    """One valid request. Rows are ordered by target, then by sample."""

    sentence: str
    source: Tree | None  # the sentence's own parse, if given
    targets: tuple[Target, ...]
    names: tuple[str, ...] | None  # template names, if the answer is an object keyed by them
    listed: bool  # the answer is a list even if it has one element
    temperature: float
    seed: int
    num_paraphrases: int
    candidates: int | None  # generated for each paraphrase; None: the model's default
    details: bool
    tokenized: bool = False  # answers are tokens, not text as people write it


@dataclass(frozen=True)
class Limits:
    """What one HTTP request may ask for. `model-config.yaml` sets these names under `handler:`."""

    max_body_bytes: int = 6_291_456  # SageMaker's classic real-time limit
    max_body_rows: int = 10_000  # paraphrases of all its requests, candidates included; a bad request counts as one
    max_rows: int = MAX_ROWS  # paraphrases of one of its requests: targets times num_paraphrases
    candidates: int = 1  # for each paraphrase, where a request does not say; comes from the artifact
    templates: Mapping[str, str] = field(default_factory=lambda: CATALOGUE)  # the named ones, the artifact's own too


@dataclass(frozen=True)
class OpenBody:
    """A body whose parts are known, but not read yet: `read_item` makes a request of each. It holds no more than what was sent."""

    parts: list[Any]  # JSON values; of JSON Lines each line's bytes
    media_type: str  # of the answer: JSON or JSON_LINES
    single: bool  # a single JSON object: its error becomes the HTTP status; otherwise errors stand among the answers
    lines: bool  # the parts are lines


def open_body(body: Any, content_type: str | None, accept: str | None, limits: Limits = Limits()) -> OpenBody:
    """Take a whole body (bytes or None) apart. Raises RequestError if it is wrong as a whole: its type, encoding, size, JSON."""
    media_type = read_content_type(content_type)
    answer_type = choose_media_type(accept, media_type)
    if body is None:
        raise RequestError("the body is not JSON; send it with Content-Type: application/json", status=415)
    if len(body) > limits.max_body_bytes:
        raise RequestError(f"the body has {len(body)} bytes, at most {limits.max_body_bytes} are read", status=413)
    if media_type == JSON_LINES:  # split before decoding: one broken line spares the others
        text = bytes(body).removeprefix(codecs.BOM_UTF8)
        if not text:
            raise RequestError("the body is empty")
        if text.count(b"\n") > limits.max_body_rows:  # each line is at least one row; splitting them all would take 48 MB
            raise too_many_rows(limits)
        return OpenBody(text.removesuffix(b"\n").split(b"\n"), answer_type, single=False, lines=True)
    value = read_json(_decode(body, "the body"))
    if isinstance(value, list) and len(value) > limits.max_body_rows:
        raise too_many_rows(limits)
    return OpenBody(value if isinstance(value, list) else [value], answer_type, single=not isinstance(value, list), lines=False)


def read_item(body: OpenBody, place: int, limits: Limits = Limits()) -> "Request | RequestError":
    """The request at a place of a body, or the RequestError that answers it."""
    part = body.parts[place]

    def read() -> Request:
        value = read_json(_decode(part, "the line"), "the line") if body.lines else part
        return read_request(value, limits.max_rows, limits.templates)

    return guarded(read)


def rows_of(item: "Request | RequestError", limits: Limits) -> int:
    """Paraphrases that an item asks for, candidates included; a bad one counts as one."""
    if isinstance(item, RequestError):
        return 1
    return len(item.targets) * item.num_paraphrases * (1 if item.targets[0].whole else item.candidates or limits.candidates)


def too_many_rows(limits: Limits) -> RequestError:
    return RequestError(
        f"the body asks for more than {limits.max_body_rows} paraphrases, candidates included; send it in parts", status=413
    )


def _decode(text: bytes | bytearray, place: str) -> str:
    try:
        return bytes(text).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{place} is not UTF-8 (byte {error.start})") from None


def guarded(read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` returns, or the RequestError it raises."""
    try:
        return read(*arguments)
    except RequestError as error:
        error.__traceback__ = error.__context__ = None  # a body may have a million errors, and each would keep its frames and its line
        return error


def read_content_type(header: str | None) -> str:
    """The media type of a body; a missing header means JSON. Raises RequestError 415."""
    if header is None or not header.strip():
        return JSON
    kind, *parameters = (part.strip().lower() for part in header.split(";"))
    if kind not in MEDIA_TYPES:
        raise RequestError(f"the Content-Type must be {JSON} or {JSON_LINES}", status=415)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise RequestError("the charset must be utf-8", status=415)
    return MEDIA_TYPES[kind]


def choose_media_type(accept: str | None, preferred: str) -> str:
    """The answer's media type under an Accept header (RFC 9110, section 12.5.1). Raises RequestError 406."""
    if accept is None or not accept.strip():
        return preferred
    quality: dict[str, tuple[int, float]] = {}
    for part in accept.lower().split(","):
        pattern, *parameters = (piece.strip() for piece in part.split(";"))
        q = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    q = float(value)
                except ValueError:
                    q = 0.0
                q = q if 0 <= q <= 1 else 0.0  # `nan` and `inf` are floats too
        for offered in (JSON, JSON_LINES):
            exact = MEDIA_TYPES.get(pattern) == offered
            if exact or pattern in ("*/*", "application/*"):
                precision = 2 if exact else 1 if pattern == "application/*" else 0
                quality[offered] = max(quality.get(offered, (-1, 0.0)), (precision, q))  # the most specific pattern counts
    ranked = sorted((JSON, JSON_LINES), key=lambda kind: (-quality.get(kind, (0, 0.0))[1], kind != preferred))
    if quality.get(ranked[0], (0, 0.0))[1] <= 0:
        raise RequestError(f"answers come as {JSON} or {JSON_LINES}", status=406)
    return ranked[0]


def read_json(text: str, what: str = "the body") -> Any:
    """Read a JSON value strictly: no NaN, no field twice in one object, no broken Unicode. Raises RequestError."""
    if not text.strip():
        raise RequestError(f"{what} is empty")
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
        if "\\u" in text:  # a lone surrogate, "\ud800", is not valid text; only an escape can write one
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        message = error.msg.lower().rstrip(": ").removesuffix(" at")
        line = f"line {error.lineno} " if "\n" in text else ""
        raise RequestError(f"{what} is not JSON: {message} at {line}column {error.colno}") from None
    except UnicodeEncodeError:
        raise RequestError("a string is not valid Unicode: half of a surrogate pair") from None
    except RecursionError:
        raise RequestError(f"{what} is nested too deeply") from None
    except ValueError:  # more digits than Python converts
        raise RequestError("a number has too many digits") from None


def _no_constant(name: str) -> NoReturn:
    raise RequestError(f"{name} is not JSON")


def _no_repeats(pairs: list[tuple[str, object]]) -> dict:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RequestError("an object names a field twice")
    return value


def added_templates(value: Any) -> dict[str, str]:
    """The named templates that a model has besides the catalogue: a dict from name to template, checked. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"templates must be an object from name to template, not {value!r}")
    if len(CATALOGUE) + len(value) > MAX_ROWS:  # a request without a target asks for all of them
        raise ValueError(f"templates has {len(value)} names, at most {MAX_ROWS - len(CATALOGUE)} can be added")
    for name, template in value.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"templates has the name {name!r}; a name has 1 to 40 letters a to z, digits and _, a letter first")
        if name in CATALOGUE:
            raise ValueError(f"templates has the name {name}, which has its template already")
        try:
            _template(template, name)
        except RequestError as error:
            raise ValueError(f"the template {name}: {error.reason}") from None
    return value


def read_request(value: Any, max_rows: int = MAX_ROWS, templates: Mapping[str, str] = CATALOGUE) -> Request:
    """Turn one decoded JSON object into a Request. templates: the named ones. Raises RequestError with the field and the reason."""
    if not isinstance(value, dict):
        raise RequestError("a request is a JSON object")
    unknown = [name for name in value if name not in FIELDS]
    if unknown:  # the name is the client's text: only the client gets it back, and only if it is a plain name
        plain = unknown[0] if unknown[0].isascii() and unknown[0].isidentifier() and len(unknown[0]) <= 40 else None
        raise RequestError(f"{len(unknown)} unknown field{'s' * (len(unknown) > 1)}; known are {', '.join(FIELDS)}", plain)
    value = {name: given for name, given in value.items() if given is not None}  # null counts as missing
    if "sent" not in value:
        raise RequestError("is required", "sent")
    sentence = _sentence(value["sent"], "sent")
    source = None
    if "synt" in value:
        source = _tree(value["synt"], "synt")
        check_source(source, sentence)
    targets, names, listed = _targets(value, max_rows, templates)
    num_paraphrases = _number(value, "num_paraphrases", 1, 1, max_rows, whole=True)
    if len(targets) * num_paraphrases > max_rows:
        raise RequestError(
            f"{len(targets)} targets times {num_paraphrases} are more than {max_rows} paraphrases",
            "num_paraphrases" if len(targets) <= max_rows else targets[0].field.split(".")[0],
        )
    if "candidates" in value and targets[0].whole:
        raise RequestError("is of no use with parse, which is followed as it is", "candidates")
    for name in "details", "tokenized":
        if not isinstance(value.get(name, False), bool):
            raise RequestError("must be true or false", name)
    return Request(
        sentence=sentence,
        source=source,
        targets=targets,
        names=names,
        listed=listed,
        num_paraphrases=num_paraphrases,
        temperature=float(_number(value, "temperature", 0.5, 0, MAX_TEMPERATURE, whole=False)),
        candidates=_number(value, "candidates", None, 1, MAX_CANDIDATES, whole=True) if "candidates" in value else None,
        seed=_number(value, "seed", None, 0, MAX_SEED, whole=True) if "seed" in value else random.getrandbits(32),
        details=value.get("details", False),
        tokenized=value.get("tokenized", False),
    )


def _number(value: dict, name: str, default: Any, least: float, most: float, whole: bool) -> Any:
    number = value.get(name, default)
    in_range = isinstance(number, (int, float)) and not isinstance(number, bool) and least <= number <= most
    if not in_range or (whole and number != int(number)):  # to JSON, 3.0 is an integer
        raise RequestError(f"must be {'an integer' if whole else 'a number'} from {least} to {most}", name)
    return int(number) if whole else number


def _sentence(text: Any, name: str) -> str:
    if not isinstance(text, str):
        raise RequestError("must be a string", name)
    if not text.strip():
        raise RequestError("is empty", name)
    if len(text) > MAX_CHARACTERS:
        raise RequestError(f"has {len(text)} characters, at most {MAX_CHARACTERS} are read", name)
    return text


def _tree(text: Any, name: str) -> Tree:
    if not isinstance(text, str):
        raise RequestError("must be a string, a bracketed tree", name)
    try:
        if len(text) <= MAX_TREE_CHARACTERS:  # read_tree refuses a longer one at once
            check_brackets(text, MAX_NODES)
        return read_tree(text)
    except SyntaxTreeError as error:
        raise SyntaxTreeError(error.reason, name) from None


def check_source(source: Tree, sentence: str) -> None:
    """Check that `synt` is the parse of `sent`: the same letters and digits in the same order, however they are tokenised."""
    leaves = source.leaves()
    if any(leaf.word is None for leaf in leaves):
        raise RequestError("every leaf of the parse needs its word", "synt")
    phrase = next((n for n, leaf in enumerate(leaves, 1) if leaf.label not in TAGS), None)
    if phrase:
        raise RequestError(f"word {phrase} has the label of a phrase, not a part of speech", "synt")
    if _letters("".join(words(source))) != _letters(sentence):
        raise RequestError("its words are not those of sent", "synt")


def _letters(text: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())


def _targets(value: dict, max_rows: int, templates: Mapping[str, str]) -> tuple[tuple[Target, ...], tuple[str, ...] | None, bool]:
    """The targets, their names if all named templates are used, and whether the request gave a list."""
    names = [name for name in ("tmpl", "like", "parse") if name in value]
    if len(names) > 1:
        raise RequestError(f"give {names[0]} or {names[1]}, not both", names[1])
    name = names[0] if names else "tmpl"
    given = value.get(name)
    if given is None:
        return tuple(Target(read_tree(t), False, "tmpl") for t in templates.values()), tuple(templates), False
    if isinstance(given, list):
        if not given:
            raise RequestError("the list is empty", name)
        if len(given) > max_rows:
            raise RequestError(f"the list has {len(given)} entries, at most {max_rows} are read", name)
        return tuple(_target(item, name, f"{name}.{i}", templates) for i, item in enumerate(given)), None, True
    return (_target(given, name, name, templates),), None, False


def _target(text: Any, name: str, place: str, templates: Mapping[str, str]) -> Target:
    if name == "like":
        return Target(Tree("ROOT", []), False, place, like=_sentence(text, place))
    if name == "tmpl" and isinstance(text, str) and not text.lstrip().startswith("("):
        if text not in templates:
            raise RequestError(f"is neither a bracketed template nor one of {', '.join(templates)}", place)
        text = templates[text]
    if name == "tmpl":
        return Target(_template(text, place), False, place)
    return Target(_rooted(text, place), True, place)


def _rooted(text: Any, place: str) -> Tree:
    tree = _tree(text, place)
    if not tree.children:
        raise RequestError("there is nothing below the top of the tree", place)
    return tree


def _template(text: Any, place: str) -> Tree:
    tree = _rooted(text, place)
    if tree.depth() > TEMPLATE_DEPTH:
        raise RequestError(
            f"a template has {TEMPLATE_DEPTH} levels at most: (ROOT (S (NP ) (VP ) (. ))); to follow a whole parse send it as parse", place
        )
    if words(tree):
        raise RequestError("a template has labels only, no words", place)
    return tree
