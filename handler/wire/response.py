"""The wire contract, second half: turns results into the body, status and headers of a response. Standard library only."""

import json
from dataclasses import dataclass, field
from typing import Any

from handler.errors import RequestError
from handler.wire.request import JSON, JSON_LINES, Request

# Always plain ASCII: TorchServe's internal protocol breaks on anything else in a reason phrase.
PHRASES = {
    200: "OK",
    400: "Bad Request",
    406: "Not Acceptable",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
ERROR_TYPES = {
    400: "InvalidRequest",
    406: "NotAcceptable",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    503: "ServiceUnavailable",
    504: "Timeout",
}
RETRY_AFTER = 5  # s, told with a 503
# The only response header of ours that SageMaker passes on to the caller.
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@dataclass(frozen=True)
class Paraphrase:
    """The result of one row."""

    text: str  # its tokens, as the network wrote them, with blanks between them
    template: str  # the one that was followed, bracketed
    parse: str  # the one that was followed, bracketed: generated from the template, or the request's own
    log_probability: float | None  # natural log of the text's probability given the parse, at temperature 1; None if not asked for
    truncated: bool  # the step limit cut the parse or the text short
    seed: int  # of the request; the same request with this seed gives the same text
    unknown_words: int  # pieces of the sentence that are not in the vocabulary
    tags_predicted: bool  # `synt` was missing and the tagger's tags were used
    moves: tuple[str, ...] | None = None  # that made the parse from the sentence's own; None: it was generated, or is the request's
    source_parse: str | None = None  # the sentence's parse, given or predicted; None where it was not used
    written: str | None = None  # the text as people write it; None: no other than its tokens

    def value(self, details: bool, tokenized: bool = False) -> str | dict:
        """The JSON value: the text alone, or an object with all fields. tokenized: the text as tokens."""
        answer = self.text if tokenized or self.written is None else self.written
        if not details:
            return answer
        return {
            "paraphrase": answer,
            "tokens": self.text.split(" "),
            "template": self.template,
            "parse": self.parse,
            "log_probability": None if self.log_probability is None else round(self.log_probability, 4),
            "truncated": self.truncated,
            "seed": self.seed,
            "unknown_words": self.unknown_words,
            "tags_predicted": self.tags_predicted,
            "moves": None if self.moves is None else list(self.moves),
            "source_parse": self.source_parse,
        }


@dataclass(frozen=True)
class Response:
    """The response to one HTTP request."""

    status: int
    body: str
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def phrase(self) -> str:
        return PHRASES[self.status]


def assemble(values: list, media_type: str, single: bool, truncated: int) -> Response:
    """The response of these JSON values, one for each item. truncated: how many paraphrases a step limit cut short."""
    headers = {ATTRIBUTES: f"truncated={truncated}"} if truncated else {}
    if media_type == JSON_LINES:  # no newline at the end: batch transform puts its own between answers
        return Response(200, "\n".join(_json(value) for value in values), JSON_LINES, headers)
    return Response(200, _json(values[0] if single else values), JSON, headers)


def truncated_of(answer: list[Paraphrase] | RequestError) -> int:
    """How many paraphrases of an item a step limit cut short."""
    return 0 if isinstance(answer, RequestError) else sum(paraphrase.truncated for paraphrase in answer)


def answer_value(request: Request, paraphrases: list[Paraphrase]) -> Any:
    """The JSON value for the rows of a request (targets x num_paraphrases, in order)."""
    n, rows = request.num_paraphrases, [paraphrase.value(request.details, request.tokenized) for paraphrase in paraphrases]
    if request.names is not None:
        return {name: rows[i * n : (i + 1) * n] if n > 1 else rows[i] for i, name in enumerate(request.names)}
    return rows if request.listed or n > 1 else rows[0]


def error_value(error: RequestError) -> dict:
    """The JSON form of an error: the body of a 4xx. In the place of a bad item it stands under `error`."""
    return {"code": error.status, "type": ERROR_TYPES[error.status], "message": error.reason, "field": error.field}


def error_in_place(error: RequestError) -> dict:
    """The JSON value in the place of an item that gets no answer."""
    return {"error": error_value(error)}


def refusal(error: RequestError) -> Response:
    """The response that is an error as a whole."""
    headers = {"Retry-After": str(RETRY_AFTER)} if error.status == 503 else {}
    return Response(error.status, _json(error_value(error)), JSON, headers)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
