"""Starts of the container beside an echo: what is run, and what is printed of it. No engine is needed."""

import json

import pytest

from scripts.bench import container
from scripts.container.image import ImageError


def test_the_echo_is_a_model_of_torchserve(tmp_path):
    folder = container.echo_folder(tmp_path / "models")
    handler = json.loads((folder / "echo" / "MAR-INF" / "MANIFEST.json").read_text())["model"]["handler"]
    scope: dict = {}
    exec((folder / "echo" / handler).read_text(), scope)
    assert scope["handle"]([{"body": b"a"}, {}], None) == [b"a", b""] and scope["handle"](None, None) == []
    options = container.echo("image:1", folder)
    assert options[options.index("image:1") - 2 :][:3] == ["--entrypoint", "python", "image:1"] and f"{folder}:/echo:ro" in options
    assert "/echo/config.properties" in options and "http://0.0.0.0:8080" in (folder / "config.properties").read_text()


def test_medians_and_ratios_of_rounds():
    found = {"container": [(2.0, 1.0, 400.0), (6.0, 3.0, 420.0), (3.0, 2.0, 410.0)], "echo": [(4.0, 1.0, 300.0), (5.0, 1.0, 300.0)] * 2}
    found["echo"] = found["echo"][:3]
    [_, _, ours, echo] = container.table(found).splitlines()
    assert ours == "| container | 3.00 | 0.75 | 2.00 | 410 |" and echo == "| echo | 4.00 | 1.00 | 1.00 | 300 |"


def test_a_container_is_removed_whatever_happens(monkeypatch):
    calls = []

    def docker(*arguments):
        calls.append(arguments)
        if arguments[0] == "inspect":
            raise ImageError("docker inspect failed: no such container.")
        return ""

    monkeypatch.setattr(container, "docker", docker)
    with pytest.raises(ImageError, match="inspect failed"):
        container.cold_start([*container.limits(1, "1g"), *container.own("image:1")])
    run, _, removed = calls
    assert run[-2:] == ("image:1", "serve") and ("--cpuset-cpus", "1", "--memory", "1g") == run[4:8]
    assert removed[:2] == ("rm", "--force") and removed[-1] == run[3]


def test_no_engine_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert container.main(["image:1"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("There is no docker command on this machine")
