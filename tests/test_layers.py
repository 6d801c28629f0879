"""Data flows one way: who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {  # module of handler/ -> modules of handler/ and packages outside the standard library it may import
    "errors": set(), "__init__": set(),
    "syntax": {"errors"},
    "text": {"errors", "subword_nmt"},
    "request": {"errors", "syntax"},
    "response": {"errors", "request"},
    "tagger": {"errors", "syntax", "numpy", "safetensors"},
    "model": {"torch"},
    "engine": {"model", "torch"},
    "drafts": {"numpy"},
    "lexicon": {"syntax", "numpy", "torch"},
    "machines": {"constraints", "lexicon", "model", "torch"},
    "decoding": {"drafts", "engine", "machines", "model", "torch"},
    "constraints": {"lexicon", "model", "syntax", "text", "torch"},
    "candidates": {"decoding", "lexicon"},
    "packed": {"model", "torch"},
    "graphs": {"constraints", "decoding", "model", "packed", "torch"},
    "pipeline": {"candidates", "constraints", "decoding", "drafts", "engine", "errors", "graphs", "lexicon", "machines", "model",
                 "request", "response", "syntax", "tagger", "text", "torch"},
    "artifacts": {"drafts", "engine", "errors", "graphs", "lexicon", "model", "numpy", "pipeline", "syntax", "tagger", "text", "torch",
                  "safetensors"},
    "synpg_handler": {"artifacts", "errors", "request", "response", "torch", "ts"},
    "inference": {"artifacts", "errors", "pipeline", "request", "response", "sys", "torch"},
}
STANDARD = {"codecs", "json", "re", "math", "random", "dataclasses", "typing", "pathlib", "hashlib", "logging", "os", "traceback",
            "unicodedata", "functools", "itertools", "time", "collections", "warnings", "contextlib", "copy"}


def imports(file: Path) -> set[str]:
    """Top-level packages a file imports anywhere; modules of handler by their own name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module in ("handler", "scripts") else [node.module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            found.add(parts[1] if parts[0] == "handler" and len(parts) > 1 else parts[0])
    return found - STANDARD


@pytest.mark.parametrize("file", sorted((ROOT / "handler").glob("*.py")), ids=lambda file: file.stem)
def test_the_package_imports_only_what_it_may(file):
    assert imports(file) <= ALLOWED[file.stem]


def test_scripts_leave_torchserve_and_the_entry_alone():
    for file in (ROOT / "scripts").glob("*.py"):
        assert not imports(file) & {"ts", "synpg_handler", "tests"}, file.name


def test_importing_the_package_imports_nothing():
    assert imports(ROOT / "handler" / "__init__.py") == set()
