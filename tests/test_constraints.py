"""Constrained decoding: whatever the network wants, parses are trees with the asked top, texts are whole words, one a leaf."""

import math
import random

import numpy as np
import pytest
import torch

from handler.constraints import ParseConstraint, ParseGrammar, TextConstraint, TextGrammar
from handler.lexicon import ALPHA, FLOOR, NO_TAG, ROWS, SOURCE_COUNT, Alignment, Lexicon, learn, packed
from handler.machines import TextMachines
from handler.model import EOS, UNK
from handler.request import CATALOGUE
from handler.syntax import PHRASES, TAGS, from_syntax_tokens, read_tree, syntax_tokens, template_of
from tests.factories import TOKENS, random_counts, vocabulary
from tests.reference import tiny_config

V = len(TOKENS)
GRAMMAR = ParseGrammar(vocabulary(), V, torch.device("cpu"))
TEMPLATES = [*CATALOGUE.values(), "(ROOT (S ))", "(ROOT (NN ))", "(ROOT (S (NP ) (. )) (, ) (FRAG ))", "(ROOT (S (, )))"]


def ids_of(template: str) -> list[int]:
    return [vocabulary().syntax_ids[token] for token in syntax_tokens(read_tree(template))]


def random_parses(templates, max_steps, seed, weights=None):
    """Decode with random scores under the constraint, all rows together."""
    generator = torch.Generator().manual_seed(seed)
    constraint = ParseConstraint(GRAMMAR, [ids_of(t) for t in templates], max_steps)
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
        constraint.advance(tokens)
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
        shortest = ParseConstraint.shortest(ids_of(template), GRAMMAR)
        row = random_parses([template], shortest, 0)[0]
        check(template, row)
        assert len(row) == shortest


def test_training_parses_are_allowed():
    """Real parses, under their own templates, are never forbidden."""
    parse = ("(ROOT (S (SBAR (IN if) (S (NP (PRP it)) (VP (VBZ is) (ADJP (JJ sunny))))) (, ,) (NP (PRP we)) "
             "(VP (MD will) (VP (VB have) (NP (DT a) (NN picnic)))) (. .)))")
    tree = read_tree(parse)
    constraint = ParseConstraint(GRAMMAR, [ids_of(str(template_of(tree)))], 100)
    for token in [*(vocabulary().syntax_ids[t] for t in syntax_tokens(tree)), EOS]:
        assert constraint.allowed()[0, token]
        constraint.advance(torch.tensor([token]))


def test_keep_carries_each_row_on():
    templates = [TEMPLATES[0], TEMPLATES[4], TEMPLATES[7]]
    whole = ParseConstraint(GRAMMAR, [ids_of(t) for t in templates], 60)
    part = ParseConstraint(GRAMMAR, [ids_of(t) for t in templates], 60)
    for _ in range(7):
        tokens = whole.allowed().float().argmax(1)
        whole.advance(tokens), part.advance(tokens)
    part.keep(torch.tensor([2, 0]))
    assert torch.equal(part.allowed(), whole.allowed()[[2, 0]])


SENTENCES = ["rain@@ ing is th@@ e@@ n", "rain@@ in@@ g rain@@ ing the", "it is .", "é@@ é q@@ q@@ q@@ q@@ q <unk> a@@ <unk>"]


@pytest.mark.parametrize("eager", [None, "rain@@", "th@@", "q@@"])
@pytest.mark.parametrize("max_steps", [1, 2, 3, 9])
def test_texts_are_words_of_the_vocabulary_or_of_the_sentence(max_steps, eager):
    grammar = TextGrammar(vocabulary(), V, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    sentences = [s.split() for s in SENTENCES] * 16
    constraint = TextConstraint(grammar, [[vocabulary().ids[p] for p in s] for s in sentences], max_steps)
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
        constraint.advance(tokens)
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
    grammar = TextGrammar(vocabulary(), V, torch.device("cpu"))
    ids = vocabulary().ids
    for max_steps, offered in ((2, False), (3, True), (9, True)):
        constraint = TextConstraint(grammar, [[ids["th@@"], ids["e@@"], ids["n"]]], max_steps)
        assert bool(constraint.allowed()[0, ids["th@@"]]) == offered
        assert not constraint.allowed()[0, ids["e@@"]] and not constraint.allowed()[0, EOS]


def test_a_piece_begins_a_word_or_goes_on_with_it_and_rows_can_be_dropped():
    grammar = TextGrammar(vocabulary(), V, torch.device("cpu"))
    ids = vocabulary().ids
    rows = [[ids["it"]], [ids["rain@@"], ids["ing"], ids["rain@@"], ids["in@@"], ids["g"]]]
    constraint = TextConstraint(grammar, rows, 9)
    constraint.advance(torch.tensor([ids["it"], ids["rain@@"]]))
    constraint.keep(torch.tensor([1]))
    assert constraint.allowed()[0].nonzero()[:, 0].tolist() == sorted([ids["ing"], ids["in@@"]])
    constraint.advance(torch.tensor([ids["in@@"]]))
    assert constraint.allowed()[0].nonzero()[:, 0].tolist() == [ids["g"]]
    constraint.advance(torch.tensor([ids["g"]]))
    assert constraint.allowed()[0, EOS] and constraint.allowed()[0, ids["rain@@"]] and constraint.allowed()[0, ids["the"]]


def test_pieces_of_the_sentence_gain_until_written_and_pieces_used_up_lose():
    grammar = TextGrammar(vocabulary(), V, torch.device("cpu"))
    ids = vocabulary().ids
    constraint = TextConstraint(grammar, [[ids["it"], ids["is"], ids["it"]], [ids["the"]]], 9, source_bonus=2.0, repetition_penalty=3.0)

    def scores(row, *words):
        return [constraint.adjust(torch.zeros(2, V))[row, ids[word]].item() for word in words]
    assert scores(0, "it", "is", "the") == [2, 2, 0] and scores(1, "it", "the") == [0, 2]
    constraint.advance(torch.tensor([ids["it"], ids["it"]]))
    assert scores(0, "it", "is") == [2, 2] and scores(1, "it", "the") == [-3, 2]  # two in the first sentence, none in the second
    constraint.advance(torch.tensor([ids["it"], ids["the"]]))
    assert scores(0, "it", "is") == [-3, 2] and scores(1, "the") == [-3]
    constraint.keep(torch.tensor([0]))
    assert constraint.adjust(torch.zeros(1, V))[0, ids["is"]] == 2


def test_an_ending_of_a_split_word_comes_in_its_word_only():
    v = vocabulary()
    grammar = TextGrammar(v, len(v.tokens), torch.device("cpu"))
    rain, ing, it = (v.ids[piece] for piece in ("rain@@", "ing", "it"))
    assert grammar.endings([it, rain, ing]) == [ing] and grammar.endings([ing, rain, ing]) == [] and grammar.endings([it]) == []
    never = TextGrammar(v, len(v.tokens), torch.device("cpu"), [ing])
    for kind in (TextConstraint, TextMachines):
        anywhere = kind(never, [[it], [it, ing]], 10, 1.0, 1.0).adjust(torch.zeros(2, len(v.tokens))).isfinite()
        assert anywhere[:, ing].tolist() == [False, True]  # the sentence has it as a word
        constraint = kind(grammar, [[it, rain, ing], [it, it, it]], 10, 1.0, 1.0)
        scores = torch.zeros(2, len(v.tokens))
        allowed = constraint.adjust(scores).isfinite()
        assert not allowed[0, ing] and allowed[1, ing] and allowed[0, rain] and not allowed[1, rain]
        constraint.advance(torch.tensor([rain, it]))
        assert constraint.adjust(scores)[0].isfinite().nonzero()[:, 0].tolist() == [ing]
        constraint.advance(torch.tensor([ing, it]))
        assert not constraint.adjust(scores).isfinite()[0, ing]


TEXT = TextGrammar(vocabulary(), V, torch.device("cpu"))
LEXICON = Lexicon(random_counts(), 1.5)
WORDS = [i for i, word in enumerate(TEXT.is_word) if word]
BEGUN = [i for i, more in enumerate(TEXT.continued) if more]


def random_batch(r: random.Random, leaves: list[int]) -> tuple[list[list[int]], Alignment]:
    """Sentences with many split words that begin alike, and parses of so many leaves."""
    sentences, seen = [], []
    for _ in leaves:
        words = [[*r.choices(BEGUN[:3], k=r.choice((0, 0, 1, 2, 3))), r.choice([UNK, *WORDS[:8]])]
                 for _ in range(r.randrange(8))]
        sentences.append([piece for word in words for piece in word])
        seen.append([(word[0], r.choice(list(ROWS.values()))) for word in words if r.random() < 0.7])
    return sentences, Alignment(LEXICON, [[r.choice([NO_TAG, *ROWS.values()]) for _ in range(n)] for n in leaves], seen)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 24])
def test_aligned_texts_have_a_word_for_each_leaf_whatever_computes_the_scores(steps, seed):
    """Tensors, tensors that earlier rows have used, and machines, over whole random decodings in which rows are dropped."""
    r, g = random.Random(seed), torch.Generator().manual_seed(seed)
    leaves = [n for n in (0, 1, 2, steps - 1, steps, steps + 3, steps // 2, steps // 2) for _ in range(2)]
    sentences, alignment = random_batch(r, leaves)
    options = dict(max_steps=steps, source_bonus=2.0, repetition_penalty=1.5, order_bonus=3.0)
    earlier, followed = random_batch(r, [30] * len(leaves))
    earlier = [sentence + WORDS[:8] * 4 for sentence in earlier]  # longer than those to come
    used = TextConstraint(TEXT, earlier, **options, alignment=followed).roomy(len(leaves), tiny_config(bag_width=60, syntax_width=99))
    for _ in range(3):
        used.advance(torch.tensor([sentence[0] for sentence in earlier]))
    tensors = TextConstraint(TEXT, sentences, **options, alignment=alignment)
    machines = TextMachines(TEXT, sentences, **options, alignment=alignment)
    used.take(tensors)
    texts, rows, split = [[] for _ in leaves], list(range(len(leaves))), 0
    for step in range(steps):
        logits = torch.randn(len(rows), V, generator=g)
        logits[:, BEGUN] += 1
        scores = tensors.adjust(logits)
        assert scores.isfinite().any(1).all()
        assert torch.equal(scores, machines.adjust(logits)) and torch.equal(scores, used.adjust(logits))
        tokens = scores.argmax(1)
        for constraint in (tensors, machines, used):
            constraint.advance(tokens)
        for row, token in zip(rows, tokens.tolist()):
            texts[row].append(token)
        kept = [i for i, row in enumerate(rows) if EOS not in texts[row] and (step != 2 or i % 3)]
        if not kept:
            break
        for constraint in (tensors, machines, used):
            constraint.keep(torch.tensor(kept))
        rows = [rows[i] for i in kept]
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


@pytest.mark.parametrize("kind", [TextConstraint, TextMachines])
def test_a_split_word_is_only_begun_if_the_words_after_it_fit_too(kind):
    th, e, n, it = (vocabulary().ids[piece] for piece in ("th@@", "e@@", "n", "it"))
    for leaves, steps, offered in ((1, 4, True), (1, 3, False), (3, 6, True), (3, 5, False)):
        constraint, zeros = alone(kind, [th, e, n], [NO_TAG] * leaves, steps=steps), torch.zeros(1, V)
        assert bool(constraint.adjust(zeros)[0, th].isfinite()) == offered  # three pieces, a step for each later leaf, and <eos>
        assert constraint.adjust(zeros)[0, it].isfinite() and not constraint.adjust(zeros)[0, EOS].isfinite()
        for token in [th, e, n] if offered else [it]:
            assert constraint.adjust(zeros)[0, token].isfinite()
            constraint.advance(torch.tensor([token]))
        expected = [EOS] if leaves == 1 else WORDS + [th] * (not offered and steps > 5)
        assert constraint.adjust(zeros)[0].isfinite().nonzero()[:, 0].tolist() == sorted(set(expected) - {n})


@pytest.mark.parametrize("kind", [TextConstraint, TextMachines])
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
    scores = constraint.adjust(zeros)[0]
    assert [scores[i].item() for i in (th, it, the)] == pytest.approx(
        [expected(th, dt, nn), expected(it, dt, dt, nn, dt), expected(the, dt)], abs=1e-5)
    constraint.advance(torch.tensor([the]))
    scores = constraint.adjust(zeros)[0]
    assert [scores[i].item() for i in (th, it, the)] == pytest.approx(
        [expected(th, nn, nn), expected(it, nn, dt, nn, dt), expected(the, nn)], abs=1e-5)
    constraint.advance(torch.tensor([th]))
    assert constraint.adjust(zeros)[0, e] == 0  # inside a word nothing is added
    for token in (e, n):
        constraint.advance(torch.tensor([token]))
    scores = constraint.adjust(zeros)[0]
    assert scores[it] == scores[the] == scores[th] == 0  # a leaf without a tag


@pytest.mark.parametrize("kind", [TextConstraint, TextMachines])
@pytest.mark.parametrize("aligned", [True, False])
def test_the_word_after_the_last_one_gains_once(kind, aligned):
    th, n, it, the, is_, a = (vocabulary().ids[piece] for piece in ("th@@", "n", "it", "the", "is", "a"))
    sentence = [it, the, th, n, is_, it, the, a]  # `it the` twice
    alignment = Alignment(LEXICON, [[NO_TAG] * 7], [[]]) if aligned else None
    constraint = kind(TEXT, [sentence], 20, order_bonus=3, alignment=alignment)
    gains = []
    for token in (it, the, th, n, a, the):
        scores = constraint.adjust(torch.zeros(1, V))[0]
        gains.append({i for i in (it, the, th, n, is_, a) if scores[i] == 3})
        constraint.advance(torch.tensor([token]))
    assert gains == [set(), {the}, {th, a}, set(), {is_}, set()]  # first word; inside a word; after the sentence's last
    assert constraint.adjust(torch.zeros(1, V))[0, a] == 3  # again, though it has been written


def test_rare_words_are_known_by_those_like_them_and_counts_fit_their_type():
    counts = np.zeros((len(ROWS), 4), dtype=int)
    counts[ROWS["NN"] - 1, 0], counts[ROWS["JJ"] - 1, 1], counts[ROWS["DT"] - 1, 2] = 3, 1, 1000
    table = Lexicon(counts, 1.0).table.exp()
    assert table[ROWS["NN"], 3].item() == pytest.approx(3 / 4) and table[ROWS["JJ"], 3].item() == pytest.approx(1 / 4)
    assert table[ROWS["NN"], 0].item() == pytest.approx((3 + 3 / 4) / 4) and table[ROWS["NN"], 2].item() == pytest.approx(math.exp(FLOOR))
    assert Lexicon(counts[:, 2:3], 1.0).table[ROWS["NN"], 0].item() == pytest.approx(FLOOR)  # no rare word at all
    assert (table[NO_TAG] == 1).all()
    learned = learn(np.array([2, 2, 0, 1]), np.array([ROWS["NN"], ROWS["NN"], NO_TAG, ROWS["DT"]]), 4)
    assert learned.shape == counts.shape and learned.sum() == 3 and learned[ROWS["NN"] - 1, 2] == 2
    counts[:, 1] *= 70_000
    counts[ROWS["NN"] - 1, 1] = 140_000
    small = packed(counts)
    assert small.dtype == np.uint16 and small[ROWS["NN"] - 1, 1] == 65535 and small[ROWS["JJ"] - 1, 1] in (32767, 32768)
    assert np.array_equal(small[:, [0, 2, 3]], counts[:, [0, 2, 3]])
