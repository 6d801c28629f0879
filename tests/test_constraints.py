"""Constrained decoding: whatever the network wants, parses are trees with the asked top and texts are whole words."""

import pytest
import torch

from handler.constraints import ParseConstraint, ParseGrammar, TextConstraint, TextGrammar
from handler.machines import TextMachines
from handler.model import EOS, UNK
from handler.request import CATALOGUE
from handler.syntax import PHRASES, TAGS, from_syntax_tokens, read_tree, syntax_tokens, template_of
from tests.factories import TOKENS, vocabulary

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
