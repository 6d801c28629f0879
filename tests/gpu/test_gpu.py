"""On a GPU: the same answers as on the CPU, greedy and sampled, constrained and not; CUDA graphs; no waiting for the host."""

import pytest
import torch

from handler import artifacts
from handler.decoding.sampling import DecodingOptions
from handler.gpu.engine import CudaGraphEngine
from handler.wire.request import CATALOGUE, read_request
from tests.factories import PICNIC, RAIN, WRITTEN, generate, tiny_artifact
from tests.gpu.test_engine import same, talkative_net
from tests.reference import inputs, random_net, tiny_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("attend_pads", [True, False])
def test_the_gpu_answers_as_the_cpu_does(tmp_path, constrained, attend_pads, compiled):
    folder = tiny_artifact(tmp_path / "artifact", constrained=constrained, attend_pads=attend_pads)
    cpu, gpu = artifacts.load(folder, "cpu", "fp32"), artifacts.load(folder, "cuda", "fp32", compiled=compiled)
    assert isinstance(gpu.text_generator, CudaGraphEngine) == compiled
    for value in ({**PICNIC, "tmpl": list(CATALOGUE), "temperature": 0}, {**RAIN, "num_paraphrases": 8, "seed": 3}):
        value["details"] = True
        expected, found = (p.run(p.plan(read_request(value))) for p in (cpu, gpu))
        assert [(p.text, p.parse, p.truncated) for p in found] == [(p.text, p.parse, p.truncated) for p in expected]
        assert [p.log_probability for p in found] == pytest.approx([p.log_probability for p in expected], abs=1e-2)
    if compiled:
        assert gpu.parse_generator.graphs and gpu.text_generator.graphs  # none was given up; that would be a warning too


@pytest.mark.parametrize("compiled", [True, False])
def test_copied_words_and_candidates_are_those_of_the_cpu(tmp_path, compiled):
    folder = tiny_artifact(
        tmp_path / "artifact", tag_weight=1.0, order_bonus=2.0, copy_odds=0.5, generation_vocab_size=WRITTEN, candidates=3
    )
    cpu, gpu = artifacts.load(folder, "cpu", "fp32"), artifacts.load(folder, "cuda", "fp32", compiled=compiled)
    for value in ({**PICNIC, "tmpl": list(CATALOGUE), "temperature": 0}, {**RAIN, "num_paraphrases": 8, "seed": 3}):
        expected, found = (p.run(p.plan(read_request(value))) for p in (cpu, gpu))
        assert [(p.text, p.parse) for p in found] == [(p.text, p.parse) for p in expected]


@pytest.mark.parametrize("attend_pads", [True, False])
def test_graphs_of_several_sizes_share_memory_and_give_the_same_tokens(attend_pads):
    cpu, gpu = talkative_net(attend_pads), talkative_net(attend_pads).cuda()
    graphed, eager = CudaGraphEngine(gpu, "fp32"), CudaGraphEngine(gpu, "fp32", graphs=False)
    for rows in (1, 5, 2, 8, 3, 1, 5):
        bag, syntax = inputs(cpu.config, rows, seed=rows)
        for temperature in (0.0, 0.8):
            options = [DecodingOptions(temperature, i) for i in range(rows)]
            expected = generate(cpu, bag, syntax, options, "x")
            for net in (graphed, eager):
                same(net.generate(bag.numpy(), syntax.numpy(), options, "x"), expected)
    assert graphed.graphs and not eager.graphs


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("graphs", [True, False])
def test_no_step_waits_for_the_host(tmp_path, graphs):
    folder = tiny_artifact(tmp_path / "artifact", tag_weight=1.0, order_bonus=2.0, copy_odds=0.5, generation_vocab_size=WRITTEN)
    paraphraser = artifacts.load(folder, "cuda")
    for net, constraint, scored in (
        (paraphraser.parse_generator, paraphraser._parse_rules([[]]), False),
        (paraphraser.text_generator, paraphraser._text_rules([[]], [[]], [[]], [[]], [0]), True),
    ):
        net.graphs = graphs
        for sampled in (False, True):
            with torch.inference_mode(), net._on_device():
                _, start, step = net.prepare(4, net.widths()[-1], constraint, sampled, scored)
                start(), step()
                torch.cuda.synchronize()
                torch.cuda.set_sync_debug_mode("error")
                try:
                    start()
                    for _ in range(5):
                        step()
                finally:
                    torch.cuda.set_sync_debug_mode("default")
        assert net.graphs == graphs


def test_auto_takes_what_the_card_has():
    net = random_net(tiny_config(), 1).cuda()
    major, _ = torch.cuda.get_device_capability()
    assert CudaGraphEngine(net).precision == ("bf16" if major >= 8 else "fp16" if major == 7 else "fp32")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_single_on_the_gpu(precision):
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bf16")
    net = talkative_net(True, max_steps=1).cuda()
    bag, syntax = inputs(net.config, 8)
    options = [DecodingOptions(0.0, 0)] * 8
    expected, found = (CudaGraphEngine(net, p).generate(bag.numpy(), syntax.numpy(), options, "x") for p in ("fp32", precision))
    assert sum(one.ids == two.ids for one, two in zip(expected, found)) >= 7
    assert [d.log_probability for d in found] == pytest.approx([d.log_probability for d in expected], abs=0.05)


def test_a_warm_paraphraser_records_nothing_more(tmp_path):
    paraphraser = artifacts.load(tiny_artifact(tmp_path / "artifact"), "cuda")
    paraphraser.warm(8)
    nets = paraphraser.parse_generator, paraphraser.text_generator
    recorded = [sum(len(lane.recorded) for lane in net.buffers.values()) for net in nets]
    for value in ({**PICNIC, "tmpl": list(CATALOGUE)[:7], "temperature": 0}, {**RAIN, "num_paraphrases": 3, "seed": 3}):
        paraphraser.run(paraphraser.plan(read_request(value)))
    assert recorded == [sum(len(lane.recorded) for lane in net.buffers.values()) for net in nets]
