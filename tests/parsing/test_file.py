"""The file of a parser: nothing broken is served."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from handler import artifacts
from handler.errors import ArtifactError


def spoil(trained, tmp_path, change, header=None):
    arrays = load_file(trained / "parser.safetensors")
    parser = artifacts.load_parser(trained / "parser.safetensors")
    whole = {"format": 1, "layers": 2, "heads": 4, "tags": parser.tags, "labels": [" ".join(chain) for chain in parser.chains]}
    file = tmp_path / "spoiled.safetensors"
    save_file(
        {name: np.ascontiguousarray(a) for name, a in {**arrays, **change(arrays)}.items() if a is not None},
        file,
        {"parser": json.dumps({**whole, **header} if isinstance(header, dict) else whole if header is None else header)},
    )
    return file


def with_piece(pieces, old, new):
    return np.frombuffer(pieces.tobytes().replace(old, new), np.uint8)


@pytest.mark.parametrize(
    "change, found",
    [
        (lambda a: {"tags.bias": None}, "tags.bias missing"),
        (lambda a: {"more": a["tags.bias"]}, "more unknown"),
        (lambda a: {"tags.weight": a["tags.weight"].astype(np.float32)}, "float32"),
        (lambda a: {"tags.weight": a["tags.weight"][:-1]}, "tags.weight of int8"),
        (lambda a: {"labels.scale": a["labels.scale"][:-1]}, "labels.scale"),
        (lambda a: {"0.up.weight": a["0.up.weight"][:-1]}, "0.up.scale|0.down.weight"),
        (lambda a: {"left.weight": a["left.weight"][:-1]}, "left.scale|right.weight"),
        (lambda a: {"embedding": a["embedding"][:, :-1]}, "embedding of uint8"),
        (lambda a: {"embedding": a["embedding"][:-1]}, "embedding.scale"),
        (lambda a: {"shape": a["shape"][:-1]}, "shape of float16"),
        (lambda a: {"shape": a["shape"][:, :-1]}, "a width"),
        (lambda a: {"shape": None}, "a width"),
        (lambda a: {"position": a["position"][:9]}, "positions"),
        (lambda a: {"norm.gain": a["norm.gain"] * np.float16("nan")}, "not-a-number"),
        (lambda a: {"norm.gain": a["norm.gain"][None]}, "norm.gain of float16"),
        (lambda a: {"pieces": a["pieces"] | 0x80}, "UTF-8"),
        (lambda a: {"pieces": with_piece(a["pieces"], b"\ncat\n", b"\n")}, "distinct pieces"),
        (lambda a: {"pieces": with_piece(a["pieces"], b"cat", b"dog")}, "distinct pieces"),
        (lambda a: {"pieces": with_piece(a["pieces"], b"[SEP]", b"[PAD]")}, "begin with"),
    ],
)
def test_a_broken_file_is_refused(trained, tmp_path, change, found):
    with pytest.raises(ArtifactError, match=f"spoiled.safetensors: expected .*({found})"):
        artifacts.load_parser(spoil(trained, tmp_path, change))


@pytest.mark.parametrize(
    "header, found",
    [
        ([], "format 1"),
        ({"format": 2}, "format 1"),
        ({"more": 1}, "the keys"),
        ({"layers": 0}, "layers"),
        ({"layers": 3}, "2.down"),
        ({"layers": True}, "layers"),
        ({"heads": "4"}, "heads"),
        ({"heads": 5}, "5 heads"),
        ({"tags": ["NN", "NN"]}, "distinct tags"),
        ({"tags": ["NP"]}, "part-of-speech"),
        ({"tags": []}, "part-of-speech"),
        ({"tags": "NN"}, "distinct tags"),
        ({"tags": ["NN", "VB"]}, "tags.weight"),
        ({"labels": []}, "labels"),
        ({"labels": [""]}, "labels"),
        ({"labels": ["NP"]}, "labels"),
        ({"labels": ["", "NN"]}, "labels"),
        ({"labels": ["", "S  VP"]}, "labels"),
        ({"labels": ["", "ROOT"]}, "labels"),
        ({"labels": ["", "NP", ""]}, "distinct labels"),
        ({"labels": ["", "NP"]}, "labels.weight"),
    ],
)
def test_a_foreign_header_is_refused(trained, tmp_path, header, found):
    with pytest.raises(ArtifactError, match=f"spoiled.safetensors: expected .*{found}"):
        artifacts.load_parser(spoil(trained, tmp_path, lambda a: {}, header))


def test_a_file_that_is_none_is_refused(trained, tmp_path):
    with pytest.raises(ArtifactError, match="found none"):
        artifacts.load_parser(tmp_path / "absent.safetensors")
    whole = (trained / "parser.safetensors").read_bytes()
    for content in b"", b"{}", whole[: len(whole) // 2]:
        (tmp_path / "cut.safetensors").write_bytes(content)
        with pytest.raises(ArtifactError, match="cut.safetensors"):
            artifacts.load_parser(tmp_path / "cut.safetensors")
    for metadata in None, {"parser": "{"}:
        save_file({}, tmp_path / "bare.safetensors", metadata)
        with pytest.raises(ArtifactError, match="bare.safetensors"):
            artifacts.load_parser(tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="precision"):
        artifacts.load_parser(trained / "parser.safetensors", "int4")
