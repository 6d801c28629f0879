"""The decoding loop against the oracle. A row gets the same tokens alone and in a batch, and with the same seed."""

import collections

import pytest
import torch

from handler.decoding.loop import LEAST_VERIFIED
from handler.decoding.sampling import DecodingOptions, choose
from handler.model.network import EOS, PAD, SOS
from tests.factories import generate
from tests.reference import Oracle, random_net, tiny_config

ROWS = [
    ([7, 20, 9, 133], [SOS, 106, 6, 106, 60, 107, 107, 2]),
    ([5], [SOS, 106, 2]),
    ([30, 31, 32, 33, 34, 35, 36, 37, 38], [SOS, *range(100, 130), 2]),
    ([99, 98], [SOS, 50, 51, 2]),
]


def run(net, rows, options):
    c = net.config
    widths = (c.bag_width, c.syntax_width) if c.attend_pads else (max(len(a) for a, _ in rows), max(len(b) for _, b in rows))
    bag, syntax = (torch.tensor([r[i] + [PAD] * (widths[i] - len(r[i])) for r in rows]) for i in (0, 1))
    return generate(net, bag, syntax, options, "test")


@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_greedy_ids_equal_the_oracle(attend_pads, seed):
    net = random_net(tiny_config(attend_pads, vocab_size=140), seed)
    with torch.no_grad():
        net.linear.bias[EOS] += 2.0 * seed  # so that rows end at different steps, some never
    oracle = Oracle(net)
    decoded = run(net, ROWS, [DecodingOptions(0.0)] * len(ROWS))
    for (bag, syntax), row in zip(ROWS, decoded):
        assert row.ids == oracle.greedy(bag, syntax)
        assert row.ended == (row.ids[-1] == EOS)
        steps = oracle.logits(bag, syntax, [SOS, *row.ids[:-1]]).log_softmax(-1)
        assert row.log_probability == pytest.approx(sum(s[i].item() for s, i in zip(steps, row.ids)), abs=1e-2)


@pytest.mark.parametrize("attend_pads", [True, False])
def test_a_row_is_the_same_alone_and_in_any_batch(attend_pads):
    net = random_net(tiny_config(attend_pads), 1)
    with torch.no_grad():
        net.linear.bias[EOS] += 3.0
    options = [DecodingOptions(t, s) for t, s in ((0.7, 1), (0.0, 2), (1.5, 3), (0.5, 4))]
    alone = [run(net, [row], [o])[0].ids for row, o in zip(ROWS, options)]
    assert len({len(ids) for ids in alone}) > 1  # or compaction was not exercised
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 2, 0]):
        batch = run(net, [ROWS[i] for i in order], [options[i] for i in order])
        assert [row.ids for row in batch] == [alone[i] for i in order]


@pytest.mark.slow
def test_seeds_decide():
    net = random_net(tiny_config(), 2)
    texts = {tuple(run(net, ROWS[:1], [DecodingOptions(1.0, seed)])[0].ids) for seed in range(8)}
    assert len(texts) == 8
    again = {tuple(run(net, ROWS[:1], [DecodingOptions(1.0, seed)])[0].ids) for seed in range(8)}
    assert again == texts


def test_streams_differ():
    options = DecodingOptions(1.0, 7)
    assert options.uniforms(5, "parse") != options.uniforms(5, "text")
    assert options.uniforms(5, "text") == options.uniforms(9, "text")[:5]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_sampling_follows_the_distribution(temperature):
    logits = torch.tensor([[1.0, -torch.inf, 0.2, -1.0, 2.0, -torch.inf]])
    n = 20_000
    uniforms = torch.rand(n, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    drawn = choose(logits.expand(n, -1).numpy(), [temperature] * n, uniforms.tolist())
    expected = torch.softmax(logits[0] / temperature, -1)
    counts = collections.Counter(drawn)
    for token, p in enumerate(expected.tolist()):
        assert counts[token] / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5 + 1e-9)


def test_extreme_draws_stay_possible():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    for u, token in ((0.0, 1), (1.0 - 2**-53, 3)):
        assert choose(logits.numpy(), [1.0], [u]) == [token]


def test_zero_temperature_is_argmax_beside_sampled_rows():
    logits = torch.tensor([[0.0, 5.0, 1.0]] * 2)
    assert choose(logits.numpy(), [0.0, 5.0], [0.999, 0.999]) == [1, 2]


def test_a_row_of_a_large_batch_is_drafted_too():
    """As many tokens as a small one for the whole batch, but a few of each row at least."""
    asked = {}

    class Watching:
        longest = 8

        def propose(self, row, length):
            asked.setdefault(row, length)
            return []

    net = random_net(tiny_config(), 1)
    for rows, room in ((1, 7), (2, 7), (4, 3), (8, LEAST_VERIFIED - 1), (32, LEAST_VERIFIED - 1)):
        asked.clear()
        bag, syntax = torch.full((rows, 4), 7), torch.full((rows, 5), 9)
        generate(net, bag, syntax, [DecodingOptions(0.0)] * rows, "test", (), Watching())
        assert set(asked) == set(range(rows)) and set(asked.values()) == {room}
