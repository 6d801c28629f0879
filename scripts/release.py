"""Say whether everything that names the version of a release agrees with handler/__init__.py.

    python -m scripts.release --check

Prints one line for each: the contract in OpenAPI, the newest entry of the README's changes, the image tags in the guides and in the
notebook's outputs, and what has been built here: archive, tarball, image. What has not been built cannot disagree; the next build takes
its version from the code. The exit status is 1 if any of them names another version, or cannot be read.
"""

import argparse
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.common.command import run, tell
from scripts.common.damage import DAMAGED, MALFORMED, reason
from scripts.common.paths import ARCHIVE, ROOT, TARBALL

IMAGE = "synpg-torchserve"
MANIFEST = "MAR-INF/MANIFEST.json"
CODE = "handler/__init__.py"


@dataclass(frozen=True)
class Fact:
    """Which versions a place names, and what mends it. No versions: nothing has been built there."""

    name: str
    place: str
    versions: tuple[str, ...]
    remedy: str
    problem: str = ""  # why it cannot be read

    def agrees(self, version: str) -> bool:
        return not self.problem and set(self.versions) <= {version}

    def line(self, version: str) -> str:
        if self.agrees(version):
            return f"{self.name:8} {version if self.versions else 'not built':10} {self.place}"
        found = self.problem or f"{', '.join(sorted(set(self.versions) - {version}))} instead of {version}"
        return f"{self.name:8} DISAGREES  {self.place}: {found}; {self.remedy}"


def named(name: str, file: Path, root: Path, pattern: str, remedy: str) -> Fact:
    """The version that a text file names where the pattern first matches."""
    found = re.search(pattern, file.read_text(encoding="utf-8"), re.M)
    place = str(file.relative_to(root))
    return Fact(name, place, (found[1],), remedy) if found else Fact(name, place, (), remedy, "names no version")


def tagged(root: Path) -> Fact:
    """The tags of the image in the guides, and in what the notebook printed."""
    guides = (file for pattern in ("README.md", "*/README.md", "*/*/README.md", "scripts/aws/*.ipynb") for file in root.glob(pattern))
    texts = {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in sorted(guides)}
    tags = {place: re.findall(rf"{IMAGE}:(\d[\w.]*)-[cg]pu", text) for place, text in texts.items()}
    places = [place for place in tags if tags[place]]
    versions = tuple(version for place in places for version in tags[place])
    remedy = "correct the guides, and run `python -m tests.aws.test_notebook` for the notebook"
    return Fact("tags", ", ".join(places) or "the guides", versions, remedy, "" if versions else f"name no {IMAGE}:VERSION-cpu")


def packed(name: str, file: Path, root: Path, read: Callable[[Path], bytes], remedy: str) -> Fact:
    """The version in the manifest of an archive."""
    place = str(file.relative_to(root))
    if not file.is_file():
        return Fact(name, place, (), remedy)
    try:
        return Fact(name, place, (str(json.loads(read(file))["model"]["modelVersion"]),), remedy)
    except (*DAMAGED, *MALFORMED) as error:
        return Fact(name, place, (), remedy, f"has no manifest that can be read ({reason(error)})")


def from_zip(file: Path) -> bytes:
    with zipfile.ZipFile(file) as stored:
        return stored.read(MANIFEST)


def from_tar(file: Path) -> bytes:
    with tarfile.open(file) as stored:
        content = stored.extractfile(MANIFEST)
        return content.read() if content else b""


def labelled(version: str) -> Fact:
    """The label of the image of this version, if an engine is here and has it."""
    tag = f"{IMAGE}:{version}-cpu"
    form = '{{index .Config.Labels "org.opencontainers.image.version"}}'
    try:
        done = subprocess.run(["docker", "image", "inspect", "--format", form, tag], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return Fact("image", f"{tag} (no Docker engine answers)", (), "")
    label = (done.stdout.strip() or "unlabelled",) if done.returncode == 0 else ()
    return Fact("image", tag, label, "run `python -m scripts.build_image`")


def facts(root: Path) -> Iterable[Fact]:
    """Everything that names a version; the first one is the code's, which the others must agree with."""
    code = named("version", root / CODE, root, r'^__version__ = "([^"]+)"', "give __version__ a version")
    yield code
    yield named("openapi", root / "handler/wire/openapi.yaml", root, r"^  version: (\S+)$", "correct its info.version")
    yield named("changes", root / "README.md", root, r"^## Changes\n\n- \*\*([\d.]+)\*\*", 'write an entry under "Changes"')
    yield tagged(root)
    build = "run `python -m scripts.build_archive`"
    yield packed("archive", root / ARCHIVE.relative_to(ROOT), root, from_zip, build)
    yield packed("tarball", root / TARBALL.relative_to(ROOT), root, from_tar, build[:-1] + " --format tgz`")
    yield labelled((*code.versions, "none")[0])


def check(root: Path = ROOT) -> int:
    """Print a line for each fact; 1 if one disagrees."""
    found = list(facts(root))
    version = (*found[0].versions, "none")[0]
    for fact in found:
        print(fact.line(version))
    wrong = [fact.name for fact in found if not fact.agrees(version)]
    if wrong:
        tell(f"Not ready to release {version}: {', '.join(wrong)} {'disagrees' if len(wrong) == 1 else 'disagree'}.")
    return 1 if wrong else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", required=True, help="compare the versions; changes nothing")
    parser.parse_args(argv)
    return run(check)


if __name__ == "__main__":
    sys.exit(main())
