"""What is refused as another language, and what is not."""

import pytest

from handler.language.english import is_english
from handler.language.tokenizer import tokenize

KNOWN = frozenset("tom bob hurricane hit miami again cats chase mice happily rain 1 2 . , new york".split())


def pieces(word: str) -> list[str | None]:
    """A word that is not known falls into two pieces, one of them unknown if it is not ASCII."""
    return [word] if word in KNOWN else [word[:1] + "@@", word[1:] if word.isascii() else None]


@pytest.mark.parametrize(
    "sentence",
    [
        "Я не знаю, что это значит.",
        "我不知道你在说什么。",
        "Je ne sais pas ce que tu veux dire.",
        "Le chat noir dort sur la table de la cuisine.",
        "Ich weiß nicht, was soll es bedeuten.",
        "El perro mordió al hombre en la calle.",
        "asdf qwer zxcv uiop hjkl",
    ],
)
def test_other_languages(sentence):
    assert not is_english(tokenize(sentence), pieces)


@pytest.mark.parametrize(
    "sentence",
    [
        "It rains.",
        "Charles de Gaulle met la Pasionaria.",
        "Muammar Kaddafi, Vladimir Zhirinovsky, Recep Tayyip",
        "1 2 3 4 5",
        "?",
        "Tom chased floccinaucinihilipilification and the antidisestablishmentarian.",
        "Cats chase mice happily.",
        "I love Köln and the naïve café owner there.",
        "\U0001f600 \U0001f600 \U0001f600",
        "Who wrote 红楼梦?",
    ],
)
def test_english(sentence):
    assert is_english(tokenize(sentence), pieces)
