"""Read the files of the published code: the pickled dictionary and the networks' checkpoints.

Nothing in the files is run. What is not as it should be raises CheckpointError.
"""

import collections
import pickle
import re
import warnings
from pathlib import Path

import torch
from torch import Tensor

from handler.language.trees import LABELS
from handler.language.vocabulary import SPECIALS, Vocabulary
from handler.model.network import ModelConfig, SynPG, sinusoids
from scripts.common.command import UserError
from scripts.common.damage import check_members


class CheckpointError(UserError):
    """Files that cannot become an artifact; one sentence."""


class DictionaryUnpickler(pickle.Unpickler):
    """Resolves the four names a pickled dictionary needs. Its own class becomes a bare holder of attributes."""

    def __init__(self, stream):
        super().__init__(stream)
        self.name = stream.name
        self.known = {
            ("utils", "Dictionary"): type("Dictionary", (), {}),
            ("builtins", "int"): int,
            ("builtins", "set"): set,
            ("collections", "defaultdict"): collections.defaultdict,
        }

    def find_class(self, module: str, name: str):
        if (module, name) not in self.known:
            raise CheckpointError(
                f"{self.name} asks for {some([module])}.{some([name])}, which no dictionary needs: "
                "it was not resolved, and nothing was run."
            )
        return self.known[module, name]


def read_dictionary(file: Path) -> list[str]:
    """The tokens of a pickled `utils.Dictionary`, in the order of their ids."""
    refuse_web_page(file)
    with open(file, "rb") as stream:
        try:
            holder = DictionaryUnpickler(stream).load()
        except (CheckpointError, OSError):
            raise
        except Exception:  # a broken pickle raises whatever its bytes run into
            raise CheckpointError(f"{file} is not a pickled dictionary, or it is damaged.") from None
    by_id, by_word = (getattr(holder, name, None) for name in ("idx2word", "word2idx"))
    if type(by_id) is not dict or type(by_word) is not dict:
        raise CheckpointError(f"{file} holds something ({type(holder).__name__}) without the tables idx2word and word2idx.")
    if not all(type(i) is int for i in by_id):
        raise CheckpointError(f"{file}: idx2word has keys that are not integers.")
    gaps = [i for i in range(len(by_id)) if i not in by_id]
    if gaps:
        raise CheckpointError(f"{file}: its {len(by_id)} ids are not contiguous, {gaps[0]} is missing.")
    tokens = [by_id[i] for i in range(len(by_id))]
    for i, token in enumerate(tokens):
        if not isinstance(token, str) or not token or not encodable(token):
            raise CheckpointError(f"{file}: entry {i} is {ascii(token)[:40]}, not a word.")
        if by_word.get(token) != i:
            raise CheckpointError(f"{file}: idx2word and word2idx disagree about entry {i}, {ascii(token)[:40]}.")
    if len(by_word) != len(tokens):
        raise CheckpointError(f"{file}: word2idx has {len(by_word)} words, idx2word {len(tokens)}.")
    if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
        raise CheckpointError(f"{file} begins with {some(tokens[: len(SPECIALS)], 5)}, expected {', '.join(SPECIALS)}.")
    missing = sorted(LABELS - Vocabulary(tokens).syntax_ids.keys())
    if missing:
        raise CheckpointError(
            f"{file} lacks the syntax tokens {some([f'<{label}>' for label in missing])} after its {len(SPECIALS)} special entries."
        )
    return tokens


def encodable(token: str) -> bool:
    try:
        token.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint in fp32, by their published names."""
    refuse_web_page(file)
    try:
        with open(file, "rb") as stream:
            zipped = stream.read(4) == b"PK\x03\x04"  # what torch looks at; its older format has no checksums
        if zipped:
            check_members(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript; what is wrong is said below
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a dozen kinds, and a text that recommends to load it without weights_only
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise CheckpointError(
                f"{file} asks for {some([named[1]])}, which no tensor needs: it was not resolved, and nothing was run."
            ) from None
        raise CheckpointError(f"{file} is not a checkpoint of tensors, or it is damaged.") from None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{file} holds something ({type(state).__name__}) other than the tensors of a network by name.")
    odd = [str(name) for name, value in state.items() if not (isinstance(name, str) and is_plain(value))]
    if odd:
        raise CheckpointError(
            f"{file} holds what is not a dense floating-point tensor ({some(odd)}): save the network's state_dict() alone."
        )
    if all(name.startswith("module.") for name in state):  # saved from inside DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: tensor.float() for name, tensor in state.items()}


def is_plain(value) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu" and value.is_floating_point()


def is_finite(tensor: Tensor) -> bool:
    """Whether there is no infinity or not-a-number; a finite sum, ten times cheaper than a look at each, proves it."""
    return bool(tensor.sum(dtype=torch.float).isfinite()) or bool(tensor.isfinite().all())


def read_config(file: Path, state: dict[str, Tensor], entries: int, heads: int, **widths: int) -> ModelConfig:
    """The network's configuration, its sizes from the tensors; every tensor is checked against it.

    entries: the dictionary's. widths: bag_width, syntax_width and max_steps. Takes `pos_encoder.pe` out of the state.
    """
    embedding, hidden = state.get("embedding_encoder.weight"), state.get("transformer.encoder.layers.0.linear1.weight")
    if embedding is None or hidden is None or embedding.dim() != 2 or hidden.dim() != 2:
        raise CheckpointError(f"{file} is not a SynPG checkpoint: it has {some(state)}.")
    if len(embedding) != entries:
        raise CheckpointError(f"{file} embeds {len(embedding)} tokens but the dictionary has {entries}: they do not belong together.")
    width = embedding.shape[1]
    if width % heads:
        raise CheckpointError(f"--heads {heads} does not divide the width {width} of {file}.")
    layers = {
        side: len({found[1] for name in state if (found := re.match(rf"transformer\.{side}\.layers\.(\d+)\.", name))})
        for side in ("encoder", "decoder")
    }
    try:
        config = ModelConfig(
            vocab_size=entries,
            d_model=width,
            n_heads=heads,
            d_feedforward=len(hidden),
            n_encoder_layers=layers["encoder"],
            n_decoder_layers=layers["decoder"],
            attend_pads=True,
            tie="none",
            **widths,
        )
    except ValueError as error:
        raise CheckpointError(f"{file} cannot be served: {error}.") from None
    table = state.pop("pos_encoder.pe", None)
    check_tensors(file, state, config)
    if table is not None:
        check_positions(file, table, config)
    return config


def check_tensors(file: Path, state: dict[str, Tensor], config: ModelConfig) -> None:
    """Raise CheckpointError unless the tensors are exactly those of the network, in shape and finite."""
    with torch.device("meta"):  # shapes only
        expected = {name: tuple(p.shape) for name, p in SynPG(config).state_dict().items()}
    missing, unknown = [n for n in expected if n not in state], [n for n in state if n not in expected]
    if missing or unknown:
        raise CheckpointError(
            f"{file} is not SynPG with {config.n_encoder_layers} + {config.n_decoder_layers} layers: "
            f"{some(missing)} missing, {some(unknown)} unknown."
        )
    for name, tensor in state.items():
        if tuple(tensor.shape) != expected[name]:
            raise CheckpointError(f"{file}: {name} has shape {tuple(tensor.shape)}, expected {expected[name]}.")
        if not is_finite(tensor):
            raise CheckpointError(f"{file}: {name} holds infinity or not-a-number.")


def check_positions(file: Path, table: Tensor, config: ModelConfig) -> None:
    """Raise CheckpointError unless `pos_encoder.pe` is the sinusoidal table, the only one that this network has."""
    used, width = max(config.syntax_width, config.max_steps), config.d_model
    if table.shape[1:] != (1, width) or len(table) < used:
        raise CheckpointError(f"{file}: pos_encoder.pe has shape {tuple(table.shape)}, expected at least {(used, 1, width)}.")
    if not torch.allclose(table[:used, 0], sinusoids(used, width), atol=1e-4):
        raise CheckpointError(f"{file}: pos_encoder.pe is not the sinusoidal table, the only one this network has.")


def refuse_web_page(file: Path) -> None:
    """Raise CheckpointError for a web page. Large downloads often save a drive's page that asks for confirmation instead."""
    with open(file, "rb") as stream:
        if stream.read(200).lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise CheckpointError(f"{file} is a web page, not the download it offers.")


def some(names, count: int = 3) -> str:
    listed = [ascii(name)[1:-1] if isinstance(name, str) else ascii(name) for name in names]
    return ", ".join(listed[:count]) + (f" and {len(listed) - count} more" if len(listed) > count else "") or "none"
