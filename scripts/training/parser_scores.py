"""What a source parser is worth: brackets and tags that are right, and milliseconds."""

import collections
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handler import artifacts
from handler.language.trees import Tree, words
from handler.parsing.parser import Parser, best_tree
from scripts.training.parser_data import Corpus, Recipe, Sourced, brackets, make_batch


@torch.no_grad()
def predict(net: torch.nn.Module, corpus: Corpus, recipe: Recipe) -> Iterator[tuple[int, list[tuple[int, int, int]], np.ndarray]]:
    """For each sentence its place, the constituents found, (begin, end, label) and the tags."""
    net.eval()
    order = np.argsort(corpus.piece_counts(), kind="stable")
    for begin in range(0, len(order), 32):
        chosen = order[begin : begin + 32]
        inputs, _, _, lengths = make_batch(corpus, chosen, recipe)
        scores, kinds = (a.numpy() for a in net(*inputs))
        kinds, at, word = kinds.argmax(1), 0, 0
        best, margin = scores[:, 1:].argmax(1) + 1, scores[:, 1:].max(1) - scores[:, 0]
        for i, n in zip(chosen, lengths):
            rows, columns = np.triu_indices(n)
            labels, margins = np.zeros((n, n + 1), np.int64), np.full((n, n + 1), -1e9, np.float32)
            labels[rows, columns + 1], margins[rows, columns + 1] = best[at : at + len(rows)], margin[at : at + len(rows)]
            yield i, best_tree(labels, margins), kinds[word : word + n]
            at, word = at + len(rows), word + n
    net.train()


def evaluate(net: torch.nn.Module, corpus: Corpus, recipe: Recipe, labels: list[str]) -> dict[str, dict[str, float]]:
    """Source -> F1 of labelled brackets and accuracy of the tags, in percent; "all" are all together. Chains that are no label
    are measured as the corpus has them, cut: the final figures are those of `score`, of whole trees."""
    chains = [label.split() for label in labels]
    counts: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(5, int))
    for i, found, kinds in predict(net, corpus, recipe):
        gold = corpus.spans[corpus.starts[i] : corpus.starts[i + 1]]
        ours = collections.Counter((b, e, label) for b, e, chain in found for label in chains[chain])
        true = collections.Counter((b, e, label) for b, e, chain in gold.tolist() for label in chains[chain])
        row = (
            (ours & true).total(),
            ours.total(),
            true.total(),
            int((kinds == corpus.tags[corpus.words[i] : corpus.words[i + 1]]).sum()),
            len(kinds),
        )
        for name in corpus.names[corpus.sources[i]], "all":
            counts[name] += row
    return {
        name: {"f1": share(2 * right, ours + true), "tags": share(tags, words)}
        for name, (right, ours, true, tags, words) in sorted(counts.items())
    }


def share(part: int, whole: int) -> float:
    """In percent."""
    return round(float(100 * part / max(1, whole)), 2)


def score(parser: Parser, trees: Iterable[Sourced]) -> dict[str, dict[str, float]]:
    """Source -> how its trees are parsed from their words, by the file as it is served: sentences, F1 of labelled brackets (every
    node but ROOT and the tags counts), trees exactly right and tags right, in percent. "all" are all together."""
    counts: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(7, int))
    for tree, source in trees:
        leaves, asked = brackets(tree)
        tagged, found = brackets(parser.parse([word for word, _ in leaves]))
        true, ours = (collections.Counter((*span, label) for span, chain in spans.items() for label in chain) for spans in (asked, found))
        right = sum(a == b for a, b in zip(leaves, tagged))
        row = 1, (ours & true).total(), ours.total(), true.total(), ours == true and right == len(leaves), right, len(leaves)
        for name in source, "all":
            counts[name] += row
    return {
        name: {
            "sentences": int(n),
            "f1": share(2 * right, ours + true),
            "exact": share(exact, n),
            "words": int(words),
            "tags": share(tags, words),
        }
        for name, (n, right, ours, true, exact, tags, words) in sorted(counts.items())
    }


def figures(file: Path, splits: Mapping[str, Sequence[Sourced]], gold: tuple[str, ...]) -> dict[str, Any]:
    """What the record says of a parser's file. "test" is measured on the last of the splits, by source and on the gold ones.
    "tags" is measured on the gold sentences of all splits, as `train_tagger` does."""
    parser = artifacts.load_parser(file)
    last = list(splits.values())[-1]
    by_hand = [pair for pair in last if pair[1] in gold] or last
    every = [pair for split in splits.values() for pair in split if pair[1] in gold] or last
    found = score(parser, last) | {"gold": score(parser, by_hand)["all"], "gold_lower": score(parser, lowered(by_hand))["all"]}
    return {
        "test": found,
        "tags": {"cased": score(parser, every)["all"], "lower": score(parser, lowered(every))["all"]},
        "speed": {"precision": parser.precision, **speed(file, last)},
        "bytes": file.stat().st_size,
    }


def lowered(trees: Iterable[Sourced]) -> list[Sourced]:
    return [(lower(tree), source) for tree, source in trees]


def lower(tree: Tree) -> Tree:
    return Tree(tree.label, list(map(lower, tree.children)), tree.word and tree.word.lower())


def speed(file: Path, trees: Sequence[Sourced], length: int = 20, repeats: int = 200) -> dict[str, float]:
    """Milliseconds, medians: to load the file, to parse held-out sentences as they are, and to parse `length` words."""
    loads = []
    for _ in range(5):
        began = time.perf_counter()
        parser = artifacts.load_parser(file)
        loads.append(time.perf_counter() - began)
    sentences = [words(tree) for tree, _ in trees]
    text = [word for sentence in sentences for word in sentence]
    cut = [text[i : i + length] for i in range(0, len(text) - length + 1, length)][:repeats]
    step = max(1, len(sentences) // repeats)
    whole, even = timed(parser, sentences[::step]), timed(parser, cut)
    out = {"load_ms": round(1000 * statistics.median(loads), 1), "sentence_ms": round(1000 * statistics.median(whole), 2)}
    if even:
        out |= {
            f"words_{length}_ms": round(1000 * statistics.median(even), 2),
            f"words_{length}_p95_ms": round(1000 * sorted(even)[int(0.95 * len(even))], 2),
        }
    return out


def timed(parser: Parser, sentences: list[list[str]]) -> list[float]:
    """Seconds of each call."""
    times = []
    for tokens in sentences:
        began = time.perf_counter()
        parser.parse(tokens)
        times.append(time.perf_counter() - began)
    return times
