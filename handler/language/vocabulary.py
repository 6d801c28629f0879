"""Words to ids and back: the vocabulary and byte-pair encoding. The only importer of subword_nmt. No tensors.

A sentence is lower-cased Penn Treebank tokens; a token is one or more BPE pieces, `@@` marks a piece that goes on.
A syntax token `NP` stands in the vocabulary as `<NP>`.
"""

import json
import re
import unicodedata
from pathlib import Path

from subword_nmt.apply_bpe import BPE

from handler.errors import ArtifactError

SPECIALS = "<pad>", "<sos>", "<eos>", "<unk>", "<msk>"
SEPARATOR = "@@"
CACHED_WORDS = 50_000  # about 10 MB of segmentations; a server sees every typo there is
CACHED_LENGTH = 40  # characters; longer words are not kept, some would take a thousand times the memory


# One token of the Penn Treebank's scheme, tried in this order at every place of a stretch without blanks.
TOKEN = re.compile(r"""
    (?:https?://|www\.)\S*[^\s.,;:!?'")\]}]           # addresses, without what ends the sentence
  | [\w.%+-]{1,64}@\w+(?:\.\w+)+                    # bounded: an open `\S+` takes quadratic time on `!!!!!…`
  | \.\.\.+ | --+
  | (?<!\w)[+-]?\d+(?:[.,:/]\d+)*(?:st|nd|rd|th|s|am|pm)?(?!\w)  # numbers, times, dates: 1,000.5 9:30 1/2 1990s
  | (?:[^\W\d_]\.){2,}                              # U.S., e.g.
  | (?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|inc|ltd|co|corp|no|gen|col|lt|sgt|rep|sen|gov|rev|hon|jan|feb|mar|apr|jun|jul|aug
      |sep|sept|oct|nov|dec|mt|fig|vol|pp|approx|dept|est|cf|al|ave|blvd|rd|[A-HJ-Z])\.(?![\w.]) # abbreviations, initials
  | [^\W_]+(?:['’][^\W\d_]+|[-/&_.@][^\W_]+)*       # words, with hyphens and apostrophes inside
  | ['’](?:s|re|ve|ll|d|m|t|em|cause|til|tis|twas|n)\b  # clitics that stand alone
  | .""", re.VERBOSE | re.IGNORECASE)
CLITIC = re.compile(r"(?<=.)(?:n['’]t|['’](?:s|re|ve|ll|d|m))$", re.IGNORECASE)
CONTRACTIONS = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "wanna": ("wan", "na"),
                "gimme": ("gim", "me"), "lemme": ("lem", "me"), "d'ye": ("d'", "ye"), "'tis": ("'t", "is"),
                "'twas": ("'t", "was")}


def tokenize(sentence: str) -> list[str]:
    """Penn Treebank tokens of raw text, case kept: `isn't it?` is `is n't it ?`. Curly quotes become straight ones.

    Written for this project because the models were trained on these tokens and on no others: `"` stays `"`, curly
    apostrophes split like straight ones, every full stop that ends a sentence stands alone.
    """
    sentence = unicodedata.normalize("NFC", sentence).translate(STRAIGHT)
    tokens = []
    for stretch in sentence.split():
        for token in TOKEN.findall(stretch):
            clitics = []  # `I'd've` has two
            while token.lower() not in CONTRACTIONS and (clitic := CLITIC.search(token)):
                clitics.insert(0, token[clitic.start() :])
                token = token[: clitic.start()]
            if token.lower() in CONTRACTIONS:
                cut = len(CONTRACTIONS[token.lower()][0])
                tokens += [token[:cut], token[cut:]]
            else:
                tokens += TOKEN.findall(token) if clitics else [token]
            tokens += clitics
    if tokens and len(tokens[-1]) > 1 and tokens[-1].endswith(".") and re.search(r"\w\.$", tokens[-1]):
        tokens[-1:] = [tokens[-1]] if "." in tokens[-1][:-1] else [tokens[-1][:-1], "."]
    return tokens


STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "\u00a0": " ", "–": "--", "—": "--"})


class Vocabulary:
    """The token list of an artifact: specials, syntax tokens `<X>`, then BPE pieces. An id is a place in the list."""

    def __init__(self, tokens: list[str]):
        self.tokens = tokens
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.syntax_ids = {}  # label or bracket -> id; the run of `<X>` right after the specials
        for i, token in enumerate(tokens[len(SPECIALS):], len(SPECIALS)):
            if len(token) < 3 or (token[0], token[-1]) != ("<", ">"):
                break
            self.syntax_ids[token[1:-1]] = i

    @classmethod
    def load(cls, file: Path) -> "Vocabulary":
        """Read a JSON list of distinct strings that starts with the specials; raises ArtifactError."""
        try:
            tokens = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArtifactError(file.name, "a JSON list in UTF-8", str(error)) from None
        if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
            found = "something else in it" if isinstance(tokens, list) else type(tokens).__name__
            raise ArtifactError(file.name, "a JSON list of strings, none empty", found)
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise ArtifactError(file.name, f"{SPECIALS} first", str(tokens[: len(SPECIALS)]))
        if len(set(tokens)) != len(tokens):
            raise ArtifactError(file.name, "distinct tokens", f"{len(tokens) - len(set(tokens))} repeated")
        vocabulary = cls(tokens)
        if not {"(", ")", "ROOT"} <= vocabulary.syntax_ids.keys():
            raise ArtifactError(file.name, "the syntax tokens <(>, <)> and <ROOT>", f"{len(vocabulary.syntax_ids)} others")
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

    def __init__(self, codes: Path, counts: Path | None, threshold: int = 0):
        """codes: merges as learn-bpe writes them. counts: `piece count` lines; pieces counted less often than `threshold`
        are split further. No counts, no such limit."""
        known = self._counted(counts, threshold) if counts else None
        try:
            with open(codes, encoding="utf-8") as lines:
                self._bpe = BPE(lines, separator=SEPARATOR, vocab=known)
        except (SystemExit, ValueError, IndexError) as error:  # subword_nmt exits on a bad line
            found = "a line that is no pair of pieces" if isinstance(error, SystemExit) else str(error)
            raise ArtifactError(codes.name, "merges as subword-nmt learn-bpe writes them", found) from None
        if self._bpe.version not in ((0, 1), (0, 2)):  # subword_nmt would only say so at the first word
            raise ArtifactError(codes.name, "version 0.1 or 0.2", ".".join(map(str, self._bpe.version)))

    @staticmethod
    def _counted(counts: Path, threshold: int) -> set[str]:
        """Pieces counted often enough. Never empty: subword_nmt would take that for no limit at all."""
        known = set()
        try:
            with open(counts, encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    piece, _, count = line.rstrip("\r\n ").rpartition(" ")
                    if not piece or not count.isdecimal():
                        raise ArtifactError(counts.name, "`piece count` on each line", f"something else on line {number}")
                    if int(count) >= threshold:
                        known.add(piece)
        except ValueError as error:  # not UTF-8, or more digits than Python converts
            raise ArtifactError(counts.name, "`piece count` on each line, in UTF-8", str(error)) from None
        if not known:
            raise ArtifactError(counts.name, f"pieces counted {threshold} times or more", "none")
        return known

    def split(self, tokens: list[str]) -> list[str]:
        """Pieces of the tokens, in order."""
        if len(self._bpe.cache) > CACHED_WORDS:
            self._bpe.cache.clear()
        pieces = self._bpe.segment_tokens(tokens)
        for token in tokens:
            if len(token) > CACHED_LENGTH:
                self._bpe.cache.pop(token, None)
        return pieces
