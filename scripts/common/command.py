"""How a command ends: a user's error is one sentence on standard error and exit status 1, never a traceback.

This module is part of the container image, which has no `handler` package. A command that meets errors of another package,
such as `handler.errors.ArtifactError`, tells `run` how to put them into words.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

Sentences = Mapping[Any, Callable[[Any], str]]  # an error of another package -> its sentence for the user


class UserError(Exception):
    """Something that the user of a command can mend. Its text is one sentence, ready to be shown."""


class InputError(UserError):
    """A file of the user's is not what it should be."""


def run(main: Callable[[], int], sentences: Sentences | None = None, stopped: str = "Stopped.") -> int:
    """Run the body of a command and return its exit status.

    A UserError, an error of the operating system and the errors that `sentences` names are told in one sentence, with status 1.
    Ctrl-C prints `stopped`, with status 130. Any other exception is a bug and keeps its traceback.
    """
    try:
        return main()
    except KeyboardInterrupt:
        tell(f"\n{stopped}")
        return 130
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python complains again when it flushes
        return 1
    except Exception as error:
        sentence = sentence_of(error, sentences or {})
        if sentence is None:
            raise
        tell(sentence)
        return 1


def sentence_of(error: Exception, sentences: Sentences) -> str | None:
    """What the user is told of an error; None if the error is a bug."""
    for kind, describe in sentences.items():
        if isinstance(error, kind):
            return describe(error)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"The input is not text in UTF-8: {error}."
    if isinstance(error, OSError):
        return os_sentence(error)
    return None


def os_sentence(error: OSError) -> str:
    """An error of the operating system: the file, where it is known, and the reason."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{(error.strerror or str(error) or type(error).__name__).rstrip('.')}."


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
