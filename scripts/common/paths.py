"""Where things lie in the repository, and how a path is shown."""

import contextlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent  # of the repository, or of what the container has of it
DEMO = ROOT / "model_store" / "demo"  # the artifact that ships
ARCHIVE = ROOT / "model_store" / "synpg.mar"
TARBALL = ROOT / "model_store" / "synpg.tar.gz"


def shown(path: Path) -> str:
    """A path as a reader in this folder would write it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
