"""Whether a sentence is in English, as far as its words and a vocabulary tell. Standard library only."""

from collections.abc import Callable

from handler.language.wordlists import FOREIGN, LOWER

LAST_LATIN = 0x24F


def is_english(tokens: list[str], pieces: Callable[[str], list[str | None]]) -> bool:
    """False where most of a sentence is certainly of another language, or of none.

    tokens: case kept. pieces: the BPE pieces of a lower-cased word, None for each that the vocabulary lacks. Names, numbers and
    marks say nothing: a sentence of them passes.
    """
    worded = [token for token in tokens if any(map(str.isalpha, token))]
    beyond = [token for token in worded if not token.isascii()]
    if 2 * sum(_is_strange(token) or None in pieces(token.lower()) for token in beyond) > len(worded):
        return False
    plain = [token.lower() for token in worded if token.isalpha()]
    english, foreign = (sum(token in words for token in plain) for words in (LOWER, FOREIGN))
    if foreign >= 2 and foreign > english and 5 * foreign >= len(plain):
        return False
    common = [token for token in worded if token.isalpha() and token.islower()]
    split = sum(len(pieces(token)) > 1 for token in common)
    return len(common) < 4 or 2 * split < len(common) or 10 * english > len(plain)


def _is_strange(token: str) -> bool:
    """Whether it has letters of another script than Latin."""
    return any(character.isalpha() and ord(character) > LAST_LATIN and not 0x1E00 <= ord(character) < 0x1F00 for character in token)
