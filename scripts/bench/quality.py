"""What an engine costs in quality: its tokens beside fp32's, BLEU, and whether a text depends on its batch.

Teacher-forced: every position of a known answer is predicted from the answer's own beginning, so that one different token
does not make all that follow different.
"""

import contextlib
import random
from pathlib import Path
from typing import Any

from handler.language import trees
from scripts.bench import engines, variants, workload
from scripts.bench.workers import EngineError, Remote
from scripts.training.corpus import read_columns

ALONE = 64  # sentences decoded one by one too


def own(sentences=workload.SENTENCES) -> dict:
    """The benchmark's sentences, for want of held-out ones."""
    return {"sentences": sentences, "of": f"the benchmark's own {len(sentences)} sentences, too few to judge by"}


def held_out(file: Path, limit: int) -> dict:
    """Sentences of a `sentence<TAB>parse` file that the networks have not seen in training, drawn evenly: such files go by source."""
    lines = [(line[0], line[1]) for line in read_columns(file, 2)]
    pairs = tuple(random.Random(0).sample(lines, min(limit, len(lines))))
    return {"sentences": pairs, "of": f"{len(pairs)} sentences drawn from {file.name}"}


def agreement(one: list[list[int]], other: list[list[int]]) -> float:
    """Share of tokens that are equal, %."""
    pairs = [(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)]
    return 100.0 * sum(a == b for a, b in pairs) / max(1, len(pairs))


def differing(one: list[str], other: list[str]) -> float:
    """Share of texts that are not equal, %."""
    return 100.0 * sum(a != b for a, b in zip(one, other, strict=True)) / max(1, len(one))


def measure(folder: Path, threads: int, data: dict, say=print) -> dict:
    """Every variant on the same sentences, each rebuilt from its words, greedily: under its whole parse for BLEU, under the
    top of it, so by both networks, for the rest."""
    found, notes, plain = [], [], None
    for name, options in variants.known().items():
        with contextlib.ExitStack() as stack:
            try:
                engine = stack.enter_context(Remote(engines.Ours, folder, options, threads, threads=threads))
                engine.ready()
            except EngineError as error:
                notes.append(f"{name} is left out: {error}.")
                continue
            bodies, answers = engine.call("fitting", data["sentences"])
            if not bodies:
                raise EngineError("no held-out sentence fits the networks")
            tokens = {net: engine.call("predicted", net, answers) for net in engines.artifacts.NETS}
            together = engine.call("texts", bodies, engines.CHUNK_ROWS)
            alone = engine.call("texts", bodies[:ALONE], 1)
            rebuilt = engine.call("texts", [workload.whole(body) for body in bodies], engines.CHUNK_ROWS)
        plain = plain or {"tokens": tokens, "texts": together}  # `known` starts with fp32
        record: dict[str, Any] = {
            "engine": name,
            "sentences": len(bodies),
            "together_alone_differ": differing(together[:ALONE], alone),
            "tokens_as_fp32": {net: agreement(tokens[net], plain["tokens"][net]) for net in tokens},
            "tokens_right": {net: agreement(tokens[net], [list(engines.answer(net, each)) for each in answers]) for net in tokens},
            "texts_unlike_fp32": differing(together, plain["texts"]),
            "bleu": bleu(rebuilt, [reference(body) for body in bodies]),
        }
        found.append(record)
        say(
            f"  {name}: {record['tokens_as_fp32']['parse_generator']:.2f} % and {record['tokens_as_fp32']['paraphraser']:.2f} % of "
            f"tokens as fp32, BLEU {record['bleu'] if record['bleu'] is not None else 'not computed'}"
        )
    return {"of": data["of"], "engines": found, "notes": notes}


def reference(body: dict) -> str:
    """The sentence as the networks write it."""
    return " ".join(trees.words(trees.normalize(trees.read_tree(body["synt"])))).lower()


def bleu(texts: list[str], references: list[str]) -> float | None:
    """BLEU as the authors compute it; None where what it needs (`tests/requirements.txt`) is not installed."""
    try:
        from scripts.training.evaluation import bleu

        return round(bleu(texts, references)["bleu_authors"], 2)
    except ImportError:
        return None
