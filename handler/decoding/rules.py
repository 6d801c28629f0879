"""What a batch must obey, as plain values. Each backend applies it in its own way.

On a CPU `processors.py` keeps a few integers a row; on a GPU `gpu/constraints.py` has the same rules as tensor operations that a CUDA
graph can record. Both give the same scores (`tests/gpu/test_*_constraint.py`).
"""

from dataclasses import dataclass

from handler.decoding.grammar import ParseGrammar, TextGrammar
from handler.decoding.lexicon import Alignment


@dataclass(frozen=True)
class ParseRules:
    """Every parse is a tree under its template, closed in time."""

    grammar: ParseGrammar
    templates: list[list[int]]  # a row's tokens `( ROOT … )` as ids, without <sos> and <eos>
    max_steps: int


@dataclass(frozen=True)
class TextRules:
    """Every text is made of real words; with an alignment it has one word for each leaf of its parse."""

    grammar: TextGrammar
    sentences: list[list[int]]  # a row's piece ids
    max_steps: int
    source_bonus: float = 0.0  # nats on the logit of a piece of the sentence not yet written
    repetition_penalty: float = 0.0  # nats off the logit of a piece written often enough
    order_bonus: float = 0.0  # nats on the word that follows the last one in the sentence
    copy_odds: float = 0.0  # of copying a word of the leaf's kind to what the network says
    word_weight: float = 0.0  # nats on the word that a moved parse has at the leaf
    alignment: Alignment | None = None  # the parses that the texts follow word by word


@dataclass(frozen=True)
class Hints:
    """What texts are likely to be made of, where no rule says so. A backend may draft with it; no answer depends on it."""

    leaves: list[list[str]]  # a row's tags at the leaves of its parse
    words: list[list[tuple[tuple[int, ...], str]]]  # its sentence's words: their pieces, numbered as in its row, and their tag
    common: dict[str, int]  # tag -> the word that is likeliest there if the sentence has none


MARK_WEIGHT = 100.0  # nats on the mark that ends a text: more than all else together


Rules = ParseRules | TextRules
