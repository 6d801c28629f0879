"""Train the two networks from sentences with their parses, resumably, and write an artifact."""

import io
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from handler import artifacts
from handler.model.copying import to_extended_ids
from handler.model.network import EOS, PAD, SOS, ModelConfig, SynPG
from scripts.training import corpus, initial_weights, moved_pairs
from scripts.training.mismatch import Bags, Mismatch
from scripts.training.progress import Interruption, Report
from scripts.training.work import resume

NETS = "parse_generator", "paraphraser"


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. Everything here goes into the artifact's record."""

    bag: str  # field read without positions
    syntax: str  # field read with positions
    target: str  # field to produce
    word_dropout: float  # share of bag tokens replaced by <pad>, drawn per row
    template_cap: float  # most one template may make up of an epoch; 1 = no cap
    epochs: float
    peak_rate: float = 1e-3
    warmup: int = 500  # steps of linear warm-up
    decay: float = 0.6  # share of the steps in which the rate falls linearly to zero
    weight_decay: float = 0.01
    clip: float = 1.0
    tokens: int = 3000  # batch size, in parse tokens
    patience: int = 8  # measurements without a better held-out loss before it stops early
    seed: int = 1
    mismatch: Mismatch = Mismatch()  # between bag and target


MEASURE_STEPS = 500  # between two measurements, each followed by a checkpoint, ...
CHECKPOINT_SECONDS = 180.0  # ... and most between two checkpoints
PROGRESS = "step", "epoch", "next_batch", "seconds", "curve", "best"  # of a training, in its checkpoint
FINE_TUNE: dict[str, Any] = {"peak_rate": 2e-4, "warmup": 50}  # instead of the recipe's, when going on from an artifact
LIMITS = corpus.Limits(words=64, template=64, parse=302)
MERGES = 20000  # of BPE
SHAPES: dict[str, dict[str, Any]] = {
    "parse_generator": dict(
        d_model=192,
        n_heads=4,
        d_feedforward=768,
        n_encoder_layers=2,
        n_decoder_layers=3,
        bag_width=64,
        syntax_width=64,
        max_steps=301,
        attend_pads=False,
        tie="all",
    ),
    "paraphraser": dict(
        d_model=256,
        n_heads=4,
        d_feedforward=1024,
        n_encoder_layers=2,
        n_decoder_layers=3,
        bag_width=64,
        syntax_width=302,
        max_steps=80,
        attend_pads=False,
        tie="all",
    ),
}
RECIPES = {
    "parse_generator": Recipe("tags", "template", "parse", word_dropout=0.2, template_cap=0.2, epochs=3),
    "paraphraser": Recipe("words", "parse", "words", word_dropout=0.25, template_cap=1.0, epochs=3),
}


def schedule(step: int, total: int, recipe: Recipe) -> float:
    """Learning rate: linear warm-up, constant, linear to zero. Changing --epochs on resume only moves the last part."""
    left = (total - step) / max(1, recipe.decay * total)
    return recipe.peak_rate * max(0.0, min(1.0, (step + 1) / recipe.warmup, left))


@dataclass
class Examples:
    """What a network learns from: targets with their parses, and the sentences whose words or tags are in their bags."""

    targets: corpus.Split
    sources: corpus.Split  # a row for each of the targets; the targets themselves where nothing was moved
    bags: Bags | None = None  # how bags differ from what their sources have
    moved: int = 0  # how many of the targets, the last ones, were made by moving constituents

    @classmethod
    def load(cls, folder: Path, split: str, recipe: Recipe, most: int) -> "Examples":
        """A split of a prepared corpus; with the moved pairs, if the recipe has them, for training. most: pieces of a bag."""
        targets = sources = corpus.Split.load(folder / f"{split}.npz")
        moved = 0
        if recipe.mismatch.moved and split == "train":
            more = moved_pairs.load(folder)
            targets, sources, moved = targets.joined(more[0]), sources.joined(more[1]), len(more[0])
        changes = recipe.mismatch != Mismatch(moved=recipe.mismatch.moved)
        bags = Bags(recipe.mismatch, artifacts.read_vocabulary(folder / "vocab.json"), most) if changes else None
        return cls(targets, sources, bags, moved)

    def epoch(self, recipe: Recipe, number: int) -> list[np.ndarray]:
        """The batches of an epoch, the same for the same seed: all sentences, but for templates that are capped, and moved pairs."""
        rng = np.random.default_rng((recipe.seed, number))
        own = len(self.targets) - self.moved
        chosen = corpus.cap_templates(self.targets, recipe.template_cap, rng, own)
        share = recipe.mismatch.moved
        more = min(self.moved, round(len(chosen) * share / (1 - share)))
        if more:
            chosen = np.concatenate([chosen, own + np.sort(rng.choice(self.moved, more, replace=False))])
        return corpus.batches(self.targets, "parse", recipe.tokens, rng, chosen)


def make_batch(
    split: corpus.Split | Examples, indices: np.ndarray, recipe: Recipe, config: ModelConfig, device, rng: np.random.Generator | None
):
    """bag (B, A), syntax (B, S), decoder input (B, T) and labels (B, T); word dropout and mismatch when a generator is given."""
    examples = split if isinstance(split, Examples) else Examples(split, split)
    widths = (config.bag_width, config.syntax_width) if config.attend_pads else (0, 0)
    bags = examples.sources.rows(recipe.bag, indices)
    if rng is not None and examples.bags is not None:
        bags = examples.bags.changed(bags, examples.sources.rows("tags", indices), rng)
    bag = corpus.pad(bags, widths[0])
    if rng is not None:
        bag[rng.random(bag.shape) < recipe.word_dropout] = PAD
    rows = examples.targets.rows(recipe.target, indices)
    if recipe.target == "words":  # the only field without <sos> and <eos>
        rows = [np.concatenate([[SOS], row, [EOS]]) for row in rows]
    target = corpus.pad(rows)
    arrays = bag, corpus.pad(examples.targets.rows(recipe.syntax, indices), widths[1]), target[:, :-1], target[:, 1:]
    return [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays]


def loss_of(net: SynPG, bag, syntax, source, labels) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Summed cross-entropy (nats), number of tokens predicted right, number of tokens; pads do not count."""
    states, counted = net(bag, syntax, source), labels != PAD
    if (generation_vocab_size := net.config.generation_vocab_size) is None:
        logits, labels = net.linear(states[counted]), labels[counted]  # the output layer is not spent on pads
    else:
        labels = to_extended_ids(bag, labels, generation_vocab_size)
        counted &= labels >= 0  # a rare word that was dropped from the bag could not be written
        copies = net.copies(bag)
        assert copies is not None  # as there is a generation_vocab_size
        copied = copies.logits(states)[counted]
        logits = torch.cat(
            [F.linear(states[counted], net.linear.weight[:generation_vocab_size], net.linear.bias[:generation_vocab_size]), copied], -1
        )
        labels = labels[counted]
    return (F.cross_entropy(logits.float(), labels, reduction="sum"), (logits.argmax(-1) == labels).sum(), len(labels))


@torch.no_grad()
def evaluate(net: SynPG, examples: Examples, recipe: Recipe, autocast) -> dict:
    """Held-out loss (nats a token) and teacher-forced accuracy, without dropout. Bags are whole, or changed as the recipe says, each
    time in the same way."""
    net.eval()
    loss = right = 0.0
    tokens = 0
    device = next(net.parameters()).device
    plain, targets = replace(recipe, word_dropout=0.0), examples.targets
    for number, indices in enumerate(
        corpus.batches(targets, "parse", 4 * recipe.tokens, np.random.default_rng(0), np.arange(len(targets)))
    ):
        with autocast():
            a, b, c = loss_of(net, *make_batch(examples, indices, plain, net.config, device, np.random.default_rng(number)))
        loss, right, tokens = loss + a.item(), right + b.item(), tokens + c
    net.train()
    return {"loss": loss / tokens, "accuracy": right / tokens}


def pick_autocast(device: torch.device):
    """bf16 where the hardware multiplies it faster than fp32 (a GPU that can, a CPU with AMX), else fp32."""
    bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    return (lambda: torch.autocast(device.type, torch.bfloat16, enabled=bf16)), "bf16" if bf16 else "fp32"


class Training:
    """One network on its way through the epochs. What it needs to go on after an interruption lies in WORK/NAME.pt."""

    def __init__(self, name: str, work: Path, recipe: Recipe, device: torch.device):
        torch.set_flush_denormal(True)
        self.name, self.recipe, self.file = name, recipe, work / f"{name}.pt"
        base = work / "base"
        if base.exists():
            self.net = initial_weights.begin_from(base, name, work / "corpus")
        else:
            self.net = initial_weights.begin_anew(name, SHAPES[name], work / "corpus", recipe.seed)
        self.config = self.net.config
        self.examples, self.held_out = (Examples.load(work / "corpus", split, recipe, self.config.bag_width) for split in ("train", "dev"))
        self.net.to(device).train()
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=recipe.peak_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
        )
        self.device, (self.autocast, self.precision) = device, pick_autocast(device)
        self.step = self.epoch = self.next_batch = 0
        self.seconds = 0.0
        self.curve: list[dict] = []
        self.best: dict[str, torch.Tensor] | None = None  # state dict of the measurement with the lowest held-out loss
        if self.file.exists():
            resume(self, self.file, PROGRESS, device)

    def stopped_early(self) -> bool:
        """Whether the held-out loss has not improved for as many measurements as the recipe is patient. What fine-tuning began
        with does not count: a high rate makes it worse at first."""
        losses = [point["loss"] for point in self.curve if point["step"]]
        return len(losses) - losses.index(min(losses)) > self.recipe.patience if losses else False

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is whole."""
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": asdict(self.config),
            "recipe": asdict(self.recipe),
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            **{key: getattr(self, key) for key in PROGRESS},
        }
        buffer = io.BytesIO()  # torch's own errors about files are no OSError
        torch.save(state, buffer)
        self.file.with_suffix(".tmp").write_bytes(buffer.getbuffer())
        self.file.with_suffix(".tmp").replace(self.file)

    def run(self, say=print) -> None:
        """Train to the last epoch."""
        if not self.curve and (self.file.parent / "base").exists():
            self.measure(1, say)  # where fine-tuning begins
        while self.epoch < math.ceil(self.recipe.epochs) and not self.stopped_early():
            plan = self.examples.epoch(self.recipe, self.epoch)
            total = int(len(plan) * self.recipe.epochs)
            self.learn_batches(plan, total, say)
            self.measure(len(plan), say)
            if self.next_batch == len(plan):
                self.epoch, self.next_batch = self.epoch + 1, 0
            self.save()
            if self.step >= total:
                break

    def learn_batches(self, plan: list[np.ndarray], total: int, say) -> None:
        """The rest of an epoch, with reports, measurements and checkpoints between. After Ctrl-C, writes a checkpoint and raises
        KeyboardInterrupt."""
        report, saved = Report(self.name, total, say), time.monotonic()
        with Interruption() as interruption:
            while self.next_batch < len(plan) and self.step < total and not self.stopped_early():
                began = time.monotonic()
                learned = self.learn(plan[self.next_batch], total)
                self.next_batch += 1
                self.step += 1
                self.seconds += time.monotonic() - began
                report.add(learned, self.step, self.epoch, schedule(self.step, total, self.recipe))
                measured = self.step % MEASURE_STEPS == 0
                if measured:
                    self.measure(len(plan), say)
                if measured or interruption.asked or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
                if interruption.asked:
                    raise KeyboardInterrupt

    def learn(self, indices: np.ndarray, total: int) -> tuple:
        """One optimiser step; returns summed loss, tokens right, tokens, rows."""
        for group in self.optimizer.param_groups:
            group["lr"] = schedule(self.step, total, self.recipe)
        rng = np.random.default_rng((self.recipe.seed, self.epoch, self.next_batch))
        with self.autocast():
            loss, right, tokens = loss_of(self.net, *make_batch(self.examples, indices, self.recipe, self.config, self.device, rng))
        (loss / tokens).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach(), right, tokens, len(indices)

    def measure(self, batches: int, say) -> None:
        """Add a point to the curve, unless it ends there already."""
        if self.curve and self.curve[-1]["step"] == self.step:
            return
        point = {
            "step": self.step,
            "epoch": round(self.epoch + self.next_batch / batches, 3),
            "seconds": round(self.seconds),
            **evaluate(self.net, self.held_out, self.recipe, self.autocast),
        }
        if not self.curve or point["loss"] < min(earlier["loss"] for earlier in self.curve):
            self.best = {key: tensor.detach().cpu().clone() for key, tensor in self.net.state_dict().items()}
        self.curve.append(point)
        say(f"{self.name}: step {self.step} dev loss {point['loss']:.4f} accuracy {point['accuracy']:.4f}")


def limits_of(config: artifacts.ArtifactConfig) -> corpus.Limits:
    """The longest sentences that both networks of an artifact can read and write."""
    parser, writer = config.parse_generator, config.paraphraser
    return corpus.Limits(
        words=min(writer.bag_width, parser.bag_width, writer.max_steps - 1),
        template=parser.syntax_width,
        parse=min(writer.syntax_width, parser.max_steps + 1),
    )
