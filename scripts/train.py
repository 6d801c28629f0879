"""Train the two networks from sentences with their parses, resumably, and write an artifact.

    python -m scripts.train WORK --train train.tsv.gz --dev dev.tsv.gz                both networks, one after the other
    python -m scripts.train WORK --train … --dev … --net paraphraser --epochs 3        one of them (run two side by side)
    python -m scripts.train WORK --export model_store/demo                             write what is trained as an artifact

Interrupted, the same command goes on from the last checkpoint in WORK. No pairs are needed: the paraphraser learns
(words of s, parse of s) -> s, the parse generator (tags of s, template of s) -> parse of s.
Source: Huang and Chang, EACL 2021 (arXiv 2101.10579).
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from handler import artifacts
from handler.model import EOS, PAD, SOS, ModelConfig, SynPG
from handler.pipeline import PipelineConfig
from scripts import _corpus

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
    decay: float = 0.3  # share of the steps in which the rate falls linearly to zero
    weight_decay: float = 0.01
    clip: float = 1.0
    smoothing: float = 0.0  # label smoothing
    tokens: int = 3000  # batch size, in parse tokens
    seed: int = 1


LIMITS = _corpus.Limits(words=64, template=64, parse=202)
SHAPES = {
    "parse_generator": dict(d_model=192, n_heads=4, d_feedforward=768, n_encoder_layers=2, n_decoder_layers=3,
                            bag_width=64, syntax_width=64, max_steps=201, attend_pads=False, tie="all"),
    "paraphraser": dict(d_model=256, n_heads=4, d_feedforward=1024, n_encoder_layers=2, n_decoder_layers=3,
                        bag_width=64, syntax_width=202, max_steps=80, attend_pads=False, tie="all"),
}
RECIPES = {
    "parse_generator": Recipe("tags", "template", "parse", word_dropout=0.2, template_cap=0.2, epochs=3),
    "paraphraser": Recipe("words", "parse", "words", word_dropout=0.25, template_cap=1.0, epochs=3),
}


def schedule(step: int, total: int, recipe: Recipe) -> float:
    """Learning rate: linear warm-up, constant, linear to zero. Changing --epochs on resume only moves the last part."""
    left = (total - step) / max(1, recipe.decay * total)
    return recipe.peak_rate * max(0.0, min(1.0, (step + 1) / recipe.warmup, left))


def make_batch(split: _corpus.Split, indices: np.ndarray, recipe: Recipe, device, rng: np.random.Generator | None):
    """bag (B, A), syntax (B, S), decoder input (B, T) and labels (B, T); word dropout when a generator is given."""
    bag = _corpus.pad(split.rows(recipe.bag, indices))
    if rng is not None:
        bag[rng.random(bag.shape) < recipe.word_dropout] = PAD
    target = split.rows(recipe.target, indices)
    if recipe.target == "words":  # the only field without <sos> and <eos>
        target = [np.concatenate([[SOS], row, [EOS]]) for row in target]
    target = _corpus.pad(target)
    arrays = bag, _corpus.pad(split.rows(recipe.syntax, indices)), target[:, :-1], target[:, 1:]
    return [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays]


def loss_of(net: SynPG, bag, syntax, source, labels, smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Summed cross-entropy (nats), number of tokens predicted right, number of tokens; pads do not count."""
    states = net(bag, syntax, source)[labels != PAD]  # (tokens, E): the output layer is not spent on pads
    labels = labels[labels != PAD]
    logits = net.linear(states)
    return (F.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=smoothing),
            (logits.argmax(-1) == labels).sum(), len(labels))


@torch.no_grad()
def evaluate(net: SynPG, split: _corpus.Split, recipe: Recipe, autocast) -> dict:
    """Held-out loss (nats a token) and teacher-forced accuracy, without dropout."""
    net.eval()
    loss = right = tokens = 0
    device = next(net.parameters()).device
    for indices in _corpus.batches(split, "parse", 4 * recipe.tokens, np.random.default_rng(0), np.arange(len(split))):
        with autocast():
            a, b, c = loss_of(net, *make_batch(split, indices, recipe, device, None))
        loss, right, tokens = loss + a.item(), right + b.item(), tokens + c
    net.train()
    return {"loss": loss / tokens, "accuracy": right / tokens}


def pick_autocast(device: torch.device):
    """bf16 where the hardware multiplies it faster than fp32 (a GPU that can, a CPU with AMX), else fp32."""
    bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    return (lambda: torch.autocast(device.type, torch.bfloat16, enabled=bf16)), "bf16" if bf16 else "fp32"


def train(name: str, corpus: Path, work: Path, recipe: Recipe, device: torch.device, say=print) -> None:
    """Train one network to its last epoch, going on from WORK/NAME.pt if there is one."""
    torch.set_flush_denormal(True)
    torch.manual_seed(recipe.seed)
    splits = {s: _corpus.Split.load(corpus / f"{s}.npz") for s in ("train", "dev")}
    vocabulary_size = len(json.loads((corpus / "vocab.json").read_text(encoding="utf-8")))
    syntax_size = 5 + len(_corpus.SYNTAX_TOKENS)
    config = ModelConfig(vocab_size=syntax_size if name == "parse_generator" else vocabulary_size, **SHAPES[name])
    net = SynPG(config)
    net.reset_parameters(torch.Generator().manual_seed(recipe.seed))
    net.to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.peak_rate, betas=(0.9, 0.98),
                                  weight_decay=recipe.weight_decay, fused=True)
    autocast, precision = pick_autocast(device)
    checkpoint, step, epoch, spent, curve = work / f"{name}.pt", 0, 0, 0.0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        step, epoch, spent, curve = state["step"], state["epoch"], state["seconds"], state["curve"]
        say(f"{name}: going on at step {step}, epoch {epoch}")

    def save(first_left: int) -> None:
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "epoch": epoch,
                    "next_batch": first_left, "seconds": spent, "curve": curve, "config": asdict(config),
                    "recipe": asdict(recipe), "precision": precision,
                    "threads": torch.get_num_threads(), "torch": torch.__version__}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    first = state["next_batch"] if checkpoint.exists() else 0
    last = time.monotonic()
    window = []
    while epoch < math.ceil(recipe.epochs):
        rng = np.random.default_rng((recipe.seed, epoch))
        plan = _corpus.batches(splits["train"], "parse", recipe.tokens, rng,
                               _corpus.cap_templates(splits["train"], recipe.template_cap, rng))
        total = int(len(plan) * recipe.epochs)
        for place in range(first, len(plan)):
            if step >= total:
                break
            for group in optimizer.param_groups:
                group["lr"] = schedule(step, total, recipe)
            row_rng = np.random.default_rng((recipe.seed, epoch, place))
            with autocast():
                loss, right, tokens = loss_of(net, *make_batch(splits["train"], plan[place], recipe, device, row_rng),
                                              smoothing=recipe.smoothing)
            (loss / tokens).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            window.append((loss.detach(), right, tokens, len(plan[place])))
            if step % 100 == 0:
                now = time.monotonic()
                spent += now - last
                loss, right, tokens, rows = (sum(float(x) for x in column) for column in zip(*window))
                left = (total - step) * (now - last) / 100 / 60
                say(f"{name}: step {step}/{total} epoch {epoch} loss {loss / tokens:.3f} accuracy {right / tokens:.3f} "
                    f"{rows / (now - last):.0f} sentences/s, {left:.0f} min left")
                window, last = [], now
            if step % 1000 == 0:
                curve.append({"step": step, "epoch": epoch + place / len(plan), "seconds": round(spent),
                              **evaluate(net, splits["dev"], recipe, autocast)})
                say(f"{name}: dev loss {curve[-1]['loss']:.4f} accuracy {curve[-1]['accuracy']:.4f}")
                save(place + 1)
                last = time.monotonic()
        epoch, first = epoch + 1, 0
    curve.append({"step": step, "epoch": recipe.epochs, "seconds": round(spent),
                  **evaluate(net, splits["dev"], recipe, autocast)})
    save(0)
    say(f"{name}: done, dev loss {curve[-1]['loss']:.4f} accuracy {curve[-1]['accuracy']:.4f}")


def export(work: Path, out: Path) -> None:
    """Write both networks as an artifact, in fp16, with the record of how they came to be beside it."""
    corpus, states = work / "corpus", {}
    for name in NETS:
        if not (work / f"{name}.pt").exists():
            raise SystemExit(f"{work / f'{name}.pt'} is missing: train the {name.replace('_', ' ')} first")
        states[name] = torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True)
    config = artifacts.ArtifactConfig(
        PipelineConfig(tokenization="ptb", bpe_threshold=_corpus.MIN_COUNT, constrained=True),
        **{name: ModelConfig(**state["config"]) for name, state in states.items()})
    vocabulary = json.loads((corpus / "vocab.json").read_text(encoding="utf-8"))
    artifacts.save(out, config, {name: state["net"] for name, state in states.items()}, vocabulary,
                   corpus / "bpe.codes", corpus / "bpe.vocab.txt", dtype=torch.float16)
    artifacts.write_json(out / "training.json", {
        "corpus": json.loads((corpus / "corpus.json").read_text(encoding="utf-8")),
        **{name: {key: state[key] for key in ("recipe", "precision", "threads", "torch", "step", "epoch", "seconds", "curve")}
           for name, state in states.items()}})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of checkpoints and the prepared corpus")
    parser.add_argument("--train", type=Path, help="sentence<TAB>parse, .tsv or .tsv.gz")
    parser.add_argument("--dev", type=Path, help="the same, held out")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write an artifact from the checkpoints and stop")
    parser.add_argument("--net", choices=(*NETS, "both"), default="both")
    parser.add_argument("--epochs", type=float, help="instead of the recipe's; may be changed when going on")
    parser.add_argument("--merges", type=int, default=8000, help="BPE merges")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    args = parser.parse_args(argv)
    if args.export:
        export(args.work, args.export)
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    corpus = args.work / "corpus"
    if not (corpus / "corpus.json").exists():
        if not (args.train and args.dev):
            parser.error("a new WORK needs --train and --dev")
        _corpus.prepare(corpus, {"train": args.train, "dev": args.dev}, args.merges, LIMITS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in NETS if args.net == "both" else (args.net,):
        recipe = RECIPES[name]
        if args.epochs:
            recipe = Recipe(**{**asdict(recipe), "epochs": args.epochs})
        train(name, corpus, args.work, recipe, device, lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
