"""Turns words into ids and back: the vocabulary and byte-pair encoding (BPE). No tensors, no files.

A sentence is a list of lower-cased Penn Treebank tokens. A token is one or more BPE pieces; `@@` at the end of a piece means that the
word goes on. The syntax token `NP` is `<NP>` in the vocabulary.
"""

import io

from subword_nmt.apply_bpe import BPE

from handler.errors import ArtifactError, parse_json

SPECIALS = "<pad>", "<sos>", "<eos>", "<unk>", "<msk>"
SEPARATOR = "@@"
CACHED_WORDS = 50_000  # about 10 MB of segmentations; a server sees many typos
CACHED_LENGTH = 40  # characters; longer words are not cached, because some would take a thousand times the memory


class Vocabulary:
    """The token list of an artifact: special tokens, syntax tokens `<X>`, then BPE pieces. An id is an index in the list."""

    def __init__(self, tokens: list[str]):
        self.tokens = tokens
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.syntax_ids = {}  # label or bracket -> id; these are the `<X>` right after the special tokens
        for i, token in enumerate(tokens[len(SPECIALS) :], len(SPECIALS)):
            if len(token) < 3 or (token[0], token[-1]) != ("<", ">"):
                break
            self.syntax_ids[token[1:-1]] = i

    @classmethod
    def from_json(cls, text: str, name: str) -> "Vocabulary":
        """Read a JSON list of distinct strings that starts with the special tokens. Raises ArtifactError with the file's name."""
        tokens = parse_json(text, name, "a JSON list in UTF-8")
        if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
            found = "something else in it" if isinstance(tokens, list) else type(tokens).__name__
            raise ArtifactError(name, "a JSON list of strings, none empty", found)
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise ArtifactError(name, f"{SPECIALS} first", str(tokens[: len(SPECIALS)]))
        if len(set(tokens)) != len(tokens):
            raise ArtifactError(name, "distinct tokens", f"{len(tokens) - len(set(tokens))} repeated")
        vocabulary = cls(tokens)
        if not {"(", ")", "ROOT"} <= vocabulary.syntax_ids.keys():
            raise ArtifactError(name, "the syntax tokens <(>, <)> and <ROOT>", f"{len(vocabulary.syntax_ids)} others")
        return vocabulary

    def __len__(self) -> int:
        return len(self.tokens)

    def decode_syntax(self, ids: list[int]) -> list[str]:
        """Syntax tokens without their angle brackets."""
        return [token[1:-1] if token[0] == "<" else token for token in (self.tokens[i] for i in ids)]

    def decode_text(self, ids: list[int]) -> str:
        """Join pieces to words, and words with spaces.

        A syntax token loses its angle brackets and a last word that is not finished is dropped, both as in the published code.
        """
        words, begun = [], ""
        for i in ids:
            piece = self.tokens[i]
            if piece[0] == "<" and i in self._syntax_places():
                piece = piece[1:-1]
            if piece.endswith(SEPARATOR):
                begun += piece[: -len(SEPARATOR)]
            else:
                words.append(begun + piece)
                begun = ""
        return " ".join(words)

    def _syntax_places(self) -> range:
        return range(len(SPECIALS), len(SPECIALS) + len(self.syntax_ids))


class WordPieces:
    """Byte-pair encoding by subword-nmt, with a bounded cache and clear errors."""

    def __init__(self, codes: str, known: set[str] | None, name: str = "bpe.codes"):
        """codes: merges as learn-bpe writes them; `name` is their file. known: pieces that are not split further; None: all pieces.
        Raises ArtifactError."""
        try:
            self._bpe = BPE(io.StringIO(codes), separator=SEPARATOR, vocab=known)
        except (SystemExit, ValueError, IndexError) as error:  # subword_nmt raises SystemExit on a bad line
            found = "a line that is no pair of pieces" if isinstance(error, SystemExit) else str(error)
            raise ArtifactError(name, "merges as subword-nmt learn-bpe writes them", found) from None
        self._bpe.cache = _Forgetful()
        self.cache: dict[str, tuple[str, ...]] = {}  # token -> its pieces
        if self._bpe.version not in ((0, 1), (0, 2)):  # subword_nmt would fail only at the first word
            raise ArtifactError(name, "version 0.1 or 0.2", ".".join(map(str, self._bpe.version)))

    def split(self, tokens: list[str]) -> list[str]:
        """The pieces of the tokens, in order."""
        return [piece for token in tokens for piece in self.of(token)]

    def of(self, token: str) -> tuple[str, ...]:
        """The pieces of one token; none of an empty one."""
        found = self.cache.get(token)
        if found is None:
            found = tuple(self._bpe.segment_tokens([token]))
            if len(self.cache) >= CACHED_WORDS:
                self.cache.clear()
            if len(token) <= CACHED_LENGTH:
                self.cache[token] = found
        return found


class _Forgetful(dict):
    """In the place of subword-nmt's own cache, which has no bound: nothing is kept."""

    def __setitem__(self, key: str, value: tuple[str, ...]) -> None:
        pass


def counted_pieces(text: str, threshold: int, name: str) -> set[str]:
    """Read `piece count` lines and return the pieces counted `threshold` times or more. An empty set is an error, because subword_nmt
    would treat it as no limit. Raises ArtifactError with the name of the file."""
    known = set()
    try:
        for number, line in enumerate(io.StringIO(text), 1):
            piece, _, count = line.rstrip("\r\n ").rpartition(" ")
            if not piece or not count.isdecimal():
                raise ArtifactError(name, "`piece count` on each line", f"something else on line {number}")
            if int(count) >= threshold:
                known.add(piece)
    except ValueError as error:  # more digits than Python converts
        raise ArtifactError(name, "`piece count` on each line", str(error)) from None
    if not known:
        raise ArtifactError(name, f"pieces counted {threshold} times or more", "none")
    return known
