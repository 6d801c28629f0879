"""Writes the files of a model artifact; `handler/artifacts.py` says what they are and reads them. It writes no pickle."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from handler import artifacts
from handler.weights import tied_names

NEWER = "split_weight", "inflection", "templates"  # settings of the pipeline that versions before 0.3.0 do not know


def save(
    folder: Path,
    config: artifacts.ArtifactConfig,
    tensors: dict[str, dict[str, torch.Tensor]],
    vocabulary: list[str],
    codes: Path,
    counts: Path,
    dtype: torch.dtype | None = None,
) -> None:
    """Write an artifact. `tensors` holds a state dict for each network, which is stored as `dtype` if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / "config.json", config)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    (folder / "bpe.codes").write_bytes(codes.read_bytes())
    (folder / "bpe.vocab.txt").write_bytes(counts.read_bytes())
    for net in artifacts.NETS:
        aliases = tied_names(getattr(config, net))
        stored = {
            name: tensor.detach().cpu().to(dtype or tensor.dtype).contiguous()
            for name, tensor in tensors[net].items()
            if name not in aliases and name != "pos_encoder.pe"
        }
        save_file(stored, folder / f"{net}.safetensors")
        (folder / f"{net}.safetensors").chmod(0o644)  # safetensors makes it readable by its owner only; a container may run as another user
    write_manifest(folder)


def write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_config(file: Path, config: artifacts.ArtifactConfig) -> None:
    """Write `config.json`. The youngest settings are left out where they are off, so that earlier versions can read it too."""
    value = asdict(config)
    for name in NEWER:
        if not value["pipeline"][name]:
            del value["pipeline"][name]
    write_json(file, value)


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` for the files as they are now."""
    names = [*artifacts.FILES, *(name for name in artifacts.OPTIONAL if (folder / name).is_file())]
    write_json(folder / "manifest.json", {"files": {name: artifacts.fingerprint(folder / name) for name in names}})


def save_drafts(file: Path, contexts: np.ndarray, tokens: np.ndarray) -> None:
    """Write the arrays of an n-gram proposer (`decoding/proposers.py`)."""
    save_numpy({"contexts": contexts, "tokens": tokens}, file)
    file.chmod(0o644)


def save_lexicon(file: Path, counts: np.ndarray, split_counts: np.ndarray | None = None) -> None:
    """Write the counts that `lexicon.packed` returned."""
    save_numpy({"counts": counts} | ({} if split_counts is None else {"split_counts": split_counts}), file)
    file.chmod(0o644)
