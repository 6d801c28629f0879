"""What tests of several files are given."""

import dataclasses

import pytest

from scripts.training import progress, trainer
from tests.training.checkpoint_files import Given
from tests.training.small_corpus import SENTENCES


@pytest.fixture
def given(tmp_path):
    return Given(tmp_path)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Tiny shapes, short recipes, and a corpus of fifty sentences; the folder of the work."""
    for name in trainer.NETS:
        shape = dict(d_model=16, n_heads=2, d_feedforward=32, n_encoder_layers=1, n_decoder_layers=1)
        monkeypatch.setitem(trainer.SHAPES, name, {**trainer.SHAPES[name], **shape})
        monkeypatch.setitem(
            trainer.RECIPES, name, dataclasses.replace(trainer.RECIPES[name], tokens=300, warmup=5, peak_rate=1e-2, epochs=4)
        )
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "MEASURE_STEPS", 10)
    for name, lines in (("train", SENTENCES[::2] + SENTENCES[1::4]), ("dev", SENTENCES[3::8])):
        (tmp_path / f"{name}.tsv").write_text(
            "".join(" ".join(word.rstrip(")") for word in parse.split() if word.endswith(")")) + f"\t{parse}\n" for parse in lines)
        )
    return tmp_path
