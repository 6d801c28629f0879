"""How a command ends: a user's error is one sentence on standard error and exit status 1, never a traceback."""

import os
import sys
from collections.abc import Callable

from handler.errors import ArtifactError


class UserError(Exception):
    """Something that the user of a command can mend; its text is one sentence, ready to be shown."""


def run(main: Callable[[], int], stopped: str = "Stopped.") -> int:
    """Run a command's body and return its exit status.

    A UserError, an ArtifactError or an error of the operating system is told in one sentence; anything else is a bug and keeps its
    traceback. stopped: what is said after Ctrl-C, on a line of its own.
    """
    try:
        return main()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python complains once more on its way out
    except (UserError, ArtifactError) as error:
        print(error, file=sys.stderr, flush=True)
    except UnicodeDecodeError as error:
        print(f"The input is not text in UTF-8: {error}.", file=sys.stderr, flush=True)
    except OSError as error:
        print(os_sentence(error), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr, flush=True)
        return 130
    return 1


def os_sentence(error: OSError) -> str:
    """An error of the operating system as one sentence: the file, and what is wrong with it."""
    place = f"{error.filename}: " if error.filename else ""
    reason = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    return f"{place}{reason[:1].lower() if place else reason[:1]}{reason[1:]}."
