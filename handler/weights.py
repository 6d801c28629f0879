"""Read one network from its safetensors file. Names, shapes, types and numbers are checked first.

A file has fp32, fp16 or bf16; one in an archive for CPUs has its linear weights in int8, each with `.scales`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.overrides import TorchFunctionMode

from handler.cpu.graph import Quantised
from handler.errors import ArtifactError
from handler.model.network import ModelConfig, PositionTable, SynPG

STORED_DTYPES = torch.float32, torch.float16, torch.bfloat16
SCALES = ".scales"  # of a tensor in int8: what its name has more


def tied_names(config: ModelConfig) -> tuple[str, ...]:
    """The names of tensors that are the same as `embedding_decoder.weight` (tied weights)."""
    return {"none": (), "output": ("linear.weight",), "all": ("linear.weight", "embedding_encoder.weight")}[config.tie]


class Uninitialised(TorchFunctionMode):
    """Makes torch.nn.init do nothing, because the weights are overwritten anyway. On the meta device torch would even import its
    compiler to initialise them, which takes a second."""

    def __torch_function__(self, function: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def load_net(file: Path, config: ModelConfig, device: torch.device) -> SynPG:
    """Load one network in fp32 onto `device`, in evaluation mode. The name, shape and type of every tensor are checked first."""
    tensors, rounded = _stored(file, config, device)
    tensors |= {name: weight.float() * scales[:, None] for name, (weight, scales) in rounded.items()}
    return _network(config, tensors, device)


def load_rounded(file: Path, config: ModelConfig) -> tuple[SynPG, dict[str, Quantised]]:
    """The same for the int8 engine of a CPU: linear weights that the file has in int8 stay as they are, and the network has none for them.

    So no fp32 is made of them, which would need four times their memory and be rounded to the same int8 again.
    """
    tensors, rounded = _stored(file, config, torch.device("cpu"))
    weights = {name: Quantised(weight.numpy(), scales.numpy()) for name, (weight, scales) in rounded.items()}
    tensors |= {name: torch.from_numpy(weights.pop(name).floats()) for name in rounded if looked_up(name, config)}
    return _network(config, tensors, torch.device("cpu")), weights


def _stored(
    file: Path, config: ModelConfig, device: torch.device
) -> tuple[dict[str, torch.Tensor], dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """The tensors of a network's file, in fp32, and those that it has in int8, with their scales. Raises ArtifactError."""
    expected, aliases = {name: tuple(p.shape) for name, p in _hollow(config).state_dict().items()}, tied_names(config)
    try:
        with safe_open(file, framework="pt", device=str(device)) as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    except SafetensorError as error:
        raise ArtifactError(file.name, "a safetensors file", str(error)) from None
    scales = {name: tensors.pop(name + SCALES) for name in list(tensors) if name + SCALES in tensors}
    missing, extra = expected.keys() - tensors.keys() - set(aliases), tensors.keys() - expected.keys()
    if missing or extra:
        raise ArtifactError(
            file.name,
            f"the {len(expected) - len(aliases)} tensors of config.json's network",
            f"{some(missing)} missing, {some(extra)} unknown",
        )
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != expected[name]:
            raise ArtifactError(file.name, f"{name} of shape {expected[name]}", f"{tuple(tensor.shape)}")
        if name in scales:
            _check_scales(file, name, tensor, scales[name])
            continue
        if tensor.dtype not in STORED_DTYPES:
            raise ArtifactError(file.name, f"{name} in fp32, fp16 or bf16", str(tensor.dtype).removeprefix("torch."))
        tensors[name] = tensor.float()
        if not (tensors[name].sum().isfinite() or tensors[name].isfinite().all()):  # the sum is 5 times faster
            raise ArtifactError(file.name, f"finite numbers in {name}", "infinity or not-a-number")
    return tensors, {name: (tensors.pop(name), scale) for name, scale in scales.items()}


def looked_up(name: str, config: ModelConfig) -> bool:
    """Whether single rows of a weight are used, and not only its products: those are never rounded in an archive."""
    return "embedding" in name or (name == "linear.weight" and config.generation_vocab_size is not None)


def _check_scales(file: Path, name: str, weight: torch.Tensor, scales: torch.Tensor) -> None:
    """Raise ArtifactError unless these are weights in int8 and their scales."""
    if weight.dtype != torch.int8 or weight.ndim != 2 or scales.dtype != torch.float32 or scales.shape != weight.shape[:1]:
        raise ArtifactError(
            file.name, f"{name} (N, K) in int8 and {SCALES[1:]} (N) in fp32", f"{tuple(weight.shape)} and {tuple(scales.shape)}"
        )
    if not (128 * scales).isfinite().all():
        raise ArtifactError(file.name, f"finite numbers in {name}", "infinity or not-a-number")


def _hollow(config: ModelConfig) -> SynPG:
    """A network of shapes only."""
    with torch.device("meta"), Uninitialised():
        return SynPG(config)


def _network(config: ModelConfig, tensors: dict[str, torch.Tensor], device: torch.device) -> SynPG:
    """A network with these weights, in evaluation mode. Others have no content."""
    net = _hollow(config)
    aliases = tied_names(config)
    tensors = {**tensors, **{alias: tensors["embedding_decoder.weight"] for alias in aliases}}
    net.load_state_dict(tensors, strict=False, assign=True)  # `_stored` has checked the names
    net.pos_encoder = PositionTable(max(config.syntax_width, config.max_steps), config.d_model).to(device)
    return net.eval().requires_grad_(False)


def some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return "none" if not listed else ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
