"""What becomes of a training in its artifact: which weights and settings, and a folder that is whole or as it was."""

import errno
import os
import re

import pytest

from handler import artifacts
from scripts.training import calibration, export, staging
from tests.factories import tiny_artifact
from tests.training.small_corpus import run


def test_export_says_which_weights_it_writes():
    points = [{"step": step, "loss": loss} for step, loss in ((0, 2.0), (10, 1.5), (20, 1.75))]
    assert export.exported("paraphraser", points) == "paraphraser: weights of step 10 of 20, held-out loss 1.5000"
    assert export.exported("paraphraser", [points[0], {"step": 10, "loss": 2.5}]).endswith(
        "step 0 of 10, held-out loss 2.0000; they are those that training began from, because no later measurement was better"
    )


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(), (export.DECODING["tag_weight"], export.DECODING["order_bonus"])),
        (dict(constrained=False), (0.0, 0.0)),
        (dict(tokenization="raw"), (0.0, 0.0)),
        (dict(tag_weight=0.5), (0.5, 0.0)),
    ],
)  # has a lexicon, and so its own opinion
def test_an_artifact_that_could_not_choose_gets_the_settings_of_a_new_one(tmp_path, options, expected):
    base = tiny_artifact(tmp_path / "base", **options)
    pipeline = export.pipeline_of(base, 7)
    assert (pipeline.tag_weight, pipeline.order_bonus, pipeline.source_bonus, pipeline.bpe_threshold) == (*expected, 0, 7)
    assert export.pipeline_of(tmp_path / "none", 7).source_bonus == export.DECODING["source_bonus"]


def test_an_export_that_breaks_off_leaves_the_artifact_as_it_was(small, monkeypatch, capsys):
    run(small, "--epochs", "0.1")
    out = small / "out"
    assert run(small, "--export", str(out)) == 0
    (out / "notes.txt").write_text("mine")
    (out / "more").mkdir()
    (out / "more" / "figures.txt").write_text("mine too")
    before = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}

    def full(folder, *_):
        assert (folder / "manifest.json").is_file() and not (folder / artifacts.RANGES).exists()  # no derived file of before
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def spoiled(folder, *_):
        (folder / "vocab.json").write_text("[]")

    for broken, said in (full, "No space left on device.\n"), (spoiled, r"vocab\.json: expected .* bytes, found 2\.\n"):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(calibration, "calibrate", broken)
            assert run(small, "--export", str(out)) == 1
        assert re.fullmatch(said, capsys.readouterr().err)
        assert {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
        assert not list(small.glob(".out-*"))
    assert run(small, "--export", str(out)) == 0
    artifacts.verify(out)
    assert (out / "notes.txt").read_text() == "mine" and (out / "more" / "figures.txt").read_text() == "mine too"


def test_a_folder_that_cannot_be_renamed_into_place_gives_the_old_one_back(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    with pytest.raises(FileNotFoundError):
        staging.replace_folder(tmp_path / "out", tmp_path / "none", tmp_path / "before")
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "old.txt"]
