"""Lay out the model that goes into the image, as the tarball has it: `python -m scripts.container.bake FOLDER`, in the Dockerfile."""

import shutil
import sys
from pathlib import Path

from scripts.common.paths import DEMO
from scripts.serving import archive


def bake(folder: Path) -> None:
    """Fill `folder` with what SageMaker would unpack from the tarball."""
    for name, source in archive.tarball_members(DEMO).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with archive.opened(source) as content, open(folder / name, "wb") as copy:
            shutil.copyfileobj(content, copy)


if __name__ == "__main__":
    bake(Path(sys.argv[1]))
