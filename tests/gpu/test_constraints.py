"""Constrained decoding, whatever the network prefers: parses follow their templates; texts have whole words, one for each leaf."""

import math
import random

import numpy as np
import pytest
import torch

from handler.decoding.grammar import ParseGrammar, TextGrammar
from handler.decoding.lexicon import ALPHA, FILL, FLOOR, SOURCE_COUNT, Alignment, Lexicon, learn, packed
from handler.language.split_tags import SPLIT
from handler.language.trees import PHRASES, TAGS, from_syntax_tokens, read_tree, syntax_tokens, template_of
from handler.language.word_classes import KIN, NO_TAG, ROWS
from handler.model.network import EOS, UNK
from handler.wire.request import CATALOGUE
from tests.factories import TOKENS, WRITTEN, parse_constraint, random_counts, text_constraint, text_processors, vocabulary
from tests.reference import tiny_config

V = len(TOKENS)
GRAMMAR = ParseGrammar(vocabulary(), V)
TEMPLATES = [*CATALOGUE.values(), "(ROOT (S ))", "(ROOT (NN ))", "(ROOT (S (NP ) (. )) (, ) (FRAG ))", "(ROOT (S (, )))"]


def ids_of(template: str) -> list[int]:
    return [vocabulary().syntax_ids[token] for token in syntax_tokens(read_tree(template))]


def random_parses(templates, max_steps, seed, weights=None):
    """Decode with random scores under the constraint, all rows together."""
    generator = torch.Generator().manual_seed(seed)
    constraint = parse_constraint(GRAMMAR, [ids_of(t) for t in templates], max_steps)
    out = [[] for _ in templates]
    for _ in range(max_steps):
        mask = constraint.allowed()
        assert mask.any(1).all()
        scores = torch.rand(mask.shape, generator=generator)
        if weights is not None:
            scores = scores + weights
        tokens = scores.masked_fill(~mask, -1e9).argmax(1)
        for row, token in zip(out, tokens.tolist()):
            row.append(token)
        constraint.accept(tokens)
    return [row[: row.index(EOS) + 1] if EOS in row else row for row in out]


def check(template: str, row: list[int]):
    assert row[-1] == EOS, "did not end in time"
    tree = read_tree(from_syntax_tokens(vocabulary().decode_syntax(row[:-1])))
    assert all(leaf.label in TAGS for leaf in tree.leaves())
    expected = read_tree(template)

    def same_top(asked, got):
        assert asked.label == got.label
        if asked.children:
            assert len(asked.children) == len(got.children)
            for a, g in zip(asked.children, got.children):
                same_top(a, g)
        elif asked.label in PHRASES:
            assert got.children
        else:
            assert not got.children

    same_top(expected, tree)
    if template in CATALOGUE.values():
        assert str(template_of(tree)) == str(expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_steps", [41, 60, 200])
def test_every_random_parse_is_a_tree_with_the_asked_top(max_steps, seed):
    for template, row in zip(TEMPLATES, random_parses(TEMPLATES, max_steps, seed)):
        check(template, row)


@pytest.mark.parametrize("eager", ["(", "S", "NN", ")"])
def test_a_network_that_only_wants_one_thing_is_kept_in_bounds(eager):
    weights = torch.zeros(V)
    weights[vocabulary().syntax_ids[eager]] = 10.0
    for template, row in zip(TEMPLATES, random_parses(TEMPLATES, 50, 0, weights)):
        check(template, row)


def test_the_shortest_parse_fits_exactly():
    for template in TEMPLATES:
        shortest = GRAMMAR.shortest(ids_of(template))
        row = random_parses([template], shortest, 0)[0]
        check(template, row)
        assert len(row) == shortest


def test_training_parses_are_allowed():
    """Real parses, under their own templates, are never forbidden."""
    parse = (
        "(ROOT (S (SBAR (IN if) (S (NP (PRP it)) (VP (VBZ is) (ADJP (JJ sunny))))) (, ,) (NP (PRP we)) "
        "(VP (MD will) (VP (VB have) (NP (DT a) (NN picnic)))) (. .)))"
    )
    tree = read_tree(parse)
    constraint = parse_constraint(GRAMMAR, [ids_of(str(template_of(tree)))], 100)
    for token in [*(vocabulary().syntax_ids[t] for t in syntax_tokens(tree)), EOS]:
        assert constraint.allowed()[0, token]
        constraint.accept(torch.tensor([token]))


def test_keep_carries_each_row_on():
    templates = [TEMPLATES[0], TEMPLATES[4], TEMPLATES[7]]
    whole = parse_constraint(GRAMMAR, [ids_of(t) for t in templates], 60)
    part = parse_constraint(GRAMMAR, [ids_of(t) for t in templates], 60)
    for _ in range(7):
        tokens = whole.allowed().float().argmax(1)
        whole.accept(tokens), part.accept(tokens)
    part.select_rows(torch.tensor([2, 0]))
    assert torch.equal(part.allowed(), whole.allowed()[[2, 0]])


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


LIMITED = TextGrammar(vocabulary(), V, generation_vocab_size=WRITTEN)
OWN_LEXICON = Lexicon(random_counts()[:, :WRITTEN], 1.5, 60)
SPLIT_COUNTS = np.random.default_rng(2).poisson(0.3, (len(SPLIT), WRITTEN)).astype(np.uint16)
SPLIT_LEXICON = Lexicon(random_counts()[:, :WRITTEN], 1.5, 60, SPLIT_COUNTS, 2.0)
RARE_WORDS = [i for i in WORDS if i >= WRITTEN]
MANY = [vocabulary().ids[piece] for piece in ("rain@@", "th@@", "q@@")]  # beginnings of words: one freely written, two rare
NEAR_TAGS = [ROWS[tag] for tag in ("NN", "NNP", "VBD", "VBN", "DT")]


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


def test_kinds_are_those_of_one_form():
    assert {a for a, kin in KIN.items() if ROWS["NN"] in kin} == {ROWS["NN"], ROWS["NNP"]} == set(KIN[ROWS["NNP"]])
    assert not {NO_TAG, *(ROWS[tag] for tag in ("DT", "IN", "PRP", ".", "MD"))} & KIN.keys()
    assert all(set(KIN[b]) == set(kin) for kin in KIN.values() for b in kin)  # of a word and of a leaf: the same question
    seen = [[(7, ROWS["NN"]), (9, ROWS["DT"]), (7, ROWS["VB"])], [(9, ROWS["NNS"])]]
    (pieces, _), kin = LEXICON.own(seen), LEXICON.kin(seen)
    assert pieces.tolist() == [[7, 9], [9, 0]] and kin.shape == (2, 1 + len(ROWS), 2)
    of = {tuple(place) for place in np.argwhere(kin).tolist()}
    assert of == {*((0, ROWS[tag], 0) for tag in ("NN", "NNP", "VB", "VBP")), *((1, ROWS[tag], 0) for tag in ("NNS", "NNPS"))}


def test_the_place_of_a_tag_adds_to_a_word_what_it_says_of_it():
    counts, split_counts = np.zeros((len(ROWS), 3), int), np.zeros((len(SPLIT), 3), int)
    main, aux = (SPLIT.index(("VBD", place)) for place in ("object", "aux"))
    counts[ROWS["VBD"] - 1, :2] = split_counts[main, 0] = split_counts[aux, 1] = 100
    lexicon, plain = Lexicon(counts, 1.0, 0, split_counts, 0.5), Lexicon(counts, 1.0)
    added = lexicon.table[1 + len(ROWS) :] - plain.table[ROWS["VBD"]]
    assert added[main, 0] > 0 > added[main, 1] and added[main, 2] == 0  # of the third word nothing is known
    assert added[main, 0] == pytest.approx(0.5 * math.log(2), abs=0.1) and added[aux, 1] > 0 > added[aux, 0]
    assert lexicon.tag_of[1 + len(ROWS) + main] == ROWS["VBD"] and lexicon.common[1 + len(ROWS) + aux] == 1
    (pieces, own), kin = lexicon.own([[(1, ROWS["VBD"])]]), lexicon.kin([[(1, ROWS["VBD"])]])
    assert pieces.tolist() == [[1]] and own.shape == kin.shape == (1, len(lexicon.table), 1)
    assert own[0, 1 + len(ROWS) + aux, 0] - own[0, ROWS["VBD"], 0] == pytest.approx(added[aux, 1])
    assert kin[0, 1 + len(ROWS) + main, 0] and not kin[0, 1 + len(ROWS) + SPLIT.index(("DT", "alone")), 0]
    assert Lexicon(counts, 1.0, 0, split_counts, 0.0).splits is None


def test_rare_words_are_known_by_those_like_them_and_counts_fit_their_type():
    counts = np.zeros((len(ROWS), 4), dtype=int)
    counts[ROWS["NN"] - 1, 0], counts[ROWS["JJ"] - 1, 1], counts[ROWS["DT"] - 1, 2] = 3, 1, 1000
    table = np.exp(Lexicon(counts, 1.0).table)
    assert table[ROWS["NN"], 3].item() == pytest.approx(3 / 4) and table[ROWS["JJ"], 3].item() == pytest.approx(1 / 4)
    assert table[ROWS["NN"], 0].item() == pytest.approx((3 + 3 / 4) / 4) and table[ROWS["NN"], 2].item() == pytest.approx(math.exp(FLOOR))
    assert Lexicon(counts[:, 2:3], 1.0).table[ROWS["NN"], 0].item() == pytest.approx(FLOOR)  # no rare word at all
    assert (table[NO_TAG] == 1).all()
    learned = learn(np.array([2, 2, 0, 1]), np.array([ROWS["NN"], ROWS["NN"], NO_TAG, ROWS["DT"]]), 4)
    assert learned.shape == counts.shape and learned.sum() == 3 and learned[ROWS["NN"] - 1, 2] == 2
    counts[:, 1] *= 70_000
    counts[ROWS["NN"] - 1, 1] = 140_000
    small, halves = packed(counts, counts // 2)
    assert halves[ROWS["NN"] - 1, 1] in (32767, 32768)  # scaled as the counts of the word's tags are
    assert small.dtype == np.uint16 and small[ROWS["NN"] - 1, 1] == 65535 and small[ROWS["JJ"] - 1, 1] in (32767, 32768)
    assert np.array_equal(small[:, [0, 2, 3]], counts[:, [0, 2, 3]])
