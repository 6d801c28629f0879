"""Texts have whole words, one for each leaf, whatever the network prefers. Tensors and logits processors give the same scores."""

import math
import random

import pytest
import torch

from handler.decoding.grammar import TextGrammar
from handler.decoding.lexicon import ALPHA, FILL, FLOOR, SOURCE_COUNT, Alignment
from handler.language.word_classes import NO_TAG, ROWS
from handler.model.network import EOS, UNK
from tests.factories import TOKENS, random_counts, text_constraint, text_processors, vocabulary
from tests.gpu.batches import BEGUN, LEXICON, TEXT, WORDS, V, random_batch, went_on
from tests.reference import tiny_config

SENTENCES = ["rain@@ ing is th@@ e@@ n", "rain@@ in@@ g rain@@ ing the", "it is .", "é@@ é q@@ q@@ q@@ q@@ q <unk> a@@ <unk>"]


@pytest.mark.parametrize("eager", [None, "rain@@", "th@@", "q@@"])
@pytest.mark.parametrize("max_steps", [1, 2, 3, 9])
def test_texts_are_words_of_the_vocabulary_or_of_the_sentence(max_steps, eager):
    grammar = TextGrammar(vocabulary(), V)
    generator = torch.Generator().manual_seed(1)
    sentences = [s.split() for s in SENTENCES] * 16
    constraint = text_constraint(grammar, [[vocabulary().ids[p] for p in s] for s in sentences], max_steps)
    out, copied = [[] for _ in sentences], 0
    for _ in range(max_steps):
        scores = torch.rand(len(sentences), V, generator=generator)
        if eager:
            scores[:, vocabulary().ids[eager]] += 0.5
        scores[:, [i for i, more in enumerate(grammar.continued) if more]] += 0.3
        mask = constraint.allowed()
        assert mask.any(1).all()
        tokens = scores.masked_fill(~mask, -1).argmax(1)
        for row, token in zip(out, tokens.tolist()):
            row.append(token)
        constraint.accept(tokens)
    for sentence, row in zip(sentences, out):
        row = row[: row.index(EOS)] if EOS in row else row
        assert row, "empty"
        words, own = " ".join(TOKENS[i] for i in row).replace("@@ ", "").split(), " ".join(sentence).replace("@@ ", "").split()
        for word in words:
            single = word in TOKENS and not word.startswith("<") and vocabulary().ids[word] > UNK
            assert single or word in own, (word, own)
            copied += not single
        assert not TOKENS[row[-1]].endswith("@@")
    assert max_steps == 1 or copied  # or nothing was tried


def test_a_split_word_is_only_begun_if_it_can_be_finished():
    grammar = TextGrammar(vocabulary(), V)
    ids = vocabulary().ids
    for max_steps, offered in ((2, False), (3, True), (9, True)):
        constraint = text_constraint(grammar, [[ids["th@@"], ids["e@@"], ids["n"]]], max_steps)
        assert bool(constraint.allowed()[0, ids["th@@"]]) == offered
        assert not constraint.allowed()[0, ids["e@@"]] and not constraint.allowed()[0, EOS]


def test_a_piece_begins_a_word_or_goes_on_with_it_and_rows_can_be_dropped():
    grammar = TextGrammar(vocabulary(), V)
    ids = vocabulary().ids
    rows = [[ids["it"]], [ids["rain@@"], ids["ing"], ids["rain@@"], ids["in@@"], ids["g"]]]
    constraint = text_constraint(grammar, rows, 9)
    constraint.accept(torch.tensor([ids["it"], ids["rain@@"]]))
    constraint.select_rows(torch.tensor([1]))
    assert constraint.allowed()[0].nonzero()[:, 0].tolist() == sorted([ids["ing"], ids["in@@"]])
    constraint.accept(torch.tensor([ids["in@@"]]))
    assert constraint.allowed()[0].nonzero()[:, 0].tolist() == [ids["g"]]
    constraint.accept(torch.tensor([ids["g"]]))
    assert constraint.allowed()[0, EOS] and constraint.allowed()[0, ids["rain@@"]] and constraint.allowed()[0, ids["the"]]


def test_pieces_of_the_sentence_gain_until_written_and_pieces_used_up_lose():
    grammar = TextGrammar(vocabulary(), V)
    ids = vocabulary().ids
    constraint = text_constraint(grammar, [[ids["it"], ids["is"], ids["it"]], [ids["the"]]], 9, source_bonus=2.0, repetition_penalty=3.0)

    def scores(row, *words):
        return [constraint.process(torch.zeros(2, V))[row, ids[word]].item() for word in words]

    assert scores(0, "it", "is", "the") == [2, 2, 0] and scores(1, "it", "the") == [0, 2]
    constraint.accept(torch.tensor([ids["it"], ids["it"]]))
    assert scores(0, "it", "is") == [2, 2] and scores(1, "it", "the") == [-3, 2]  # two in the first sentence, none in the second
    constraint.accept(torch.tensor([ids["it"], ids["the"]]))
    assert scores(0, "it", "is") == [-3, 2] and scores(1, "the") == [-3]
    constraint.select_rows(torch.tensor([0]))
    assert constraint.process(torch.zeros(1, V))[0, ids["is"]] == 2


def test_an_ending_of_a_split_word_comes_in_its_word_only():
    v = vocabulary()
    grammar = TextGrammar(v, len(v.tokens))
    rain, ing, it = (v.ids[piece] for piece in ("rain@@", "ing", "it"))
    assert grammar.endings([it, rain, ing]) == [ing] and grammar.endings([ing, rain, ing]) == [] and grammar.endings([it]) == []
    never = TextGrammar(v, len(v.tokens), [ing])
    for kind in (text_constraint, text_processors):
        anywhere = kind(never, [[it], [it, ing]], 10, 1.0, 1.0).process(torch.zeros(2, len(v.tokens))).isfinite()
        assert anywhere[:, ing].tolist() == [False, True]  # the sentence has it as a word
        constraint = kind(grammar, [[it, rain, ing], [it, it, it]], 10, 1.0, 1.0)
        scores = torch.zeros(2, len(v.tokens))
        allowed = constraint.process(scores).isfinite()
        assert not allowed[0, ing] and allowed[1, ing] and allowed[0, rain] and not allowed[1, rain]
        constraint.accept(torch.tensor([rain, it]))
        assert constraint.process(scores)[0].isfinite().nonzero()[:, 0].tolist() == [ing]
        constraint.accept(torch.tensor([ing, it]))
        assert not constraint.process(scores).isfinite()[0, ing]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 24])
def test_aligned_texts_have_a_word_for_each_leaf_whatever_computes_the_scores(steps, seed):
    """Tensors, tensors that earlier rows have used, and logits processors, over whole random decodings in which rows are dropped."""
    r, g = random.Random(seed), torch.Generator().manual_seed(seed)
    leaves = [n for n in (0, 1, 2, steps - 1, steps, steps + 3, steps // 2, steps // 2) for _ in range(2)]
    sentences, alignment = random_batch(r, leaves)
    options = dict(max_steps=steps, source_bonus=2.0, repetition_penalty=1.5, order_bonus=3.0, word_weight=2.5)
    earlier, followed = random_batch(r, [30] * len(leaves))
    earlier = [sentence + WORDS[:8] * 4 for sentence in earlier]  # longer than those to come
    used = text_constraint(TEXT, earlier, **options, alignment=followed).allocate(len(leaves), tiny_config(bag_width=60, syntax_width=99))
    for _ in range(3):
        used.accept(torch.tensor([sentence[0] for sentence in earlier]))
    tensors = text_constraint(TEXT, sentences, **options, alignment=alignment)
    processors = text_processors(TEXT, sentences, **options, alignment=alignment)
    used.copy_from(tensors)
    texts, rows, split = [[] for _ in leaves], list(range(len(leaves))), 0
    for step in range(steps):
        logits = torch.randn(len(rows), V, generator=g)
        logits[:, BEGUN] += 1
        scores = tensors.process(logits)
        assert scores.isfinite().any(1).all()
        assert torch.equal(scores, processors.process(logits)) and torch.equal(scores, used.process(logits))
        tokens = scores.argmax(1)
        rows = went_on((tensors, processors, used), tokens, rows, texts, step)
        if not rows:
            break
    for count, text in zip(leaves, texts):
        split += sum(TEXT.continued[i] for i in text)
        words = sum(not TEXT.continued[i] for i in text if i != EOS)
        if EOS in text and count:
            assert words == count and text[-1] == EOS
        elif count:  # dropped on the way, or more leaves than steps: never cut within a word at the limit
            assert words <= count and (len(text) < steps or count >= steps and not TEXT.continued[text[-1]])
    assert split or steps < 5


def alone(kind, sentence, leaves, seen=(), steps=9):
    return kind(TEXT, [sentence], steps, alignment=Alignment(LEXICON, [leaves], [list(seen)]))


@pytest.mark.parametrize("kind", [text_constraint, text_processors])
def test_a_split_word_is_only_begun_if_the_words_after_it_fit_too(kind):
    th, e, n, it = (vocabulary().ids[piece] for piece in ("th@@", "e@@", "n", "it"))
    for leaves, steps, offered in ((1, 4, True), (1, 3, False), (3, 6, True), (3, 5, False)):
        constraint, zeros = alone(kind, [th, e, n], [NO_TAG] * leaves, steps=steps), torch.zeros(1, V)
        assert bool(constraint.process(zeros)[0, th].isfinite()) == offered  # three pieces, a step for each later leaf, and <eos>
        assert constraint.process(zeros)[0, it].isfinite() and not constraint.process(zeros)[0, EOS].isfinite()
        for token in [th, e, n] if offered else [it]:
            assert constraint.process(zeros)[0, token].isfinite()
            constraint.accept(torch.tensor([token]))
        expected = [EOS] if leaves == 1 else WORDS + [th] * (not offered and steps > 5)
        assert constraint.process(zeros)[0].isfinite().nonzero()[:, 0].tolist() == sorted(set(expected) - {n})


@pytest.mark.parametrize("kind", [text_constraint, text_processors])
def test_words_gain_by_how_likely_they_are_of_the_leafs_tag(kind):
    counts, (dt, nn) = random_counts().astype(float), (ROWS[tag] for tag in ("DT", "NN"))
    th, e, n, it, the = (vocabulary().ids[piece] for piece in ("th@@", "e@@", "n", "it", "the"))
    rare = counts[:, counts.sum(0) < 5].sum(1)
    assert not rare.any()  # the factory's counts are multiples of 7: rare words are as likely of any tag

    def expected(piece, tag, *seen):
        column = counts[:, piece].copy()
        for other in seen:
            column[other - 1] += SOURCE_COUNT
        return 1.5 * max(FLOOR, math.log((column[tag - 1] + ALPHA / len(ROWS)) / (column.sum() + ALPHA)))

    constraint = alone(kind, [th, e, n, it, it, it], [dt, nn, NO_TAG], [(th, nn), (it, dt), (it, nn), (it, dt)])
    zeros = torch.zeros(1, V)
    scores = constraint.process(zeros)[0]
    assert [scores[i].item() for i in (th, it, the)] == pytest.approx(
        [expected(th, dt, nn), expected(it, dt, dt, nn, dt), expected(the, dt)], abs=1e-5
    )
    constraint.accept(torch.tensor([the]))
    scores = constraint.process(zeros)[0]
    assert [scores[i].item() for i in (th, it, the)] == pytest.approx(
        [expected(th, nn, nn), expected(it, nn, dt, nn, dt), expected(the, nn)], abs=1e-5
    )
    constraint.accept(torch.tensor([th]))
    assert constraint.process(zeros)[0, e] == 0  # inside a word nothing is added
    for token in (e, n):
        constraint.accept(torch.tensor([token]))
    scores = constraint.process(zeros)[0]
    assert scores[it] == scores[the] == scores[th] == 0  # a leaf without a tag


@pytest.mark.parametrize("kind", [text_constraint, text_processors])
@pytest.mark.parametrize("aligned", [True, False])
def test_the_word_after_the_last_one_gains_once(kind, aligned):
    th, n, it, the, is_, a = (vocabulary().ids[piece] for piece in ("th@@", "n", "it", "the", "is", "a"))
    sentence = [it, the, th, n, is_, it, the, a]  # `it the` twice
    alignment = Alignment(LEXICON, [[NO_TAG] * 7], [[]]) if aligned else None
    constraint = kind(TEXT, [sentence], 20, order_bonus=3, alignment=alignment)
    gains = []
    for token in (it, the, th, n, a, the):
        scores = constraint.process(torch.zeros(1, V))[0]
        gains.append({i for i in (it, the, th, n, is_, a) if scores[i] == 3})
        constraint.accept(torch.tensor([token]))
    assert gains == [set(), {the}, {th, a}, set(), {is_}, set()]  # first word; inside a word; after the sentence's last
    assert constraint.process(torch.zeros(1, V))[0, a] == 3  # again, though it has been written


@pytest.mark.parametrize("kind", [text_constraint, text_processors])
def test_the_last_leaf_gets_its_mark(kind):
    rain, ing, it, asked, stop = (vocabulary().ids[piece] for piece in ("rain@@", "ing", "it", "?", "."))
    alignment = Alignment(LEXICON, [[NO_TAG, NO_TAG]] * 2, [[], []], marks=[asked, FILL])  # of the second row anything may be last
    constraint = kind(TEXT, [[rain, ing, it]] * 2, 9, alignment=alignment)
    logits = torch.zeros(2, V)
    assert constraint.process(logits)[0, asked] == constraint.process(logits)[1, asked]  # not yet
    constraint.accept(torch.tensor([rain, it]))
    assert constraint.process(logits)[0].isfinite().sum() == 1  # inside a word
    constraint.accept(torch.tensor([ing, stop]))
    scores = constraint.process(logits)
    assert scores[0].argmax() == asked and scores[0, asked] - scores[0, stop] > 50


@pytest.mark.parametrize("kind", [text_constraint, text_processors])
def test_the_word_of_a_moved_leaf_gains_where_its_leaf_is_due(kind):
    rain, ing, it, the = (vocabulary().ids[piece] for piece in ("rain@@", "ing", "it", "the"))
    alignment = Alignment(LEXICON, [[NO_TAG] * 3] * 2, [[], []], [[rain, it, FILL], []])  # of the second row no leaf was moved
    constraint = kind(TEXT, [[it, rain, ing]] * 2, 9, word_weight=4.0, alignment=alignment)
    logits, found = torch.zeros(2, V), []
    for token in rain, ing, it, the:
        scores = constraint.process(logits)
        found.append({i: scores[0, i].item() for i in (rain, ing, it, the) if scores[0, i].isfinite()})
        assert set(scores[1].unique().tolist()) == {0.0, -math.inf}
        constraint.accept(torch.tensor([token, token]))
    assert found == [{rain: 4.0, it: 0.0, the: 0.0}, {ing: 0.0}, {rain: 0.0, it: 4.0, the: 0.0}, {rain: 0.0, it: 0.0, the: 0.0}]
