"""Trained networks to an artifact."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from handler import artifacts
from handler.model.network import ModelConfig
from handler.planning import PipelineConfig
from scripts.training import calibration
from scripts.training.corpus import Split
from scripts.training.trainer import NETS

RECORDED = "recipe", "precision", "threads", "torch", "step", "epoch", "seconds", "curve"  # of a checkpoint, beside the artifact
# Of an exported artifact; the best of those tried on pairs that the figures of model_store/demo/README.md leave out.
DECODING: dict[str, Any] = {
    "source_bonus": 1.0,
    "repetition_penalty": 4.0,
    "tag_weight": 1.5,
    "order_bonus": 3.0,
    "copy_odds": 4.0,
    "candidates": 4,
}


def pipeline_of(base: Path, threshold: int) -> PipelineConfig:
    """Of an exported artifact: those of the one it was begun from, or `DECODING`.

    One without a lexicon cannot have chosen how to use it: with constraints and ptb it is used as in a new artifact.
    """
    if not base.exists():
        return PipelineConfig(tokenization="ptb", bpe_threshold=threshold, constrained=True, **DECODING)
    pipeline = replace(artifacts.verify(base).pipeline, bpe_threshold=threshold)
    if pipeline.constrained and pipeline.tokenization == "ptb" and not (base / artifacts.LEXICON).is_file():
        pipeline = replace(pipeline, **{name: DECODING[name] for name in ("tag_weight", "order_bonus", "copy_odds")})
    return pipeline


def export(work: Path, out: Path) -> None:
    """Write both networks as an artifact, in fp16, with the record of how they came to be beside it.

    One that has not been trained is that of the artifact it was to be begun from, as it is, if its vocabulary is still the same.
    """
    corpus, base = work / "corpus", work / "base"
    trained = [name for name in NETS if (work / f"{name}.pt").exists()]
    vocabulary, before = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() else [] for file in (corpus / "vocab.json", base / "vocab.json")
    )
    for name in NETS:
        size = getattr(artifacts.verify(base), name).vocab_size if before else 0
        same = before[:size] == vocabulary[: size if name == "parse_generator" else None]
        if name not in trained and not (trained and before and same):
            raise SystemExit(f"{work / f'{name}.pt'} is missing: train the {name.replace('_', ' ')} first")
    states = {name: torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True) for name in trained}
    unchanged = [name for name in NETS if name not in trained]
    settings = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    configs = {name: getattr(artifacts.verify(base), name) for name in unchanged} | {
        name: ModelConfig(**state["config"]) for name, state in states.items()
    }
    tensors = {name: load_file(base / f"{name}.safetensors") for name in unchanged} | {
        name: {key: tensor.half() for key, tensor in state["best"].items()} for name, state in states.items()
    }
    config = artifacts.ArtifactConfig(pipeline_of(base, settings["bpe_threshold"]), **configs)
    out.mkdir(parents=True, exist_ok=True)
    if (base / artifacts.TAGGER).is_file() and not (out / artifacts.TAGGER).exists():
        shutil.copyfile(base / artifacts.TAGGER, out / artifacts.TAGGER)
    artifacts.save(out, config, tensors, vocabulary, corpus / "bpe.codes", corpus / "bpe.vocab.txt")
    pass

    calibration.calibrate(out, Split.load(corpus / "train.npz"), base if before == vocabulary else None)
    record = {"corpus": settings, **{name: {key: state[key] for key in RECORDED} for name, state in states.items()}}
    if (base / "training.json").is_file():
        record["begun_from"] = json.loads((base / "training.json").read_text(encoding="utf-8"))
        record |= {name: record["begun_from"][name] for name in unchanged if name in record["begun_from"]}
    if unchanged:
        record["unchanged"] = unchanged
    artifacts.write_json(out / "training.json", record)
    draw(record, out / "training.png")


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
