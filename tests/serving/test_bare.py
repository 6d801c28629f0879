"""The scripts where nothing is installed: they explain themselves in one sentence."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.serving.server import ROOT


@pytest.fixture()
def bare(tmp_path):
    """The scripts in a folder with nothing installed."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def shell(folder: Path, *command: str, **env: str):
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
    )
    return done.returncode, done.stdout, done.stderr


def test_ctrl_c_while_a_command_is_imported_is_one_sentence(bare):
    (bare / "handler").mkdir()
    (bare / "handler" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code, out, err = shell(bare, sys.executable, "-m", "scripts.build_archive")
    assert (code, out, err) == (-signal.SIGINT, "", "\nStopped.\n")
    (bare / "handler" / "__init__.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in shell(bare, sys.executable, "-m", "scripts.build_archive")[2]


def test_serve_sh_explains_itself_and_stops_what_never_ran(bare):
    code, out, err = shell(bare, "scripts/serve.sh", "--help")
    assert code == 0 and "--stop" in out and not err
    assert shell(bare, "scripts/serve.sh", "--stop") == (0, "No server is running.\n", "")
    for arguments in ["--bogus"], ["--port"], ["--port", "http"], ["--stop", "now"], [""]:
        code, out, err = shell(bare, "scripts/serve.sh", *arguments)
        assert (code, out) == (2, "") and err.startswith("serve.sh does not understand") and err.count("\n") == 1


def test_setup_sh_needs_a_recent_python_with_venv(bare):
    old = bare / "old-python"
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.8;; *) exit 1;; esac\n')
    old.chmod(0o755)
    code, out, err = shell(bare, "scripts/setup.sh", PYTHON=str(old))
    assert (code, out) == (1, "") and err.startswith("setup: Python 3.11 or later is needed and only 3.8 was found")
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.12;; *ensurepip*) exit 1;; esac\n')
    code, out, err = shell(bare, "scripts/setup.sh", PYTHON=str(old))
    assert (code, out) == (1, "") and "install python3.12-venv" in err and err.count("\n") == 1
    assert not (bare / ".venv").exists()
