"""The oracle of a body: read as a whole, decoded as one batch, answered as a whole. The package does the same part by part."""

from dataclasses import dataclass
from typing import Any

from handler.errors import RequestError
from handler.pipeline import Pipeline
from handler.wire.request import Limits, Request, guarded, open_body, read_item, rows_of, too_many_rows
from handler.wire.response import Response, answer_value, assemble, error_in_place, refusal, truncated_of


@dataclass(frozen=True)
class Envelope:
    """One HTTP request: its items, and the form of its answer."""

    items: list[Request | RequestError]
    media_type: str  # of the answer: JSON or JSON_LINES
    single: bool  # a single JSON object: its error becomes the HTTP status; otherwise errors stand among the answers


def read_body(body: Any, content_type: str | None, accept: str | None, limits: Limits = Limits()) -> Envelope:
    """Read and validate a whole body (bytes or None) before any work is done for it. Raises RequestError."""
    opened = open_body(body, content_type, accept, limits)
    items, rows = [], 0
    for place in range(len(opened.parts)):
        items.append(read_item(opened, place, limits))
        rows += 0 if opened.single else rows_of(items[-1], limits)
        if rows > limits.max_body_rows:
            raise too_many_rows(limits)
    if opened.single and isinstance(items[0], RequestError):
        raise items[0]
    return Envelope(items, opened.media_type, opened.single)


def build(envelope: Envelope | RequestError, answers: list) -> Response:
    """Build the response to an envelope. `answers` has a list of Paraphrases or a RequestError for each item."""
    if isinstance(envelope, RequestError):
        return refusal(envelope)
    if envelope.single and isinstance(answers[0], RequestError):
        return refusal(answers[0])
    values = [
        error_in_place(answer) if isinstance(answer, RequestError) or isinstance(item, RequestError) else answer_value(item, answer)
        for item, answer in zip(envelope.items, answers)
    ]
    return assemble(values, envelope.media_type, envelope.single, sum(map(truncated_of, answers)))


def answer(pipeline: Pipeline, envelopes: list[Envelope]) -> list[tuple[Envelope, list]]:
    """Each envelope with its answers as `build` takes them; the rows of all are decoded as one batch."""
    plans = [
        [guarded(lambda: item if isinstance(item, RequestError) else pipeline.plan(item)) for item in envelope.items]
        for envelope in envelopes
    ]
    done = iter(pipeline.run([row for plan in plans for item in plan if not isinstance(item, RequestError) for row in item]))
    return [
        (envelope, [item if isinstance(item, RequestError) else [next(done) for _ in item] for item in plan])
        for envelope, plan in zip(envelopes, plans)
    ]
