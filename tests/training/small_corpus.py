"""Fifty sentences, the command that trains on them, and what is read of its work."""

import json

import numpy as np

from handler import artifacts
from scripts import train
from scripts.training import calibration, corpus

SENTENCES = [
    f"(ROOT (S (NP (DT the) (NN {noun})) (VP (VBZ {verb}) (NP (DT a) (NN {other}))) (. .)))"
    for noun in ("dog", "cat", "bird", "horse")
    for verb in ("sees", "likes", "finds")
    for other in ("tree", "house", "ball", "river")
]
SENTENCES += [f"(ROOT (S (VP (VB {verb}) (NP (DT the) (NN {noun}))) (. .)))" for verb in ("take", "see") for noun in ("ball", "cat")]


def run(folder, *more):
    return train.main(
        [
            str(folder / "work"),
            "--train",
            str(folder / "train.tsv"),
            "--dev",
            str(folder / "dev.tsv"),
            "--merges",
            "40",
            "--threads",
            "1",
            *more,
        ]
    )


def lexicon_of(folder):
    """Counts of tags of an artifact's lexicon, or of the sentences of a prepared corpus."""
    vocabulary = artifacts.read_vocabulary(folder / "vocab.json")
    if (folder / artifacts.LEXICON).is_file():
        return artifacts.load_lexicon(folder / artifacts.LEXICON, len(vocabulary))[0]
    return calibration.counts_of(vocabulary, corpus.Split.load(folder / "train.npz"))[0]


def vocabulary_of(folder, lines, merges=300):
    """What `learn_vocabulary` makes of a training file and a file of word vectors: tokens, W, the vectors it kept."""
    (folder / "t.tsv").write_text(
        "".join(
            f"{sentence}\t(X x)\n" * times
            for sentence, times in (("The cat is here", 30), ("the dog is there", 10), ("the owl", 2), ("cats", 25), ("it's", 1))
        )
    )
    (folder / "vectors.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    generation_vocab_size = corpus.learn_vocabulary(folder, folder / "t.tsv", merges, folder / "vectors.txt")
    tokens = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    with np.load(folder / corpus.VECTORS, allow_pickle=False) as arrays:
        ids, vectors = arrays["ids"], arrays["vectors"]
    assert (np.diff(ids) > 0).all() and vectors.dtype == np.float32
    return tokens, generation_vocab_size, {tokens[i]: vector.tolist() for i, vector in zip(ids, vectors)}
