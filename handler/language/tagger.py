"""Part-of-speech tags of a sentence by an averaged perceptron, for requests without a parse. No nltk, no pickle.

    tagger = artifacts.load_tagger(Path("model_store/demo/tagger.safetensors"))
    tagger.tag(["the", "cat", "sat", "."])          # ["DT", "NN", "VBD", "."]

Words are tagged from left to right. The features of a word are its neighbours, the tags that a lexicon lists for them, and the two
tags before it. `python -m scripts.train_tagger` trains on the same features and writes the file:

    metadata "tagger"   JSON: format, tags (list of labels)
    features   uint8    UTF-8, one feature a line
    counts     uint8    the number of weights of each feature
    tags       uint8    for each weight the index of its tag in the list of labels
    weights    int16    the weights; the tag with the largest sum wins, the sums mean nothing else
    lexicon    uint8    UTF-8 lines `word classes`: normalized words and their possible tags, `saw VBD|NN`
    certain    uint8    UTF-8 lines `word tag`: words that always have this tag, case as written
"""

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from handler.errors import ArtifactError, parse_json
from handler.language.trees import TAGS

FORMAT = 1
TENSORS = {"features": "uint8", "counts": "uint8", "tags": "uint8", "weights": "int16", "lexicon": "uint8", "certain": "uint8"}
START = "-START-", "-START2-"  # stand for the two tags before the first word
BEFORE, AFTER, UNKNOWN = "<", ">", "?"  # stand for words before and after the sentence, and for the class of a word not in the lexicon
OPENERS = frozenset("\":`'-([.!?")  # after one of these a capital letter may begin a sentence


class Place(NamedTuple):
    """A word in its sentence, with the features that do not depend on tags."""

    features: list[str]
    anchors: tuple[str, ...]  # each is combined with the tag before the word


def normalize(word: str) -> str:
    """The word in lower case, with every digit replaced by 0."""
    word = word.lower()
    return word if word.isalpha() else "".join("0" if c.isdigit() else c for c in word)


def shape(word: str) -> str:
    """A letter for how a word is written: l(ower), A(LL CAPITALS), a (one capital), T(itle), d(igits), x (iPod), . (anything else)."""
    if word.islower():
        return "l"
    if word.isupper():
        return "A" if len(word) > 1 else "a"
    if word[:1].isupper():
        return "T"
    return "d" if any(map(str.isdigit, word)) else "x" if word.lower() != word else "."


def places(tokens: list[str], lexicon: dict[str, str]) -> list[Place]:
    """The words of a sentence with their features. If you change this, train a new model."""
    words = [normalize(token) for token in tokens]
    classes = [lexicon.get(word, UNKNOWN) for word in words] + [AFTER, AFTER]
    shapes = [shape(token) for token in tokens]
    # If no word is capitalised, or nearly every word, the case of a word carries no information.
    capitals = sum(map(str.isupper, tokens))
    case = "n" if all(token == token.lower() for token in tokens) else "u" if capitals * 2 > len(tokens) else "c"
    padded = [BEFORE * 2, BEFORE, *words, AFTER, AFTER * 2]
    quotes, out = 0, []
    for i, word in enumerate(words):
        before2, before, _, after, after2 = padded[i : i + 5]
        begins = "0" if i == 0 else "q" if before in OPENERS else "m"
        look, kind, next_kind = shapes[i] + begins, classes[i], classes[i + 1]
        features = [
            "b",
            "w=" + word,
            "p1=" + before,
            "n1=" + after,
            "p2=" + before2,
            "n2=" + after2,
            "s1=" + word[-1:],
            "s2=" + word[-2:],
            "s3=" + word[-3:],
            "s4=" + word[-4:],
            "f1=" + word[:1],
            "f2=" + word[:2],
            "f3=" + word[:3],
            "ps=" + before[-3:],
            "ns=" + after[-3:],
            "ms=" + after2[-3:],
            "l=" + look + case,
            "c=" + kind,
            "cn=" + next_kind,
            "cc=" + kind + " " + next_kind,
            "cl=" + kind + look,
        ]
        if "-" in word:
            features.append("h=" + word.rpartition("-")[2])
        if not word.isalnum():
            features.append("u=" + "".join("a" if c.isalpha() else c for c in word))
        if word == '"':
            features.append("q=" + str(quotes % 2))  # opening and closing look the same
            quotes += 1
        pair = "tcc=" + kind + " " + next_kind
        out.append(Place(features, ("tw=" + word, "tn=" + after, pair, pair.replace("=", "c=") + " " + classes[i + 2])))
    return out


def history(anchors: tuple[str, ...], previous: str, before: str) -> list[str]:
    """The features that depend on the two tags before the word."""
    return ["t1=" + previous, "t2=" + before, "tt=" + previous + " " + before, *[anchor + " " + previous for anchor in anchors]]


class Tagger:
    """Weights and word lists. It keeps no state between calls: the same tokens get the same tags."""

    def __init__(
        self,
        labels: list[str],
        features: list[str],
        counts: list[int],
        tags: bytes,
        weights: list[int],
        lexicon: dict[str, str],
        certain: dict[str, str],
    ):
        self.labels, self.lexicon, self.certain = labels, lexicon, certain
        self._rows = {feature: row for row, feature in enumerate(features)}
        self._ends = list(accumulate(counts, initial=0))  # the weights of row r are those from _ends[r] to _ends[r + 1]
        self._tags, self._weights = tags, weights

    def tag(self, tokens: list[str]) -> list[str]:
        """One tag of `trees.TAGS` for each token. tokens: Penn Treebank tokens, case as written."""
        (previous, before), tags = START, []
        for token, place in zip(tokens, places(tokens, self.lexicon)):
            label = self.certain.get(token) or self._best(place.features + history(place.anchors, previous, before))
            tags.append(label)
            previous, before = label, previous
        return tags

    def _best(self, features: list[str]) -> str:
        scores = [0] * len(self.labels)
        row_of, ends, tags, weights = self._rows.get, self._ends, self._tags, self._weights
        for feature in features:
            row = row_of(feature)
            if row is not None:
                start, end = ends[row], ends[row + 1]
                for tag, weight in zip(tags[start:end], weights[start:end]):
                    scores[tag] += weight
        return self.labels[scores.index(max(scores))]

    @classmethod
    def from_arrays(cls, metadata: dict[str, str], arrays: dict[str, np.ndarray], name: str) -> "Tagger":
        """Build a tagger from what `train_tagger` wrote. Raises ArtifactError with the name of the file."""
        header = parse_json(metadata.get("tagger", "null"), name, "a tagger's header in JSON")
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            found = header.get("format") if isinstance(header, dict) else header
            raise ArtifactError(name, f"a tagger of format {FORMAT}", repr(found))
        labels = header.get("tags")
        if (
            not isinstance(labels, list)
            or not labels
            or not all(isinstance(label, str) for label in labels)
            or (not set(labels) <= TAGS or len(set(labels)) != len(labels))
        ):
            raise ArtifactError(name, "distinct part-of-speech tags", repr(labels)[:80])
        found = {part: str(array.dtype) if array.ndim == 1 else f"{array.ndim}-dimensional" for part, array in arrays.items()}
        if found != TENSORS:
            raise ArtifactError(name, f"the arrays {TENSORS}", f"{found}"[:200])
        features, counts, tags = _lines(name, arrays, "features"), arrays["counts"], arrays["tags"]
        if len(features) != len(counts) or len(set(features)) != len(features):
            raise ArtifactError(
                name, "a count for each of its features, which are distinct", f"{len(features)} features and {len(counts)} counts"
            )
        if not counts.sum(dtype=np.int64) == len(tags) == len(arrays["weights"]):
            raise ArtifactError(name, f"{counts.sum(dtype=np.int64)} tags and weights", f"{len(tags)} and {len(arrays['weights'])}")
        if len(tags) and tags.max() >= len(labels):
            raise ArtifactError(name, f"tags below {len(labels)}", f"{tags.max()}")
        lexicon, certain = _pairs(name, arrays, "lexicon"), _pairs(name, arrays, "certain")
        if not set(certain.values()) <= set(labels):
            raise ArtifactError(name, "certain words with tags of its own", ", ".join(sorted(set(certain.values()) - set(labels))[:3]))
        return cls(labels, features, counts.tolist(), tags.tobytes(), arrays["weights"].tolist(), lexicon, certain)


def _lines(name: str, arrays: dict[str, np.ndarray], part: str) -> list[str]:
    try:
        text = arrays[part].tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(name, f"{part} in UTF-8", str(error)) from None
    return text.split("\n") if text else []


def _pairs(name: str, arrays: dict[str, np.ndarray], part: str) -> dict[str, str]:
    pairs = [line.split(" ") for line in _lines(name, arrays, part)]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ArtifactError(name, f"{part} of two words a line", "another number")
    return dict(pairs)
