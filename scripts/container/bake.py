"""Lay out the model that goes into the image, as the tarball has it, in the Dockerfile:

python -m scripts.container.bake FOLDER cpu      linear weights in int8 (`build_archive --precision`)
python -m scripts.container.bake FOLDER gpu      weights as the artifact has them
"""

import shutil
import sys
from pathlib import Path

from scripts.common.paths import DEMO
from scripts.serving import archive


def bake(folder: Path, device: str) -> None:
    """Fill `folder` with what SageMaker would unpack from the tarball."""
    with archive.served(DEMO, "int8" if device == "cpu" else "fp32") as artifact:
        for name, source in archive.tarball_members(artifact).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.opened(source) as content, open(folder / name, "wb") as copy:
                shutil.copyfileobj(content, copy)


if __name__ == "__main__":
    bake(Path(sys.argv[1]), sys.argv[2])
