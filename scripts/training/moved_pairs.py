"""Pairs made by moving a sentence's own constituents: its words, and another sentence of these words with its parse.

The words do not fit the new parse exactly: an auxiliary or a preposition is left over or missing, a verb has another form.
"""

import collections
from pathlib import Path

import numpy as np

from handler.errors import SyntaxTreeError
from handler.language.relations import content, kept, made_up, missing, relations
from handler.language.trees import Tree, read_tree
from handler.movement.clauses import leaf, node
from handler.movement.propose import LAST_RESORT, Mover, tidied
from scripts.common import artifact_files
from scripts.common.command import InputError
from scripts.training.corpus import Encoder, Limits, Split, read_columns
from scripts.training.progress import counted
from scripts.training.work import read_json

PAIRS = 60_000  # sentences, at most, of which pairs are made
KEPT = 0.8  # least share of the relations that a moved sentence keeps
TARGETS, SOURCES = "moved.npz", "moved_sources.npz"
SLIGHT = {"unquote", "drop_lead", "repair"}  # what makes no other sentence
FRAMES = LAST_RESORT.keys() - {"passive", "ask_subject", "ask_object"}  # moves that bring in words of their own, always the same
QUESTIONS = {"invert", "auxiliary_as_modal", "undo_question"}  # nearly every sentence can be asked


def moved(source: Tree, rng: np.random.Generator) -> tuple[Tree, str] | None:
    """Another sentence made of a sentence, drawn from those that say the same, and the last move that led to it; None without any.

    Questions only where nothing else is found. Otherwise every kind of move is as likely as any other.
    """
    kinds: dict[str, list[Tree]] = {}
    said, pairs = content(source), relations(source)
    for top, mark, moves in Mover(source).variants:
        if set(moves) <= SLIGHT or FRAMES & set(moves):
            continue
        whole = tidied(node("ROOT", Tree(top.label, [*top.children, leaf(".", mark)])))
        if whole is not None:
            kinds.setdefault(moves[-1], []).append(whole)
    names = sorted(kinds)
    for name in sorted((names[i] for i in rng.permutation(len(names))), key=is_question):
        trees = kinds[name]
        tree = trees[rng.integers(len(trees))]
        now = content(tree)
        if not made_up(said, now) and not missing(said, now) and kept(pairs, relations(tree)) >= KEPT:
            return tree, name
    return None


def is_question(move: str) -> bool:
    return move in QUESTIONS or move.startswith("ask_")


def prepare(folder: Path, file: Path, say=print) -> None:
    """Write the pairs of a file of `sentence<TAB>parse` into a prepared corpus, and what they are into its record."""
    record = read_json(folder / "corpus.json")
    encoder, limits = Encoder(folder, record["bpe_threshold"]), Limits(**record["limits"])
    rng, sentences = np.random.default_rng(1), record["splits"]["train"]["sentences"]
    sources, targets = [], []
    moves: collections.Counter[str] = collections.Counter()
    for _, parse, *_ in counted(read_columns(file, 2), f"{file.name}, lines read for moved pairs", say):
        if rng.random() * sentences >= PAIRS:
            continue
        try:
            tree = read_tree(parse)
        except SyntaxTreeError:
            continue
        found = moved(tree, rng)
        if found is None:
            continue
        one, other = encoder.sentence(parse), encoder.sentence(str(found[0]))
        if limits.allow(one) and limits.allow(other):
            sources.append(one)
            targets.append(other)
            moves[found[1]] += 1
    if not sources:
        raise InputError(f"{file.name}: no sentence has constituents that can be moved.")
    Split.of(sources).save(folder / SOURCES)
    Split.of(targets).save(folder / TARGETS)
    artifact_files.write_json(folder / "corpus.json", {**record, "moved": {"pairs": len(sources), "moves": dict(moves.most_common())}})
    say(f"moved pairs: {len(sources)}")


def load(folder: Path) -> tuple[Split, Split]:
    """The targets and their sources, a row each."""
    return Split.load(folder / TARGETS), Split.load(folder / SOURCES)
