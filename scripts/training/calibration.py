"""Compute an artifact's derived files: int8 ranges, draft table, suffix list, tag counts."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from handler import artifacts, weights
from handler.cpu.graph import Ranges
from handler.decoding import lexicon, proposers
from handler.decoding.loop import Network
from handler.language import word_classes
from handler.language.split_tags import SPLIT, split_tags
from handler.language.vocabulary import SEPARATOR, Vocabulary
from handler.model.copying import to_extended_ids
from handler.model.network import PAD, SynPG
from scripts.common import artifact_files
from scripts.common.command import InputError
from scripts.training import corpus, trainer
from scripts.training.recording import record

SENTENCES = 512  # for the ranges; more moved no bound by more than a few percent
PARSES = 60_000  # for the drafts
UNREADABLE = "no sentence that this artifact can read"


def calibrate(folder: Path, split: corpus.Split, base: Path | None = None) -> dict[str, int]:
    """Write these files into an artifact, and its manifest; returns how many sentences, contexts and words went into them.

    base: an artifact of the same vocabulary; if it has a lexicon, its counts are added.
    """
    config = artifacts.verify(folder)
    chosen = np.random.default_rng(1).permutation(len(split))
    limits, ranges = trainer.limits_of(config), {}  # a network that was not trained may read less than the corpus has
    fits = np.all([split.lengths(name) <= most for name, most in asdict(limits).items()], axis=0)
    for name in artifacts.NETS:
        net_config = getattr(config, name)
        net = weights.load_net(folder / f"{name}.safetensors", net_config, torch.device("cpu"))
        ranges[name] = ranges_of(net, split, trainer.RECIPES[name], chosen[fits[chosen]][:SENTENCES])
    vocabulary = artifacts.read_vocabulary(folder / "vocab.json")
    counts, split_counts = (array[:, : config.paraphraser.output_vocab_size] for array in counts_of(vocabulary, split))
    words = int(counts.sum())
    if base and (base / artifacts.LEXICON).is_file():
        earlier, earlier_split = artifacts.load_lexicon(base / artifacts.LEXICON, counts.shape[1])
        counts += earlier
        split_counts += 0 if earlier_split is None else earlier_split
    contexts, tokens = proposers.learn([row.astype(np.uint8).tobytes() for row in split.rows("parse", np.sort(chosen[:PARSES]))])
    artifact_files.write_json(folder / artifacts.RANGES, ranges)
    artifact_files.write_json(folder / artifacts.ENDINGS, {"tokens": endings_of(vocabulary, split)})
    artifact_files.save_drafts(folder / artifacts.DRAFTS, contexts, tokens)
    artifact_files.save_lexicon(folder / artifacts.LEXICON, *lexicon.packed(counts, split_counts))
    artifact_files.write_manifest(folder)
    return {"sentences": min(SENTENCES, int(fits.sum())), "parses": min(PARSES, len(split)), "contexts": len(tokens), "words": words}


def places_of(vocabulary: Vocabulary, split: corpus.Split) -> tuple[np.ndarray, np.ndarray]:
    """For each piece of the sentences: whether it goes on with a word, whether it ends one."""
    continued = np.array([token.endswith(SEPARATOR) for token in vocabulary.tokens])
    ids, starts = split.flat["words"], split.offsets["words"][:-1]
    inside = np.concatenate([[False], continued[ids[:-1]]])
    inside[starts[starts < len(ids)]] = False
    return inside, ~continued[ids]


def endings_of(vocabulary: Vocabulary, split: corpus.Split) -> list[str]:
    """Tokens that the sentences have at the end of split words and nowhere as a word."""
    ids, (inside, ends) = split.flat["words"], places_of(vocabulary, split)
    return [vocabulary.tokens[i] for i in np.setdiff1d(ids[ends & inside], ids[ends & ~inside])]


def counts_of(vocabulary: Vocabulary, split: corpus.Split) -> tuple[np.ndarray, np.ndarray]:
    """Counts (T, V) of tags and (P, V) of split tags as `lexicon.learn` makes them. A sentence whose words cannot be told apart, for
    unknown pieces, is left out."""
    begins = ~places_of(vocabulary, split)[0]
    words = np.diff(np.concatenate([[0], np.cumsum(begins)])[split.offsets["words"]])  # of each sentence
    usable = words == split.lengths("tags")
    rows = np.full(len(vocabulary), word_classes.NO_TAG)
    for tag, row in word_classes.ROWS.items():
        rows[vocabulary.syntax_ids[tag]] = row
    pieces = split.flat["words"][begins & np.repeat(usable, split.lengths("words"))]
    tags = rows[split.flat["tags"][np.repeat(usable, split.lengths("tags"))]]
    parses = split.rows("parse", usable.nonzero()[0])
    places = np.fromiter((1 + place for ids in parses for place in split_tags(vocabulary.decode_syntax(ids[1:-1].tolist()))), np.int64)
    return lexicon.learn(pieces, tags, len(vocabulary)), lexicon.learn(pieces, places, len(vocabulary), len(SPLIT))


def borrow_drafts(source: Path, folder: Path) -> None:
    """Copy the drafts of one artifact to another, whose syntax tokens may have other ids; then write its manifest."""
    ours, theirs = (artifacts.read_vocabulary(each / "vocab.json") for each in (source, folder))
    lookup = np.arange(256, dtype=np.uint8)
    for token, i in ours.syntax_ids.items():
        j = theirs.syntax_ids.get(token, proposers.FREE)
        if j >= proposers.FREE:  # a parse of this vocabulary cannot be written in bytes
            return
        lookup[i] = j
    arrays = load_file(source / artifacts.DRAFTS)
    artifact_files.save_drafts(folder / artifacts.DRAFTS, lookup[arrays["contexts"]], lookup[arrays["tokens"]])
    artifact_files.write_manifest(folder)


@torch.inference_mode()
def ranges_of(net: SynPG, split: corpus.Split, recipe: trainer.Recipe, chosen: np.ndarray) -> Ranges:
    """Least and greatest input of every linear layer on the chosen sentences and their own targets."""
    ranges = record(net)
    for batch in batches(split, recipe, chosen):
        bag, syntax, source, _ = trainer.make_batch(split, batch, recipe, net.config, "cpu", None)
        net.logits(net(bag, syntax, source), net.copies(bag))
    return ranges


def batches(split: corpus.Split, recipe: trainer.Recipe, chosen: np.ndarray) -> list[np.ndarray]:
    return corpus.batches(split, "parse", recipe.tokens, np.random.default_rng(0), chosen)


def teacher_forced(net: Network, split: corpus.Split, batch: np.ndarray, recipe: trainer.Recipe) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest token at every position of the sentences' own targets, and these targets: (tokens,) each, without pads."""
    bag, syntax, source, labels = trainer.make_batch(split, batch, recipe, net.config, "cpu", None)
    if (generation_vocab_size := net.config.generation_vocab_size) is not None:
        source, labels = (to_extended_ids(bag, tokens, generation_vocab_size) for tokens in (source, labels))
    logits = net.verify(source.numpy(), net.encode(bag.numpy(), syntax.numpy()), [0] * len(batch))  # (B, T, V)
    known = labels.numpy()
    return logits.argmax(-1)[known != PAD], known[known != PAD]


@torch.inference_mode()
def agreement(folder: Path, split: corpus.Split) -> dict[str, dict[str, float]]:
    """Network -> share of teacher-forced tokens that int8 and fp32 choose alike, and how often each is right."""
    found = {}
    for name in artifacts.NETS:
        nets = [artifacts.load(folder, precision=precision).backend(name).net for precision in ("fp32", "int8")]
        recipe, alike, right, tokens = trainer.RECIPES[name], 0, np.zeros(2), 0
        for batch in batches(split, recipe, np.arange(len(split))):
            (one, labels), (two, _) = (teacher_forced(net, split, batch, recipe) for net in nets)
            alike, tokens = alike + int((one == two).sum()), tokens + len(labels)
            right += [int((one == labels).sum()), int((two == labels).sum())]
        found[name] = {"alike": alike / tokens, "fp32_right": right[0] / tokens, "int8_right": right[1] / tokens, "tokens": tokens}
    return found


def read(folder: Path, file: Path) -> corpus.Split:
    """The sentences of a file that the artifact can read, as its ids."""
    config = artifacts.verify(folder)
    split, dropped = corpus.Encoder(folder, config.pipeline.bpe_threshold).split(file, trainer.limits_of(config))
    if not len(split):
        corpus.require_a_tree(file, UNREADABLE)
        raise InputError(f"{file.name}: {UNREADABLE}, for these reasons: {dict(dropped)}.")
    return split
