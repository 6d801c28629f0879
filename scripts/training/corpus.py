"""Training data: `sentence<TAB>parse` files to ids, and ids to batches. Independent of networks and optimisers.

A prepared corpus is a folder: `bpe.codes`, `bpe.vocab.txt`, `vocab.json` (as they go into the artifact), one `.npz` of
flat id arrays per split, perhaps `vectors.npz`, and `corpus.json` (sources with sha256, counts, what was left out and why).
"""

import collections
import gzip
import hashlib
import io
import itertools
import json
import re
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from subword_nmt.learn_bpe import learn_bpe

from handler import artifacts
from handler.errors import SyntaxTreeError
from handler.language.trees import SYNTAX_TOKENS, Tree, read_tree, syntax_tokens, tags, template_of, words
from handler.language.vocabulary import SPECIALS
from handler.model.network import EOS, SOS, UNK
from scripts.common.command import InputError
from scripts.training.progress import counted
from scripts.training.work import read_arrays

MIN_COUNT = 5  # a piece seen less often is split further, a character seen less often becomes <unk>
WRITTEN_COUNT = 20  # with word vectors: a piece seen less often is only copied from the sentence (`generation_vocab_size`)
VECTOR_WORDS = 40_000  # so many of the commonest words that have a vector are in the vocabulary, seen or not
WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
VECTORS = "vectors.npz"  # ids (N,), rising, and vectors (N, D) of the tokens that have one
FIELDS = "words", "tags", "template", "parse"  # id sequences of a sentence; template and parse carry <sos> and <eos>


@dataclass(frozen=True)
class Limits:
    """Longest sequences kept; a sentence beyond one is left out and counted."""

    words: int  # BPE pieces
    template: int  # syntax tokens, <sos> and <eos> included
    parse: int  # the same

    def allow(self, ids: Mapping[str, list[int]]) -> bool:
        return all(len(ids[name]) <= most for name, most in vars(self).items())


@dataclass
class Split:
    """Sentences as ids: for each field one flat array and the offsets of its rows."""

    flat: dict[str, np.ndarray]
    offsets: dict[str, np.ndarray]

    @classmethod
    def of(cls, rows: list[dict[str, list[int]]]) -> "Split":
        """Sentences by their fields, as `Encoder.sentence` makes them."""
        flat = {name: np.fromiter((i for row in rows for i in row[name]), np.int32) for name in FIELDS}
        return cls(flat, {name: np.cumsum([0, *(len(row[name]) for row in rows)]) for name in FIELDS})

    def __len__(self) -> int:
        return len(self.offsets["words"]) - 1

    def lengths(self, name: str) -> np.ndarray:
        return np.diff(self.offsets[name])

    def rows(self, name: str, indices: np.ndarray) -> list[np.ndarray]:
        starts, ends = self.offsets[name][indices], self.offsets[name][indices + 1]
        return [self.flat[name][a:b] for a, b in zip(starts, ends)]

    def joined(self, other: "Split") -> "Split":
        """The sentences of both, those of `other` last."""
        return Split(
            {n: np.concatenate([self.flat[n], other.flat[n]]) for n in FIELDS},
            {n: np.concatenate([self.offsets[n], self.offsets[n][-1] + other.offsets[n][1:]]) for n in FIELDS},
        )

    def save(self, file: Path) -> None:
        arrays: dict[str, Any] = {f"{n}.ids": self.flat[n] for n in FIELDS} | {f"{n}.offsets": self.offsets[n] for n in FIELDS}
        np.savez(file, **arrays)

    @classmethod
    def load(cls, file: Path) -> "Split":
        arrays = read_arrays(file)
        return cls({n: arrays[f"{n}.ids"] for n in FIELDS}, {n: arrays[f"{n}.offsets"] for n in FIELDS})


def read_columns(file: Path, least: int) -> Iterator[list[str]]:
    """The columns of each line of a `.tsv` or `.tsv.gz`. Raises InputError, with the line, where there are fewer than `least`."""
    number = 0
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                columns = line.rstrip("\n").split("\t")
                if len(columns) < least:
                    raise InputError(f"{file.name}:{number}: expected {least} columns separated by tabs, found {len(columns)}.")
                yield columns
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name}, after line {number}: not text in UTF-8: {error}.") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{file.name} is not a gzipped file, or not all of it: {str(error).rstrip('.')}.") from None


def read_tree_of(file: Path, number: int, parse: str) -> Tree:
    """The tree on a line of a file. Raises InputError that says where it is and what is wrong with it."""
    try:
        return read_tree(parse)
    except SyntaxTreeError as error:
        raise InputError(f"{file.name}:{number}: {error.reason}.") from None


def require_a_tree(file: Path, complaint: str = "no sentence is left to learn from") -> None:
    """Raise InputError, with the reason of the first line, if no line of a file has a parse that can be read."""
    first: InputError | None = None
    for number, (_, parse, *_) in enumerate(read_columns(file, 2), 1):
        try:
            read_tree_of(file, number, parse)
            return
        except InputError as error:
            first = first or error
    raise InputError(f"{file.name}: {complaint}; {first or 'the file is empty.'}")


def prepare(
    folder: Path, files: dict[str, Path], merges: int, limits: Limits, base: Path | None = None, vectors: Path | None = None, say=print
) -> None:
    """Write every split as ids, with BPE and a vocabulary learned from `files["train"]` and the words of `vectors` or, if there is
    one, those of the artifact `base`. Nothing of dev or test is learned from."""
    for file in files.values():
        require_a_tree(file)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if base:
        threshold = artifacts.verify(base).pipeline.bpe_threshold
        for name in ("bpe.codes", "bpe.vocab.txt", "vocab.json"):
            shutil.copyfile(base / name, folder / name)
    else:
        threshold = MIN_COUNT
        say(f"BPE: learning {merges} merges from {files['train'].name}")
        generation_vocab_size = learn_vocabulary(folder, files["train"], merges, vectors)
        say(f"BPE: {merges} merges, {time.monotonic() - began:.0f} s")

    encoder = Encoder(folder, threshold)
    record: dict[str, Any] = {"merges": None if base else merges, "bpe_threshold": threshold, "limits": limits.__dict__, "splits": {}}
    if vectors:
        record |= {"generation_vocab_size": generation_vocab_size, "vectors": origin(vectors)}
    for name, file in files.items():
        split, dropped = encoder.split(file, limits, say)
        if not len(split):
            raise InputError(f"{file.name}: no sentence is left to learn from, for these reasons: {dict(dropped)}.")
        split.save(folder / f"{name}.npz")
        record["splits"][name] = {**origin(file), "sentences": len(split), "left_out": dict(dropped)}
        say(f"{name}: {len(split)} sentences, left out {dict(dropped) or 'none'}, {time.monotonic() - began:.0f} s")
    (folder / "corpus.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def origin(file: Path) -> dict[str, str]:
    """What a record says of a file."""
    with open(file, "rb") as stream:
        return {"file": file.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def learn_vocabulary(folder: Path, file: Path, merges: int, vectors: Path | None = None) -> int:
    """Write `bpe.codes`, `bpe.vocab.txt` and `vocab.json`, learned from the lower-cased words of a file, and return how many of
    the tokens, the first ones, that file has often enough for them to be written freely.

    Words that have vectors count as often as their rank says, by Zipf's law. Their vectors go into `vectors.npz`.
    """
    seen: collections.Counter[str] = collections.Counter()
    for sentence, *_ in read_columns(file, 2):
        seen.update(sentence.lower().split())
    counts = collections.Counter(seen)
    if vectors:
        for rank, word in enumerate(first_words(vectors, VECTOR_WORDS), 1):
            counts[word] = max(counts[word], MIN_COUNT * VECTOR_WORDS // rank)
    if not has_repeated_pair(counts):
        raise InputError(f"{file.name}: too few words to learn word pieces from; no pair of letters occurs twice.")
    dictionary = "".join(f"{word} {n}\n" for word, n in sorted(counts.items()))
    with open(folder / "bpe.codes", "w", encoding="utf-8") as out:
        learn_bpe(io.StringIO(dictionary), out, merges, min_frequency=2, is_dict=True)
    unfiltered = artifacts.read_pieces(folder / "bpe.codes", None)
    pieces: collections.Counter[str] = collections.Counter()
    seen_pieces: collections.Counter[str] = collections.Counter()
    for word, n in counts.items():
        for piece in unfiltered.split([word]):
            pieces[piece] += n
            seen_pieces[piece] += seen[word]
    ranked = sorted(
        (piece for piece, n in pieces.items() if n >= MIN_COUNT), key=lambda piece: (-seen_pieces[piece], -pieces[piece], piece)
    )
    (folder / "bpe.vocab.txt").write_text("".join(f"{p} {pieces[p]}\n" for p in ranked), encoding="utf-8")
    tokens = [*SPECIALS, *(f"<{token}>" for token in SYNTAX_TOKENS), *ranked]
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    if vectors:
        places = {token: i for i, token in enumerate(tokens)}
        found = {places[word]: numbers for word, numbers in read_vectors(vectors) if word in places}
        if not found:
            raise InputError(f"{vectors.name}: no word of the vocabulary has a vector in it.")
        ids = sorted(found)
        np.savez(folder / VECTORS, ids=np.array(ids), vectors=np.array([found[i] for i in ids]))
    return len(tokens) - sum(seen_pieces[piece] < WRITTEN_COUNT for piece in ranked)


def has_repeated_pair(counts: Mapping[str, int]) -> bool:
    """Whether any two letters stand beside each other twice in words that were counted: without, there is nothing to merge."""
    seen = set()
    for word, n in counts.items():
        for pair in itertools.pairwise([*word[:-1], f"{word[-1]}</w>"]):  # the end of a word is part of its last letter
            if n > 1 or pair in seen:
                return True
            seen.add(pair)
    return False


def vector_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Word and the rest of each line of a file of word vectors, without the line that some begin with: how many, how wide."""
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            word, _, numbers = line.partition(" ")
            if number or " " in numbers.strip():
                yield word, numbers


def first_words(file: Path, most: int) -> list[str]:
    """The words, lower case and letters only, among the first `most` lines."""
    return [word for word, _ in itertools.islice(vector_lines(file), most) if WORD.fullmatch(word)]


def read_vectors(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Word and vector (D,) fp32 of each line."""
    for word, numbers in vector_lines(file):
        try:
            yield word, np.array(numbers.split(), dtype=np.float32)
        except ValueError as error:
            raise InputError(f"{file.name}: the vector of {word!r} cannot be read: {error}.") from None


class Encoder:
    """Sentences with parses to ids, with the vocabulary of a prepared corpus or of an artifact."""

    def __init__(self, folder: Path, threshold: int):
        self.vocabulary = artifacts.read_vocabulary(folder / "vocab.json")
        self.pieces = artifacts.read_pieces(folder / "bpe.codes", folder / "bpe.vocab.txt", threshold)

    def sentence(self, parse: str) -> dict[str, list[int]]:
        """The four id sequences of one parse. Raises SyntaxTreeError."""
        tree = read_tree(parse)
        syntax, ids = self.vocabulary.syntax_ids, self.vocabulary.ids
        return {
            "words": [ids.get(piece, UNK) for piece in self.pieces.split([word.lower() for word in words(tree)])],
            "tags": [syntax[tag] for tag in tags(tree)],
            "template": [SOS, *(syntax[t] for t in syntax_tokens(template_of(tree))), EOS],
            "parse": [SOS, *(syntax[t] for t in syntax_tokens(tree)), EOS],
        }

    def split(self, file: Path, limits: Limits, say=print) -> tuple[Split, collections.Counter]:
        """All sentences of a file, and why others were left out."""
        rows: list[dict[str, list[int]]] = []
        dropped: collections.Counter[str] = collections.Counter()
        for _, parse, *_ in counted(read_columns(file, 2), f"{file.name}, lines read", say):
            try:
                ids = self.sentence(parse)
            except SyntaxTreeError as error:
                dropped[error.reason] += 1
                continue
            if limits.allow(ids):
                rows.append(ids)
            else:
                dropped["too long"] += 1
        return Split.of(rows), dropped


def pad(rows: list[np.ndarray], width: int = 0) -> np.ndarray:
    """Rows (B) of different lengths as one (B, width or the longest) array of int64, <pad> (0) after each row's end."""
    out = np.zeros((len(rows), max(width, *map(len, rows))), np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def batches(split: Split, length_of: str, budget: int, rng: np.random.Generator, indices: np.ndarray) -> list[np.ndarray]:
    """Index arrays of similar length, each about `budget` tokens of field `length_of`, in random order."""
    lengths = split.lengths(length_of)[indices]
    order = indices[np.lexsort((rng.random(len(indices)), lengths + rng.integers(0, 6, len(indices))))]
    lengths = split.lengths(length_of)[order]
    out, start = [], 0
    while start < len(order):
        end = start + 1
        while end < len(order) and lengths[start : end + 1].max() * (end + 1 - start) <= budget:
            end += 1
        out.append(order[start:end])
        start = end
    return [out[i] for i in rng.permutation(len(out))]


def cap_templates(split: Split, share: float, rng: np.random.Generator, first: int | None = None) -> np.ndarray:
    """Indices of an epoch in which no template makes up more than `share` of the sentences of the whole split, or of its first ones.

    Three sentences of five have the same top (NP VP .); a parse generator that sees no other learns to ignore it.
    """
    indices = np.arange(len(split) if first is None else first)
    if share >= 1:
        return indices
    groups = collections.defaultdict(list)
    for i, row in enumerate(split.rows("template", indices)):
        groups[row.tobytes()].append(i)
    most = max(1, int(share * len(indices)))
    return np.sort(np.concatenate([g if len(g) <= most else rng.choice(g, most, replace=False) for g in groups.values()]))
