"""The GPU's benchmark, on a CPU: it runs, and says what it measured."""

import json

import pytest

from scripts.bench import gpu


def test_it_runs_on_tiny_networks_and_saves(tmp_path, capsys):
    (tmp_path / "README.md").write_text("before\n" + "old\n".join(gpu.MARKERS) + "after\n")
    assert gpu.main(["--quick", "--device", "cpu", "--save", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    bars = json.loads(printed.splitlines()[-1])
    assert [set(bar) for bar in bars.values()] == [{"wanted", "measured", "met"}] * 2
    results = json.loads((tmp_path / "gpu.json").read_text())
    published = results["published"]
    assert [each["rows"] for each in published["requests"]] == [1, 4] and published["same_as_fp32"] == 100
    assert all(each["steps"] > 50 and each["plan"] + each["parse"] + each["text"] <= each["whole"] for each in published["requests"])
    assert bars["one request on a GPU, published shape (at most, ms)"]["measured"] == round(1e3 * published["requests"][0]["whole"], 2)
    assert [(each["net"], each["rows"]) for each in published["steps"]] == [("parse", 1), ("parse", 4), ("text", 1), ("text", 4)]
    saved = (tmp_path / "README.md").read_text()
    assert gpu.text(results) in saved and saved.startswith("before") and saved.endswith("after\n") and "old" not in saved


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) != 0
    assert "finds no CUDA device" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not gpu.torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_it_counts_launches_on_a_gpu():
    device = gpu.device_of("cuda")
    x = gpu.torch.zeros(4, device=device)
    assert gpu.launches(lambda: (x.add_(1), x.mul_(2)), device) == 2
    assert 0 < gpu.seconds_of_a_launch(device) < 1e-4
