"""The file that a trained source parser becomes; `handler/parsing/parser.py` says what is in it and reads it."""

import json
from pathlib import Path

import numpy as np
from safetensors import numpy as safetensors
from torch import Tensor, nn

from handler.parsing.parser import FORMAT, GROUP
from scripts.training.parser_network import Net


def quantize_embedding(table: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(V, D) as four-bit numbers (V, D/2) uint8 and the scales (V, D/GROUP) float16 of groups; see the file format."""
    groups = table.double().numpy().reshape(len(table), -1, GROUP)
    largest = np.abs(groups).max(-1, keepdims=True)
    best, scales, error = rounded_by(groups, largest / 7.5)
    for share in (0.92, 0.85, 0.78, 0.7):  # cutting off the outermost numbers can be the smaller error
        q, scale, e = rounded_by(groups, largest * share / 7.5)
        better = e < error
        best, scales, error = np.where(better, q, best), np.where(better, scale, scales), np.where(better, e, error)
    packed = (best + 8).astype(np.uint8).reshape(len(table), -1)
    return packed[:, ::2] | packed[:, 1::2] << 4, scales[..., 0].astype(np.float16)


def rounded_by(groups: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers as multiples, from -8 to 7, of their group's scale; the scale in float16; the square of the error of each group."""
    scale = np.maximum(scale, 1e-6).astype(np.float16)
    q = np.clip(np.rint(groups / scale), -8, 7)
    return q, scale, ((q * scale - groups) ** 2).sum(-1, keepdims=True)


def write(net: Net, pieces: list[str], tags: list[str], labels: list[str], embedding: tuple[np.ndarray, np.ndarray], file: Path) -> None:
    """Write the file. Weights are rounded to a 127th of their row's largest."""
    half = lambda tensor: tensor.detach().numpy().astype(np.float16)  # noqa: E731
    arrays = {
        "pieces": np.frombuffer("\n".join(pieces).encode("utf-8"), np.uint8),
        "embedding": embedding[0],
        "embedding.scale": embedding[1],
        "position": half(net.position),
        "shape": half(net.shape),
    }
    for path, module in net.named_modules():
        name = path.removeprefix("layers.")
        if isinstance(module, nn.LayerNorm):
            arrays |= {name + ".gain": half(module.weight), name + ".bias": half(module.bias)}
        elif isinstance(module, nn.Linear):
            weight = module.weight.detach().double().numpy()
            scale = np.maximum(np.abs(weight).max(1) / 127, 1e-7).astype(np.float16)
            arrays |= {
                name + ".weight": np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8),
                name + ".scale": scale,
                name + ".bias": half(module.bias),
            }
    header = {"format": FORMAT, "layers": len(net.layers), "heads": net.layers[0].heads, "tags": tags, "labels": labels}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(safetensors.save(arrays, {"parser": json.dumps(header)}))  # save_file would make it its owner's alone
