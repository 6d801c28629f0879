"""Read the files of a WORK folder: checkpoints, prepared corpora, records. A damaged one is an InputError that says what to do."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.common.command import InputError
from scripts.common.damage import DAMAGED, MALFORMED, check_members, reason


def read_checkpoint(file: Path, keys: Sequence[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `torch.save` wrote, compared with the checksums in the file. Raises InputError unless it is whole and has the keys."""
    try:
        check_members(file)
        state = torch.load(file, map_location=device, weights_only=True)
    except DAMAGED as error:
        raise damaged(file, reason(error)) from None
    except OSError:
        raise
    except Exception:  # torch raises a dozen kinds, with advice that is wrong here
        raise damaged(file, "torch cannot read it") from None
    missing = [key for key in keys if key not in state] if isinstance(state, dict) else list(keys)
    if missing:
        raise damaged(file, f"it has no {missing[0]}")
    return state


def resume(training: Any, file: Path, keys: Sequence[str], device: torch.device | str = "cpu") -> None:
    """Give a training's `net`, `optimizer` and the attributes `keys` their values from a checkpoint. Raises InputError."""
    state = read_checkpoint(file, ("net", "optimizer", *keys), device)
    try:
        training.net.load_state_dict(state["net"])
        training.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, *MALFORMED):
        raise damaged(file, "it is of another network") from None
    for key in keys:
        setattr(training, key, state[key])


def damaged(file: Path, why: str) -> InputError:
    return InputError(f"{file} cannot be continued from: {why}; remove it to train from the beginning.")


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz of the prepared corpus. Raises InputError."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (*DAMAGED, *MALFORMED) as error:
        raise InputError(f"{file} is damaged: {reason(error)}; remove {file.parent} to prepare the corpus again.") from None


def read_json(file: Path) -> Any:
    """The value of a JSON file. Raises InputError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON in UTF-8: {reason(error)}.") from None
