"""Build the model archive that TorchServe loads: code, artifact and settings in one file.

    python -m scripts.build_archive                                    model_store/demo -> model_store/synpg.mar
    python -m scripts.build_archive --format tgz                       -> model_store/synpg.tar.gz, for S3 and SageMaker
    python -m scripts.build_archive --artifact DIR --output OTHER.mar
    python -m scripts.build_archive --if-changed                       only if the archive differs from its sources

In the archive: `synpg_handler.py`, the entry, at the top; the rest of the package under `handler/`; the artifact under
`artifact/`; `model-config.yaml`; and MAR-INF/MANIFEST.json with the project's version. The tarball has the same at its top
level, which SageMaker unpacks to /opt/ml/model, and `code/` for AWS's own PyTorch containers. The same sources make the same
tarball, byte for byte.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from handler import __version__, artifacts
from handler.errors import ArtifactError
from scripts.serve import shown

ROOT = Path(__file__).resolve().parent.parent
ARTIFACT, OUTPUT = ROOT / "model_store" / "demo", ROOT / "model_store" / "synpg.mar"
ENTRY, SETTINGS = ROOT / "handler" / "synpg_handler.py", ROOT / "handler" / "model-config.yaml"
TARBALL = OUTPUT.with_name("synpg.tar.gz")
FOR_AWS, PINS = ROOT / "handler" / "inference.py", ROOT / "handler" / "requirements.txt"
LACKING = "subword-nmt", "safetensors"  # what the package needs and AWS's PyTorch containers do not have
MANIFEST = "MAR-INF/MANIFEST.json"


class ArchiveError(Exception):
    """The archive could not be built, or is not what its sources say; one sentence."""


def members(artifact: Path) -> dict[str, Path]:
    """Every file of the archive but the manifest: name there -> source."""
    package = [*sorted((ROOT / "handler").glob("*.py")), ROOT / "handler" / "openapi.yaml"]
    files = {ENTRY.name: ENTRY, SETTINGS.name: SETTINGS}
    files |= {f"handler/{source.name}": source for source in package if source not in (ENTRY, FOR_AWS)}
    files |= {f"artifact/{name}": artifact / name for name in artifacts.members(artifact)}
    if (artifact / "README.md").is_file():  # whose data it was made from, and under which licence
        files["artifact/README.md"] = artifact / "README.md"
    for source in files.values():
        if not source.is_file():
            raise ArchiveError(f"{shown(source)} is missing.")
    return files


def build(artifact: Path, output: Path) -> None:
    """Write the archive; `output` appears, or changes, only when the new one is complete and checked."""
    artifact, output = artifact.resolve(), output.resolve()
    files = members(artifact)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as folder:
        stage, scratch, made = (Path(folder) / name for name in ("stage", "tmp", "made"))
        for each in stage, scratch, made:
            each.mkdir()
        for name, source in files.items():
            if source not in (ENTRY, SETTINGS):  # the archiver is told of these by name
                (stage / name).parent.mkdir(exist_ok=True)
                (stage / name).symlink_to(source)  # the archiver copies what it points to
        command = [sys.executable, "-c", "from model_archiver.model_packaging import generate_model_archive as m; m()",
                   "--model-name", output.stem, "--version", __version__, "--handler", str(ENTRY),
                   "--config-file", str(SETTINGS), "--extra-files", str(stage), "--export-path", str(made),
                   "--archive-format", "zip-store"]  # weights do not compress, and stored they unpack faster
        # The archiver deletes and refills a folder of the model's name in the temporary folder: it gets one of its own.
        done = subprocess.run(command, env={**os.environ, "TMPDIR": str(scratch)}, capture_output=True, text=True)
        archive = made / output.name
        if done.returncode != 0 or not archive.is_file():
            said = (done.stderr or done.stdout or "no message").strip().splitlines()[-1]
            raise ArchiveError(f"torch-model-archiver failed: {said}")
        check(archive, artifact)
        os.replace(archive, output)


def check(archive: Path, artifact: Path) -> None:
    """Raise ArchiveError unless the archive holds exactly its sources, byte for byte, under the project's version."""
    files = members(artifact.resolve())
    try:
        with zipfile.ZipFile(archive) as stored:
            names = [info.filename for info in stored.infolist() if not info.is_dir()]
            if sorted(names) != sorted([*files, MANIFEST]):
                odd = sorted(set(names) ^ {*files, MANIFEST})
                raise ArchiveError(f"{archive.name} has not its sources' files: {', '.join(odd[:3]) or 'duplicates'}.")
            model = json.loads(stored.read(MANIFEST))["model"]
            expected = {"modelVersion": __version__, "handler": ENTRY.name, "configFile": SETTINGS.name}
            for key, value in expected.items():
                if model.get(key) != value:
                    raise ArchiveError(f"{archive.name}: expected {key} {value} in the manifest, found {model.get(key)}.")
            for name, source in files.items():
                with stored.open(name) as inside, open(source, "rb") as outside:
                    if not same(inside, outside):
                        raise ArchiveError(f"{archive.name}: {name} differs from {shown(source)}.")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ArchiveError(f"{archive.name} is not a model archive: {error}.") from None


def tarball_members(artifact: Path) -> dict[str, Path | bytes]:
    """Every file of the tarball: name there -> source, or content where it is made here."""
    manifest = {"runtime": "python", "model": {"modelName": OUTPUT.stem, "modelVersion": __version__, "handler": ENTRY.name,
                                               "configFile": SETTINGS.name}}
    pins = [re.search(rf"^{name}==\S+", PINS.read_text(encoding="utf-8"), re.M)[0] + "\n" for name in LACKING]
    return {**members(artifact), "code/inference.py": FOR_AWS, "code/requirements.txt": "".join(pins).encode(),
            MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()}


def build_tarball(artifact: Path, output: Path) -> None:
    """Write the tarball; `output` appears, or changes, only when the new one is complete and checked."""
    artifact, output = artifact.resolve(), output.resolve()
    files = tarball_members(artifact)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as folder:
        made = Path(folder) / output.name
        # No name, time, owner or order of this machine gets in.
        with (open(made, "wb") as plain, gzip.GzipFile("", "wb", fileobj=plain, mtime=0) as packed,
              tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar):
            for name in sorted(files):
                with opened(files[name]) as source:
                    entry = tarfile.TarInfo(name)  # 0644, root, 1970
                    entry.size = source.seek(0, os.SEEK_END)
                    source.seek(0)
                    tar.addfile(entry, source)
        check_tarball(made, artifact)
        os.replace(made, output)


def check_tarball(archive: Path, artifact: Path) -> None:
    """Raise ArchiveError unless the tarball holds exactly its sources, byte for byte, as plain files."""
    files = tarball_members(artifact.resolve())
    found = []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                found.append(entry.name)
                if entry.name not in files or not entry.isreg():
                    raise ArchiveError(f"{archive.name}: {entry.name} is not one of its sources' plain files.")
                with tar.extractfile(entry) as inside, opened(files[entry.name]) as outside:
                    if not same(inside, outside):
                        raise ArchiveError(f"{archive.name}: {entry.name} differs from its source.")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"{archive.name} is not a tarball: {error}.") from None
    if found != sorted(files):
        odd = sorted(set(files) - set(found))
        raise ArchiveError(f"{archive.name} has not its sources' files: {', '.join(odd[:3]) or 'duplicates'}.")


def opened(source: Path | bytes):
    """A source as a stream."""
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def same(one, other, size: int = 1 << 20) -> bool:
    """Whether two streams have the same bytes."""
    while True:
        left, right = one.read(size), other.read(size)
        if left != right:
            return False
        if not left:
            return True


FORMATS = {  # where it goes, how its name ends, what writes it, checks it, lists its members
    "mar": (OUTPUT, ".mar", build, check, lambda artifact: [*members(artifact), MANIFEST]),
    "tgz": (TARBALL, ".tar.gz", build_tarball, check_tarball, tarball_members),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.build_archive", description=__doc__.split("\n\n")[0])
    parser.add_argument("--artifact", type=Path, default=ARTIFACT, help="%(default)s")
    parser.add_argument("--format", choices=FORMATS, default="mar", help="mar for TorchServe, tgz for SageMaker (%(default)s)")
    parser.add_argument("--output", type=Path, help=f"of a .mar, its name is the model's: {shown(OUTPUT)} or {shown(TARBALL)}")
    parser.add_argument("--if-changed", action="store_true", help="do nothing if the archive equals its sources")
    options = parser.parse_args(argv)
    default, suffix, write, compare, listed = FORMATS[options.format]
    output = options.output or default
    try:
        if not output.name.endswith(suffix):
            raise ArchiveError(f"{output} must end in {suffix}.")
        artifacts.verify(options.artifact)
        done = "built"
        if options.if_changed and output.is_file():
            with contextlib.suppress(ArchiveError):
                compare(output, options.artifact)
                done = "is up to date"
        if done == "built":
            write(options.artifact, output)
        count = len(listed(options.artifact))
    except (ArchiveError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except ArtifactError as error:
        print(f"The artifact {shown(options.artifact)} cannot be served: {error}.", file=sys.stderr)
        return 1
    size = output.stat().st_size / 1e6
    print(f"{shown(output)} {done}: version {__version__}, {count} files, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
