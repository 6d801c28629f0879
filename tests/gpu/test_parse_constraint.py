"""Parses follow their templates, whatever the network prefers."""

import pytest
import torch

from handler.decoding.grammar import ParseGrammar
from handler.language.trees import PHRASES, TAGS, from_syntax_tokens, read_tree, syntax_tokens, template_of
from handler.model.network import EOS
from handler.wire.request import CATALOGUE
from tests.factories import parse_constraint, vocabulary
from tests.gpu.batches import V

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
