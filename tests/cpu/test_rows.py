"""A row's int8 logits are the same bits alone, in any batch, and however many of its tokens are fed at a time.

Of a tiny network most of that would be chance: its few numbers hardly ever lie where a last bit decides how they are rounded. So
these have the widths of the published and of the shipped networks, and attention is looked at by itself, before anything is rounded.
"""

import numpy as np
import onnxruntime
import pytest
import torch

from handler.cpu import graph
from handler.cpu.engine import Engine
from handler.model.copying import to_extended_ids
from handler.model.network import PAD, ModelConfig
from scripts.training.recording import record
from tests.reference import random_net

PUBLISHED = ModelConfig(
    vocab_size=700,
    d_model=300,
    n_heads=6,
    d_feedforward=512,
    n_encoder_layers=2,
    n_decoder_layers=2,
    bag_width=40,
    syntax_width=102,
    max_steps=80,
    attend_pads=True,
    tie="none",
)
SHIPPED = ModelConfig(
    vocab_size=900,
    d_model=256,
    n_heads=4,
    d_feedforward=512,
    n_encoder_layers=2,
    n_decoder_layers=2,
    bag_width=64,
    syntax_width=302,
    max_steps=80,
    attend_pads=False,
    tie="all",
    generation_vocab_size=500,
)
ROWS, STEPS = 7, 70  # more steps than the first two rooms of a cache


@pytest.fixture(scope="module", params=[PUBLISHED, SHIPPED], ids=["published", "shipped"])
def served(request):
    """An int8 engine; bags, syntax and tokens of rows as different as they can be; the logits of a token a step of them all."""
    config, generator = request.param, np.random.default_rng(1)
    net = random_net(config, 3).requires_grad_(False)
    bag, syntax = (
        torch.from_numpy(generator.integers(5, config.vocab_size, (ROWS, width))) for width in (config.bag_width, config.syntax_width)
    )
    for i in range(ROWS):
        bag[i, [1, 2, 7, 12, 25, 39, config.bag_width][i] :] = PAD
        syntax[i, [3, 4, 9, 30, 57, 101, config.syntax_width][i] :] = PAD
    tokens = torch.from_numpy(generator.integers(5, config.output_vocab_size, (ROWS, STEPS)))
    if config.generation_vocab_size is not None:
        tokens[:, 3::5] = bag[:, :1]  # copied ones among them
    ranges = record(net)
    with torch.inference_mode():
        net.logits(net(bag, syntax, tokens), net.copies(bag))
        engine = Engine(net, "int8", ranges)
        tokens = tokens if config.generation_vocab_size is None else to_extended_ids(bag, tokens, config.generation_vocab_size)
        return engine, bag, syntax, tokens, stepped(engine, bag, syntax, tokens)


def stepped(engine, bag, syntax, tokens):
    cache = engine.encode(bag.numpy(), syntax.numpy())
    return torch.cat([verified(engine, tokens[:, t : t + 1], cache, [t] * len(tokens)) for t in range(tokens.shape[1])], 1)


def verified(engine, tokens, cache, lengths):
    return torch.from_numpy(engine.verify(tokens.numpy().copy(), cache, lengths).copy())


def narrowed(engine, *inputs):
    """As narrow as they may be."""
    return inputs if engine.config.attend_pads else [ids[:, : int((ids != PAD).sum(1).max())] for ids in inputs]


@torch.inference_mode()
def test_alone_and_beside_any_others(served):
    engine, bag, syntax, tokens, expected = served
    for some in ([0], [1], [2], [3], [4], [5], [6], [2, 0], [4, 3, 3], [6, 1, 0, 5]):
        found = stepped(engine, *narrowed(engine, bag[some], syntax[some]), tokens[some])
        assert torch.equal(found, expected[some][..., : found.shape[2]])
    cache = engine.encode(bag.numpy(), syntax.numpy())
    for step in range(STEPS):
        if step == 40:
            kept = torch.tensor([5, 1, 2])
            cache.select_rows(kept.numpy())
            tokens, expected = tokens[kept], expected[kept]
        found = verified(engine, tokens[:, step : step + 1], cache, [step] * len(tokens))
        assert torch.equal(found[:, 0], expected[:, step])


@torch.inference_mode()
def test_however_many_tokens_are_fed_at_a_time(served):
    engine, bag, syntax, tokens, expected = served
    for row in range(ROWS):
        own = slice(row, row + 1)
        cache, at = engine.encode(bag[own].numpy(), syntax[own].numpy()), 0
        for count in (1, 8, 3, 2, 5, 7, 8, 1, 4, 8, 6):
            found = verified(engine, tokens[own, at : at + count], cache, [at])
            assert torch.equal(found, expected[own, at : at + count]), (row, at)
            at += count


@torch.inference_mode()
def test_rows_of_different_lengths_whose_drafts_are_rejected(served):
    engine, bag, syntax, tokens, expected = served
    generator = np.random.default_rng(2)
    cache, lengths = engine.encode(bag.numpy(), syntax.numpy()), [0] * ROWS
    while min(lengths) < STEPS - 8:
        count = int(generator.integers(1, 9))
        lengths = [min(length, STEPS - count) for length in lengths]
        fed = torch.stack([tokens[row, length : length + count] for row, length in enumerate(lengths)])
        right = [int(generator.integers(1, count + 1)) for _ in lengths]
        for row, kept in enumerate(right):
            fed[row, kept:] = 5  # a wrong guess; what it leaves behind is overwritten
        found = verified(engine, fed, cache, lengths)
        for row, (length, kept) in enumerate(zip(lengths, right)):
            assert torch.equal(found[row, :kept], expected[row, length : length + kept])
            lengths[row] += kept


@pytest.mark.parametrize("config", [PUBLISHED, SHIPPED], ids=["published", "shipped"])
@pytest.mark.parametrize("threads", [1, 2])
def test_attention_is_the_same_to_the_last_bit(config, threads):
    """The decoder's, in fp32: several tokens, their neighbours, and masked keys with anything in them make no difference."""
    H, E = config.n_heads, config.d_model
    D, f, generator = E // H, np.float32, np.random.default_rng(3)
    made = graph.Graph(config, {}, None)
    output = made.attend("q", "keys", "values", "mask")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = made.model(
        [("q", f, ["B", "HT", 1, D]), ("keys", f, ["B", H, "S", D]), ("values", f, ["B", H, "S", D]), ("mask", f, ["B", "N", 1, "S"])],
        [(output, f, ["B", "T", E])],
    )
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def attended(q, keys, values, mask):
        """q (B, T, H, D), keys and values (B, H, S, D), mask (B, T, S)."""
        B, T = q.shape[:2]
        mask = np.repeat(mask[:, None], H, 1).reshape(B, H * T, 1, -1)
        return session.run(None, {"q": q.transpose(0, 2, 1, 3).reshape(B, H * T, 1, D), "keys": keys, "values": values, "mask": mask})[0]

    for own in (1, 2, 3, 5, 17, 30, 58, 111, 203, 301):
        T = min(own, 8)
        q, keys, values = (generator.standard_normal(shape, f) for shape in ((1, T, H, D), (1, H, own, D), (1, H, own, D)))
        seen, found = own - T + 1 + np.arange(T), []  # how many keys each token sees
        for width in (own + -own % graph.GROUPED, own + -own % graph.GROUPED + 4, own + 64 + -own % graph.GROUPED):
            wide = [np.concatenate([each, generator.standard_normal((1, H, width - own, D), f)], 2) for each in (keys, values)]
            mask = np.where(np.arange(width) < seen[:, None], f(0.0), f(-np.inf))[None]
            found.append(attended(q, *wide, mask)[0])
            found.append(np.concatenate([attended(q[:, t : t + 1], *wide, mask[:, t : t + 1])[0] for t in range(T)]))
            others = [generator.standard_normal((3, *each.shape[1:]), f) for each in (q, *wide)]
            beside = [np.concatenate([other[:2], each, other[2:]]) for other, each in zip(others, (q, *wide))]
            found.append(attended(*beside, np.concatenate([np.zeros((2, T, width), f), mask, np.zeros((1, T, width), f)]))[2])
        assert all(np.array_equal(each, found[0]) for each in found), own
