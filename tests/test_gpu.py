"""On a machine with a GPU: the same answers as on the CPU, greedy and sampled, constrained and not."""

import pytest
import torch

from handler import artifacts
from handler.request import CATALOGUE, read_request
from tests.factories import PICNIC, RAIN, tiny_artifact

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("attend_pads", [True, False])
def test_the_gpu_answers_as_the_cpu_does(tmp_path, constrained, attend_pads):
    folder = tiny_artifact(tmp_path / "artifact", constrained=constrained, attend_pads=attend_pads)
    cpu, gpu = artifacts.load(folder, "cpu"), artifacts.load(folder, "cuda")
    assert next(gpu.paraphraser.parameters()).is_cuda
    for value in ({**PICNIC, "tmpl": list(CATALOGUE), "temperature": 0}, {**RAIN, "num_paraphrases": 8, "seed": 3}):
        expected, found = (p.run(p.plan(read_request(value))) for p in (cpu, gpu))
        assert [(p.text, p.parse, p.truncated) for p in found] == [(p.text, p.parse, p.truncated) for p in expected]
        assert [p.log_probability for p in found] == pytest.approx([p.log_probability for p in expected], abs=1e-2)
