"""Texts whose rare words are copied: a numbering of each row, and copying that shares its odds among what the leaf may be."""

import math
import random

import numpy as np
import pytest
import torch

from handler.decoding.grammar import TextGrammar
from handler.decoding.lexicon import Alignment, Lexicon
from handler.language.split_tags import SPLIT
from handler.language.word_classes import NO_TAG, ROWS
from handler.model.network import EOS, UNK
from tests.factories import TOKENS, WRITTEN, random_counts, text_constraint, text_processors, vocabulary
from tests.gpu.batches import TEXT, WORDS, V, random_batch, went_on
from tests.reference import tiny_config

LIMITED = TextGrammar(vocabulary(), V, generation_vocab_size=WRITTEN)
OWN_LEXICON = Lexicon(random_counts()[:, :WRITTEN], 1.5, 60)
SPLIT_COUNTS = np.random.default_rng(2).poisson(0.3, (len(SPLIT), WRITTEN)).astype(np.uint16)
SPLIT_LEXICON = Lexicon(random_counts()[:, :WRITTEN], 1.5, 60, SPLIT_COUNTS, 2.0)
RARE_WORDS = [i for i in WORDS if i >= WRITTEN]
MANY = [vocabulary().ids[piece] for piece in ("rain@@", "th@@", "q@@")]  # beginnings of words: one freely written, two rare
NEAR_TAGS = [ROWS[tag] for tag in ("NN", "NNP", "VBD", "VBN", "DT")]


def heard(sentences: list[list[int]], width: int, generator: torch.Generator) -> torch.Tensor:
    """Random logits as a network gives them: minus infinity where there is nothing to copy."""
    logits = torch.randn(len(sentences), WRITTEN + width, generator=generator)
    for row, sentence in zip(logits, sentences):
        for place in range(width):
            if place >= len(sentence) or sentence[place] < WRITTEN or sentence[place] in sentence[:place]:
                row[WRITTEN + place] = -math.inf
    return logits


def test_a_sentence_is_told_in_its_rows_own_numbering():
    ids = [vocabulary().ids[piece] for piece in "it x th@@ e@@ n x rain@@ n z it".split()]
    it, x, th, e, n, _, rain, *_ = ids
    columns = LIMITED.columns(ids)
    assert columns == [it, *(WRITTEN + i for i in (1, 2, 3, 4, 1)), rain, WRITTEN + 4, WRITTEN + 8, it]
    assert LIMITED.tokens([*columns, EOS], ids) == [*ids, EOS] and LIMITED.width([ids, [it]]) == WRITTEN + 10
    assert LIMITED.split_words(ids) == [(WRITTEN + 2, WRITTEN + 3, WRITTEN + 4), (rain, WRITTEN + 4)]
    assert LIMITED.whole_words(ids) == {it, WRITTEN + 1, WRITTEN + 8} and LIMITED.endings(ids) == [WRITTEN + 4]
    assert LIMITED.begin(ids) == [it, WRITTEN + 1, WRITTEN + 2, WRITTEN + 1, rain, WRITTEN + 8, it]
    assert LIMITED.follow(ids) == [
        (it, WRITTEN + 1),
        (WRITTEN + 1, WRITTEN + 2),
        (WRITTEN + 4, WRITTEN + 1),
        (WRITTEN + 1, rain),
        (WRITTEN + 4, WRITTEN + 8),
        (WRITTEN + 8, it),
    ]
    assert len(LIMITED.words) == WRITTEN and x >= WRITTEN and not LIMITED.copies == TEXT.copies
    assert TEXT.columns(ids) == TEXT.tokens(ids, ids) == ids and TEXT.width([ids]) == V


@pytest.mark.parametrize("odds", [0.0, 3.0])
@pytest.mark.parametrize("aligned", [True, False, "split"])
@pytest.mark.parametrize("steps", [2, 4, 9, 24])
@pytest.mark.slow
def test_what_computes_the_scores_makes_no_difference_where_words_are_copied(steps, aligned, odds):
    """As `test_aligned_texts…`, and no text has a rare word of another sentence."""
    r, g = random.Random(steps), torch.Generator().manual_seed(steps)
    leaves, config = [n for n in (0, 1, 2, steps - 1, steps, steps // 2, 7) for _ in range(3)], tiny_config(bag_width=60, syntax_width=99)
    lexicon = SPLIT_LEXICON if aligned == "split" else OWN_LEXICON
    parts = LIMITED, lexicon, MANY, (UNK, *WORDS[:2], *RARE_WORDS[:4])
    options = dict(max_steps=steps, source_bonus=2.0, repetition_penalty=1.5, order_bonus=3.0, copy_odds=odds, word_weight=2.5)
    sentences, alignment = random_batch(r, leaves, *parts)
    sentences[0], sentences[1] = [RARE_WORDS[0]] * 3, []
    alignment = alignment._replace(
        tagged_words=[[(column, r.choice(NEAR_TAGS)) for column, _ in seen] for seen in alignment.tagged_words],
        leaves=[[r.choice([*NEAR_TAGS, tag, len(lexicon.table) - 1 - r.randrange(40)]) for tag in row] for row in alignment.leaves],
    )
    alignment.tagged_words[0][:], alignment.tagged_words[1][:] = [(WRITTEN, ROWS["NN"])] * 3, []
    earlier, followed = random_batch(r, [30] * len(leaves), *parts)
    earlier = [sentence + RARE_WORDS[:8] * 4 for sentence in earlier]  # longer than those to come, and rare to the end
    followed = followed._replace(tagged_words=[[(column, ROWS["NN"]) for column in LIMITED.begin(sentence)] for sentence in earlier])
    alignment, followed = (alignment, followed) if aligned else (None, None)
    used = text_constraint(LIMITED, earlier, **options, alignment=followed).allocate(len(leaves), config)
    for _ in range(3):
        used.accept(torch.tensor([LIMITED.columns(sentence)[-1] for sentence in earlier]))
    tensors, processors = (kind(LIMITED, sentences, **options, alignment=alignment) for kind in (text_constraint, text_processors))
    used.copy_from(tensors)
    texts, rows, width = [[] for _ in leaves], list(range(len(leaves))), max(map(len, sentences))
    for step in range(steps):
        logits = heard([sentences[row] for row in rows], width, g)
        logits[:, WRITTEN:] += 1
        scores = tensors.process(logits)
        assert scores.isfinite().any(1).all()
        torch.testing.assert_close(processors.process(logits), scores)  # infinities included
        padded = torch.nn.functional.pad(logits, (0, config.bag_width - width), value=-math.inf)
        torch.testing.assert_close(used.process(padded), torch.nn.functional.pad(scores, (0, config.bag_width - width), value=-math.inf))
        assert not used.allowed()[:, WRITTEN + width :].any()  # nor would it be without the network's minus infinity
        tokens = scores.argmax(1)
        rows = went_on((tensors, processors, used), tokens, rows, texts, step)
        if not rows:
            break
    copied = 0
    for sentence, text in zip(sentences, texts):
        whole = EOS in text or len(text) == steps  # or it was dropped on the way
        text = [token for token in LIMITED.tokens(text, sentence) if token != EOS]
        own, words = (" ".join(TOKENS[i] for i in ids).replace("@@ ", "").split() for ids in (sentence, text))
        copied += sum(token >= WRITTEN for token in text)
        for word in words if whole else words[:-1]:
            assert word in own or word in TOKENS[:WRITTEN], (word, own)
        assert text and all(token in sentence for token in text if token >= WRITTEN)
    assert copied > 3


def gains(constraint, logits: torch.Tensor, *columns: int) -> list[float]:
    """By how much the probabilities of these columns rise, as parts of what the network says: adjusted over heard, less heard."""
    total = logits.logsumexp(1)
    return ((constraint.process(logits) - total).exp() - (logits - total).exp())[0, list(columns)].tolist()


@pytest.mark.parametrize("grammar, size", [(LIMITED, WRITTEN), (TEXT, V)], ids=["written", "all written"])
@pytest.mark.parametrize("kind", [text_constraint, text_processors])
def test_copying_shares_its_odds_among_unwritten_words_of_the_leafs_kind(kind, grammar, size):
    pieces = [vocabulary().ids[piece] for piece in "the x is th@@ e@@ n x it o".split()]
    the, x, is_, th, e, n, _, it, o = grammar.columns(pieces)
    DT, NN, NNP, VBZ, JJ = (ROWS[tag] for tag in ("DT", "NN", "NNP", "VBZ", "JJ"))
    seen = [(the, DT), (x, NN), (is_, VBZ), (th, NNP), (x, NN), (it, NN), (o, JJ)]
    lexicon = Lexicon(random_counts()[:, :size], 0.0, 60 if grammar.copies else 0)  # of no weight: copying is all that counts
    logits = torch.randn(1, grammar.width([pieces]), generator=torch.Generator().manual_seed(1))
    constraint = kind(grammar, [pieces], 20, copy_odds=0.6, alignment=Alignment(lexicon, [[NN, NNP, NN, NN, NN, DT, NO_TAG, JJ]], [seen]))

    def check(expected, *generation_vocab_size):
        assert gains(constraint, logits, x, th, it, o, the, is_) == pytest.approx(expected, abs=1e-6)
        for column in generation_vocab_size:
            constraint.accept(torch.tensor([column]))

    check([0.2, 0.2, 0.2, 0, 0, 0], x)  # three words; `x` counts once, though it is there twice, and again after it
    check([0.2, 0.2, 0.2, 0, 0, 0], it)  # for a name as for a noun
    check([0.3, 0.3, 0, 0, 0, 0], th)  # what is written gains nothing, and leaves its share to the others
    inside = constraint.process(logits)[0]
    assert inside[e] == logits[0, e] and inside.isfinite().sum() == 1  # nothing inside a word
    for column in (e, n):
        constraint.accept(torch.tensor([column]))
    check([0.6, 0, 0, 0, 0, 0], x)  # `x` for the second time
    check([0, 0, 0, 0, 0, 0], the)  # none is left
    check([0, 0, 0, 0, 0, 0], the)  # articles are not copied
    check([0, 0, 0, 0, 0, 0], the)  # any word will do
    check([0, 0, 0, 0.6, 0, 0])


@pytest.mark.parametrize("kind", [text_constraint, text_processors])
def test_copying_comes_before_the_bonuses_and_needs_tags_and_odds(kind):
    pieces = [vocabulary().ids[piece] for piece in "it x o".split()]
    it, x, o = LIMITED.columns(pieces)
    nn, zeros, options = ROWS["NN"], torch.zeros(1, WRITTEN + 3), dict(source_bonus=2.0, repetition_penalty=1.0, order_bonus=0.5)
    lexicon, total = Lexicon(random_counts()[:, :WRITTEN], 1.5, 60), math.log(WRITTEN + 3)

    def scores(odds, seen, *generation_vocab_size):
        alignment = Alignment(lexicon, [[nn] * 3], [seen])
        constraint = kind(LIMITED, [pieces], 9, **options, copy_odds=odds, alignment=alignment)
        for column in generation_vocab_size:
            constraint.accept(torch.tensor([column]))
        return constraint.process(zeros)[0]

    copied = math.log(math.exp(-total) + 5) + total
    seen = [(it, nn), (x, nn)]
    before, after = scores(0.0, seen, it), scores(5.0, seen, it)
    expected = torch.zeros(WRITTEN + 3)
    expected[x] = copied  # on what it gains as a word of the sentence, of this tag, after the last word
    torch.testing.assert_close(after - before.masked_fill(~before.isfinite(), 0), before.masked_fill(before.isfinite(), 0) + expected)
    assert before[x] - before[o] > 0.5  # that it gains by all of these
    assert torch.equal(scores(5.0, [], it), scores(0.0, [], it))  # tags that are not known
    free = kind(LIMITED, [pieces], 9, **options, copy_odds=5.0)  # no parse to follow
    assert torch.equal(free.process(zeros), kind(LIMITED, [pieces], 9, **options).process(zeros))
