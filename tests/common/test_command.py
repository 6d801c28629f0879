"""How every command ends: what a user did wrong is one sentence and status 1, Ctrl-C is a sentence and status 130."""

import ast
import gzip
import importlib
import os
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.common import command
from scripts.common.command import UserError, run
from scripts.common.paths import ROOT
from scripts.container.environment import SettingsError
from tests.factories import RAIN, tiny_artifact

COMMANDS = sorted(file.stem for file in (ROOT / "scripts").glob("*.py") if file.stem != "__init__")
MAINS = [*(f"scripts.{name}" for name in COMMANDS), "scripts.bench.__main__", "scripts.container.entrypoint"]
LIMIT = 20_000  # bytes of a file, where the disk is to be full
TREE = RAIN["synt"]
BROKEN = r"broken\.tsv:1: label 2 of the tree is not one of the Penn Treebank's"

# command, arguments ({x} is a file or folder of `given`), what is said
MISTAKES = [
    ("serve", "start --archive none.mar --state {state}", r"There is no archive .*none\.mar; build it with `.*`"),
    ("serve", "start --archive {text} --state {state}", r".*words\.txt is not a model archive, or it is damaged: File is not a zip file"),
    (
        "serve",
        "start --archive {flipped} --state {state}",
        r".*flipped\.mar is not a .*: x does not match its checksum",
    ),
    ("serve", "start --archive {zip} --state {text}/state", r".*words\.txt/state/logs: Not a directory"),
    ("serve", "start --archive {zip} --state {state} --config none.properties", r"none\.properties: No such file or directory"),
    ("build_archive", "--artifact none", r"The artifact none cannot be served: manifest\.json: expected a file, found none"),
    ("build_archive", "--artifact {artifact} --output x.zip", r"x\.zip must end in \.mar"),
    ("build_archive", "--artifact {artifact} --output {text}/x.mar", r".*words\.txt: (Not a directory|File exists)"),
    ("build_image", "", r"There is no docker command on this machine; .*"),
    (
        "import_checkpoint",
        "--synpg {text} --parse-generator {text} --dictionary none --bpe-codes {text} --bpe-vocab {text} {state}",
        "none: No such file or directory",
    ),
    (
        "import_checkpoint",
        "--synpg {text} --parse-generator {text} --dictionary {text} --bpe-codes {text} --bpe-vocab {text} {state}",
        r".*words\.txt is not a pickled dictionary, or it is damaged",
    ),
    ("invoke", "--url http://127.0.0.1:1 --sent x", r"Nothing answers at 127\.0\.0\.1:1; is the server running .*\?"),
    ("invoke", "--artifact none --sent x", r"manifest\.json: expected a file, found none"),
    ("invoke", "--file none.jsonl", r"none\.jsonl: No such file or directory"),
    ("invoke", "--file {latin}", r"The input is not text in UTF-8: .*"),
    ("paraphrase", "none.txt", r"none\.txt: No such file or directory"),
    ("paraphrase", "{latin}", r"There is no sentence in .*latin\.tsv that can be read; line 1: it is not text in UTF-8 \(byte 3\)"),
    ("paraphrase", "{empty}", r"There is no sentence in .*empty\.tsv"),
    ("paraphrase", "{text} --sent-column x", r".*words\.txt is plain text, which has no columns; .*"),
    ("paraphrase", "{data} --sent-column x", r".*data\.tsv has no column x; its columns are .*"),
    ("paraphrase", "{text} --artifact none", r"manifest\.json: expected a file, found none"),
    ("paraphrase", "{text} --artifact none --processes 2", r"manifest\.json: expected a file, found none"),
    ("paraphrase", "{text} --url http://127.0.0.1:1 --output {state}/x.csv", r".*state/x\.csv\.part: No such file or directory"),
    ("paraphrase", "{text} --output {data}", r".*data\.tsv exists already; give another --output, or remove it"),
    ("paraphrase", "{flipped_gz}", r".*flipped\.tsv\.gz is not a gzipped file, or it is damaged: .*"),
    ("paraphrase", "{deep}", r"There is no sentence in .*deep\.jsonl that can be read; line 1: it is not JSON: it is nested too deep"),
    ("invoke", "--file {data} --output {deep}", r".*deep\.jsonl is no output of this command; give another --output"),
    ("train", "{state} --train {flipped_gz} --dev {data}", r"flipped\.tsv\.gz is not a gzipped file, or not all of it: .*"),
    ("paraphrase", "{text} --url ftp://x", "ftp://x/invocations is not an http address"),
    ("calibrate", "none --data {data}", r"manifest\.json: expected a file, found none"),
    ("calibrate", "{artifact} --data none.tsv", r"none\.tsv: No such file or directory"),
    ("calibrate", "{artifact} --data {broken}", rf"broken\.tsv: no sentence that this artifact can read; {BROKEN}"),
    ("train", "{state} --train none.tsv --dev {data}", r"none\.tsv: No such file or directory"),
    ("train", "{state} --train {data} --dev none.tsv.gz", r"none\.tsv\.gz: No such file or directory"),
    ("train", "{state} --train {broken} --dev {data}", rf"broken\.tsv: no sentence is left to learn from; {BROKEN}"),
    ("train", "{state} --train {data} --dev {empty}", r"empty\.tsv: no sentence is left to learn from; the file is empty"),
    ("train", "{state} --train {cut} --dev {data}", r"cut\.tsv\.gz is not a gzipped file, or not all of it: .*"),
    ("train", "{state} --train {plain} --dev {data}", r"plain\.tsv\.gz is not a gzipped file, or not all of it: .*"),
    ("train", "{state} --train {latin} --dev {data}", r"latin\.tsv, after line 0: not text in UTF-8: .*"),
    ("train", "{state} --train {text} --dev {data}", r"words\.txt:1: expected 2 columns separated by tabs, found 1"),
    ("train", "{state} --train {short} --dev {data}", r"short\.tsv: too few words to learn word pieces from; .*"),
    ("train", "{text}/run --train {data} --dev {data}", r".*words\.txt/run/corpus: Not a directory"),
    ("train", "{state} --from none --train {data} --dev {data}", r"manifest\.json: expected a file, found none"),
    ("train", "{state} --export {state}/out", r".*parse_generator\.pt is missing: train the parse generator first"),
    ("train_tagger", "{state}/t.safetensors --train none.tsv --dev {data}", r"none\.tsv: No such file or directory"),
    ("train_tagger", "{state}/t.safetensors --train {broken} --dev {data}", rf"broken\.tsv: expected parses, found none .*; {BROKEN}"),
    ("evaluate", "none --rebuild {data}", r"manifest\.json: expected a file, found none"),
    ("evaluate", "{artifact} --rebuild none.tsv", r"none\.tsv: No such file or directory"),
    ("evaluate", "{artifact} --rebuild {broken}", BROKEN),
    ("evaluate", "{artifact} --pairs {pairs}", r"pairs\.tsv:2: 1 opening bracket has no closing one"),
    ("templates", "--artifact none", r"manifest\.json: expected a file, found none"),
    ("templates", "--corpus none.tsv", r"none\.tsv: No such file or directory"),
    ("templates", "--corpus {empty}", r"There is no parse in .*empty\.tsv"),
    ("templates", "--corpus {broken}", r"There is no parse in .*broken\.tsv"),
    ("parse", "{text} --artifact {artifact}", r"The artifact .* has no parser\.safetensors; `python -m scripts\.train_parser` trains one"),
    ("parse", "{text} --artifact none", "none: expected a file, found none"),
    ("parse", "{text} --artifact {text}", r"words\.txt: expected a safetensors file, found .*"),
    ("parse", "none.txt", r"none\.txt: No such file or directory"),
    ("parse", "{empty}", r"There is no sentence in .*empty\.tsv"),
    ("parse", "{latin}", r"The input is not text in UTF-8: .*"),
    ("train_parser", "{state} --train none.tsv --dev {data} --encoder {encoder}", r"none\.tsv: No such file or directory"),
    (
        "train_parser",
        "{state} --train {broken} --dev {data} --encoder {encoder}",
        rf"broken\.tsv: expected parses, found none .*; {BROKEN}",
    ),
    ("train_parser", "{state} --train {data} --dev {empty} --encoder {encoder}", r"empty\.tsv: expected parses, .*; the file is empty"),
    (
        "train_parser",
        "{state} --train {data} --dev {data} --encoder none",
        r"none is not a pretrained encoder: there is no config\.json in it",
    ),
    ("train_parser", "{state} --export {state}/p.safetensors", r".*parser\.pt is missing: train first"),
    ("push_image", "", "No AWS region is set; .*"),
    ("deploy", "serverless", "No AWS region is set; .*"),
    ("deploy", "serverless --memory 1000", "--memory must be one of .*"),
    ("delete", "--region eu-west-1 --profile none", r"The config profile \(none\) could not be found; .*"),
    ("bench.__main__", "--demo none --only quality", r".*: No such file or directory|config\.json: expected a file, found none"),
    ("container.entrypoint", "train", "This container understands `serve` and nothing else, not 'train'"),
    ("entrypoint", "train", "This container understands `serve` and nothing else, not 'train'"),
]


def flipped(data: bytes) -> bytes:
    """The data with a byte of its middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> dict[str, Path]:
    """Files that are not what they should be, and some that are; an artifact."""
    folder = tmp_path_factory.mktemp("given")
    files = {
        "text": ("words.txt", b"only words\n"),
        "latin": ("latin.tsv", "caf\u00e9\t(ROOT)\n".encode("latin-1")),
        "empty": ("empty.tsv", b""),
        "broken": ("broken.tsv", b"x\t(ROOT (FOO x))\n"),
        "data": ("data.tsv", f"{RAIN['sent']}\t{TREE}\n".encode() * 20),
        "short": ("short.tsv", b"a\t(ROOT (NN a))\n"),
        "pairs": ("pairs.tsv", f"a\tb\t{TREE}\t{TREE}\na\tb\t{TREE}\t{TREE[:-1]}\n".encode()),
        "cut": ("cut.tsv.gz", gzip.compress(b"x\t(ROOT (NN x))\n" * 99)[:-9]),
        "flipped_gz": ("flipped.tsv.gz", flipped(gzip.compress(b"x\t(ROOT (NN x))\n" * 999))),
        "deep": ("deep.jsonl", b"[" * 100_000 + b"\n"),
        "plain": ("plain.tsv.gz", b"x\t(ROOT (NN x))\n"),
    }
    for name, content in files.values():
        (folder / name).write_bytes(content)
    (folder / "encoder").mkdir()
    for name in "config.json", "tokenizer.json", "model.safetensors":
        (folder / "encoder" / name).touch()
    with zipfile.ZipFile(folder / "any.mar", "w") as archive:
        archive.writestr("x", "contents")
    (folder / "flipped.mar").write_bytes((folder / "any.mar").read_bytes().replace(b"contents", b"contends"))
    return {
        **{key: folder / name for key, (name, _) in files.items()},
        "zip": folder / "any.mar",
        "flipped": folder / "flipped.mar",
        "encoder": folder / "encoder",
        "artifact": tiny_artifact(folder / "artifact"),
    }


@pytest.fixture
def call(given, tmp_path, monkeypatch, capsys):
    """Run a command here, without Docker and without AWS; its status, output and errors."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)

    def call(name: str, arguments: str) -> tuple[int, str, str]:
        words = [word.format(**given, state=tmp_path / "state") for word in arguments.split()]
        status = importlib.import_module(f"scripts.{name}").main(words)
        return status, *capsys.readouterr()

    return call


@pytest.mark.parametrize("name, arguments, said", MISTAKES, ids=lambda value: value if "{" not in value else "")
def test_a_mistake_is_one_sentence(call, monkeypatch, name, arguments, said):
    if name == "build_image":
        monkeypatch.setenv("PATH", "")
    status, _, err = call(name, arguments)
    assert status == 1 and "Traceback" not in err
    assert re.fullmatch(rf"(?:{said})\.?\n", err), err


def test_every_command_is_tried():
    # `release` is given nothing that could be wrong; what it finds is in tests/test_release.py
    assert {f"scripts.{name}" for name, *_ in MISTAKES} | {"scripts.release"} == set(MAINS)


@pytest.fixture
def full_disk():
    """No file may become larger than LIMIT: what is written beyond it fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("build_archive", "--artifact {artifact} --output {state}/x.tar.gz --format tgz"),
        ("build_archive", "--artifact {artifact} --output {state}/x.mar"),
        ("train", "{state} --from {artifact} --train {data} --dev {data} --epochs 0.1"),
    ],
)
def test_a_full_disk_is_one_sentence(call, full_disk, tmp_path, name, arguments):
    status, _, err = call(name, arguments)
    assert status == 1 and "Traceback" not in err and "File too large" in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("state/x.*"))


def test_a_state_file_that_is_no_record_is_no_server(call, tmp_path):
    (tmp_path / "state").mkdir()
    for text in "[]", "{}", "1", '{"group": "1", "url": "", "temporary": "", "state": ""}', "no JSON", "null":
        (tmp_path / "state" / "server.json").write_text(text)
        assert call("serve", "stop --state {state}") == (0, "No server is running.\n", "")


# `run` itself


def raiser(error: BaseException):
    def body() -> int:
        raise error

    return body


@pytest.mark.parametrize(
    "error, status, said",
    [
        (UserError("As it is."), 1, "As it is.\n"),
        (SettingsError("As it is."), 1, "As it is.\n"),
        (OSError(28, "No space left on device", "a/b"), 1, "a/b: No space left on device.\n"),
        (OSError(28, "No space left on device"), 1, "No space left on device.\n"),
        (PermissionError(13, "Permission denied", "a"), 1, "a: Permission denied.\n"),
        (TimeoutError(), 1, "TimeoutError.\n"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "The input is not text in UTF-8: .*\n"),
        (KeyError("told"), 1, "The key 'told'.\n"),
        (KeyboardInterrupt(), 130, "\nStopped here.\n"),
    ],
)
def test_what_run_says(capsys, error, status, said):
    sentences: command.Sentences = {KeyError: lambda error: f"The key {error}."}
    assert run(raiser(error), sentences, "Stopped here.") == status
    assert re.fullmatch(said, capsys.readouterr().err)


def test_a_bug_keeps_its_traceback():
    for error in ValueError("x"), KeyError("x"), AssertionError():
        with pytest.raises(type(error)):
            run(raiser(error))
    assert run(lambda: 0) == 0 and run(lambda: 1) == 1


# The source of the commands


def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", [*(module for module in MAINS if module != "scripts.entrypoint"), "scripts.playground.__main__"])
def test_every_command_ends_by_run(module):
    [main] = [node for node in tree_of(module).body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert ast.unparse(main.args) == "argv: list[str] | None=None" and ast.unparse(main.returns) == "int"
    assert ast.unparse(main.body[-1]).startswith("return run("), ast.unparse(main.body[-1])
    assert not any(isinstance(node, ast.Try) for node in ast.walk(main))


def test_no_module_ends_the_program_or_reads_the_command_line_for_others():
    for file in (ROOT / "scripts").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        place = file.relative_to(ROOT / "scripts")
        assert "raise SystemExit" not in text, place
        reads = "aws/command.py", "bench/__main__.py", "bench/container.py", "bench/gpu.py", "playground/__main__.py"
        assert len(place.parts) == 1 or str(place) in reads or "argparse" not in text, place


WITHOUT_THE_REST = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        room = name.split(".")[1:2]
        if name.split(".")[0] == "handler" or name.startswith("scripts.") and room[0] not in ("common", "container", "serving"):
            raise ModuleNotFoundError(f"{name} is not in the image")

sys.meta_path.insert(0, Absent())
import scripts.container.__main__, scripts.container.class_archive
"""


def test_the_entry_point_needs_nothing_that_the_image_has_not():
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_REST], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
