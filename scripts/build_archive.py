"""Build the model archive that TorchServe loads: code, artifact and settings in one file.

    python -m scripts.build_archive                                    model_store/demo -> model_store/synpg.mar
    python -m scripts.build_archive --format tgz                       -> model_store/synpg.tar.gz, for S3 and SageMaker
    python -m scripts.build_archive --artifact DIR --output OTHER.mar
    python -m scripts.build_archive --if-changed                       only if the archive differs from its sources
    python -m scripts.build_archive --precision fp32                   weights as the artifact has them

In the archive: `synpg_handler.py`, the entry, and `sitecustomize.py` at the top; the rest of the package under `handler/`; the
artifact under `artifact/`; `model-config.yaml`; and MAR-INF/MANIFEST.json with the project's version. The tarball has the same at its top
level, which SageMaker unpacks to /opt/ml/model, and `code/` for AWS's own PyTorch containers. The same sources make the same
tarball, byte for byte.

A CPU serves an artifact with ranges.json in int8, and the archive carries its linear weights as the very int8 that a CPU computes
with. So it starts faster. A GPU serves it too, in its own precision with these rounded weights. `--precision fp32` carries the
unrounded ones.
"""

import argparse
import sys
from pathlib import Path

from handler import __version__, artifacts
from handler.errors import ArtifactError
from scripts.common.command import run
from scripts.common.paths import ARCHIVE, DEMO, TARBALL, shown
from scripts.serving.archive import FORMATS, PRECISIONS, ArchiveError, served


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.build_archive", description=__doc__.split("\n\n")[0])
    parser.add_argument("--artifact", type=Path, default=DEMO, help="folder of the model (%(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="mar", help="mar for TorchServe, tgz for SageMaker (%(default)s)")
    parser.add_argument(
        "--output", type=Path, help=f"file to write ({shown(ARCHIVE)} or {shown(TARBALL)}); a .mar is named after its model"
    )
    parser.add_argument("--if-changed", action="store_true", help="do nothing if the archive is up to date")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="of linear weights, given ranges.json (%(default)s)")
    options = parser.parse_args(argv)
    sentences = {ArtifactError: lambda error: f"The artifact {shown(options.artifact)} cannot be served: {error}."}
    return run(lambda: build(options.artifact, options.output, options.format, options.if_changed, options.precision), sentences)


def build(artifact: Path, output: Path | None, kind: str, if_changed: bool, precision: str = PRECISIONS[0]) -> int:
    """Build the archive and print what it is."""
    made = FORMATS[kind]
    output = output or made.default
    if not output.name.endswith(made.suffix):
        raise ArchiveError(f"{output} must end in {made.suffix}.")
    artifacts.verify(artifact)
    with served(artifact, precision) as folder:
        current = if_changed and output.is_file() and made.is_current(output, folder)
        if not current:
            made.build(folder, output)
        done, count, size = "is up to date" if current else "built", len(made.members(folder)), output.stat().st_size / 1e6
    print(f"{shown(output)} {done}: version {__version__}, {count} files, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
