"""The syntax tree of a sentence, from its tokens alone. No pickle.

    parser = artifacts.load_parser(Path("model_store/demo/parser.safetensors"))
    str(parser.parse(["The", "cat", "sat", "."]))      # (ROOT (S (NP (DT The) (NN cat)) (VP (VBD sat)) (. .)))

A span parser: a small transformer reads the sentence, every span of words gets a score for each label or none, and the tree
with the best sum is found by dynamic programming (Stern et al. 2017; Kitaev and Klein 2018). For a sentence of n words:

    pieces   (P,)              word pieces as BERT cuts them, lower-cased, without accents, between [CLS] and [SEP]
    x        (P, D)            LayerNorm(embedding + position + how the word is written, `shape`)
    layers                     x = LayerNorm(x + attention(x)); x = LayerNorm(x + down gelu(up x)); as in BERT
    w        (n + 2, D)        a word is the mean of its first and its last piece; [CLS] and [SEP] stand at the ends
    tags     (n, T)            linear, of each word
    g        (n + 1, 2 D)      a gap between words: the word before it and the word after it
    spans    (n (n+1) / 2, L)  labels relu(left g[begin] + right g[end])

Label 0 is none: the words stay children of what is around them, so nodes have any number of children. A label may be a
chain, `S VP`, one node above the other. The layers began as the lowest of a pretrained encoder, MiniLM (Wang et al. 2020);
`scripts/training/parser.py` trained them further and wrote the file:

    metadata "parser"   JSON: format, layers, heads, tags, labels (chains, outermost first, joined by blanks; "" first)
    pieces              uint8, UTF-8: a word piece a line; first [CLS], [SEP], [UNK]; one that goes on a word begins with ##
    embedding           uint8 (V, D / 2): two numbers of four bits, 0 to 15 for -8 to 7, the one in the low bits first
    embedding.scale     float16 (V, D / 64): of 64 numbers each
    position, shape     float16 (positions, D) and (SHAPES, D)
    norm, N.norm1, N.norm2                       `.gain` and `.bias`, float16 (D,); N is a layer, 0 and on
    N.qkv, N.out, N.up, N.down, tags, left, right, labels
                        linear layers: `.weight` int8 (out, in), `.scale` and `.bias` float16 (out,)
"""

import functools
import re
import unicodedata
from typing import Any

import numpy as np

from handler.errors import ArtifactError, parse_json
from handler.language.trees import MAX_DEPTH, PHRASES, TAGS, Tree
from handler.parsing.network import PRECISIONS, Network

FORMAT = 1
CLS, SEP, UNK = 0, 1, 2
SPECIALS = "[CLS]", "[SEP]", "[UNK]"
GROUP = 64  # numbers of an embedding that share a scale
WORD_PIECES = 8  # most pieces of a word; of a longer one the first and the last four are read
SHAPES = 7
MAX_WORDS = 80  # a longer sentence is read in stretches
ENDS = frozenset(".?!;:,")  # after one of these a stretch ends if it can
HEADER = "format", "layers", "heads", "tags", "labels"
PART = re.compile(r"[^\W_]+|[^\w\s]|_")
UNPACKED = np.array([(byte % 16 - 8, byte // 16 - 8) for byte in range(256)], np.float32)  # both numbers of a byte of the embedding


def shape(word: str) -> int:
    """How a word is written, which its pieces do not tell: 1 lower case, 2 ALL CAPITALS, 3 one capital, 4 Title, 5 with a digit,
    6 miXed, 0 anything else."""
    if word.islower():
        return 1
    if word.isupper():
        return 2 if len(word) > 1 else 3
    if word[:1].isupper():
        return 4
    return 5 if any(map(str.isdigit, word)) else 6 if word.lower() != word else 0


def word_pieces(word: str, ids: dict[str, int]) -> list[int]:
    """The ids of a word's pieces: cut at punctuation, then from the left the longest that is known. Never empty."""
    plain = word.lower()
    if not plain.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFD", plain) if unicodedata.category(c) != "Mn")
    found = []
    for part in PART.findall(plain[:200]):
        begin, mark, pieces = 0, "", []
        while begin < len(part):
            end = len(part)
            while end > begin and mark + part[begin:end] not in ids:
                end -= 1
            if end == begin:
                pieces = [UNK]
                break
            pieces.append(ids[mark + part[begin:end]])
            begin, mark = end, "##"
        found += pieces
    half = WORD_PIECES // 2
    return (found if len(found) <= WORD_PIECES else found[:half] + found[-half:]) or [UNK]


def best_tree(labels: np.ndarray, margins: np.ndarray) -> list[tuple[int, int, int]]:
    """The constituents (begin, end, label) of the best binary tree over n words, outermost and leftmost first.

    labels, margins (n, n + 1): the best label of each span but none, and by how much its score exceeds that of none. A span in
    the tree has its label where that is better than none; the whole sentence always has one.
    """
    n = len(labels)
    gains = np.maximum(margins, 0)
    gains[0, n] = margins[0, n]
    diagonals = gains.ravel()
    best = np.zeros((n + 1, n + 1), np.float32)  # (begin, length)
    ended = np.zeros((n + 1, n + 1), np.float32)  # the same by (end, length)
    for length in range(1, n + 1):
        count = n - length + 1
        value = diagonals[length :: n + 2][:count]  # of the spans of this length
        if length > 1:
            value = value + np.maximum.reduce(best[:count, 1:length] + ended[length:, length - 1 : 0 : -1], 1)
        best[:count, length] = value
        ended[length:, length] = value
    found, todo = [], [(0, n)]
    while todo:
        begin, end = todo.pop()
        length = end - begin
        if margins[begin, end] > 0 or length == n:
            found.append((begin, end, int(labels[begin, end])))
        if length > 1:
            middle = begin + 1 + int((best[begin, 1:length] + ended[end, length - 1 : 0 : -1]).argmax())
            todo += [(middle, end), (begin, middle)]
    return found


class Parser:
    """Weights. Stateless between calls: the same tokens get the same tree on the same machine, whatever was parsed before."""

    def __init__(self, heads: int, tags: list[str], labels: list[str], pieces: list[str], arrays: dict[str, np.ndarray], precision: str):
        """arrays: as in the file, checked by `from_arrays`."""
        self.tags, self.chains, self.heads, self.precision = tags, [label.split() for label in labels], heads, precision
        self._ids = {piece: i for i, piece in enumerate(pieces)}
        self._network = Network(heads, arrays, precision)
        self._embedding, self._scales = arrays["embedding"], arrays["embedding.scale"]
        self._positions, self._shapes = (arrays[name].astype(np.float32) for name in ("position", "shape"))

    def parse(self, tokens: list[str]) -> Tree:
        """The tree of a sentence, its tokens at the leaves, under ROOT.

        Of more than MAX_WORDS words, or more word pieces than there are positions, stretches are parsed one by one, cut after a
        punctuation mark where there is one; their trees stand side by side under ROOT. Levels beyond what `read_tree` accepts are
        left out. Raises ValueError for no tokens and for a token that is empty or has a blank in it, which no tree can have.
        """
        if not tokens:
            raise ValueError("there are no tokens to parse")
        if any(token.split() != [token] for token in tokens):
            raise ValueError("a token is empty or has a blank in it")
        cut = [word_pieces(token, self._ids) for token in tokens]
        root, begin = Tree("ROOT"), 0
        while begin < len(tokens):
            end = self._stretch(tokens, cut, begin)
            root.children += self._tree(tokens[begin:end], cut[begin:end])
            begin = end
        return root

    def parse_all(self, sentences: list[list[str]]) -> list[Tree]:
        """One after the other: in one batch the sums of one sentence would depend on the others in their last digits."""
        return [self.parse(tokens) for tokens in sentences]

    def _stretch(self, tokens: list[str], cut: list[list[int]], begin: int) -> int:
        """Where the stretch that begins at a word ends."""
        end, pieces, most = begin, 2, len(self._positions)
        while end < len(tokens) and end - begin < MAX_WORDS and pieces + len(cut[end]) <= most:
            pieces += len(cut[end])
            end += 1
        if end == len(tokens):
            return end
        return next((at for at in range(end, begin + (end - begin) // 2, -1) if tokens[at - 1] in ENDS), end)

    def _tree(self, tokens: list[str], cut: list[list[int]]) -> list[Tree]:
        """What stands under ROOT for these words."""
        n = len(tokens)
        scores, tags = self._scores(tokens, cut)
        begins, ends = spans_of(n)
        labels, margins = np.zeros((n, n + 1), np.int64), np.zeros((n, n + 1), np.float32)
        labels[begins, ends] = scores[:, 1:].argmax(1) + 1
        margins[begins, ends] = scores[:, 1:].max(1) - scores[:, 0]
        leaves = [Tree(self.tags[tag], [], token) for tag, token in zip(tags.argmax(1), tokens)]
        return nest(leaves, [(begin, end, self.chains[label]) for begin, end, label in best_tree(labels, margins)])

    def _scores(self, tokens: list[str], cut: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Of n words the scores of the spans (n (n + 1) / 2, L), in the order of `spans_of`, and of the tags (n, T)."""
        counts = np.array([1, *map(len, cut), 1])
        ids = np.array([CLS, *(piece for pieces in cut for piece in pieces), SEP])
        shapes = np.repeat([0, *map(shape, tokens), 0], counts)
        x = unpack(self._embedding[ids], self._scales[ids])
        x += self._positions[: len(ids)]
        x += self._shapes[shapes]
        ends = np.cumsum(counts)
        return self._network(x, ends - counts, ends - 1, *spans_of(len(cut)))

    @classmethod
    def from_arrays(cls, metadata: dict[str, str], arrays: dict[str, np.ndarray], name: str, precision: str = "int8") -> "Parser":
        """Check what `train_parser --export` wrote. Raises ArtifactError for the file of that name.

        precision: "fp32"; "int8": the inputs of linear layers are rounded as well, which is faster.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        header = parse_json(metadata.get("parser", "null"), name, "a parser's header in JSON")
        _check_header(name, header)
        _check_arrays(name, arrays, header)
        pieces = _pieces(name, arrays.pop("pieces"), len(arrays["embedding"]))
        return cls(header["heads"], header["tags"], header["labels"], pieces, arrays, precision)


@functools.lru_cache(MAX_WORDS)
def spans_of(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Begin and end of every span of n words, (n (n + 1) / 2,) each."""
    begins, ends = np.triu_indices(n)
    return begins, ends + 1


def unpack(packed: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Rows of an embedding, (N, D) float32, from how the file has them."""
    numbers = UNPACKED.take(packed, 0).reshape(len(packed), -1, GROUP)
    numbers *= scales[..., None].astype(np.float32)
    return numbers.reshape(len(packed), -1)


def nest(leaves: list[Tree], constituents: list[tuple[int, int, list[str]]]) -> list[Tree]:
    """The trees over the leaves; constituents (begin, end, labels) come outermost and leftmost first.

    One that would put a leaf deeper under ROOT than `read_tree` accepts is left out.
    """
    top = Tree("")
    path, done = [(top, len(leaves), 0)], 0  # open nodes, where they end and how deep they are; leaves that have their place
    for begin, end, labels in [*constituents, (len(leaves), len(leaves), [])]:
        while len(path) > 1 and path[-1][1] <= begin:
            node, stop, _ = path.pop()
            node.children += leaves[done:stop]
            done = stop
        node, _, depth = path[-1]
        node.children += leaves[done:begin]
        done = begin
        if labels and depth + len(labels) + 2 <= MAX_DEPTH:
            for label in labels:
                node.children.append(Tree(label))
                node = node.children[-1]
            path.append((node, end, depth + len(labels)))
    return top.children


def _check_header(file: str, header: Any) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ArtifactError(file, f"a parser of format {FORMAT}", repr(header.get("format") if isinstance(header, dict) else header))
    if set(header) != set(HEADER):
        raise ArtifactError(file, f"the keys {', '.join(HEADER)}", ", ".join(header))
    for name in "layers", "heads":
        if type(header[name]) is not int or not 1 <= header[name] <= 100:
            raise ArtifactError(file, f"{name} from 1 to 100", repr(header[name])[:80])
    for name in "tags", "labels":
        if (
            not isinstance(header[name], list)
            or not all(isinstance(label, str) for label in header[name])
            or (len(set(header[name])) != len(header[name]))
        ):
            raise ArtifactError(file, f"distinct {name}", repr(header[name])[:80])
    if not header["tags"] or not set(header["tags"]) <= TAGS:
        raise ArtifactError(file, "part-of-speech tags", repr(header["tags"])[:80])
    none, *chains = header["labels"] or ["none"]
    if none or not chains or not all(chain and set(chain.split(" ")) <= PHRASES - {"ROOT"} for chain in chains):
        raise ArtifactError(file, 'labels: "", then chains of phrases other than ROOT', repr(header["labels"])[:80])


def _check_arrays(file: str, arrays: dict[str, np.ndarray], header: dict) -> None:
    """Names, types, shapes that fit each other, finite numbers."""
    size = lambda name, axis: arrays[name].shape[axis] if name in arrays and arrays[name].ndim > axis else 0  # noqa: E731
    width, inner, hidden = size("shape", 1), size("0.up.weight", 0), size("left.weight", 0)
    vocabulary, positions = size("embedding", 0), size("position", 0)
    if not width or width % header["heads"] or width % GROUP:
        raise ArtifactError(file, f"a width that {header['heads']} heads and groups of {GROUP} divide", f"{width}")
    if positions < WORD_PIECES + 2:
        raise ArtifactError(file, f"at least {WORD_PIECES + 2} positions", f"{positions}")
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "pieces": ("uint8", (size("pieces", 0),)),
        "embedding": ("uint8", (vocabulary, width // 2)),
        "embedding.scale": ("float16", (vocabulary, width // GROUP)),
        "position": ("float16", (positions, width)),
        "shape": ("float16", (SHAPES, width)),
    }
    linear = {
        "tags": (len(header["tags"]), width),
        "left": (hidden, 2 * width),
        "right": (hidden, 2 * width),
        "labels": (len(header["labels"]), hidden),
    }
    norms = ["norm"]
    for layer in range(header["layers"]):
        linear |= {
            f"{layer}.qkv": (3 * width, width),
            f"{layer}.out": (width, width),
            f"{layer}.up": (inner, width),
            f"{layer}.down": (width, inner),
        }
        norms += [f"{layer}.norm1", f"{layer}.norm2"]
    for name, form in linear.items():
        expected |= {name + ".weight": ("int8", form), name + ".scale": ("float16", form[:1]), name + ".bias": ("float16", form[:1])}
    for name in norms:
        expected |= {name + ".gain": ("float16", (width,)), name + ".bias": ("float16", (width,))}
    if arrays.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
        raise ArtifactError(
            file,
            f"the {len(expected)} arrays of {header['layers']} layers",
            f"{', '.join(missing[:3]) or 'none'} missing, {', '.join(extra[:3]) or 'none'} unknown",
        )
    for name, (kind, wanted) in expected.items():
        found = arrays[name]
        if (str(found.dtype), found.shape) != (kind, wanted):
            raise ArtifactError(file, f"{name} of {kind} {wanted}", f"{found.dtype} {found.shape}")
        if kind == "float16" and not np.isfinite(found).all():
            raise ArtifactError(file, f"finite numbers in {name}", "infinity or not-a-number")


def _pieces(file: str, text: np.ndarray, count: int) -> list[str]:
    try:
        pieces = text.tobytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ArtifactError(file, "pieces in UTF-8", str(error)) from None
    if tuple(pieces[: len(SPECIALS)]) != SPECIALS:
        raise ArtifactError(file, f"pieces that begin with {', '.join(SPECIALS)}", repr(pieces[: len(SPECIALS)])[:80])
    if len(pieces) != count or len(set(pieces)) != count:
        raise ArtifactError(
            file, f"{count} distinct pieces, as many as the embedding has rows", f"{len(pieces)}, {len(set(pieces))} of them distinct"
        )
    return pieces
