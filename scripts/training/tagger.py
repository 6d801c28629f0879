"""Train the part-of-speech tagger that stands in for a missing parse, and write it as one file."""

import collections
import json
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nltk.tag.perceptron import PerceptronTagger
from safetensors import numpy as safetensors

from handler import artifacts
from handler.language.tagger import FORMAT, START, Place, Tagger, history, normalize, places
from handler.language.trees import tags, words
from scripts.common.command import InputError
from scripts.training.corpus import read_columns, read_tree_of

NOT_PROPER = {"NNP": "NN", "NNPS": "NNS"}  # for the accuracy that does not ask whether a noun is a name
ROUNDED = 100  # stored weights are hundredths


@dataclass(frozen=True)
class Recipe:
    """How the tagger is trained; goes into the record."""

    weights: dict[str, int]  # source -> copies in an epoch
    sample: int  # sentences of all other sources together; 0 = all
    gold: tuple[str, ...]  # sources whose tags are by hand, for measuring
    epochs: int
    seed: int
    prune: float = 1.0  # averaged weights below this are left out
    min_feature: int = 3  # features of words seen less often are not learned
    min_word: int = 5  # words seen less often are not in the lexicon
    min_class: float = 0.03  # share of a word's tags from which one counts among its classes
    min_certain: int = 30  # words seen at least this often ...
    certain: float = 0.995  # ... with this share of one tag are not asked about


@dataclass(frozen=True)
class Sentence:
    source: str
    words: list[str]
    tags: list[str]

    def lower(self) -> "Sentence":
        return Sentence(self.source, [word.lower() for word in self.words], self.tags)


class Word(str):
    """A token that carries its place, so that nltk's trainer hands it to `FeatureTrainer._get_features`."""

    __slots__ = ("place",)
    place: Place


class FeatureTrainer(PerceptronTagger):
    """nltk's training loop on this project's features."""

    START = list(START)

    def __init__(self, certain: dict[str, str]):
        super().__init__(load=False)
        self.certain = certain

    def normalize(self, word):
        return word

    def _make_tagdict(self, sentences):
        self._sentences, self.tagdict = list(sentences), self.certain
        self.classes = {tag for sentence in self._sentences for _, tag in sentence}

    def _get_features(self, i, word, context, prev, prev2):
        return dict.fromkeys(word.place.features + history(word.place.anchors, prev, prev2), 1)


def read_sentences(file: Path) -> list[Sentence]:
    """Words and tags of each line's parse; unreadable parses are left out."""
    found, first = [], ""
    for number, (_, parse, *rest) in enumerate(read_columns(file, 2), 1):
        try:
            tree = read_tree_of(file, number, parse)
        except InputError as error:
            first = first or f"; {error}"
            continue
        if len(words(tree)) == len(tags(tree)):
            found.append(Sentence(rest[0] if rest else "", words(tree), tags(tree)))
    if not found:
        raise InputError(f"{file.name}: expected parses, found none that can be read{first or '.'}")
    return found


def build_lexicon(sentences: list[Sentence], recipe: Recipe) -> dict[str, str]:
    """Normalized word -> its usual tags, most frequent first."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for sentence in sentences:
        for word, tag in zip(sentence.words, sentence.tags):
            counts[normalize(word)][tag] += 1
    return {
        word: "|".join(
            tag for tag, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:4] if n >= recipe.min_class * found.total()
        )
        for word, found in counts.items()
        if found.total() >= recipe.min_word
    }


def certain_words(sentences: list[Sentence], recipe: Recipe) -> dict[str, str]:
    """Words, case as written, that are practically always one tag."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for sentence in sentences:
        for word, tag in zip(sentence.words, sentence.tags):
            counts[word][tag] += 1
    tops = {word: (*found.most_common(1)[0], found.total()) for word, found in counts.items()}
    return {word: tag for word, (tag, n, total) in tops.items() if total >= recipe.min_certain and n >= recipe.certain * total}


def train(sentences: list[Sentence], recipe: Recipe, say=print) -> tuple[FeatureTrainer, dict[str, str]]:
    """A trained perceptron and the lexicon its features use."""
    rng = random.Random(recipe.seed)
    lexicon = build_lexicon(sentences, recipe)
    chosen = [s for s in sentences if s.source in recipe.weights]
    others = [s for s in sentences if s.source not in recipe.weights]
    chosen += rng.sample(others, recipe.sample) if 0 < recipe.sample < len(others) else others
    both = [form for s in chosen for form in (s, s.lower())]
    certain = certain_words(both, recipe)
    placed = [places(s.words, lexicon) for s in both]
    seen: collections.Counter[str] = collections.Counter()
    names: dict[str, str] = {}  # each feature once in memory
    for row in placed:
        for place in row:
            seen.update(place.features)
    examples = []
    for sentence, row in zip(both, placed):
        example = []
        for text, place, tag in zip(sentence.words, row, sentence.tags):
            word = Word(text)
            kept = [names.setdefault(f, f) for f in place.features if seen[f] >= recipe.min_feature]
            word.place = Place(kept, place.anchors)
            example.append((word, tag))
        examples += [example] * recipe.weights.get(sentence.source, 1)
    rng.shuffle(examples)
    say(
        f"{len(chosen)} sentences, {sum(map(len, examples))} words an epoch, {len(lexicon)} words in the lexicon, "
        f"{len(certain)} certain words"
    )
    trainer = FeatureTrainer(certain)
    random.seed(recipe.seed)  # nltk shuffles with the module's generator
    trainer.train(examples, nr_iter=recipe.epochs)
    return trainer, lexicon


def save(file: Path, trainer: FeatureTrainer, lexicon: dict[str, str], prune: float) -> dict[str, int]:
    """Write what `Tagger.load` reads; returns how much of the model is in it."""
    labels = sorted(trainer.classes)
    ids = {label: i for i, label in enumerate(labels)}
    rows = {}
    for feature, weights in sorted(trainer.model.weights.items()):
        kept = [(ids[label], round(w * ROUNDED)) for label, w in sorted(weights.items()) if w and abs(w) >= prune]
        if kept:
            rows[feature] = kept
    largest = np.iinfo(np.int16).max
    flat = [pair for kept in rows.values() for pair in kept]
    text = {
        "features": "\n".join(rows),
        "lexicon": "\n".join(f"{word} {kinds}" for word, kinds in sorted(lexicon.items())),
        "certain": "\n".join(f"{word} {tag}" for word, tag in sorted(trainer.certain.items())),
    }
    arrays = {name: np.frombuffer(lines.encode("utf-8"), np.uint8) for name, lines in text.items()}
    arrays["counts"] = np.array([len(kept) for kept in rows.values()], np.uint8)
    arrays["tags"] = np.array([tag for tag, _ in flat], np.uint8)
    arrays["weights"] = np.array([max(-largest, min(largest, weight)) for _, weight in flat], np.int16)
    file.parent.mkdir(parents=True, exist_ok=True)
    header = {"tagger": json.dumps({"format": FORMAT, "tags": labels})}
    file.write_bytes(safetensors.save(arrays, header))  # save_file would make it readable for its owner alone
    return {
        "bytes": file.stat().st_size,
        "features": len(rows),
        "weights": len(flat),
        "lexicon": len(lexicon),
        "certain_words": len(trainer.certain),
    }


def accuracy(tagger: Tagger, sentences: list[Sentence]) -> dict[str, float]:
    """Share of words with the right tag, and the same where NN and NNP (NNS and NNPS) count as one."""
    pairs = [pair for s in sentences for pair in zip(s.tags, tagger.tag(s.words))]
    alike = sum(NOT_PROPER.get(a, a) == NOT_PROPER.get(b, b) for a, b in pairs)
    return {
        "words": len(pairs),
        "accuracy": round(100 * sum(a == b for a, b in pairs) / len(pairs), 2),
        "names_as_nouns": round(100 * alike / len(pairs), 2),
    }


def evaluate(tagger: Tagger, splits: dict[str, list[Sentence]], gold: tuple[str, ...]) -> dict:
    """Accuracy on each held-out split and on all of them, cased and lower-cased."""
    out = {}
    for name, sentences in {**splits, "all": [s for split in splits.values() for s in split]}.items():
        measured = [s for s in sentences if s.source in gold] or sentences
        out[name] = {"cased": accuracy(tagger, measured), "lower": accuracy(tagger, [s.lower() for s in measured])}
    return out


def speed(file: Path, sentences: list[Sentence], length: int = 20) -> dict[str, float]:
    """Milliseconds, medians: to load the file, and to tag `length` words of held-out text."""
    loads = []
    for _ in range(5):
        began = time.perf_counter()
        tagger = artifacts.load_tagger(file)
        loads.append(time.perf_counter() - began)
    text = [word for s in sentences for word in s.words][: length * 200]
    times = []
    for i in range(0, len(text) - length + 1, length):
        began = time.perf_counter()
        tagger.tag(text[i : i + length])
        times.append(time.perf_counter() - began)
    out = {"load_ms": round(1000 * statistics.median(loads), 1)}
    if times:
        times.sort()
        out |= {
            f"tag_{length}_words_ms": round(1000 * statistics.median(times), 3),
            f"tag_{length}_words_p95_ms": round(1000 * times[int(0.95 * len(times))], 3),
        }
    return out
