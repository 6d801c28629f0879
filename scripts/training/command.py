"""How the commands that read and write artifacts end: the errors of `handler` and of safetensors are one sentence too."""

from collections.abc import Callable

from safetensors import SafetensorError

from handler.errors import ArtifactError
from scripts.common import command

SENTENCES: command.Sentences = {
    ArtifactError: lambda error: f"{error}.",
    SafetensorError: lambda error: f"A file of tensors could not be read or written: {str(error).rstrip('.')}.",  # such as a full disk
}


def run(main: Callable[[], int], stopped: str = "Stopped.") -> int:
    """`scripts.common.command.run` with these errors."""
    return command.run(main, SENTENCES, stopped)
