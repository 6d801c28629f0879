"""`scripts.release --check`: this checkout agrees with itself, and a copy in which one thing is broken does not."""

import io
import json
import re
import shutil
import tarfile
import zipfile

import pytest

from handler import __version__
from scripts import release
from scripts.common.paths import ROOT

OTHER = "9.8.7"
TEXTS = [release.CODE, "handler/wire/openapi.yaml", "README.md", "scripts/container/README.md"]
MANIFEST = {"runtime": "python", "model": {"modelName": "synpg", "modelVersion": __version__}}


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Sets what `docker image inspect` answers; without a call there is no docker command."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def answers(script: str) -> None:
        (tmp_path / "bin" / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "docker").chmod(0o755)

    return answers


@pytest.fixture
def copy(tmp_path, docker):
    """A checkout in which everything has been built."""
    root = tmp_path / "copy"
    for name in TEXTS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "model_store").mkdir()
    pack(root, MANIFEST)
    docker(f"echo {__version__}")
    return root


def pack(root, manifest) -> None:
    """Archive and tarball with this manifest; their other members do not matter."""
    text = json.dumps(manifest).encode()
    with zipfile.ZipFile(root / "model_store" / "synpg.mar", "w") as stored:
        stored.writestr(release.MANIFEST, text)
    with tarfile.open(root / "model_store" / "synpg.tar.gz", "w:gz") as stored:
        entry = tarfile.TarInfo(release.MANIFEST)
        entry.size = len(text)
        stored.addfile(entry, io.BytesIO(text))


def test_this_checkout_agrees(docker):
    """Not what somebody may have built in it: that is why there is no docker here, and why archives are left out."""
    wrong = [
        fact.line(__version__) for fact in release.facts(ROOT) if fact.name not in ("archive", "tarball") and not fact.agrees(__version__)
    ]
    assert not wrong


def test_a_line_each_when_all_agree(copy, capsys):
    assert release.check(copy) == 0
    out, err = capsys.readouterr()
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["version", "openapi", "changes", "tags", "archive", "tarball", "image"] and not err
    assert all(line.split()[1] == __version__ for line in out.splitlines())


def test_what_is_not_built_does_not_disagree(copy, capsys, docker):
    for file in (copy / "model_store").iterdir():
        file.unlink()
    docker("echo 'No such image' >&2; exit 1")
    assert release.check(copy) == 0
    assert re.findall(r"^(\w+) +not built", capsys.readouterr().out, re.M) == ["archive", "tarball", "image"]
    (copy.parent / "bin" / "docker").unlink()
    assert release.check(copy) == 0 and "no Docker engine answers" in capsys.readouterr().out


def replaced(name: str, pattern: str, text: str):
    def change(root, docker):
        file = root / name
        before = file.read_text(encoding="utf-8")
        file.write_text(re.sub(pattern, text, before, count=1, flags=re.M), encoding="utf-8")
        assert file.read_text(encoding="utf-8") != before

    return change


def manifest_of_another(only: str):
    def change(root, docker):
        kept = {file: file.read_bytes() for file in (root / "model_store").iterdir() if file.name != only}
        pack(root, {"model": {"modelVersion": OTHER}})
        for file, content in kept.items():
            file.write_bytes(content)

    return change


BROKEN = {
    "openapi": replaced("handler/wire/openapi.yaml", r"^  version: .*$", f"  version: {OTHER}"),
    "openapi without": replaced("handler/wire/openapi.yaml", r"^  version: .*\n", ""),
    "changes": replaced("README.md", r"^## Changes\n\n", f"## Changes\n\n- **{OTHER}** More.\n"),
    "changes without": replaced("README.md", r"^## Changes\n", "## What changed\n"),
    "tags": replaced("scripts/container/README.md", r"torchserve:[\d.]+-cpu", f"torchserve:{OTHER}-cpu"),
    "tags without": lambda root, docker: (root / "scripts/container/README.md").write_text("Nothing."),
    "archive": manifest_of_another("synpg.mar"),
    "archive damaged": lambda root, docker: (root / "model_store/synpg.mar").write_bytes(b"PK\x03\x04"),
    "tarball": manifest_of_another("synpg.tar.gz"),
    "tarball damaged": lambda root, docker: (root / "model_store/synpg.tar.gz").write_bytes(b"\x1f\x8b\x08"),
    "image": lambda root, docker: docker(f"echo {OTHER}"),
    "image without label": lambda root, docker: docker("echo"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_disagrees_is_named_and_nothing_else(copy, docker, capsys, case):
    BROKEN[case](copy, docker)
    assert release.check(copy) == 1
    out, err = capsys.readouterr()
    name = case.split()[0]
    [line] = [line for line in out.splitlines() if "DISAGREES" in line]
    assert line.startswith(name) and ("without" in case or "damaged" in case or OTHER in line)
    assert err == f"Not ready to release {__version__}: {name} disagrees.\n"


def test_a_new_version_that_nothing_else_knows(copy, docker, capsys):
    replaced(release.CODE, r'^__version__ = ".*"', f'__version__ = "{OTHER}"')(copy, docker)
    docker("echo 'No such image' >&2; exit 1")
    assert release.check(copy) == 1
    assert capsys.readouterr().err == f"Not ready to release {OTHER}: openapi, changes, tags, archive, tarball disagree.\n"
    replaced(release.CODE, r'^__version__ = ".*"', "")(copy, docker)
    assert release.check(copy) == 1 and "handler/__init__.py: names no version" in capsys.readouterr().out


def test_the_command(monkeypatch, capsys):
    monkeypatch.setattr(release, "check", lambda: 1)
    assert release.main(["--check"]) == 1
    with pytest.raises(SystemExit):
        release.main([])
