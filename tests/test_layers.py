"""The layers: which room may import which, checked in the source of both packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.common.paths import ROOT

# Room of handler/ (a folder, or a module at its top) -> the rooms whose modules it may import, and the packages besides.
ROOMS = {
    "__init__": {"paraphraser"},  # for type checkers; it is imported when it is first asked for
    "errors": set(),
    "wire": {"errors", "language"},
    "language": {"errors", "numpy", "safetensors", "subword_nmt"},
    "model": {"torch"},
    "decoding": {"language", "model", "numpy", "torch"},
    "cpu": {"decoding", "language", "model", "numpy", "onnxruntime", "torch"},
    "gpu": {"decoding", "language", "model", "numpy", "torch"},
    "movement": {"language"},
    "parsing": {"cpu", "errors", "language", "numpy"},
    "planning": {"decoding", "errors", "language", "model", "movement", "wire"},
    "pipeline": {"decoding", "errors", "language", "model", "planning", "wire", "numpy", "torch"},
    "weights": {"cpu", "errors", "model", "safetensors", "torch"},
    "artifacts": {
        *("cpu", "decoding", "errors", "gpu", "language", "model", "parsing", "pipeline", "planning", "weights"),
        *("numpy", "safetensors", "torch"),
    },
    "scheduling": {"errors", "language", "pipeline", "wire"},
    "paraphraser": {"artifacts", "errors", "language", "pipeline", "scheduling", "wire", "torch"},
    "metrics": {"pipeline", "wire", "ts"},
    "synpg_handler": {"metrics", "paraphraser", "pipeline", "scheduling", "wire", "torch", "ts"},
    "sitecustomize": set(),
    "sagemaker_toolkit": {"paraphraser", "scheduling", "wire", "torch"},
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(file: Path) -> str:
    """The dotted name of a source file."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path) -> dict[str, set[str]]:
    """What a file imports anywhere: dotted modules of ours or packages of others -> the names taken from each."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / (inner.replace(".", "/") + ".py")).is_file() or (ROOT / inner.replace(".", "/")).is_dir()
                found.setdefault(inner if is_module else node.module, set()).update(() if is_module else (alias.name,))
    return {name: taken for name, taken in found.items() if name.split(".")[0] not in sys.stdlib_module_names}


def room_of(module: str) -> str:
    """The room of a module of handler/; a package of others is itself."""
    parts = module.split(".")
    return parts[0] if parts[0] != "handler" else parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("file", sources("handler"), ids=module_of)
def test_a_room_imports_only_what_it_may(file):
    mine = room_of(module_of(file))
    assert {room_of(name) for name in imports(file)} - {mine} <= ROOMS[mine]


def test_every_room_is_named():
    assert {room_of(module_of(file)) for file in sources("handler")} == set(ROOMS)


def test_no_module_takes_a_private_name_of_another():
    for file in [*sources("handler"), *sources("scripts")]:
        for module, names in imports(file).items():
            private = {name for name in (*names, *module.split(".")) if name.startswith("_") and not name.startswith("__")}
            assert module.split(".")[0] not in ("handler", "scripts") or not private, f"{module_of(file)} takes {private} of {module}"


@pytest.mark.parametrize("package", ["handler", "scripts"])
def test_there_is_no_circle(package):
    graph = {module_of(file): {name for name in imports(file) if name.split(".")[0] == package} for file in sources(package)}
    while graph:  # take away what imports nothing that is left
        free = {module for module, needs in graph.items() if not needs & (graph.keys() - {module})}
        assert free, f"a circle among {sorted(graph)}"
        graph = {module: needs for module, needs in graph.items() if module not in free}


FILE_CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "safe_open", "load_file", "save_file", "mkdir", "unlink"}


def test_only_what_reads_artifacts_opens_files():
    for file in sources("handler"):
        calls = [node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        names = {f.id if isinstance(f, ast.Name) else f.attr for f in calls if isinstance(f, (ast.Name, ast.Attribute))}
        assert file.name in ("artifacts.py", "weights.py") or not names & FILE_CALLS, f"{module_of(file)} calls {names & FILE_CALLS}"


def test_the_pipeline_never_asks_which_backend_it_has():
    text = (ROOT / "handler" / "pipeline.py").read_text(encoding="utf-8")
    assert "PlainBackend" not in text and "isinstance(self" not in text and not {"cpu", "gpu"} & ROOMS["pipeline"]


def test_scripts_leave_torchserve_the_entry_and_the_tests_alone():
    for file in sources("scripts"):
        assert not {name for name in imports(file) if name.split(".")[0] in ("ts", "tests") or name == "handler.synpg_handler"}, file


def test_importing_a_package_imports_nothing():
    for package in ("handler", "scripts"):
        for file in sources(package):
            if file.name == "__init__.py" and file.parent.name != "handler":
                assert imports(file) == {}, module_of(file)
    ask = "import sys, handler; print([m for m in sys.modules if m.startswith('handler.') or m == 'torch'])"
    assert subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"
