"""The GPU engine on a CPU, without graphs: the same tokens as the plain loop, and nothing that a CUDA graph cannot record."""

import contextlib
import dataclasses
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from handler import artifacts
from handler.decoding.sampling import Decoded, DecodingOptions
from handler.gpu import engine
from handler.gpu.engine import CudaGraphEngine
from handler.model.network import EOS
from handler.pipeline import Pipeline
from handler.wire.request import CATALOGUE, read_request
from tests.factories import PICNIC, RAIN, WRITTEN, generate, tiny_artifact
from tests.reference import inputs, random_net, tiny_config

TEMPLATES = [*CATALOGUE.values()][:5] + ["(ROOT (S ))", "(ROOT (FRAG (NP ) (. )))"]


def talkative_net(attend_pads: bool, **changes):
    """A random network that likes to end, sooner or later or not at all."""
    net = random_net(tiny_config(attend_pads=attend_pads, **changes), 1)
    with torch.no_grad():
        net.linear.bias[EOS] += 2.2
    return net.requires_grad_(False)


def same(found, expected):
    assert [(d.ids, d.ended) for d in found] == [(d.ids, d.ended) for d in expected]
    assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in expected], abs=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.slow
def test_tokens_are_those_of_generate(attend_pads, temperature):
    net = talkative_net(attend_pads)
    graphed = CudaGraphEngine(net)
    assert graphed.precision == "fp32" and not graphed.graphs
    lengths, ended = set(), set()
    for rows in (7, 1, 4, 5):  # 7 and 5 share a lane with idle rows, of which some have been busy before
        bag, syntax = inputs(net.config, rows, seed=rows)
        options = [DecodingOptions(temperature if i != 2 else 0.0, i) for i in range(rows)]
        expected = generate(net, bag, syntax, options, "x")
        same(graphed.generate(bag.numpy(), syntax.numpy(), options, "x"), expected)
        lengths.update(len(d.ids) for d in expected)
        ended.update(d.ended for d in expected)
        assert graphed.steps - graphed.overshoot == max(len(d.ids) for d in expected)
    assert {key[0] for key in graphed.buffers} == {8, 1, 4}
    assert temperature == 0 or len(lengths) > 3 and ended == {True, False}  # at different times; at the step limit


@pytest.mark.parametrize("tie", ["none", "all"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.slow
def test_copied_tokens_are_those_of_generate_whatever_the_lane_held_before(temperature, tie):
    generation_vocab_size, copied = 60, 0
    net = talkative_net(False, generation_vocab_size=generation_vocab_size, tie=tie)
    with torch.no_grad():
        net.linear.bias[generation_vocab_size:] += 2.5
    graphed = CudaGraphEngine(net)
    assert graphed.output_vocab_size == generation_vocab_size
    for rows, width in ((8, 9), (7, 3), (5, 1), (6, 6)):  # narrower sentences, and fewer of them, in the place of others
        bag, syntax = inputs(net.config, rows, seed=rows)
        bag = torch.cat([bag, bag.flip(1)], 1)[:, :width]  # rare tokens are there twice
        options = [DecodingOptions(temperature if i != 2 else 0.0, i) for i in range(rows)]
        expected = generate(net, bag, syntax, options, "x")
        same(graphed.generate(bag.numpy(), syntax.numpy(), options, "x"), expected)
        copied += sum(token >= generation_vocab_size for d in expected for token in d.ids)
        assert all(token < generation_vocab_size + width for d in expected for token in d.ids)
        [lane] = graphed.buffers.values()
        assert not lane.copies.bias[:rows, 0, width:].isfinite().any()  # of longer sentences before
    assert copied > 10


@pytest.mark.parametrize("attend_pads", [True, False])
def test_a_row_is_the_same_alone_and_in_a_batch(attend_pads):
    net = talkative_net(attend_pads)
    graphed = CudaGraphEngine(net)
    bag, syntax = inputs(net.config, 6)
    options = [DecodingOptions(0.8, 10 + i) for i in range(6)]
    together = graphed.generate(bag.numpy(), syntax.numpy(), options, "x")
    for i in range(6):
        same(graphed.generate(bag[i : i + 1].numpy(), syntax[i : i + 1].numpy(), options[i : i + 1], "x"), together[i : i + 1])
    assert all(d.log_probability == 0 for d in graphed.generate(bag.numpy(), syntax.numpy(), options, "x", scored=False))


def test_what_follows_the_end_is_thrown_away(monkeypatch):
    net = talkative_net(False)
    bag, syntax = inputs(net.config, 20)
    options = [DecodingOptions(1.0, seed) for seed in range(20)]
    early = [i for i, d in enumerate(generate(net, bag, syntax, options, "x")) if 4 < len(d.ids) < 20][:3]
    assert len(early) == 3
    bag, syntax, options = bag[early], syntax[early], [options[i] for i in early]
    expected = generate(net, bag, syntax, options, "x")
    longest = max(len(d.ids) for d in expected)
    for check_every in (1, 3, 4, 7, 1000):
        graphed = CudaGraphEngine(net)
        run = graphed._run
        monkeypatch.setattr(graphed, "_run", lambda lane, step: run(lane, step, check_every))
        same(graphed.generate(bag.numpy(), syntax.numpy(), options, "x"), expected)
        assert graphed.steps == min(net.config.max_steps, engine.round_up(longest, check_every))
        assert graphed.overshoot == graphed.steps - longest


def test_one_step_and_one_word_are_enough():
    net = talkative_net(False, max_steps=1, bag_width=1)
    bag, syntax = torch.tensor([[7], [9]]), torch.tensor([[1, 2], [1, 8]])
    options = [DecodingOptions(1.0, seed) for seed in range(2)]
    graphed = CudaGraphEngine(net)
    same(graphed.generate(bag.numpy(), syntax.numpy(), options, "x"), generate(net, bag, syntax, options, "x"))
    assert graphed.steps == 1


@pytest.fixture(
    scope="module",
    params=[(True, 1.0, None), (False, 1.0, None), (False, 0.0, None), (False, 1.0, WRITTEN), (False, 0.0, WRITTEN)],
    ids=["attended pads", "masked pads", "no word a leaf", "copied words", "copied words, no word a leaf"],
)
def pair(request, tmp_path_factory):
    """A paraphraser with plain networks, and one with those of a GPU; both prefer the sentence's pieces, in its order."""
    attend_pads, tag_weight, generation_vocab_size = request.param
    folder = tiny_artifact(
        tmp_path_factory.mktemp("graphs") / "tiny",
        attend_pads=attend_pads,
        tag_weight=tag_weight,
        order_bonus=2.0,
        generation_vocab_size=generation_vocab_size,
        copy_odds=2.0 if generation_vocab_size else 0.0,
    )
    plain = artifacts.load(folder, compiled=False)
    plain.text_generator.net.net.linear.bias[EOS] += 2.5
    config = dataclasses.replace(plain.config, source_bonus=2.0, repetition_penalty=1.5)
    parts = config, plain.vocabulary, plain.planner.pieces
    return (
        Pipeline(*parts, plain.parse_generator, plain.text_generator, lexicon=plain.lexicon),
        Pipeline(
            *parts,
            CudaGraphEngine(plain.parse_generator.net.net, output_vocab_size=plain.parse_generator.output_vocab_size),
            CudaGraphEngine(plain.text_generator.net.net, always_scored=True),
            lexicon=plain.lexicon,
        ),
    )


@pytest.mark.parametrize("temperature", [0.0, 1.2])
@pytest.mark.slow
def test_constrained_parses_and_texts_are_those_of_generate(pair, temperature):
    plain, graphed = pair
    rows = plain.plan(read_request({**PICNIC, "tmpl": TEMPLATES, "temperature": temperature, "seed": 3, "details": True}))
    rows += plain.plan(read_request({**RAIN, "num_paraphrases": 3, "temperature": temperature, "seed": 4, "details": True}))
    assert all(row.tagged_words for row in rows) == bool(plain.lexicon)
    for some in (rows, rows[8:], rows[3:4], rows[1:7]):  # long templates, then short ones in their places
        parses = plain.generate_parses(some)
        same(graphed.generate_parses(some), parses)
        texts = plain.generate_texts(some, parses)
        same(graphed.generate_texts(some, parses), texts)
    cut = [Decoded(parse.ids[: 9 + 4 * i]) for i, parse in enumerate(plain.generate_parses(rows))]  # of more leaves, row by row
    texts = plain.generate_texts(rows, cut)
    same(graphed.generate_texts(rows, cut), texts)
    assert len({len(d.ids) for d in texts}) > 1
    assert any(token >= WRITTEN for d in texts for token in d.ids) or not plain.text_grammar.copies
    assert [(p.text, p.parse, p.truncated) for p in graphed.run(rows)] == [(p.text, p.parse, p.truncated) for p in plain.run(rows)]


@pytest.mark.slow
def test_warming_prepares_every_lane(pair):
    plain, graphed = pair
    graphed.warm(5)
    nets = graphed.parse_generator, graphed.text_generator
    prepared = [{key: set(lane.recorded) for key, lane in net.buffers.items()} for net in nets]
    assert all({key[0] for key in lanes} >= {1, 2, 4, 8} for lanes in prepared)
    for count in (1, 2, 5):
        for temperature in (0.0, 0.5):
            graphed.run(graphed.plan(read_request({**PICNIC, "tmpl": TEMPLATES[:count], "temperature": temperature, "seed": 1})))
    assert prepared == [{key: set(lane.recorded) for key, lane in net.buffers.items()} for net in nets]
    plain.warm(5)  # nothing to do


class Recordable(TorchDispatchMode):
    """Refuses what a CUDA graph cannot record: to read a tensor on the host, shapes that depend on values, numbers from the host."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        assert name not in (
            "item",
            "_local_scalar_dense",
            "is_nonzero",
            "equal",
            "nonzero",
            "masked_select",
            "unique",
            "lift_fresh",
            "scalar_tensor",
            "tensor",
        ), name
        if name.startswith("index"):
            indices = [a for a in args if isinstance(a, torch.Tensor) or isinstance(a, list)][1:]
            assert not any(t is not None and t.dtype == torch.bool for a in indices if isinstance(a, list) for t in a), "boolean index"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.slow
def test_a_graph_could_record_it(pair, sampled):
    """No operation waits for the host, and all that outlasts a step stays at its address."""
    _, graphed = pair
    rows = graphed.plan(read_request({**PICNIC, "tmpl": TEMPLATES[:2], "temperature": 0.5 * sampled, "seed": 1}))
    graphed.run(rows)
    for net in (graphed.parse_generator, graphed.text_generator):
        key, lane = next((key, lane) for key, lane in net.buffers.items() if key[0] == 2)

        def addresses(lane=lane):
            owners = vars(lane), vars(lane.constraint), lane.copies._asdict() if lane.copies else {}
            return {
                (i, name): value.data_ptr()
                for i, owner in enumerate(owners)
                for name, value in owner.items()
                if isinstance(value, torch.Tensor)
            }

        before = addresses()
        assert {(1, name) for name in (*lane.constraint.ROWS, *lane.constraint.SHARED)} <= before.keys()
        with torch.inference_mode(), Recordable():
            net._start(lane)
            for _ in range(3):
                net._step(lane, sampled, True)
        graphed.run(rows)
        assert addresses() == before and lane.position.item() == net.steps


class Tape(TorchDispatchMode):
    """A CUDA graph's stand-in: repeats recorded operations on the tensors they had, whatever has been computed between has gone."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            places = {a.untyped_storage().data_ptr() for a in tree_leaves(args) if isinstance(a, torch.Tensor)}
            self.operations.append((function, args, kwargs or {}, result, result.untyped_storage().data_ptr() not in places))
        return result  # several tensors are views

    def replay(self):
        for *_, result, fresh in self.operations:
            if fresh:
                result.fill_(77)
        for function, args, kwargs, result, fresh in self.operations:
            again = function(*args, **kwargs)
            if fresh:
                result.copy_(again)


@pytest.mark.slow
def test_recordings_repeat_what_was_recorded(pair, monkeypatch):
    plain, _ = pair
    for name, stand_in in {
        "CUDAGraph": Tape,
        "graph": lambda tape, **_: tape,
        "graph_pool_handle": lambda: (0, 1),
        "Stream": MagicMock,
        "current_stream": MagicMock,
        "stream": lambda _: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    recorded = Pipeline(
        plain.config,
        plain.vocabulary,
        plain.planner.pieces,
        CudaGraphEngine(plain.parse_generator.net.net),
        CudaGraphEngine(plain.text_generator.net.net, always_scored=True),
        lexicon=plain.lexicon,
    )
    recorded.parse_generator.graphs = recorded.text_generator.graphs = True
    for seed, some in enumerate((slice(0, 4), slice(2, 5), slice(6, 7), slice(3, 7))):
        rows = plain.plan(read_request({**PICNIC, "tmpl": TEMPLATES, "temperature": 0.7 * (seed % 2), "seed": seed, "details": True}))[some]
        parses = plain.generate_parses(rows)
        same(recorded.generate_parses(rows), parses)
        same(recorded.generate_texts(rows, parses), plain.generate_texts(rows, parses))
    for net in (recorded.parse_generator, recorded.text_generator):
        assert net.graphs and {key[0] for key in net.buffers} == {1, 4}
        assert all(isinstance(replay.__self__, Tape) for lane in net.buffers.values() for replay in lane.recorded.values())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_single(precision):
    net = talkative_net(True, max_steps=1)  # of a network without sense, the second token already may be another
    bag, syntax = inputs(net.config, 8)
    options = [DecodingOptions(0.0, 0)] * 8
    expected, found = (CudaGraphEngine(net, p).generate(bag.numpy(), syntax.numpy(), options, "x") for p in ("fp32", precision))
    assert sum(one.ids == two.ids for one, two in zip(expected, found)) >= 7
    assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in expected], abs=0.05)
    assert [d.log_probability for d in found] != [d.log_probability for d in expected]


def test_where_nothing_can_be_recorded_it_goes_on_without(monkeypatch):
    net = talkative_net(False)
    bag, syntax = inputs(net.config, 2)
    options = [DecodingOptions(0.0, 0)] * 2
    graphed = CudaGraphEngine(net)

    def refuse():
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", refuse)
    graphed.graphs = True
    with pytest.warns(RuntimeWarning, match="without CUDA graphs: operation not permitted"):
        found = graphed.generate(bag.numpy(), syntax.numpy(), options, "x")
    same(found, generate(net, bag, syntax, options, "x"))
    assert not graphed.graphs


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="precision must be auto or one of bf16, fp16, fp32, not 'int8'"):
        artifacts.load(tiny_artifact(tmp_path / "tiny"), "cuda", "int8")
    net = talkative_net(True)
    with pytest.raises(ValueError, match="precision must be auto or one of bf16, fp16, fp32"):
        CudaGraphEngine(net, "int8")
    with pytest.raises(ValueError, match="widths 9 and 5, expected 9 and 41"):
        CudaGraphEngine(net).generate(np.ones((1, 9), int), np.ones((1, 5), int), [DecodingOptions()], "x")
    assert CudaGraphEngine(talkative_net(False, syntax_width=202)).widths() == [64, 128, 202]
    assert CudaGraphEngine(net).widths() == [41]
