"""What an archive carries of an artifact: the weights as a CPU computes with them, and no more."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from handler import artifacts
from handler.cpu.graph import quantised
from handler.weights import SCALES, looked_up
from scripts.common import artifact_files

VOCABULARY_TENSORS = "embedding_encoder.weight", "embedding_decoder.weight", "linear.weight", "linear.bias"  # a row for each token


def save_served(source: Path, folder: Path) -> bool:
    """Write to `folder` what a CPU needs of an artifact that is served in int8. Returns False, and writes nothing, if it has no ranges.

    Linear weights become the int8 and scales that `cpu/graph.py` makes of them, so a CPU computes the same bits; any
    other device computes in its own precision with int8 times scales. Of a constrained parse generator words are left out, which it
    neither reads nor writes. Files that stay as they are become symbolic links. Raises ArtifactError.
    """
    names = artifacts.members(source)
    if artifacts.RANGES not in names:
        return False
    config = artifacts.read_config(source / "config.json")
    syntax_end = artifacts.checked_vocabulary(source, config)[1]
    made = {"manifest.json"}
    parser = config.parse_generator
    if config.pipeline.constrained and parser.vocab_size > syntax_end and parser.generation_vocab_size is None:
        config = replace(config, parse_generator=replace(parser, vocab_size=syntax_end))
        artifact_files.write_config(folder / "config.json", config)
        made.add("config.json")
    for net in artifacts.NETS:
        c, stored = getattr(config, net), {}
        with safe_open(source / f"{net}.safetensors", framework="pt") as tensors:
            for name in tensors.keys():
                tensor = tensors.get_tensor(name)
                if name in VOCABULARY_TENSORS:
                    tensor = tensor[: c.vocab_size].contiguous()
                if tensor.ndim == 2 and not looked_up(name, c):
                    tensor, stored[name + SCALES] = map(torch.from_numpy, quantised(tensor.float().numpy()))
                stored[name] = tensor
        save_file(stored, folder / f"{net}.safetensors")
        (folder / f"{net}.safetensors").chmod(0o644)
        made.add(f"{net}.safetensors")
    for name in names:
        if name not in made:
            (folder / name).symlink_to((source / name).resolve())
    artifact_files.write_manifest(folder)
    return True
