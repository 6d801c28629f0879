"""The READMEs: commands and links exist, console transcripts match the server, Python blocks run, versions agree.

python -m tests.test_readme http://127.0.0.1:8080     write the answers of a running server into README.md
"""

import json
import re
import subprocess
import sys

import pytest

from handler import __version__
from handler.wire.request import CATALOGUE, FIELDS
from scripts.common.paths import ROOT

README = ROOT / "README.md"
GUIDES = README, *sorted(ROOT.glob("*/*.md")), *sorted(ROOT.glob("*/*/README.md"))
CONSOLE = re.compile(r"```console\n\$ (.*?)\n```", re.S)


def transcripts() -> list[tuple[str, str]]:
    """(command, answer) of each console block; the answer is its last line, or lines that start with JSON."""
    return [split(block) for block in CONSOLE.findall(README.read_text(encoding="utf-8"))]


def split(block: str) -> tuple[str, str]:
    lines = block.split("\n")
    end = len(lines)
    while end > 1 and lines[end - 1][:1] in ('"', "{", "["):
        end -= 1
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def run(command: str, url: str) -> str:
    return subprocess.run(
        ["bash", "-c", command.replace("localhost:8080", url.removeprefix("http://"))],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.rstrip("\n")


def shape(value):
    """What must agree: kinds and keys, list lengths, everything of an error; not the words of a paraphrase."""
    if isinstance(value, dict):
        return value if "code" in value else {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("command, answer", transcripts())
def test_transcripts_are_what_the_server_says(server, command, answer):
    assert answer, "no answer in the README"
    got = [json.loads(line) for line in run(command, server.url).split("\n")]
    assert [shape(value) for value in got] == [shape(json.loads(line)) for line in answer.split("\n")]


def test_the_table_names_every_field_and_template():
    text = README.read_text(encoding="utf-8")
    assert [name for name in re.findall(r"^\| `(\w+)` \|", text, re.M)] == list(FIELDS)
    assert all(f"`{name}`" in text for name in CATALOGUE)


def test_commands_and_links_exist():
    for file in GUIDES:
        text = file.read_text(encoding="utf-8")
        for name in re.findall(r"python -m scripts\.([a-z_]+)", text):
            assert any((ROOT / "scripts" / place).is_file() for place in (f"{name}.py", f"{name}/__main__.py")), f"{file.name}: {name}"
        for name in re.findall(r"\./scripts/([\w.]+\.sh)", text):
            assert (ROOT / "scripts" / name).stat().st_mode & 0o111, f"{file.name}: {name}"
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (file.parent / link).exists(), f"{file.name}: {link}"


@pytest.mark.slow
def test_commands_know_the_options_they_are_shown_with():
    shown = [
        (name, set(re.findall(r"(?<=\s)--[a-z-]+", options.split(" #")[0])))
        for file in GUIDES
        for block in re.findall(r"```sh\n(.*?)```", file.read_text(encoding="utf-8"), re.S)
        for name, options in re.findall(r"^python -m scripts\.([a-z_]+)(.*)$", block.replace("\\\n", " "), re.M)
    ]
    assert len(shown) >= 4
    wanted: dict[str, set[str]] = {}
    for name, options in shown:
        wanted.setdefault(name, set()).update(options)
    for name, options in wanted.items():
        done = subprocess.run([sys.executable, "-m", f"scripts.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert options <= set(re.findall(r"--[a-z-]+", done.stdout)), f"{name}: {options}"


@pytest.mark.slow
def test_python_blocks_run():
    blocks = [block for file in ROOT.glob("*/README.md") for block in re.findall(r"```python\n(.*?)```", file.read_text(), re.S)]
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stdout.strip(), done.stderr[-500:]


def test_length_and_version():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert re.search(r"^## Changes\n\n- \*\*([\d.]+)\*\*", text, re.M)[1] == __version__


def update(url: str) -> None:
    text = README.read_text(encoding="utf-8")
    README.write_text(CONSOLE.sub(lambda m: f"```console\n$ {split(m[1])[0]}\n{run(split(m[1])[0], url)}\n```", text), encoding="utf-8")


if __name__ == "__main__":
    update(sys.argv[1])
