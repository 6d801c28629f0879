"""Trained networks to an artifact."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from handler import artifacts
from handler.model.network import ModelConfig
from handler.planning import PipelineConfig
from scripts.common import artifact_files
from scripts.common.command import UserError, tell
from scripts.training import calibration
from scripts.training.corpus import Split
from scripts.training.staging import staged
from scripts.training.trainer import NETS
from scripts.training.work import read_checkpoint, read_json

RECORD, PICTURE = "training.json", "training.png"
# What `export` writes anew. Of an artifact's other files it keeps the tagger and the parser, which are trained by themselves.
APART = artifacts.TAGGER, artifacts.PARSER
WRITTEN = {"manifest.json", *artifacts.FILES, *artifacts.OPTIONAL, RECORD, PICTURE} - set(APART)
RECORDED = "recipe", "precision", "threads", "torch", "step", "epoch", "seconds", "curve"  # of a checkpoint, beside the artifact
# Settings of a new artifact: the best of those tried on pairs that the figures of model_store/demo/README.md leave out.
DECODING: dict[str, Any] = {
    "source_bonus": 1.0,
    "repetition_penalty": 4.0,
    "tag_weight": 1.5,
    "split_weight": 0.5,
    "inflection": True,
    "order_bonus": 3.0,
    "copy_odds": 4.0,
    "candidates": 4,
    "movement": True,
    "word_weight": 8.0,
    "relation_weight": 4.0,
}


def pipeline_of(base: Path, threshold: int) -> PipelineConfig:
    """The pipeline's settings of an exported artifact: those of the artifact that training began from, or `DECODING`.

    An artifact without a lexicon has no settings for one. With constraints and ptb it gets those of a new artifact.
    """
    if not base.exists():
        return PipelineConfig(tokenization="ptb", bpe_threshold=threshold, constrained=True, **DECODING)
    pipeline = replace(artifacts.verify(base).pipeline, bpe_threshold=threshold)
    if pipeline.constrained and pipeline.tokenization == "ptb" and not (base / artifacts.LEXICON).is_file():
        pipeline = replace(
            pipeline, **{name: DECODING[name] for name in ("tag_weight", "split_weight", "inflection", "order_bonus", "copy_odds")}
        )
    return pipeline


@dataclass(frozen=True)
class Work:
    """A folder of `scripts.train`: the prepared corpus, the artifact it was begun from, the checkpoints."""

    folder: Path

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def trained(self) -> list[str]:
        """The networks that have a checkpoint."""
        return [name for name in NETS if (self.folder / f"{name}.pt").exists()]

    def keeps_vocabulary(self) -> bool:
        """Whether the prepared corpus has the vocabulary of the artifact that training began from."""
        return read_tokens(self.base) == read_tokens(self.corpus)

    def can_keep(self, name: str) -> bool:
        """Whether a network of the artifact that training began from still reads and writes the same tokens."""
        before, now = read_tokens(self.base), read_tokens(self.corpus)
        size = getattr(artifacts.verify(self.base), name).vocab_size if before else 0
        return bool(before) and before[:size] == now[: size if name == "parse_generator" else None]


def read_tokens(folder: Path) -> list[str]:
    """The tokens of a folder's `vocab.json`; none if there is no such file."""
    file = folder / "vocab.json"
    return read_json(file) if file.exists() else []


def export(work_folder: Path, out: Path, share: float = 1.0) -> None:
    """Write both networks as an artifact, in fp16, with the record of their training beside it.

    A network that has not been trained is taken as it is from the artifact that training began from, if its vocabulary is the same.
    share: of the trained weights; the rest is those of the artifact that training began from. Below 1 the vocabulary must be the same.
    `out` changes only when the new artifact is complete and can be loaded. Files of an earlier `out` that this function does not
    write are kept, its tagger among them.
    """
    work = Work(work_folder)
    trained = work.trained()
    for name in NETS:
        if name not in trained and not (trained and work.can_keep(name)):
            raise UserError(f"{work.folder / f'{name}.pt'} is missing: train the {name.replace('_', ' ')} first.")
    states = {name: read_checkpoint(work.folder / f"{name}.pt", ("config", "best", *RECORDED)) for name in trained}
    settings = read_json(work.corpus / "corpus.json")
    if share < 1:
        average(work, states, share)
    with staged(out) as made:
        keep_other_files(out, made)
        for name in APART:
            if (work.base / name).is_file() and not (made / name).exists():
                shutil.copyfile(work.base / name, made / name)
        save_networks(work, states, settings, made)
        split = Split.load(work.corpus / "train.npz")
        calibration.calibrate(made, split, work.base if work.keeps_vocabulary() else None)
        record = record_of(work, states, settings)
        artifact_files.write_json(made / RECORD, record)
        draw(record, made / PICTURE)
    for name, state in states.items():
        tell(exported(name, state["curve"]))


def exported(name: str, curve: list[dict]) -> str:
    """Which of a training's weights are written: those of the lowest held-out loss."""
    best = min(curve, key=lambda point: point["loss"])
    begun = best["step"] == 0 and len(curve) > 1
    return (
        f"{name}: weights of step {best['step']} of {curve[-1]['step']}, held-out loss {best['loss']:.4f}"
        + begun * "; they are those that training began from, because no later measurement was better"
    )


def average(work: Work, states: dict[str, dict], share: float) -> None:
    """Replace the weights of the checkpoints by `share` of them and the rest of the weights that their training began from. Raises
    UserError if these are those of another vocabulary."""
    for name, state in states.items():
        if not work.keeps_vocabulary():
            raise UserError("--average needs a training with --from that keeps the vocabulary.")
        begun = load_file(work.base / f"{name}.safetensors")
        state["best"] = {key: torch.lerp(tensor.float(), state["best"][key].float(), share) for key, tensor in begun.items()}
        state["averaged"] = share


def keep_other_files(out: Path, made: Path) -> None:
    """Copy what an earlier `out` has beside the files that `export` writes anew."""
    for file in out.iterdir() if out.is_dir() else ():
        if file.name in WRITTEN:
            continue
        if file.is_dir():
            shutil.copytree(file, made / file.name, symlinks=True)
        else:
            shutil.copy2(file, made / file.name, follow_symlinks=False)


def save_networks(work: Work, states: dict[str, dict], settings: dict, made: Path) -> None:
    """Write the two networks, the vocabulary and the configuration. states: the checkpoints of the networks that were trained."""
    unchanged = [name for name in NETS if name not in states]
    configs = {name: getattr(artifacts.verify(work.base), name) for name in unchanged}
    configs |= {name: ModelConfig(**state["config"]) for name, state in states.items()}
    tensors = {name: load_file(work.base / f"{name}.safetensors") for name in unchanged}
    tensors |= {name: {key: tensor.half() for key, tensor in state["best"].items()} for name, state in states.items()}
    config = artifacts.ArtifactConfig(pipeline_of(work.base, settings["bpe_threshold"]), **configs)
    artifact_files.save(made, config, tensors, read_tokens(work.corpus), work.corpus / "bpe.codes", work.corpus / "bpe.vocab.txt")


def record_of(work: Work, states: dict[str, dict], settings: dict) -> dict:
    """How the networks were trained: corpus, recipes, curves, and the record of the artifact that training began from."""
    unchanged = [name for name in NETS if name not in states]
    trained = {name: {key: state[key] for key in (*RECORDED, "averaged") if key in state} for name, state in states.items()}
    record: dict[str, Any] = {"corpus": settings, **trained}
    if (work.base / RECORD).is_file():
        record["begun_from"] = read_json(work.base / RECORD)
        record |= {name: record["begun_from"][name] for name in unchanged if name in record["begun_from"]}
    if unchanged:
        record["unchanged"] = unchanged
    return record


def draw(record: dict, file: Path) -> None:
    """Held-out loss over the sentences' epochs, both networks, as a picture; needs matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"{file.name} was not drawn: matplotlib is not installed (tests/requirements.txt)", file=sys.stderr)
        return
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for panel, name in zip(axes, NETS):
        curve = record[name]["curve"] if name in record else []  # an imported network's is not known
        panel.plot([p["epoch"] for p in curve], [p["loss"] for p in curve], marker=".")
        panel.set(title=name.replace("_", " "), xlabel="epoch", ylabel="held-out loss, nats a token", ylim=(0, None))
    figure.savefig(file, dpi=120)
