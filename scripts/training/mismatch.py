"""Bags that do not fit their targets exactly, as in use they never do. Drawn anew for every batch of training. No network.

Otherwise the words of a bag and the leaves of a parse are the same in every example, and the network learns that every word must be
written and that every leaf has its word.
"""

from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from handler.language.inflection import FAMILY
from handler.language.morphology import inflect, lemma
from handler.language.trees import TAGS
from handler.language.vocabulary import SEPARATOR, Vocabulary
from handler.language.word_classes import AUXILIARIES, KIN, ROWS

MOST_DISTRACTORS = 6  # words that one bag gets from other sentences
FUNCTION_WORDS = 0.6  # share of function words among them; in use most words that find no leaf are auxiliaries, prepositions, articles
LEFT_OUT = 1 / 3  # of the words of a bag of which some are left out
CONTENT = frozenset(tag for tag in TAGS if ROWS[tag] in KIN)
MARKS = frozenset(tag for tag in TAGS if not tag[0].isalpha())


@dataclass(frozen=True)
class Mismatch:
    """How often a bag differs from its target, and how. All are shares from 0 to 1; 0: never."""

    distractors: float = 0.0  # of the bags: they also have words of other sentences
    omitted: float = 0.0  # of the bags: a third of their words is left out, though the parse has their leaves
    inflected: float = 0.0  # of the words that have other forms: another form is in the bag
    no_stop: float = 0.0  # of the bags: they have no final mark
    moved: float = 0.0  # of an epoch's sentences: targets made by moving constituents, with the bag of the source

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1 or field.name == "moved" and value == 1:
                raise ValueError(f"{field.name} must be a share from 0 to {'below ' * (field.name == 'moved')}1, not {value}")


@cache
def other_forms(word: str, tag: str) -> tuple[str, ...]:
    """Other forms of a word with this tag: those of its verb, noun or adjective. Auxiliaries and adverbs have none."""
    family = FAMILY.get(tag, ())
    if word in AUXILIARIES or tag in FAMILY["RB"]:
        return ()
    base = lemma(word, tag)
    return tuple(sorted({base, *(inflect(base, other) for other in family)} - {word})) if family else ()


class Bags:
    """Changes the bags of batches. It keeps no state between them: what is drawn depends on the generator that is given alone."""

    def __init__(self, mismatch: Mismatch, vocabulary: Vocabulary, most: int):
        """most: pieces that a bag may have."""
        self.mismatch, self.vocabulary, self.most = mismatch, vocabulary, most
        self.continued = np.array([token.endswith(SEPARATOR) for token in vocabulary.tokens])
        self.names = {i: tag for tag, i in vocabulary.syntax_ids.items() if tag in TAGS}
        self.auxiliaries = {vocabulary.ids[word] for word in AUXILIARIES & vocabulary.ids.keys()}

    def changed(self, bags: list[np.ndarray], tags: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """bags: B rows of pieces, or of tags; tags: the tag of each word of them. Returns B new rows, none of them empty."""
        words = [self.split(bag) for bag in bags]
        labels = [[self.names.get(i, "") for i in row.tolist()] for row in tags]
        labels = [row if len(row) == len(one) else [""] * len(one) for row, one in zip(labels, words)]  # unknown pieces hide words
        pools = self.pools(words, labels)
        return [self.bag(one, row, pools, rng) for one, row in zip(words, labels)]

    def split(self, bag: np.ndarray) -> list[list[int]]:
        """The pieces of each word."""
        found: list[list[int]] = [[]]
        for piece, goes_on in zip(bag.tolist(), self.continued[bag].tolist()):
            found[-1].append(piece)
            if not goes_on:
                found.append([])
        return found if found[-1] else found[:-1]

    def pools(self, words: list[list[list[int]]], labels: list[list[str]]) -> tuple[list[list[int]], list[list[int]]]:
        """The function words, auxiliaries among them, and the content words of a batch, each as often as it occurs."""
        pools: tuple[list[list[int]], list[list[int]]] = [], []
        for one, row in zip(words, labels):
            for word, tag in zip(one, row):
                if tag and tag not in MARKS:
                    pools[tag in CONTENT and word[0] not in self.auxiliaries].append(word)
        return pools

    def bag(self, words: list[list[int]], tags: list[str], pools, rng: np.random.Generator) -> np.ndarray:
        """One row."""
        how, draws = self.mismatch, rng.random(3)
        kept = [
            self.inflected(word, tag, rng)
            for word, tag in zip(words, tags)
            if not (tag == "." and draws[0] < how.no_stop) and not (draws[1] < how.omitted and rng.random() < LEFT_OUT)
        ]
        pieces = [piece for word in kept for piece in word] or words[0]
        if draws[2] < how.distractors:
            for _ in range(min(MOST_DISTRACTORS, rng.geometric(0.4))):
                first = int(rng.random() >= FUNCTION_WORDS)
                pool = pools[first] or pools[1 - first]
                word = pool[rng.integers(len(pool))] if pool else []
                pieces += word if len(pieces) + len(word) <= self.most else []
        return np.array(pieces, np.int32)

    def inflected(self, word: list[int], tag: str, rng: np.random.Generator) -> list[int]:
        """The word, or another form of it that is one piece."""
        if not self.mismatch.inflected or len(word) > 1 or tag not in CONTENT or rng.random() >= self.mismatch.inflected:
            return word
        ids = self.vocabulary.ids
        forms = [ids[form] for form in other_forms(self.vocabulary.tokens[word[0]], tag) if form in ids]
        return [forms[rng.integers(len(forms))]] if forms else word
