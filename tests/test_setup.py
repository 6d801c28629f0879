"""setup.sh, with a Python that only notes what it is told: the lock, repairs, Ctrl-C. Nothing is installed."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scripts.common.installed import is_whole, main, pins
from scripts.common.paths import ROOT

PYTHON = """#!/bin/sh
echo "$*" >>{folder}/calls
case "$*" in
  "-c import sys; print"*) echo 3.12 ;;
  "--version") echo "Python 3.12.0" ;;
  "-m venv .venv")
    mkdir -p .venv/bin
    if [ -e {folder}/slow ]; then exec sleep 30; fi
    cp {folder}/python .venv/bin/python ;;
  "-m scripts.common.installed"*) cat {folder}/broken 2>/dev/null; exit 0 ;;
  *pip*--force-reinstall*) if [ -e {folder}/no-network ]; then echo "ERROR: No network"; exit 1; fi ;;
esac
"""


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """The scripts and requirements in a folder with nothing installed; `python` beside it is the only Python."""
    shutil.copytree(ROOT / "scripts", tmp_path / "clone" / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in "handler", "scripts":
        (tmp_path / "clone" / name).mkdir(exist_ok=True)
        shutil.copy(ROOT / name / "requirements.txt", tmp_path / "clone" / name)
    (tmp_path / "python").write_text(PYTHON.format(folder=tmp_path))
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PYTHON", str(tmp_path / "python"))
    monkeypatch.delenv("TORCH", raising=False)
    return tmp_path


def start(bare: Path) -> subprocess.Popen:
    return subprocess.Popen(
        ["scripts/setup.sh"],
        cwd=bare / "clone",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
    )


def run(bare: Path) -> tuple[int, str, str]:
    """Status, output and errors of a run."""
    process = start(bare)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def calls(bare: Path) -> str:
    text = (bare / "calls").read_text()
    (bare / "calls").unlink()
    return text


def test_a_second_setup_waits_for_the_first(bare):
    (bare / "clone" / ".cache").mkdir()
    with open(bare / "clone" / ".cache" / "setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(bare)
        assert process.stdout.readline() == "setup: another setup is running in this folder; waiting for it\n"
        assert process.poll() is None and not (bare / "calls").exists()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "") and "making .venv" in out


def test_two_setups_at_once_install_once(bare):
    both = start(bare), start(bare)
    assert [process.wait(30) for process in both] == [0, 0]
    assert calls(bare).count("-m venv .venv") == 1


def test_what_is_damaged_is_installed_again(bare):
    assert run(bare)[0] == 0
    assert run(bare) == (0, "", "")
    calls(bare)
    (bare / "broken").write_text("numpy==2.4.6\ntorch==2.13.0\n")
    code, out, err = run(bare)
    assert (code, err) == (0, "") and "setup: installing again what is damaged in .venv: numpy==2.4.6 torch==2.13.0\n" in out
    assert "install --progress-bar off --no-deps --force-reinstall numpy==2.4.6 torch==2.13.0" in calls(bare)


def test_damage_that_cannot_be_repaired_is_one_sentence(bare):
    run(bare)
    (bare / "broken").write_text("numpy==2.4.6\n")
    (bare / "no-network").touch()
    code, _, err = run(bare)
    assert (code, err) == (
        1,
        "setup: The virtual environment .venv is damaged and could not be repaired: No network; remove it: rm -rf .venv\n",
    )


def test_ctrl_c_is_one_sentence_and_leaves_no_half_made_environment(bare):
    (bare / "slow").touch()
    process = start(bare)
    deadline = time.monotonic() + 20
    while not (bare / "clone" / ".venv" / "bin").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "\nsetup: Interrupted; run it again to go on.\n")
    assert not (bare / "clone" / ".venv").exists()
    (bare / "slow").unlink()
    assert run(bare)[0] == 0


# What is damaged


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of an installed package `some-thing`, version 1.0+cpu: a package and a module."""
    (tmp_path / "some_thing").mkdir()
    (tmp_path / "some_thing.py").touch()
    (tmp_path / "some_thing-1.0+cpu.dist-info").mkdir()
    (tmp_path / "some_thing-1.0+cpu.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0+cpu\n")
    record = "some_thing/__init__.py,,\nsome_thing.py,,\n../../../bin/some,,\nsome_thing-1.0+cpu.dist-info/RECORD,,\n"
    (tmp_path / "some_thing-1.0+cpu.dist-info" / "RECORD").write_text(record)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_whole_package_is_found_whole(package, capsys):
    assert is_whole("some-thing", "1.0") and not is_whole("some-thing", "1.1") and not is_whole("nothing-like-it", "1.0")
    (package / "requirements.txt").write_text("# any\nsome-thing==1.0  # why\nnothing-like-it==2.0\n")
    assert pins("a==1  # b==2\n-r c\nd==3.1.post1\n") == {"a": "1", "d": "3.1.post1"}
    assert main([str(package / "requirements.txt")]) == 0
    assert capsys.readouterr().out == "nothing-like-it==2.0\n"


@pytest.mark.parametrize(
    "lost", ["some_thing", "some_thing.py", "some_thing-1.0+cpu.dist-info/RECORD", "some_thing-1.0+cpu.dist-info/METADATA"]
)
def test_a_damaged_package_is_noticed(package, lost):
    place = package / lost
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert not is_whole("some-thing", "1.0")
