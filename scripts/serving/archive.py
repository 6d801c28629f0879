"""Build the model archive that TorchServe loads: code, artifact and settings in one file."""

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
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from handler import __version__, artifacts
from scripts.common.command import UserError
from scripts.common.damage import DAMAGED, MALFORMED, reason
from scripts.common.paths import ARCHIVE, ROOT, TARBALL, shown
from scripts.serving.served import save_served

ENTRY, SETTINGS = ROOT / "handler" / "synpg_handler.py", ROOT / "handler" / "model-config.yaml"
START = ROOT / "handler" / "sitecustomize.py"
TOOLKIT, PINS = ROOT / "handler" / "sagemaker_toolkit.py", ROOT / "handler" / "requirements.txt"
LACKING = "onnxruntime", "subword-nmt", "safetensors"  # what the package needs and AWS's PyTorch containers do not have
MANIFEST = "MAR-INF/MANIFEST.json"


class ArchiveError(UserError):
    """The archive could not be built, or is not what its sources say; one sentence."""


def members(artifact: Path) -> dict[str, Path]:
    """Every file of the archive but the manifest: name there -> source."""
    package = [*sorted((ROOT / "handler").rglob("*.py")), ROOT / "handler" / "wire" / "openapi.yaml"]
    files = {ENTRY.name: ENTRY, SETTINGS.name: SETTINGS, START.name: START}
    files |= {str(source.relative_to(ROOT)): source for source in package if source not in (ENTRY, START, TOOLKIT)}
    files |= {f"artifact/{name}": artifact / name for name in artifacts.members(artifact)}
    if (artifact / "README.md").is_file():  # whose data it was made from, and under which licence
        files["artifact/README.md"] = artifact / "README.md"
    for source in files.values():
        if not source.is_file():
            raise ArchiveError(f"{shown(source)} is missing.")
    return files


PRECISIONS = "int8", "fp32"


@contextlib.contextmanager
def served(artifact: Path, precision: str = PRECISIONS[0]) -> Iterator[Path]:
    """The artifact as an archive is to carry it, a folder that lasts as long as the context. fp32: the artifact itself. int8: what
    `save_served` makes of it, but the artifact itself if it has no ranges. Raises ArtifactError."""
    with tempfile.TemporaryDirectory(prefix="served-") as made:
        folder = Path(made)
        if precision == "fp32" or not save_served(artifact, folder):
            yield artifact
            return
        if (artifact / "README.md").is_file():
            (folder / "README.md").symlink_to((artifact / "README.md").resolve())
        yield folder


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
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                (stage / name).symlink_to(source)  # the archiver copies what it points to
        archive = made / output.name
        run_archiver(archive, __version__, ENTRY, scratch, "--config-file", str(SETTINGS), "--extra-files", str(stage))
        check(archive, artifact)
        os.replace(archive, output)


def run_archiver(archive: Path, version: str, handler: Path, scratch: Path, *options: str) -> None:
    """Let torch-model-archiver write `archive`, whose name is the model's. Raises ArchiveError.

    scratch: a temporary folder of its own, because the archiver deletes and refills a folder of the model's name there.
    """
    command = [sys.executable, "-c", "from model_archiver.model_packaging import generate_model_archive as m; m()"]
    command += ["--model-name", archive.stem, "--version", version, "--handler", str(handler), "--export-path", str(archive.parent)]
    command += ["--archive-format", "zip-store", *options]  # weights do not compress, and stored they unpack faster
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(scratch)}, capture_output=True, text=True)
    if done.returncode != 0 or not archive.is_file():
        said = (done.stderr or done.stdout or "no message").strip().splitlines()[-1]
        raise ArchiveError(f"torch-model-archiver failed: {said}")


def check(archive: Path, artifact: Path) -> None:
    """Raise ArchiveError unless the archive holds exactly its sources, byte for byte, under the project's version."""
    files = members(artifact.resolve())
    try:
        with zipfile.ZipFile(archive) as stored:
            names = [info.filename for info in stored.infolist() if not info.is_dir()]
            if sorted(names) != sorted([*files, MANIFEST]):
                odd = sorted(set(names) ^ {*files, MANIFEST})
                raise ArchiveError(f"{archive.name} has not its sources' files: {', '.join(odd[:3]) or 'duplicates'}.")
            check_manifest(archive, stored.read(MANIFEST))
            for name, source in files.items():
                with stored.open(name) as inside, open(source, "rb") as outside:
                    if not same(inside, outside):
                        raise ArchiveError(f"{archive.name}: {name} differs from {shown(source)}.")
    except DAMAGED as error:
        raise ArchiveError(f"{archive.name} is not a model archive, or it is damaged: {reason(error)}.") from None


def check_manifest(archive: Path, text: bytes) -> None:
    """Raise ArchiveError unless an archive's manifest names the project's version, the entry and the settings."""
    try:
        model = json.loads(text)["model"]
        found = {key: model[key] for key in ("modelVersion", "handler", "configFile")}
    except MALFORMED as error:
        raise ArchiveError(f"{archive.name} has no manifest that describes a model: {reason(error)}.") from None
    for key, value in {"modelVersion": __version__, "handler": ENTRY.name, "configFile": SETTINGS.name}.items():
        if found[key] != value:
            raise ArchiveError(f"{archive.name}: expected {key} {value} in the manifest, found {str(found[key])[:80]}.")


def tarball_members(artifact: Path) -> dict[str, Path | bytes]:
    """Every file of the tarball: name there -> source, or content where it is made here."""
    manifest = {
        "runtime": "python",
        "model": {"modelName": ARCHIVE.stem, "modelVersion": __version__, "handler": ENTRY.name, "configFile": SETTINGS.name},
    }
    pins = [next(re.finditer(rf"^{name}==\S+", PINS.read_text(encoding="utf-8"), re.M))[0] + "\n" for name in LACKING]
    return {
        **members(artifact),
        "code/inference.py": TOOLKIT,
        "code/requirements.txt": "".join(pins).encode(),
        MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(),
    }


def build_tarball(artifact: Path, output: Path) -> None:
    """Write the tarball; `output` appears, or changes, only when the new one is complete and checked."""
    artifact, output = artifact.resolve(), output.resolve()
    files = tarball_members(artifact)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as folder:
        made = Path(folder) / output.name
        # No name, time, owner or order of this machine gets in.
        with (
            open(made, "wb") as plain,
            gzip.GzipFile("", "wb", fileobj=plain, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
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
                    raise ArchiveError(f"{archive.name}: {entry.name[:80]} is not one of its sources' plain files.")
                inside = tar.extractfile(entry)
                assert inside is not None  # a plain file has content
                with inside, opened(files[entry.name]) as outside:
                    if not same(inside, outside):
                        raise ArchiveError(f"{archive.name}: {entry.name} differs from its source.")
    except DAMAGED as error:
        raise ArchiveError(f"{archive.name} is not a tarball, or it is damaged: {reason(error)}.") from None
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


@dataclass(frozen=True)
class Format:
    """One of the two forms of the archive."""

    default: Path  # where it goes unless another place is asked for
    suffix: str  # how its name must end
    build: Callable[[Path, Path], None]  # artifact, output
    check: Callable[[Path, Path], None]  # archive, artifact; raises ArchiveError
    members: Callable[[Path], Collection[str]]  # names of the files in it

    def is_current(self, archive: Path, artifact: Path) -> bool:
        """Whether an archive holds exactly its sources as they are now."""
        try:
            self.check(archive, artifact)
        except ArchiveError:
            return False
        return True


FORMATS = {
    "mar": Format(ARCHIVE, ".mar", build, check, lambda artifact: [*members(artifact), MANIFEST]),
    "tgz": Format(TARBALL, ".tar.gz", build_tarball, check_tarball, tarball_members),
}
