"""The errors that a server answers with."""

import json


def reason_of(text: str) -> str:
    """The reason that an error answer gives, on one line: field and message of our own errors, the whole text of others."""
    try:
        value = json.loads(text)
        return f"{value['field']}: {value['message']}" if value.get("field") else value["message"]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return " ".join(text.split())[:300] or "no message"
