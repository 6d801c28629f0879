"""The network against the oracle: cached steps, teacher forcing, both ways with pads, checkpoint names."""

import pytest
import torch

from handler.model import MAX_POSITIONS, PAD, SOS, ModelConfig, SynPG, sinusoids
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
    part.keep(torch.tensor([2, 0]))
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


@pytest.mark.parametrize("change, message", [
    ({"d_model": 13}, "multiple of n_heads"), ({"n_heads": 0}, "n_heads must be a positive"),
    ({"vocab_size": True}, "vocab_size must be a positive"), ({"tie": "both"}, "tie must be one of"),
    ({"attend_pads": 1}, "attend_pads must be true or false"), ({"max_steps": 5001}, "at most 5000")])
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
