"""Words to ids and back: the vocabulary and byte-pair encoding. The only importer of subword_nmt. No tensors, no files.

A sentence is lower-cased Penn Treebank tokens; a token is one or more BPE pieces, `@@` marks a piece that goes on.
A syntax token `NP` stands in the vocabulary as `<NP>`.
"""

import io
import json

from subword_nmt.apply_bpe import BPE

from handler.errors import ArtifactError

SPECIALS = "<pad>", "<sos>", "<eos>", "<unk>", "<msk>"
SEPARATOR = "@@"
CACHED_WORDS = 50_000  # about 10 MB of segmentations; a server sees every typo there is
CACHED_LENGTH = 40  # characters; longer words are not kept, some would take a thousand times the memory


class Vocabulary:
    """The token list of an artifact: specials, syntax tokens `<X>`, then BPE pieces. An id is a place in the list."""

    def __init__(self, tokens: list[str]):
        self.tokens = tokens
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.syntax_ids = {}  # label or bracket -> id; the run of `<X>` right after the specials
        for i, token in enumerate(tokens[len(SPECIALS) :], len(SPECIALS)):
            if len(token) < 3 or (token[0], token[-1]) != ("<", ">"):
                break
            self.syntax_ids[token[1:-1]] = i

    @classmethod
    def from_json(cls, text: str, name: str) -> "Vocabulary":
        """Read a JSON list of distinct strings that starts with the specials; raises ArtifactError for the file of that name."""
        try:
            tokens = json.loads(text)
        except ValueError as error:
            raise ArtifactError(name, "a JSON list in UTF-8", str(error)) from None
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
        """Pieces joined to words, words by spaces; a syntax token prints without its angle brackets, as published."""
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
        return " ".join(words + [begun] if begun else words)

    def _syntax_places(self) -> range:
        return range(len(SPECIALS), len(SPECIALS) + len(self.syntax_ids))


class WordPieces:
    """Byte-pair encoding by subword-nmt, with the cache bounded and its errors named."""

    def __init__(self, codes: str, known: set[str] | None, name: str = "bpe.codes"):
        """codes: merges as learn-bpe writes them, of the file of that name. known: the pieces that need not be split further; None: all.
        Raises ArtifactError."""
        try:
            self._bpe = BPE(io.StringIO(codes), separator=SEPARATOR, vocab=known)
        except (SystemExit, ValueError, IndexError) as error:  # subword_nmt exits on a bad line
            found = "a line that is no pair of pieces" if isinstance(error, SystemExit) else str(error)
            raise ArtifactError(name, "merges as subword-nmt learn-bpe writes them", found) from None
        if self._bpe.version not in ((0, 1), (0, 2)):  # subword_nmt would only say so at the first word
            raise ArtifactError(name, "version 0.1 or 0.2", ".".join(map(str, self._bpe.version)))

    def split(self, tokens: list[str]) -> list[str]:
        """Pieces of the tokens, in order."""
        if len(self._bpe.cache) > CACHED_WORDS:
            self._bpe.cache.clear()
        pieces = self._bpe.segment_tokens(tokens)
        for token in tokens:
            if len(token) > CACHED_LENGTH:
                self._bpe.cache.pop(token, None)
        return pieces


def counted_pieces(text: str, threshold: int, name: str) -> set[str]:
    """The pieces of `piece count` lines that are counted `threshold` times or more. Never empty: subword_nmt would take that for no
    limit at all. Raises ArtifactError for the file of that name."""
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
