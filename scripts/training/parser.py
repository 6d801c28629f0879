"""The training of the source parser (`handler/parsing/parser.py`), from a pretrained encoder to the exported file."""

import collections
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from handler.language.trees import words
from handler.parsing.parser import unpack
from scripts.common.command import InputError
from scripts.common.damage import MALFORMED
from scripts.training.corpus import origin
from scripts.training.parser_data import Recipe, choose_pieces, encode, inventory, make_batch, plan, read_corpus, some_trees
from scripts.training.parser_file import quantize_embedding, write
from scripts.training.parser_network import Net, loss_of
from scripts.training.parser_scores import evaluate
from scripts.training.work import read_arrays, read_checkpoint, read_json, resume

PROGRESS = "step", "epoch", "next_batch", "seconds", "curve", "hurries"  # of a training, in its checkpoint
ENCODER = "config.json", "tokenizer.json", "model.safetensors"  # files of the pretrained encoder
EMBEDDING = "embeddings.word_embeddings.weight"
POSITIONS = 256
SAVE_SECONDS = 180


def require_encoder(folder: Path) -> None:
    """Raise InputError unless a folder has the files of a BERT as its makers publish it."""
    missing = [name for name in ENCODER if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is not a pretrained encoder: there is no {missing[0]} in it.")


def read_encoder(folder: Path) -> tuple[list[str], dict[str, Tensor]]:
    """Vocabulary and tensors of such a BERT. Raises InputError if they are not what they should be."""
    try:
        vocabulary: dict[str, int] = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        pieces = sorted(vocabulary, key=lambda piece: vocabulary[piece])
    except MALFORMED:
        raise InputError(f"{folder / 'tokenizer.json'} has no vocabulary of word pieces.") from None
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    if EMBEDDING not in tensors or len(tensors[EMBEDDING]) != len(pieces):
        raise InputError(f"{folder / 'model.safetensors'} has no {EMBEDDING} of {len(pieces)} word pieces.")
    return pieces, tensors


def prepare(work: Path, files: dict[str, Path], encoder: Path, recipe: Recipe, say=print) -> None:
    """Write what training reads into `work`: inventories, the embedding of the pieces kept, and each split as arrays."""
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    trees = {name: some_trees(file) for name, file in files.items()}
    say(f"{', '.join(f'{len(found)} trees of {name}' for name, found in trees.items())}, {time.monotonic() - began:.0f} s")
    tags, labels = inventory(trees["train"], recipe.min_chain)
    vocabulary, tensors = read_encoder(encoder)
    seen = collections.Counter(word for tree, _ in trees["train"] for word in words(tree))
    pieces = choose_pieces(vocabulary, seen, recipe.pieces)
    places = {piece: i for i, piece in enumerate(vocabulary)}
    table = tensors[EMBEDDING][[places[piece] for piece in pieces]]
    packed, scales = quantize_embedding(table)
    np.savez(work / "embedding.npz", packed=packed, scales=scales)
    ids = {piece: i for i, piece in enumerate(pieces)}
    for name, found in trees.items():
        corpus = encode(found, ids, tags, labels)
        np.savez(work / f"{name}.npz", **vars(corpus))
    settings = {
        "tags": tags,
        "labels": labels,
        "pieces": pieces,
        "encoder": origin(encoder / "model.safetensors"),
        "data": {name: {**origin(file), "sentences": len(trees[name])} for name, file in files.items()},
    }
    (work / "corpus.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")
    say(f"{len(pieces)} word pieces, {len(labels)} labels, {len(tags)} tags, {time.monotonic() - began:.0f} s")


def begin(work: Path, encoder: Path, recipe: Recipe) -> Net:
    """The network as training begins: lower layers of the encoder, the rest by chance."""
    torch.manual_seed(recipe.seed)
    settings = read_json(work / "corpus.json")
    _, tensors = read_encoder(encoder)
    arrays = read_arrays(work / "embedding.npz")
    embedding = torch.from_numpy(unpack(arrays["packed"], arrays["scales"]))
    config = read_json(encoder / "config.json")
    net = Net(
        embedding,
        POSITIONS,
        recipe.layers,
        config["num_attention_heads"],
        config["intermediate_size"],
        recipe.hidden,
        len(settings["tags"]),
        len(settings["labels"]),
        recipe.dropout,
    )
    with torch.no_grad():
        net.position.copy_(
            tensors["embeddings.position_embeddings.weight"][:POSITIONS] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        net.norm.weight.copy_(tensors["embeddings.LayerNorm.weight"])
        net.norm.bias.copy_(tensors["embeddings.LayerNorm.bias"])
        for i, layer in enumerate(net.layers):
            get = lambda name: tensors[f"encoder.layer.{i}.{name}"]  # noqa: E731
            for kind in "weight", "bias":
                getattr(layer.qkv, kind).copy_(torch.cat([get(f"attention.self.{n}.{kind}") for n in ("query", "key", "value")]))
                getattr(layer.out, kind).copy_(get(f"attention.output.dense.{kind}"))
                getattr(layer.norm1, kind).copy_(get(f"attention.output.LayerNorm.{kind}"))
                getattr(layer.up, kind).copy_(get(f"intermediate.dense.{kind}"))
                getattr(layer.down, kind).copy_(get(f"output.dense.{kind}"))
                getattr(layer.norm2, kind).copy_(get(f"output.LayerNorm.{kind}"))
    return net


class Training:
    """A parser on its way. What it needs to go on after an interruption lies in WORK/parser.pt."""

    def __init__(self, work: Path, encoder: Path, recipe: Recipe, pause: Path | None = None, minutes: float | None = None):
        """pause: training waits while there is such a file. minutes: it is over after so many, however far it is."""
        torch.set_flush_denormal(True)
        self.work, self.recipe, self.pause, self.file = work, recipe, pause, work / "parser.pt"
        self.labels = read_json(work / "corpus.json")["labels"]
        self.train, self.dev = read_corpus(work / "train.npz"), read_corpus(work / "dev.npz")
        self.net = begin(work, encoder, recipe)
        old = set(map(id, self.net.pretrained()))
        new = [p for p in self.net.parameters() if id(p) not in old]
        self.rates = recipe.rate, recipe.new_rate
        self.optimizer = torch.optim.AdamW(
            [{"params": self.net.pretrained()}, {"params": new}], betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
        )
        self.step = self.epoch = self.next_batch = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []
        self.hurries: list[list[float]] = []  # of a hurry the step where it began and its minutes
        if self.file.exists():
            resume(self, self.file, PROGRESS)
        self.minutes = minutes
        self.hurry: tuple[float, float] | None = None  # when it began, and the share of the training that was left then
        if minutes is not None:
            self.hurries.append([self.step, minutes])

    def left(self, total: int) -> float:
        """The share of the training that is left: of the steps, or with `minutes` of the clock from the share it was at."""
        steps = (total - self.step) / total
        if self.minutes is None:
            return steps
        self.hurry = self.hurry or (time.monotonic(), steps)
        began, share = self.hurry
        return min(steps, share * (1 - (time.monotonic() - began) / (60 * self.minutes)))

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is whole."""
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "recipe": asdict(self.recipe),
            "heads": self.net.layers[0].heads,
            **{key: getattr(self, key) for key in PROGRESS},
        }
        torch.save(state, self.file.with_suffix(".tmp"))
        self.file.with_suffix(".tmp").replace(self.file)

    def wait(self) -> None:
        while self.pause and self.pause.exists():
            time.sleep(2)

    def run(self, say=print, report: int = 50, measure: int = 500, stop: int | None = None) -> None:
        """Train to the last epoch, or to step `stop`: warm-up, then the rate falls linearly to nothing."""
        self.net.train()
        saved = time.monotonic()
        while self.epoch < math.ceil(self.recipe.epochs):
            batches = plan(self.train, self.recipe, self.epoch)
            total = int(len(batches) * self.recipe.epochs)
            until = total if stop is None else min(stop, total)
            window, rows, spent = [], 0, 0.0
            while self.next_batch < len(batches) and self.step < until and self.left(total) > 0:
                self.wait()
                began = time.monotonic()
                window.append(self.learn(batches[self.next_batch], total))
                rows += len(batches[self.next_batch])
                spent += time.monotonic() - began
                self.next_batch += 1
                self.step += 1
                if self.step in (5, 20) or self.step % report == 0:
                    say(
                        f"step {self.step}/{total} epoch {self.epoch} loss {sum(window) / len(window):.4f} {rows / spent:.0f} "
                        f"sentences/s, {(total - self.step) * spent / len(window) / 60:.1f} min left"
                    )
                    self.seconds += spent
                    window, rows, spent = [], 0, 0.0
                if self.step % measure == 0:
                    self.measure(say)
                if self.step % measure == 0 or time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
            self.seconds += spent
            if self.next_batch == len(batches):
                self.epoch, self.next_batch = self.epoch + 1, 0
            if self.step >= until or self.left(total) <= 0:
                break
        self.measure(say)
        self.save()

    def learn(self, chosen: np.ndarray, total: int) -> float:
        """One step; returns the loss."""
        left = max(0.0, self.left(total))
        share = min(1.0, (self.step + 1) / self.recipe.warmup, left)
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * share
        self.net.rounds = 1 - left >= self.recipe.rounded
        rng = np.random.default_rng((self.recipe.seed, self.epoch, self.next_batch))
        inputs, targets, tags, _ = make_batch(self.train, chosen, self.recipe, rng)
        loss = loss_of(self.net, inputs, targets, tags)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def measure(self, say) -> None:
        """Add a point to the curve, unless it ends there already."""
        if self.curve and self.curve[-1]["step"] == self.step:
            return
        found = evaluate(self.net, self.dev, self.recipe, self.labels)
        self.curve.append({"step": self.step, "seconds": round(self.seconds), **found["all"]})
        say(f"step {self.step} dev " + ", ".join(f"{name} {f['f1']:.1f}/{f['tags']:.1f}" for name, f in found.items()))


def train(
    work: Path, files: dict[str, Path], encoder: Path, recipe: Recipe, pause: Path | None = None, minutes: float | None = None, say=print
) -> None:
    """Prepare `work`, unless that is done, and train to the end of the recipe."""
    require_encoder(encoder)
    if not (work / "corpus.json").exists():
        prepare(work, files, encoder, recipe, say)
    Training(work, encoder, recipe, pause, minutes).run(say)


def export(work: Path, file: Path) -> dict[str, Any]:
    """Write what `artifacts.load_parser` reads from the checkpoint, and return how it came to be, for the record."""
    if not (work / "parser.pt").exists():
        raise InputError(f"{work / 'parser.pt'} is missing: train first.")
    state = read_checkpoint(work / "parser.pt", ("net", "recipe", "heads", *PROGRESS))
    settings, recipe, tensors = read_json(work / "corpus.json"), state["recipe"], state["net"]
    net = Net(
        tensors["embedding"],
        len(tensors["position"]),
        recipe["layers"],
        state["heads"],
        len(tensors["layers.0.up.weight"]),
        recipe["hidden"],
        len(settings["tags"]),
        len(settings["labels"]),
    )
    net.load_state_dict(tensors)
    arrays = read_arrays(work / "embedding.npz")
    embedding = arrays["packed"][: recipe["kept"]], arrays["scales"][: recipe["kept"]]
    write(net, settings["pieces"][: recipe["kept"]], settings["tags"], settings["labels"], embedding, file)
    return {
        "recipe": recipe,
        "encoder": settings["encoder"],
        "data": settings["data"],
        "step": state["step"],
        "training_seconds": round(state["seconds"]),
        "hurries": state["hurries"],
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "curve": state["curve"],
    }
