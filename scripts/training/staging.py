"""An artifact appears, or changes, as a whole: it is written beside its place, loaded as a server would, and renamed."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from handler import artifacts


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A new folder to write an artifact to. It takes the place of `out` when the block ends and the artifact can be loaded.

    After any error `out` is as it was. Raises ArtifactError if a server would refuse the new artifact.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder) / out.name
        made.mkdir()
        yield made
        artifacts.load(made)
        replace_folder(out, made, Path(folder) / "before")


def replace_folder(out: Path, made: Path, before: Path) -> None:
    """Rename `made` to `out`, and what was there to `before`. The files of the two are never mixed."""
    if not out.exists():
        made.rename(out)
        return
    out.rename(before)
    try:
        made.rename(out)
    except BaseException:
        before.rename(out)
        raise
