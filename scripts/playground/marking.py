"""Which words of a paraphrase are new, moved or in another form, and which words of the sentence it lacks.

Words are compared by their lemmas where the parts of speech are known, in runs that are as long as possible. The runs that stay are
those around the sentence's main verb, in the order of the sentence; the others have moved. Punctuation is not marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from handler.language import heads
from handler.language.morphology import lemma
from handler.language.surface import aligned
from handler.language.tokenizer import tokenize
from handler.language.trees import Tree, tags, words

KEPT, MOVED, NEW, FORM, MISSING = "", "moved", "new", "form", "missing"


@dataclass(frozen=True)
class Text:
    """A sentence as tokens. tags: a part of speech for each, or none at all if they are not known. head: the main verb's number."""

    tokens: list[str]
    tags: list[str]
    head: int | None = None

    def keys(self, lemmas: bool) -> list[str]:
        """What its words are compared by."""
        return [lemma(self.tokens[place], self.tags[place]) if lemmas else self.tokens[place].lower() for place in self.places()]

    def places(self) -> list[int]:
        """The places of its words, without punctuation."""
        return [place for place, token in enumerate(self.tokens) if any(map(str.isalnum, token))]


@dataclass(frozen=True)
class Run:
    """The same words in both texts. Places count words, without punctuation."""

    source: int
    target: int
    length: int


def read(sentence: str, parse: Tree | None) -> Text:
    """A sentence as Text. The parse, with or without its words, gives the parts of speech if it has a leaf for each token."""
    tokens = tokenize(sentence)
    if parse is not None and words(parse) and len(words(parse)) == len(parse.leaves()):
        tokens = words(parse)
    if parse is None or len(parse.leaves()) != len(tokens):
        return Text(tokens, [])
    return Text(tokens, tags(parse), heads.head(parse))


def compare(source: Text, target: Text) -> tuple[list[str], list[str]]:
    """A mark for each token of `source` (KEPT, MOVED or MISSING) and for each of `target` (KEPT, MOVED, NEW or FORM)."""
    here, there, lemmas = source.places(), target.places(), bool(source.tags and target.tags)
    runs = _runs(source.keys(lemmas), target.keys(lemmas))
    staying = _staying(runs, here.index(source.head) if source.head in here else None)
    before, after = [KEPT] * len(source.tokens), [KEPT] * len(target.tokens)
    for place in here:
        before[place] = MISSING
    for place in there:
        after[place] = NEW
    for run in runs:
        for i in range(run.length):
            one, other = here[run.source + i], there[run.target + i]
            same = source.tokens[one].lower() == target.tokens[other].lower()
            before[one] = KEPT if run in staying else MOVED
            after[other] = MOVED if run not in staying else KEPT if same else FORM
    return before, after


def _runs(source: list[str], target: list[str]) -> list[Run]:
    """Runs of equal words, the longest first, each word in one run at most (greedy string tiling)."""
    free_source, free_target = [True] * len(source), [True] * len(target)
    found: list[Run] = []
    while True:
        best = Run(0, 0, 0)
        lengths = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]  # of the run that begins there
        for i in range(len(source) - 1, -1, -1):
            for j in range(len(target) - 1, -1, -1):
                if source[i] == target[j] and free_source[i] and free_target[j]:
                    lengths[i][j] = lengths[i + 1][j + 1] + 1
                    # of equal ones that which has moved least: `the` is said more than once
                    if (lengths[i][j], -abs(i - j)) > (best.length, -abs(best.source - best.target)):
                        best = Run(i, j, lengths[i][j])
        if not best.length:
            return found
        found.append(best)
        for k in range(best.length):
            free_source[best.source + k] = free_target[best.target + k] = False


def _staying(runs: list[Run], head: int | None) -> set[Run]:
    """The runs in the same order in both texts with the most words. That with the main verb is always one of them."""
    ordered = sorted(runs, key=lambda run: run.source)
    total = sum(run.length for run in runs) + 1
    best: list[tuple[int, list[Run]]] = []  # the heaviest chain that ends with each run
    for i, run in enumerate(ordered):
        weight = run.length + total * (head is not None and run.source <= head < run.source + run.length)
        before = [best[j] for j in range(i) if ordered[j].target < run.target]
        chain = max(before, key=lambda each: each[0], default=(0, []))
        best.append((chain[0] + weight, [*chain[1], run]))
    return set(max(best, key=lambda each: each[0], default=(0, []))[1])


def pieces(text: str, tokens: Sequence[str], marks: Sequence[str]) -> list[tuple[str, str]]:
    """A text cut into pieces, each with its mark. A blank between two words of one mark is marked like them."""
    found: list[tuple[str, str]] = []
    place = 0
    for form, mark in zip(aligned(text, list(tokens))[0], marks):
        start = text.find(form, place)
        if start < 0:  # the text writes this token in another way
            continue
        blank, place = text[place:start], start + len(form)
        if found and found[-1][1] == mark:
            found[-1] = found[-1][0] + blank + form, mark
        else:
            found += [(blank, KEPT), (form, mark)] if blank and mark else [(blank + form, mark)]
    return found + [(text[place:], KEPT)] * (place < len(text))
