"""What the source parser learns from: trees as arrays, and the batches of an epoch. Knows no network."""

import collections
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handler.errors import SyntaxTreeError
from handler.language.trees import TAGS, Tree, read_tree
from handler.parsing.parser import CLS, SEP, SPECIALS, UNK, shape, word_pieces
from scripts.common.command import InputError
from scripts.training.corpus import read_columns, require_a_tree
from scripts.training.work import read_arrays

Sourced = tuple[Tree, str]  # a tree with words at its leaves, and the source of its sentence
Batch = tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, np.ndarray]  # as `make_batch` says


@dataclass(frozen=True)
class Recipe:
    """How the parser is trained; goes into the record."""

    weights: dict[str, float]  # source -> copies in an epoch; below 1 the share that is drawn, anew each epoch
    epochs: float
    layers: int = 3
    pieces: int = 20_000  # of the encoder's word pieces so many are read in training
    kept: int = 18_500  # and so many of these are in the file, which is to stay below 10 MB
    hidden: int = 256  # of the span scores
    min_chain: int = 5  # chains of labels seen less often are cut to their outermost label
    rate: float = 2e-4  # peak, of what was pretrained
    new_rate: float = 1e-3  # of the rest
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.1
    word_dropout: float = 0.05  # share of words read as [UNK]
    lower: float = 0.3  # share of sentences read as if in lower case
    no_stop: float = 0.15  # share of sentences read without their final mark
    batch: int = 1500  # pieces
    rounded: float = 0.6  # from this share of the steps on the inputs of the layers are rounded as they will be in int8
    seed: int = 1


DEFAULT = Recipe(
    weights={
        "masc": 3,
        "mctb": 3,
        "gum_open": 2,
        "auto_tatoeba": 0.25,
        "auto_snli": 0.5,
        "auto_sgd": 0.5,
        "auto_wikisplit": 0.5,
        "hans_synthetic": 0.2,
    },
    epochs=4,
)
GOLD = "masc", "mctb"  # sources with trees by hand


def brackets(tree: Tree) -> tuple[list[tuple[str, str]], dict[tuple[int, int], tuple[str, ...]]]:
    """Words with their tags, and for each span that is a constituent its labels, outermost first; without ROOT."""
    leaves: list[tuple[str, str]] = []
    found: dict[tuple[int, int], tuple[str, ...]] = {}

    def visit(node: Tree) -> tuple[int, int]:
        begin = len(leaves)
        if not node.children:
            leaves.append((node.word or "", node.label))
            return begin, begin + 1
        for child in node.children:
            visit(child)
        span = begin, len(leaves)
        if node.label != "ROOT":
            found[span] = (node.label, *found.get(span, ()))
        return span

    visit(tree)
    return leaves, found


@dataclass
class Corpus:
    """Sentences as flat arrays with offsets. Of a word: pieces, shape as written and in lower case, tag; spans of a sentence are
    rows (begin, end, label)."""

    sources: np.ndarray  # (N,) places in `names`
    names: list[str]
    words: np.ndarray  # (N + 1,) offsets into what words have
    shapes: np.ndarray
    lowers: np.ndarray
    tags: np.ndarray
    cuts: np.ndarray  # (words + 1,) offsets into pieces
    pieces: np.ndarray
    starts: np.ndarray  # (N + 1,) offsets into spans
    spans: np.ndarray  # (S, 3)
    stop: int  # the tag of final marks, `.`

    def __len__(self) -> int:
        return len(self.sources)

    def piece_counts(self) -> np.ndarray:
        """Pieces of each sentence."""
        return self.cuts[self.words[1:]] - self.cuts[self.words[:-1]]


def read_trees(file: Path) -> Iterator[Sourced]:
    """Tree and source of each line that can be read and has a word at each leaf."""
    for _, parse, *rest in read_columns(file, 2):
        try:
            tree = read_tree(parse)
        except SyntaxTreeError:
            continue
        if all(leaf.word for leaf in tree.leaves()):
            yield tree, rest[0] if rest else ""


def some_trees(file: Path) -> list[Sourced]:
    """The same as a list. Raises InputError, with the reason of the first line, if there are none."""
    trees = list(read_trees(file))
    if not trees:
        complaint = "expected parses, found none that can be read"
        require_a_tree(file, complaint)
        raise InputError(f"{file.name}: {complaint}; no tree has a word at each leaf.")
    return trees


def encode(trees: Iterable[Sourced], ids: dict[str, int], tags: list[str], labels: list[str]) -> Corpus:
    """Trees as arrays. A chain that is no label counts as its outermost label alone."""
    tag_ids, label_ids = {t: i for i, t in enumerate(tags)}, {label: i for i, label in enumerate(labels)}
    names: dict[str, int] = {}
    sources, words, shapes, lowers, kinds, cuts, pieces, starts, spans = [], [0], [], [], [], [0], [], [0], []
    known: dict[str, tuple[list[int], int, int]] = {}
    for tree, source in trees:
        leaves, found = brackets(tree)
        for word, tag in leaves:
            if word not in known:
                known[word] = word_pieces(word, ids), shape(word), shape(word.lower())
            cut, as_written, as_lower = known[word]
            pieces += cut
            cuts.append(len(pieces))
            shapes.append(as_written)
            lowers.append(as_lower)
            kinds.append(tag_ids.get(tag, 0))
        for (begin, end), chain in found.items():
            spans.append((begin, end, label_ids.get(" ".join(chain)) or label_ids.get(chain[0], 0)))
        sources.append(names.setdefault(source, len(names)))
        words.append(len(shapes))
        starts.append(len(spans))
    return Corpus(
        np.array(sources),
        list(names),
        np.array(words),
        np.array(shapes, np.int8),
        np.array(lowers, np.int8),
        np.array(kinds, np.int16),
        np.array(cuts),
        np.array(pieces, np.int32),
        np.array(starts),
        np.array(spans, np.int16).reshape(-1, 3),
        tag_ids.get(".", -1),
    )


def inventory(trees: Iterable[Sourced], min_chain: int) -> tuple[list[str], list[str]]:
    """The tags, and the labels of spans: "" (none) and every chain seen often enough, the most frequent first."""
    tags: collections.Counter[str] = collections.Counter()
    chains: collections.Counter[str] = collections.Counter()
    for tree, _ in trees:
        leaves, found = brackets(tree)
        tags.update(tag for _, tag in leaves)
        chains.update(" ".join(chain) for chain in found.values())
    kept = [chain for chain, n in chains.most_common() if n >= min_chain or " " not in chain]
    return sorted(tag for tag in tags if tag in TAGS), ["", *kept]


def choose_pieces(vocabulary: list[str], words: Mapping[str, int], most: int) -> list[str]:
    """The word pieces that are kept: the special ones, single characters of Latin scripts and those seen, then what is seen most
    often in `words`, then the encoder's own order, in which frequent ones come first."""
    counts: collections.Counter[str] = collections.Counter()
    numbered = [*SPECIALS, *(piece for piece in vocabulary if piece not in SPECIALS)]
    ids = {piece: i for i, piece in enumerate(numbered)}
    for word, n in words.items():
        for i in word_pieces(word, ids):
            counts[numbered[i]] += n
    single = [piece for piece in numbered if len(piece.removeprefix("##")) == 1 and (ord(piece[-1]) < 0x250 or counts[piece])]
    plain = (piece for piece in numbered if piece.removeprefix("##").isalnum())
    kept = dict.fromkeys([*SPECIALS, *single, *(piece for piece, _ in counts.most_common()), *plain])
    return list(kept)[:most]


def read_corpus(file: Path) -> Corpus:
    arrays: dict[str, Any] = read_arrays(file)
    return Corpus(**{**arrays, "names": arrays["names"].tolist(), "stop": int(arrays["stop"])})


def make_batch(corpus: Corpus, chosen: np.ndarray, recipe: Recipe, rng: np.random.Generator | None = None) -> Batch:
    """Inputs of `Net.forward`, then targets: the label of each span (S,), the tag of each word (N,), and the sentences' lengths."""
    rows = []
    for i in chosen:
        a, b = corpus.words[i], corpus.words[i + 1]
        spans = corpus.spans[corpus.starts[i] : corpus.starts[i + 1]].astype(np.int64)
        shapes = corpus.shapes[a:b]
        if rng is not None:
            if rng.random() < recipe.lower:
                shapes = corpus.lowers[a:b]
            if b - a > 3 and rng.random() < recipe.no_stop and corpus.tags[b - 1] == corpus.stop:
                cut = spans.copy()
                cut[:, 1] = np.minimum(cut[:, 1], b - a - 1)
                cut = cut[cut[:, 0] < cut[:, 1]]
                if len(np.unique(cut[:, :2], axis=0)) == len(cut):  # else two labels would have one span
                    spans, b, shapes = cut, b - 1, shapes[:-1]
        cuts = corpus.cuts[a : b + 1]
        rows.append((corpus.pieces[cuts[0] : cuts[-1]], np.diff(cuts), shapes, corpus.tags[a:b], spans))
    n = np.array([len(row[1]) for row in rows])
    longest, width = max(len(row[0]) for row in rows) + 2, int(n.max())
    ids, marks = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.int64)
    mask, ends = np.zeros((len(rows), longest), bool), np.zeros((2, len(rows), width + 2), np.int64)
    of_row, from_word, to_word, targets, tags, places = [], [], [], [], [], []
    for r, (pieces, counts, shapes, kinds, spans) in enumerate(rows):
        size, words = len(pieces), len(counts)
        ids[r, 0], ids[r, 1 : size + 1], ids[r, size + 1] = CLS, pieces, SEP
        marks[r, 1 : size + 1] = np.repeat(shapes, counts)
        mask[r, : size + 2] = True
        last = np.cumsum(counts)
        ends[0, r, 1 : words + 1], ends[1, r, 1 : words + 1] = last - counts + 1, last
        ends[:, r, words + 1] = size + 1
        if rng is not None and recipe.word_dropout:
            drop = np.repeat(rng.random(words) < recipe.word_dropout, counts)
            ids[r, 1 : size + 1][drop] = UNK
        begins, stops = np.triu_indices(words)
        chart = np.zeros((words, words + 1), np.int64)
        chart[spans[:, 0], spans[:, 1]] = spans[:, 2]
        of_row.append(np.full(len(begins), r))
        from_word.append(begins)
        to_word.append(stops + 1)
        targets.append(chart[begins, stops + 1])
        tags.append(kinds)
        places.append(r * width + np.arange(words))
    arrays = [ids, marks, mask, ends, *(np.concatenate(parts) for parts in (of_row, from_word, to_word, places))]
    return (
        [torch.from_numpy(a) for a in arrays],
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.concatenate(tags).astype(np.int64)),
        n,
    )


def plan(corpus: Corpus, recipe: Recipe, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: sentences of similar length, in random order."""
    rng = np.random.default_rng((recipe.seed, epoch))
    drawn: list[np.ndarray] = []
    for place, name in enumerate(corpus.names):
        of_source = np.flatnonzero(corpus.sources == place)
        copies = recipe.weights.get(name, 1.0)
        drawn += [of_source] * int(copies)
        drawn.append(rng.permutation(of_source)[: round((copies % 1) * len(of_source))])
    chosen = np.concatenate(drawn)
    sizes = corpus.piece_counts()[chosen] + 2
    order = np.lexsort((rng.random(len(chosen)), sizes))
    chosen, sizes = chosen[order], sizes[order]
    batches, start = [], 0
    while start < len(chosen):
        end = start + 1
        while end < len(chosen) and sizes[end] * (end + 1 - start) <= recipe.batch:
            end += 1
        batches.append(chosen[start:end])
        start = end
    return [batches[i] for i in rng.permutation(len(batches))]
