"""Sentences with many split words, parses for them, and the decoding of them row by row."""

import random

import torch

from handler.decoding.grammar import TextGrammar
from handler.decoding.lexicon import FILL, Alignment, Lexicon
from handler.language.word_classes import NO_TAG, ROWS
from handler.model.network import EOS, UNK
from tests.factories import TOKENS, random_counts, vocabulary

V = len(TOKENS)
TEXT = TextGrammar(vocabulary(), V)
LEXICON = Lexicon(random_counts(), 1.5)
WORDS = [i for i, word in enumerate(TEXT.is_word) if word]
BEGUN = [i for i, more in enumerate(TEXT.continued) if more]


def random_batch(
    r: random.Random, leaves: list[int], grammar=TEXT, lexicon=LEXICON, begun=BEGUN[:3], ends=(UNK, *WORDS[:8])
) -> tuple[list[list[int]], Alignment]:
    """Sentences with many split words that begin alike, and parses of so many leaves."""
    sentences, seen = [], []
    for _ in leaves:
        words = [[*r.choices(begun, k=r.choice((0, 0, 1, 2, 3))), r.choice(ends)] for _ in range(r.randrange(8))]
        sentences.append([piece for word in words for piece in word])
        seen.append([(piece, r.choice(list(ROWS.values()))) for piece in grammar.begin(sentences[-1]) if r.random() < 0.7])
    moved = [[r.choice([FILL, *grammar.begin(row)]) for _ in range(n)] if r.random() < 0.6 else [] for row, n in zip(sentences, leaves)]
    marks = [r.choice([FILL, vocabulary().ids["?"]]) for _ in sentences]
    return sentences, Alignment(lexicon, [[r.choice([NO_TAG, *ROWS.values()]) for _ in range(n)] for n in leaves], seen, moved, marks)


def went_on(constraints, tokens, rows, texts, step):
    """Give all constraints these tokens, note them in their rows' texts, and keep the rows that go on: at one step two of three."""
    for constraint in constraints:
        constraint.accept(tokens)
    for row, token in zip(rows, tokens.tolist()):
        texts[row].append(token)
    kept = [i for i, row in enumerate(rows) if EOS not in texts[row] and (step != 2 or i % 3)]
    if kept:
        for constraint in constraints:
            constraint.select_rows(torch.tensor(kept))
    return [rows[i] for i in kept]
