"""Give an artifact what is learned by looking on: ranges for int8, drafts for the parse generator, which pieces are no words,
and which tags words have.

    python -m scripts.calibrate model_store/mine --data train.tsv.gz                       sentence<TAB>parse, some thousands
    python -m scripts.calibrate model_store/mine --data train.tsv.gz --held-out dev.tsv.gz   and say what int8 costs

`ranges.json`: the least and greatest input of every linear layer on a few hundred sentences, teacher-forced, in fp32.
`drafts.safetensors`: which token follows the last few in the parses of the data; it changes no answer. `endings.json`: pieces
that the sentences have at the end of words and nowhere as a word, which are not to be written alone. `lexicon.safetensors`: how
often each word had which tag, from all sentences; texts follow their parses by it where `config.json` has a `tag_weight`. No
weight is changed, and what the artifact had of these files is replaced. `scripts.train --export` does this by itself.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from handler import artifacts, drafts, lexicon
from handler.engine import Engine, Ranges
from handler.errors import ArtifactError
from handler.model import PAD, to_columns
from handler.text import SEPARATOR, Vocabulary
from scripts import _corpus, train
from scripts._recording import RecordingEngine

SENTENCES = 512  # for the ranges; more moved no bound by more than a few percent
PARSES = 60_000  # for the drafts


def calibrate(folder: Path, split: _corpus.Split, base: Path | None = None) -> dict[str, int]:
    """Write these files into an artifact, and its manifest; returns how many sentences, contexts and words went into them.

    base: an artifact of the same vocabulary; if it has a lexicon, its counts are added.
    """
    config = artifacts.verify(folder)
    chosen = np.random.default_rng(1).permutation(len(split))
    limits, ranges = train.limits_of(config), {}  # a network that was not trained may read less than the corpus has
    fits = np.all([split.lengths(name) <= most for name, most in asdict(limits).items()], axis=0)
    for name in artifacts.NETS:
        net_config = getattr(config, name)
        net = artifacts.load_net(folder / f"{name}.safetensors", net_config, torch.device("cpu"))
        ranges[name] = ranges_of(RecordingEngine(net), split, train.RECIPES[name], chosen[fits[chosen]][:SENTENCES])
    vocabulary = Vocabulary.load(folder / "vocab.json")
    counts = counts_of(vocabulary, split)[:, : config.paraphraser.freely_written]
    words = int(counts.sum())
    if base and (base / artifacts.LEXICON).is_file():
        counts += artifacts.load_lexicon(base / artifacts.LEXICON, counts.shape[1])
    contexts, tokens = drafts.learn([row.astype(np.uint8).tobytes() for row in split.rows("parse", np.sort(chosen[:PARSES]))])
    artifacts.write_json(folder / artifacts.RANGES, ranges)
    artifacts.write_json(folder / artifacts.ENDINGS, {"tokens": endings_of(vocabulary, split)})
    artifacts.save_drafts(folder / artifacts.DRAFTS, contexts, tokens)
    artifacts.save_lexicon(folder / artifacts.LEXICON, lexicon.packed(counts))
    artifacts.write_manifest(folder)
    return {"sentences": min(SENTENCES, int(fits.sum())), "parses": min(PARSES, len(split)), "contexts": len(tokens), "words": words}


def places_of(vocabulary: Vocabulary, split: _corpus.Split) -> tuple[np.ndarray, np.ndarray]:
    """For each piece of the sentences: whether it goes on with a word, whether it ends one."""
    continued = np.array([token.endswith(SEPARATOR) for token in vocabulary.tokens])
    ids, starts = split.flat["words"], split.offsets["words"][:-1]
    inside = np.concatenate([[False], continued[ids[:-1]]])
    inside[starts[starts < len(ids)]] = False
    return inside, ~continued[ids]


def endings_of(vocabulary: Vocabulary, split: _corpus.Split) -> list[str]:
    """Tokens that the sentences have at the end of split words and nowhere as a word."""
    ids, (inside, ends) = split.flat["words"], places_of(vocabulary, split)
    return [vocabulary.tokens[i] for i in np.setdiff1d(ids[ends & inside], ids[ends & ~inside])]


def counts_of(vocabulary: Vocabulary, split: _corpus.Split) -> np.ndarray:
    """Counts (T, V) as `lexicon.learn` makes them. A sentence whose words cannot be told apart, for unknown pieces, is left out."""
    begins = ~places_of(vocabulary, split)[0]
    words = np.diff(np.concatenate([[0], np.cumsum(begins)])[split.offsets["words"]])  # of each sentence
    usable = words == split.lengths("tags")
    rows = np.full(len(vocabulary), lexicon.NO_TAG)
    for tag, row in lexicon.ROWS.items():
        rows[vocabulary.syntax_ids[tag]] = row
    pieces = split.flat["words"][begins & np.repeat(usable, split.lengths("words"))]
    return lexicon.learn(pieces, rows[split.flat["tags"][np.repeat(usable, split.lengths("tags"))]], len(vocabulary))


def borrow_drafts(source: Path, folder: Path) -> None:
    """Copy the drafts of one artifact to another, whose syntax tokens may have other ids; then write its manifest."""
    ours, theirs = (Vocabulary.load(each / "vocab.json") for each in (source, folder))
    lookup = np.arange(256, dtype=np.uint8)
    for token, i in ours.syntax_ids.items():
        j = theirs.syntax_ids.get(token, drafts.FREE)
        if j >= drafts.FREE:  # a parse of this vocabulary cannot be written in bytes
            return
        lookup[i] = j
    arrays = load_file(source / artifacts.DRAFTS)
    artifacts.save_drafts(folder / artifacts.DRAFTS, lookup[arrays["contexts"]], lookup[arrays["tokens"]])
    artifacts.write_manifest(folder)


@torch.inference_mode()
def ranges_of(net: RecordingEngine, split: _corpus.Split, recipe: train.Recipe, chosen: np.ndarray) -> Ranges:
    """Least and greatest input of every linear layer on the chosen sentences."""
    for batch in batches(split, recipe, chosen):
        teacher_forced(net, split, batch, recipe)
    return net.ranges


def batches(split: _corpus.Split, recipe: train.Recipe, chosen: np.ndarray) -> list[np.ndarray]:
    return _corpus.batches(split, "parse", recipe.tokens, np.random.default_rng(0), chosen)


def teacher_forced(net: Engine, split: _corpus.Split, batch: np.ndarray, recipe: train.Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest token at every position of the sentences' own targets, and these targets: (tokens,) each, without pads."""
    bag, syntax, source, labels = train.make_batch(split, batch, recipe, net.config, "cpu", None)
    if (written := net.config.written) is not None:
        source, labels = (to_columns(bag, tokens, written) for tokens in (source, labels))
    logits = net.extend(source, net.encode(bag, syntax), [0] * len(batch))  # (B, T, V)
    return logits.argmax(-1)[labels != PAD], labels[labels != PAD]


@torch.inference_mode()
def agreement(folder: Path, split: _corpus.Split) -> dict[str, dict[str, float]]:
    """Network -> share of teacher-forced tokens that int8 and fp32 choose alike, and how often each is right."""
    found = {}
    for name in artifacts.NETS:
        nets = [getattr(artifacts.load(folder, precision=precision), name) for precision in ("fp32", "int8")]
        recipe, alike, right, tokens = train.RECIPES[name], 0, np.zeros(2), 0
        for batch in batches(split, recipe, np.arange(len(split))):
            (one, labels), (two, _) = (teacher_forced(net, split, batch, recipe) for net in nets)
            alike, tokens = alike + int((one == two).sum()), tokens + len(labels)
            right += [int((one == labels).sum()), int((two == labels).sum())]
        found[name] = {"alike": alike / tokens, "fp32_right": right[0] / tokens, "int8_right": right[1] / tokens, "tokens": tokens}
    return found


def read(folder: Path, file: Path) -> _corpus.Split:
    """The sentences of a file that the artifact can read, as its ids."""
    config = artifacts.verify(folder)
    split, _ = _corpus.Encoder(folder, config.pipeline.bpe_threshold).split(file, train.limits_of(config))
    if not len(split):
        raise SystemExit(f"{file.name}: no sentence that this artifact can read")
    return split


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.calibrate", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="sentence<TAB>parse, .tsv or .tsv.gz")
    parser.add_argument("--held-out", type=Path, help="the same; say how often int8 and fp32 choose the same token")
    options = parser.parse_args(argv)
    try:
        done = calibrate(options.artifact, read(options.artifact, options.data))
        print(f"ranges from {done['sentences']} sentences, {done['contexts']} contexts of drafts from {done['parses']} parses, "
              f"tags of {done['words']} words")
        if options.held_out:
            for name, shares in agreement(options.artifact, read(options.artifact, options.held_out)).items():
                print(f"{name}: int8 chooses as fp32 in {100 * shares['alike']:.2f} % of {shares['tokens']} tokens; "
                      f"right {100 * shares['fp32_right']:.2f} % and {100 * shares['int8_right']:.2f} %")
    except ArtifactError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
