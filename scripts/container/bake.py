"""Lay out the model that goes into the image, as the tarball has it: `python -m scripts._bake FOLDER`, in the Dockerfile."""

import shutil
import sys
from pathlib import Path

from scripts import build_archive


def bake(folder: Path) -> None:
    """Fill `folder` with what SageMaker would unpack from the tarball."""
    for name, source in build_archive.tarball_members(build_archive.ARTIFACT).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with build_archive.opened(source) as content, open(folder / name, "wb") as copy:
            shutil.copyfileobj(content, copy)


if __name__ == "__main__":
    bake(Path(sys.argv[1]))
