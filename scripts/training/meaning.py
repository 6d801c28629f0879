"""How much of who does what to whom the answers under the named templates keep. Trees and words; no network of its own."""

from collections import Counter
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


def measure(sources: list[Tree], answers: list[Paraphrase]) -> dict[str, float]:
    """Of answers to sentences whose parses are known, each in %: relations kept (mean over the answers), content words of the sentences
    missing, content words of the answers made up, and answers whose parse was made by moving the sentence's own."""
    shares, lost, invented, given, said, moved = 0.0, 0, 0, 0, 0, 0
    for source, answer in zip(sources, answers):
        tree, text = read_tree(answer.parse), answer.text.split(" ")
        wanted = content(source)
        whole = len(text) == len(tree.leaves())  # otherwise the step limit cut it short, and nothing is known of its relations
        found: Counter[str] = content(tree, text) if whole else Counter()
        shares += kept(relations(source), relations(tree, text)) if whole else 0.0
        lost, invented = lost + missing(wanted, found), invented + made_up(wanted, found)
        given, said = given + wanted.total(), said + found.total()
        moved += answer.moves is not None
    count = max(1, len(answers))
    return {
        "relations": 100 * shares / count,
        "missing": 100 * lost / max(1, given),
        "made_up": 100 * invented / max(1, said),
        "moved": 100 * moved / count,
    }


def named_templates(pipeline: Pipeline, file: Path, limit: int | None, options: dict, with_parse: bool) -> list[dict]:
    """A row for each named template, and one for all of them, over the first sentences of a file that are neither short nor long.

    options: fields added to every request. with_parse: the request brings the sentence's parse; else the artifact parses it.
    """
    trees = [tree for _, parse, *_ in read_columns(file, 2) if SHORTEST <= len(words(tree := read_tree(parse))) <= LONGEST][:limit]
    task = f"{file.name}: {'with' if with_parse else 'without'} parse"
    rows: list[dict[str, Any]] = []
    all_sources: list[Tree] = []
    all_answers: list[Paraphrase] = []
    for name in CATALOGUE:
        requests = [
            {"sent": " ".join(words(tree)), **({"synt": str(tree)} if with_parse else {}), "tmpl": name, **options} for tree in trees
        ]
        made, seconds = paraphrase(pipeline, requests, f"{task}, {name}")
        answered = [(tree, answer) for tree, answer in zip(trees, made) if answer is not None]
        sources, answers = [tree for tree, _ in answered], [answer for _, answer in answered]
        all_sources, all_answers = all_sources + sources, all_answers + answers
        counts = {"sentences": len(answers), "refused": len(made) - len(answers)}
        rows.append({"task": f"{task}, {name}", **counts, **measure(sources, answers), "ms_per_sentence": 1000 * seconds / len(made)})
    counts = {"sentences": len(all_answers), "refused": sum(row["refused"] for row in rows)}
    return [{"task": f"{task}, all templates", **counts, **measure(all_sources, all_answers)}, *rows]
