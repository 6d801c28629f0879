"""How much of who does what to whom the answers under the named templates keep. Trees and words; no network of its own."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.language.relations import content, kept, made_up, missing, relations
from handler.language.trees import Tree, read_tree, words
from handler.pipeline import Pipeline
from handler.wire.request import CATALOGUE
from handler.wire.response import Paraphrase
from scripts.training.corpus import read_columns
from scripts.training.evaluation import paraphrase

SHORTEST, LONGEST = 6, 15  # words of a sentence that is evaluated
FIGURES = "relations", "missing", "made_up"


@dataclass(frozen=True)
class Kept:
    """What an answer keeps of a sentence whose parse is known."""

    relations: float  # F1, 0 to 1
    missing: int  # content words of the sentence
    made_up: int  # content words of the answer
    given: int  # content words in the sentence
    said: int  # content words in the answer

    @classmethod
    def of(cls, source: Tree, answer: Paraphrase) -> "Kept":
        tree, text = read_tree(answer.parse), answer.text.split(" ")
        wanted = content(source)
        whole = len(text) == len(tree.leaves())  # otherwise the step limit cut it short, and nothing is known of its relations
        found: Counter[str] = content(tree, text) if whole else Counter()
        share = kept(relations(source), relations(tree, text)) if whole else 0.0
        return cls(share, missing(wanted, found), made_up(wanted, found), wanted.total(), found.total())

    def parts(self) -> dict[str, tuple[float, float]]:
        """Its part of the numerator and the denominator of each figure, in %."""
        return {
            "relations": (100 * self.relations, 1),
            "missing": (100 * self.missing, self.given),
            "made_up": (100 * self.made_up, self.said),
        }


def measure(sources: list[Tree], answers: list[Paraphrase]) -> dict[str, float]:
    """Of answers to sentences whose parses are known, each in %: relations kept (mean over the answers), content words of the sentences
    missing, content words of the answers made up, and answers whose parse was made by moving the sentence's own."""
    parts = [Kept.of(source, answer).parts() for source, answer in zip(sources, answers)]
    moved = 100 * sum(answer.moves is not None for answer in answers) / max(1, len(answers))
    return {name: above / max(1, below) for name, (above, below) in summed(parts).items()} | {"moved": moved}


def summed(parts: list[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """The sums of figures' parts."""
    return {name: (sum(part[name][0] for part in parts), sum(part[name][1] for part in parts)) for name in FIGURES}


def named_templates(pipeline: Pipeline, file: Path, limit: int | None, options: dict, with_parse: bool) -> list[dict]:
    """A row for each named template, and one for all of them, over the first sentences of a file that are neither short nor long.
    That of all has the figures of each sentence, `each`, for comparisons.

    options: fields added to every request. with_parse: the request brings the sentence's parse; else the artifact parses it.
    """
    trees = [tree for _, parse, *_ in read_columns(file, 2) if SHORTEST <= len(words(tree := read_tree(parse))) <= LONGEST][:limit]
    task = f"{file.name}: {'with' if with_parse else 'without'} parse"
    rows: list[dict[str, Any]] = []
    all_sources: list[Tree] = []
    all_answers: list[Paraphrase] = []
    answers_to: dict[int, list[dict[str, tuple[float, float]]]] = {}
    for name in CATALOGUE:
        requests = [
            {"sent": " ".join(words(tree)), **({"synt": str(tree)} if with_parse else {}), "tmpl": name, **options} for tree in trees
        ]
        made, seconds = paraphrase(pipeline, requests, f"{task}, {name}")
        answered = [(i, trees[i], answer) for i, answer in enumerate(made) if answer is not None]
        sources, answers = [tree for _, tree, _ in answered], [answer for _, _, answer in answered]
        for i, tree, answer in answered:
            answers_to.setdefault(i, []).append(Kept.of(tree, answer).parts())
        all_sources, all_answers = all_sources + sources, all_answers + answers
        counts = {"sentences": len(answers), "refused": len(made) - len(answers)}
        rows.append({"task": f"{task}, {name}", **counts, **measure(sources, answers), "ms_per_sentence": 1000 * seconds / len(made)})
    counts = {"sentences": len(all_answers), "refused": sum(row["refused"] for row in rows)}
    sums = {i: summed(parts) for i, parts in answers_to.items()}
    each = {name: {i: parts[name] for i, parts in sums.items()} for name in FIGURES}
    return [{"task": f"{task}, all templates", **counts, **measure(all_sources, all_answers), "each": each}, *rows]
