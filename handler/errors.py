"""Every error this package raises on purpose. Imports nothing of ours.

SynPGError
├── RequestError    the client's fault: this one request gets a 4xx that names the field and the reason
│   └── SyntaxTreeError   a text that is not a usable bracketed tree; `wire/request.py` adds the name of the field
└── ArtifactError   our fault or the operator's: loading the model fails and names the file, what was expected, what was found

Any other exception is a bug. TorchServe then answers the whole batch with a 503 and logs the traceback.
"""

import json
from typing import Any


class SynPGError(Exception):
    """Base of all errors above."""


class RequestError(SynPGError):
    """A request that cannot be answered.

    status: the HTTP status for this request alone; 400 by default.
    field:  the JSON field with the error (`tmpl.2` for an entry of a list), or None if the whole body is wrong.
    reason: one English sentence. It may quote labels of the syntax token set, never the user's words.
    """

    def __init__(self, reason: str, field: str | None = None, status: int = 400):
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason, self.field, self.status = reason, field, status


class SyntaxTreeError(RequestError):
    """A text that is not a well-formed bracketed tree, or that is too large."""


class ArtifactError(SynPGError):
    """A model artifact that must not be served: which file, what was expected in it, what was found."""

    def __init__(self, file: object, expected: str, found: str):
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file, self.expected, self.found = str(file), expected, found


def parse_json(text: str, file: object, expected: str) -> Any:
    """The value of a JSON text that belongs to a model artifact. Raises ArtifactError for `file` if it is no JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ArtifactError(file, expected, str(error)) from None
    except RecursionError:
        raise ArtifactError(file, expected, "brackets nested too deep") from None
