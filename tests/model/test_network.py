"""The network against the oracle: steps with the KV cache, teacher forcing, masked and attended pads, checkpoint names."""

import dataclasses

import pytest
import torch

from handler.model.copying import CopyHead, to_extended_ids, to_token_ids
from handler.model.network import MAX_POSITIONS, PAD, SOS, ModelConfig, SynPG, sinusoids
from tests.reference import Oracle, random_net, tiny_config

BAG, SYNTAX = [7, 20, 9, 133], [SOS, 106, 6, 106, 60, 107, 107, 2]


def padded(net: SynPG, bag, syntax):
    """One row as tensors, at the fixed widths where the network wants them."""
    c = net.config
    if c.attend_pads:
        bag, syntax = bag + [PAD] * (c.bag_width - len(bag)), syntax + [PAD] * (c.syntax_width - len(syntax))
    return torch.tensor([bag]), torch.tensor([syntax])


@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.parametrize("tie", ["none", "output", "all"])
@torch.no_grad()
def test_steps_and_forward_equal_the_oracle(attend_pads, tie):
    net = random_net(tiny_config(attend_pads, tie))
    prefix = [SOS, 8, 130, 55, 12]
    expected = Oracle(net).logits(BAG, SYNTAX, prefix)
    bag, syntax = padded(net, BAG, SYNTAX)
    torch.testing.assert_close(net.linear(net(bag, syntax, torch.tensor([prefix]))[0]), expected, atol=1e-4, rtol=1e-4)
    cache = net.encode(bag, syntax)
    stepped = torch.cat([net.step(torch.tensor([token]), cache) for token in prefix])
    torch.testing.assert_close(stepped, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_masked_pads_change_nothing_and_attended_ones_do():
    bag, syntax = torch.tensor([BAG]), torch.tensor([SYNTAX])
    wider = torch.nn.functional.pad(bag, (0, 3)), torch.nn.functional.pad(syntax, (0, 5))
    masked = random_net(tiny_config(attend_pads=False))
    start = torch.tensor([SOS])
    torch.testing.assert_close(masked.step(start, masked.encode(*wider)), masked.step(start, masked.encode(bag, syntax)))
    attended = random_net(tiny_config(attend_pads=True))
    with pytest.raises(ValueError, match="expected 9 and 41"):
        attended.encode(bag, syntax)
    full = padded(attended, BAG, SYNTAX)
    narrow = random_net(tiny_config(attend_pads=True, bag_width=5))
    difference = attended.step(start, attended.encode(*full)) - narrow.step(start, narrow.encode(*padded(narrow, BAG, SYNTAX)))
    assert difference.abs().max() > 1e-3


@torch.no_grad()
def test_keep_drops_rows():
    net = random_net(tiny_config())
    bag, syntax = torch.tensor([BAG, BAG[::-1], [5, 6, 7, 8]]), torch.tensor([SYNTAX] * 3)
    whole, part = net.encode(bag, syntax), net.encode(bag, syntax)
    tokens = torch.tensor([SOS] * 3)
    net.step(tokens, whole), net.step(tokens, part)
    part.select_rows(torch.tensor([2, 0]))
    after = net.step(torch.tensor([9, 9, 9]), whole)
    torch.testing.assert_close(net.step(torch.tensor([9, 9]), part), after[[2, 0]])


def test_a_published_state_dict_loads_strictly():
    net = random_net(tiny_config())
    published = {**net.state_dict(), "pos_encoder.pe": sinusoids(MAX_POSITIONS, 12)[:, None]}
    other = SynPG(net.config)
    other.load_state_dict(published, strict=True)
    assert torch.equal(other.linear.weight, net.linear.weight)
    names = set(torch.nn.Transformer(12, 2, 2, 2, 20, batch_first=True).state_dict())
    assert {n.removeprefix("transformer.") for n in net.state_dict() if n.startswith("transformer.")} == names
    with pytest.raises(RuntimeError, match="not the sinusoidal table"):
        other.load_state_dict({**published, "pos_encoder.pe": published["pos_encoder.pe"] + 0.1})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict({**published, "extra": torch.zeros(1)})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"d_model": 13}, "multiple of n_heads"),
        ({"n_heads": 0}, "n_heads must be a positive"),
        ({"vocab_size": True}, "vocab_size must be a positive"),
        ({"tie": "both"}, "tie must be one of"),
        ({"attend_pads": 1}, "attend_pads must be true or false"),
        ({"max_steps": 5001}, "at most 5000"),
        *(
            ({"generation_vocab_size": generation_vocab_size}, "generation_vocab_size must be an integer from 3 to vocab_size, or null")
            for generation_vocab_size in (0, -1, 2, 141, True, 20.0, "20")
        ),
        ({"generation_vocab_size": 20, "attend_pads": True}, "generation_vocab_size must be null with attend_pads"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    shape = dict(tiny_config().__dict__)
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{**shape, **change})


def test_dropout_obeys_training_mode():
    net = SynPG(tiny_config(), dropout=0.5)
    net.reset_parameters(torch.Generator().manual_seed(0))
    inputs = torch.tensor([BAG]), torch.tensor([SYNTAX]), torch.tensor([[SOS, 7]])
    net.train()
    assert not torch.equal(net(*inputs), net(*inputs))
    net.eval()
    assert torch.equal(net(*inputs), net(*inputs))


W, BAGS = 100, torch.tensor([[7, 120, 9, 133, 120, PAD], [101, 7, 101, 100, 99, PAD]])


def test_a_rows_tokens_are_numbered_by_their_first_places_in_its_bag_and_back():
    tokens = torch.tensor([[7, 133, 120, 99, PAD, SOS, 3], [100, 101, 7, 120, 133, 99, 98]])
    columns = to_extended_ids(BAGS, tokens, W)
    # 120 is there twice and has its first place; 99 is freely written, in the bag or not; the second bag has no 120 and no 133
    assert columns.tolist() == [[7, W + 3, W + 1, 99, PAD, SOS, 3], [W + 3, W, 7, -1, -1, 99, 98]]
    assert torch.equal(to_token_ids(BAGS, columns.clamp_min(0), W).masked_fill(columns < 0, -1), tokens.masked_fill(columns < 0, -1))
    assert to_token_ids(BAGS, torch.tensor([[W + 4], [W + 2]]), W).tolist() == [[120], [101]]  # a later place is the same token
    assert to_extended_ids(BAGS[:1], torch.tensor([[139]]), W).tolist() == [[-1]]


def test_only_the_first_of_a_rare_token_is_copied_and_nothing_else():
    weight, bias = torch.randn(40, 12), torch.randn(40)
    copies, states = CopyHead.of(BAGS, W, weight, bias), torch.randn(2, 3, 12)
    logits = copies.logits(states)  # (B, T, A)
    assert logits.isfinite()[:, 0].tolist() == [[False, True, False, True, False, False], [True, False, False, True, False, False]]
    assert (logits[~logits.isfinite()] == -torch.inf).all()
    for row, place, token in ((0, 1, 120), (0, 3, 133), (1, 0, 101), (1, 3, 100)):
        torch.testing.assert_close(logits[row, :, place], states[row] @ weight[token - W] + bias[token - W])
    turned = copies.select_rows(torch.tensor([1, 0, 1]))
    assert torch.equal(turned.bag, BAGS[[1, 0, 1]]) and torch.equal(turned.logits(states[[1, 0, 1]]), logits[[1, 0, 1]])


def restricted(logits, bag, generation_vocab_size):
    """Logits (B, V) of a network that may write everything, as those of one that may not: the slow way."""
    out = torch.full((len(bag), generation_vocab_size + bag.shape[1]), -torch.inf)
    out[:, :generation_vocab_size] = logits[:, :generation_vocab_size]
    for i, row in enumerate(bag.tolist()):
        for j, token in enumerate(row):
            if token >= generation_vocab_size and token not in row[:j]:
                out[i, generation_vocab_size + j] = logits[i, token]
    return out


@pytest.mark.parametrize("generation_vocab_size", [W, 3, 139, 140])
@pytest.mark.parametrize("tie", ["none", "output", "all"])
@torch.no_grad()
def test_logits_are_those_of_a_network_that_may_write_everything(tie, generation_vocab_size):
    net = random_net(tiny_config(tie=tie, generation_vocab_size=generation_vocab_size))
    free = SynPG(dataclasses.replace(net.config, generation_vocab_size=None)).eval()
    free.load_state_dict(net.state_dict())
    bag, syntax = BAGS.clone(), torch.tensor([SYNTAX, SYNTAX[::-1]])
    bag[0, 5] = 139
    one, two = net.encode(bag, syntax), free.encode(bag, syntax)
    kept = torch.tensor([1, 0, 1])
    for step, tokens in enumerate(torch.tensor([[SOS, SOS], [120, 101], [7, 100], [139, 7]])):
        if step == 2:  # rows change places, and each copies from its own sentence still
            one.select_rows(kept), two.select_rows(kept)
            bag = bag[kept]
        tokens = tokens[kept] if step >= 2 else tokens
        expected = restricted(free.step(tokens, two), bag, generation_vocab_size)
        found = net.step(to_extended_ids(bag, tokens[:, None], generation_vocab_size)[:, 0], one)
        torch.testing.assert_close(found, expected)
        assert found.shape == (len(bag), generation_vocab_size + 6) and torch.equal(found.isfinite(), expected.isfinite())
    target = torch.tensor([[SOS, 120, 7], [SOS, 101, 100]])
    states = net(BAGS, torch.tensor([SYNTAX, SYNTAX]), target)  # training: targets as in the vocabulary
    torch.testing.assert_close(
        net.logits(states, net.copies(BAGS))[:, 1], restricted(free.linear(states)[:, 1], BAGS, generation_vocab_size)
    )
