"""Every error this package raises on purpose. Imports nothing.

SynPGError
├── RequestError    the client's fault: this one request gets a 4xx that names the field and the reason
│   └── SyntaxTreeError   text that is not a usable bracketed tree; `request.py` adds the field's name
└── ArtifactError   our fault or the operator's: the model is refused at load with file, expected, found

Anything else that escapes is a bug; TorchServe answers the whole batch with a 503 and logs the traceback.
"""


class SynPGError(Exception):
    """Base of all errors above."""


class RequestError(SynPGError):
    """A request that cannot be answered.

    status: the HTTP status for this request alone, 400 unless said otherwise.
    field:  the JSON field at fault (dotted for list items, `tmpl.2`), or None when the body as a whole is.
    reason: one English sentence. It may quote labels of the syntax token set, never the user's words.
    """

    def __init__(self, reason: str, field: str | None = None, status: int = 400):
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason, self.field, self.status = reason, field, status


class SyntaxTreeError(RequestError):
    """Text that is not a well-formed bracketed tree, or is larger than a tree may be."""


class ArtifactError(SynPGError):
    """A model artifact that must not be served: which file, what was expected there, what was found."""

    def __init__(self, file: object, expected: str, found: str):
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file, self.expected, self.found = str(file), expected, found
