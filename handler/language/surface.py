"""A sentence as its writer wrote it, token by token: which capitals, which spelling, which blanks. Standard library only.

surface = Surface("Barack Obama isn't here.", ["Barack", "Obama", "is", "n't", "here", "."], ["NNP", "NNP", "VBZ", "RB", "RB", "."])
surface.forms       # ["Barack", "Obama", "is", "n't", "here", "."]
surface.joined[2]   # True: no blank between `is` and `n't`
"""

import re
import unicodedata
from itertools import takewhile

from handler.language.tokenizer import STRAIGHT
from handler.language.wordlists import LOWER, PROPER

NAMES = frozenset({"NNP", "NNPS"})
TIGHT = re.compile(r"[,.?!]|['’](?:s|re|ve|ll|d|m)|n['’]t", re.IGNORECASE)  # no blank before these, but in tokenised text


class Surface:
    """How each token of a sentence is written in the middle of a sentence, and whether a blank follows it."""

    def __init__(self, sentence: str, tokens: list[str], tags: list[str] | None = None):
        """tokens: of the sentence, by `tokenize` or the leaves of its parse. tags: a part of speech for each, None where not known."""
        self.tokens = [token.lower() for token in tokens]
        self.tags = tags if tags and len(tags) == len(tokens) else None
        self.written, self.joined = aligned(sentence, tokens)
        # Text that is already tokenised says nothing of blanks.
        self.tidy = not any(not joined and TIGHT.fullmatch(after) for joined, after in zip(self.joined, tokens[1:]))
        self.curly = "’" in sentence and "'" not in sentence
        symbols = list(takewhile(_is_symbol, reversed(self.written)))
        self.ending = "".join(reversed(symbols)) if len(symbols) < len(tokens) else ""  # emoji behind the sentence belong to no word
        letters = [token for token in self.written if len(token) > 1 and token.isalpha()]
        self.shouted = len(letters) > 1 and not any(character.islower() for character in sentence)
        self.forms = [self._inner(i, self.written) for i in range(len(tokens))]
        self.places: dict[str, list[int]] = {}  # token -> where it stands
        for i, token in enumerate(self.tokens):
            self.places.setdefault(token, []).append(i)

    def _inner(self, i: int, written: list[str]) -> str:
        """A token as it is written in the middle of a sentence: a capital that only begins the sentence is dropped."""
        form = written[i]
        if form == "i":
            return "I"
        begins = all(not any(map(str.isalnum, one)) for one in written[:i]) or written[i - 1] in (".", "?", "!")
        if not begins or form[1:].lower() != form[1:] or form.lower() == form or form == "I" or form.lower() in PROPER:
            return form
        others = written[:i] + written[i + 1 :]
        if form.lower() in LOWER or form.lower() in others:
            return form.lower()
        if form in others or (self.tags[i] in NAMES if self.tags else i + 1 < len(written) and written[i + 1][:1].isupper()):
            return form
        return form.lower()


def aligned(sentence: str, tokens: list[str]) -> tuple[list[str], list[bool]]:
    """Each token as the sentence writes it, and whether the next one follows without a blank.

    A token that the sentence does not have at its place stays as it is.
    """
    text = unicodedata.normalize("NFC", sentence)
    forms, joined, place = [], [], 0
    for token in tokens:
        while place < len(text) and text[place].isspace():
            place += 1
        end = _exactly(text, place, token) or _by_letters(text, place, token)
        form = text[place:end].strip() if end else token
        forms.append(form if form == token or _letters(form) == _letters(token) else token)
        place = end or place
        joined.append(bool(end) and end < len(text) and not text[end].isspace())
    return forms, joined


def _exactly(text: str, place: int, token: str) -> int:
    """Where a token that stands at this place ends; 0 if another stands there. Case does not count, nor the shape of quotes."""
    if token.isascii() and text.startswith(token, place):
        return place + len(token)
    found, wanted = "", token.translate(STRAIGHT).lower()
    while place < len(text) and len(found) < len(wanted):
        found += text[place].translate(STRAIGHT).lower()
        place += 1
    return place if found == wanted and found else 0


def _by_letters(text: str, place: int, token: str) -> int:
    """The same for a token of a parse, which may differ from the sentence in all that is no letter or digit."""
    wanted, found = _letters(token), ""
    if not wanted:
        return 0
    while place < len(text) and len(found) < len(wanted):
        found += _letters(text[place])
        place += 1
    return place if found == wanted else 0


def _is_symbol(token: str) -> bool:
    """Whether it is an emoji or something like it."""
    return unicodedata.category(token[0]) == "So"


def _letters(text: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
