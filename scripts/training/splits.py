"""Sentences of a user's files into those to train on, those held out while training, and those to measure with."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

SHARES = {"test": 10, "dev": 5, "train": 85}  # per cent, by hash
WHOLE_FILES = 20  # with as many files, all sentences of one have the same split


def divide(files: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The sentences of train, dev and test. files: name -> its sentences, in the order in which they are read.

    A sentence that several files have, in capitals or not, counts for the first of them only, so that no split has one of another's.
    With at least `WHOLE_FILES` files all of a file go into one split; with fewer, each sentence goes by itself. The same names, or
    the same sentences, always give the same splits.
    """
    found: dict[str, list[str]] = {name: [] for name in ("train", "dev", "test")}
    seen = set()
    for name, sentences in files.items():
        for sentence in sentences:
            if sentence.lower() not in seen:
                seen.add(sentence.lower())
                found[split_of(name if len(files) >= WHOLE_FILES else sentence.lower())].append(sentence)
    return found


def split_of(key: str) -> str:
    """The split of a file, by its name, or of a sentence."""
    place = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100
    for name, share in SHARES.items():
        if place < share:
            return name
        place -= share
    raise AssertionError("the shares are 100 together")


def write(folder: Path, name: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write `sentence<TAB>tree` lines as FOLDER/NAME.tsv, which appears when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.tsv.part"
    with open(part, "w", encoding="utf-8") as out:
        out.writelines(f"{sentence}\t{tree}\n" for sentence, tree in rows)
    part.replace(folder / f"{name}.tsv")
