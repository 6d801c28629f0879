"""The build command of the image, without building it, and the error if it cannot be run."""

import ast
import re
import sys

import pytest

from handler import __version__, artifacts
from scripts import build_image
from scripts.common.paths import DEMO
from scripts.container import bake, class_archive, image
from scripts.serving.server import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_command_names_version_and_device():
    assert image.tag_of(False) == f"synpg-torchserve:{__version__}-cpu" and image.tag_of(True).endswith("-gpu")
    command = image.build_command("a:b", True, ["--no-cache"])
    assert command[:4] == ["docker", "build", "--tag", "a:b"] and "DEVICE=gpu" in command and f"VERSION={__version__}" in command
    assert command[-2:] == ["--no-cache", str(ROOT)]


@pytest.fixture()
def fake_docker(tmp_path, monkeypatch):
    """A docker command that does what the test says, as a shell script."""

    def make(script):
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return make


def test_every_failure_is_one_sentence(fake_docker, capfd):
    for script, said in (
        (None, r"There is no docker command on this machine; install Docker \(https://\S+\)\.\n"),
        (
            "echo 'Cannot connect to the Docker daemon at unix:///x. Is it running?' >&2; exit 1",
            r"The Docker engine does not answer: Cannot connect .*; start it, or set DOCKER_HOST\.\n",
        ),
        ('case "$1" in info) echo 1;; *) exit 3;; esac', r"docker build failed; its last lines say why\.\n"),
        (
            'case "$1" in info) echo 1;; build) ;; *) echo "no such image: x." >&2; exit 1;; esac',
            r"docker history failed: no such image: x\.\n",
        ),
    ):
        if script:
            fake_docker(script)
        assert build_image.main(["--tag", "x"]) == 1
        out, err = capfd.readouterr()
        assert out == "" and re.fullmatch(said, err)


def test_sizes_of_the_layers_are_told(fake_docker, capfd):
    fake_docker("""case "$1" in info) echo 1;; build) ;;
        history) printf '0\\t/bin/sh -c #(nop)  CMD ["serve"]\\n2000000\\t/bin/sh -c apt-get update\\n';;
        image) echo '[{"Size": 2000000, "Id": "sha256:1"}]';; esac""")
    assert build_image.main(["--gpu"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "     2.0 MB  apt-get update" and lines[1].startswith("     2.0 MB  synpg-torchserve:")
    assert '"bytes": 2000000' in lines[2] and len(lines) == 3


def test_the_dockerfile_keeps_what_it_promises():
    assert re.search(r"^ARG BASE=debian:bookworm-slim$", DOCKERFILE, re.M) and not re.search(r"^#\s*syntax", DOCKERFILE, re.M)
    assert re.search(r'^ENTRYPOINT \["python", "-m", "scripts\.container"\]\nCMD \["serve"\]$', DOCKERFILE, re.M)
    assert set(re.findall(r"https?://([^/\s]+)", DOCKERFILE)) == {"download.pytorch.org"}


def test_every_script_that_the_entry_point_imports_goes_to_the_engine():
    """Walked by imports, from what the Dockerfile runs; what goes beside them is named."""
    sent = set(re.findall(r"^!scripts/(\w+)$", (ROOT / ".dockerignore").read_text(), re.M))
    assert {name.partition("/")[0] for name in reached("__main__", "bake", "class_archive")} == sent


def test_the_image_keeps_what_its_scripts_import_of_the_handler():
    wanted = set()
    for name in reached("__main__", "class_archive"):
        for node in ast.walk(ast.parse((ROOT / "scripts" / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "handler":
                wanted.add(f"{node.module.replace('.', '/').replace('handler/', '', 1)}.py")
    kept = re.search(r"&& mkdir kept && mv (.*) kept ", DOCKERFILE)[1].split()
    assert {f"handler/{name}" for name in {"__init__.py", "metrics.yaml"} | wanted} == set(kept)


def reached(*names: str) -> set[str]:
    """The modules of scripts/ that these of the container's import, and they themselves."""
    done, waiting = set(), {f"container/{name}" for name in names}
    while waiting:
        name = waiting.pop()
        done.add(name)
        for node in ast.walk(ast.parse((ROOT / "scripts" / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("scripts"):
                places = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                found = [place.removeprefix("scripts.").replace(".", "/") for place in places]
                waiting |= {place for place in found if (ROOT / "scripts" / f"{place}.py").is_file()} - done
    return done


PRETEND = """
import pathlib, subprocess, sys
java = subprocess.Popen(["sleep", "60"])
print("what the container says", flush=True)
print("it ended by itself, with status 143", file=sys.stderr, flush=True)
pathlib.Path(sys.argv[1]).touch()
sys.exit(java.wait() != 0)
"""


def test_the_archive_of_classes_is_written_quietly_unless_it_fails(tmp_path, monkeypatch, capfd):
    made, started = tmp_path / "classes.jsa", tmp_path / "started"
    monkeypatch.setattr(class_archive, "CONTAINER", [sys.executable, "-c", PRETEND, str(started)])
    monkeypatch.setattr(class_archive, "call", lambda url: made.touch())
    monkeypatch.setattr(class_archive.psutil.Process, "name", lambda self: "java")
    monkeypatch.setattr(class_archive, "ready", started.exists)
    assert class_archive.main([str(made)]) == 0
    assert capfd.readouterr() == ("", "")
    made.unlink()
    monkeypatch.setattr(class_archive, "CONTAINER", [sys.executable, "-c", "print('the cause')"])
    monkeypatch.setattr(class_archive, "ready", lambda: False)
    assert class_archive.main([str(made)]) == 1
    assert capfd.readouterr() == ("", "the cause\nThe image does not serve its own model.\n")


@pytest.mark.slow
def test_the_image_has_the_weights_that_its_device_computes_with(tmp_path):
    for device in "cpu", "gpu":
        bake.bake(tmp_path / device, device)
        artifacts.verify(tmp_path / device / "artifact")
    same = [(tmp_path / device / "artifact" / "paraphraser.safetensors").read_bytes() for device in ("cpu", "gpu")]
    assert same[1] == (DEMO / "paraphraser.safetensors").read_bytes() and len(same[0]) < len(same[1])
    assert 'scripts.container.bake model "$DEVICE"' in DOCKERFILE
