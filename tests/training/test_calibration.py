"""An artifact's derived files: int8 ranges, draft table, suffix list, tag counts; from parses and from another artifact."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from handler import artifacts
from handler.cpu.graph import layer_names
from handler.errors import ArtifactError
from handler.language.split_tags import SPLIT
from handler.language.vocabulary import Vocabulary
from handler.language.word_classes import ROWS
from handler.model.copying import to_extended_ids
from handler.wire.request import read_request
from scripts import calibrate
from scripts.common import artifact_files
from scripts.training import calibration, trainer
from tests.factories import PICNIC, TOKENS, WRITTEN, tiny_artifact

PARSES = [f"(ROOT (S (NP (DT the) (NN {noun})) (VP (VBZ is) (VP (VBG raining))) (. .)))" for noun in "abcdefgh"] * 3


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "data.tsv"
    file.write_text("".join(f"x\t{parse}\n" for parse in PARSES))
    return file


@pytest.mark.parametrize("attend_pads", [True, False])
@pytest.mark.slow
def test_an_artifact_is_calibrated_and_measured(tmp_path, data, capsys, attend_pads):
    folder = tiny_artifact(tmp_path / "tiny", attend_pads=attend_pads)
    before = artifacts.load(folder)
    assert calibrate.main([str(folder), "--data", str(data), "--held-out", str(data)]) == 0
    said = capsys.readouterr().out
    assert "ranges from 24 sentences" in said and "tags of 120 words" in said and "paraphraser: int8 chooses as fp32 in" in said
    ranges = json.loads((folder / artifacts.RANGES).read_text())
    for name in artifacts.NETS:
        assert set(ranges[name]) == layer_names(getattr(artifacts.verify(folder), name))
        assert all(low < high for low, high in ranges[name].values())
    assert artifacts.load(folder).text_grammar.is_word[before.vocabulary.ids["the"]]
    shares = calibration.agreement(folder, calibration.read(folder, data))
    assert all(share["alike"] > 0.8 and share["tokens"] > 100 for share in shares.values())
    after = artifacts.load(folder, precision="fp32")
    rows = before.plan(read_request({**PICNIC, "seed": 1}))
    assert after.parse_generator.ngrams.table
    assert [p.parse for p in after.run(rows)] == [p.parse for p in before.run(rows)]  # drafts change no parse


def test_drafts_are_borrowed_under_the_ids_of_another_vocabulary(tmp_path, data):
    source, other = tiny_artifact(tmp_path / "one"), tiny_artifact(tmp_path / "two")
    calibrate.main([str(source), "--data", str(data)])
    turned = [*TOKENS[:5], *TOKENS[5:109][::-1], *TOKENS[109:]]
    artifact_files.write_json(other / "vocab.json", turned)
    calibration.borrow_drafts(source, other)
    artifacts.verify(other)
    ours, theirs = (Vocabulary(tokens) for tokens in (TOKENS, turned))
    a, b = (load_file(folder / artifacts.DRAFTS) for folder in (source, other))
    same = {i: theirs.syntax_ids[token] for token, i in ours.syntax_ids.items()} | {i: i for i in (1, 2, 255)}
    assert np.array_equal(np.vectorize(same.get)(a["contexts"]), b["contexts"])
    assert np.array_equal(np.vectorize(same.get)(a["tokens"]), b["tokens"])


def test_what_cannot_be_read_is_named(tmp_path, capsys):
    assert calibrate.main([str(tmp_path), "--data", "x"]) == 1
    assert "manifest.json: expected a file" in capsys.readouterr().err
    folder = tiny_artifact(tmp_path / "tiny")
    (tmp_path / "odd.tsv").write_text("x\t(ROOT (FOO x))\n")
    assert calibrate.main([str(folder), "--data", str(tmp_path / "odd.tsv")]) == 1
    assert "odd.tsv: no sentence that this artifact can read; odd.tsv:1: label 2" in capsys.readouterr().err


@pytest.mark.slow
def test_pieces_that_only_end_words_are_no_words(tmp_path):
    folder = tiny_artifact(tmp_path / "tiny")
    (tmp_path / "data.tsv").write_text("x\t(ROOT (NP (NN it) (NN raining) (NN thing)))\nx\t(ROOT (NP (NN a) (NN thing)))\n" * 3)
    assert calibrate.main([str(folder), "--data", str(tmp_path / "data.tsv")]) == 0
    endings = json.loads((folder / artifacts.ENDINGS).read_text())["tokens"]
    p = artifacts.load(folder)
    pieces = p.planner.pieces.split(["raining"])
    assert pieces[-1] in endings and not {"it", "a"} & set(endings)
    assert not p.text_grammar.is_word[p.vocabulary.ids[pieces[-1]]] and p.text_grammar.is_word[p.vocabulary.ids["it"]]
    artifact_files.write_json(folder / artifacts.ENDINGS, {"tokens": ["no such token"]})
    artifact_files.write_manifest(folder)
    with pytest.raises(ArtifactError, match="endings.json: expected tokens of the vocabulary"):
        artifacts.load(folder)


def test_the_lexicon_counts_the_tags_of_words(tmp_path):
    """By their first pieces; without a sentence whose words cannot be told apart, and without the labels of phrases."""
    folder, base = tiny_artifact(tmp_path / "tiny"), tiny_artifact(tmp_path / "base", tag_weight=1.0)
    lines = [
        "(ROOT (NP (DT the) (NN raining) (NN it) (X is)))",
        "(ROOT (NP (DT the) (NN raini) (VBG raining)))",
        "(ROOT (NP (NN ää) (JJ it)))",
    ]
    (tmp_path / "data.tsv").write_text("".join(f"x\t{line}\n" for line in lines), encoding="utf-8")
    split = calibration.read(folder, tmp_path / "data.tsv")
    assert len(split) == 3 and calibration.calibrate(folder, split)["words"] == 6
    counts, split_counts = artifacts.load_lexicon(folder / artifacts.LEXICON, len(TOKENS))
    found = {(TOKENS[piece], tag): int(counts[row - 1, piece]) for tag, row in ROWS.items() for piece in counts[row - 1].nonzero()[0]}
    assert found == {("the", "DT"): 2, ("rain@@", "NN"): 2, ("it", "NN"): 1, ("rain@@", "VBG"): 1}
    places = {(TOKENS[piece], *SPLIT[place]): int(split_counts[place, piece]) for place, piece in zip(*split_counts.nonzero())}
    assert places == {("the", "DT", "of one"): 2, ("rain@@", "VBG", "modifier"): 1}
    calibration.calibrate(folder, split)
    assert np.array_equal(artifacts.load_lexicon(folder / artifacts.LEXICON, len(TOKENS))[0], counts)  # replaced, not added to
    calibration.calibrate(folder, split, base)
    both = artifacts.load_lexicon(folder / artifacts.LEXICON, len(TOKENS))[0]
    assert np.array_equal(both, counts + load_file(base / artifacts.LEXICON)["counts"]) and not np.array_equal(both, counts)
    artifacts.verify(folder)


def test_where_words_are_only_copied_the_lexicon_counts_those_that_are_written(tmp_path, data):
    folder, base = (tiny_artifact(tmp_path / name, tag_weight=1.0, generation_vocab_size=WRITTEN) for name in ("tiny", "base"))
    (tmp_path / "rare.tsv").write_text("x\t(ROOT (NP (DT the) (NN x) (NN it)))\n" * 2)
    split = calibration.read(folder, tmp_path / "rare.tsv")
    assert calibration.calibrate(folder, split)["words"] == 4  # no `x`
    counts = load_file(folder / artifacts.LEXICON)["counts"]
    assert counts.shape == (len(ROWS), WRITTEN) and counts.sum() == 4
    assert counts[ROWS["NN"] - 1, TOKENS.index("it")] == counts[ROWS["DT"] - 1, TOKENS.index("the")] == 2
    calibration.calibrate(folder, split, base)
    assert np.array_equal(load_file(folder / artifacts.LEXICON)["counts"], counts + load_file(base / artifacts.LEXICON)["counts"])
    loaded = artifacts.load(folder)
    assert loaded.lexicon.table.shape == (1 + len(ROWS), WRITTEN + loaded.text_generator.config.bag_width)


@pytest.mark.slow
def test_an_artifact_that_copies_words_is_calibrated_and_measured_in_its_rows_numbering(tmp_path, data, capsys):
    folder = tiny_artifact(tmp_path / "tiny", generation_vocab_size=WRITTEN, tag_weight=1.0, copy_odds=1.0, tie="all")
    (tmp_path / "rare.tsv").write_text("".join(f"x\t{parse.replace('is)', 'z)')}\n" for parse in PARSES))
    assert calibrate.main([str(folder), "--data", str(tmp_path / "rare.tsv"), "--held-out", str(tmp_path / "rare.tsv")]) == 0
    assert "paraphraser: int8 chooses as fp32 in" in capsys.readouterr().out
    split, net = calibration.read(folder, tmp_path / "rare.tsv"), artifacts.load(folder, precision="fp32").text_generator.net
    recipe, batch = trainer.RECIPES["paraphraser"], np.arange(4)
    bag, syntax, _, labels = trainer.make_batch(split, batch, recipe, net.config, "cpu", None)
    chosen, found = calibration.teacher_forced(net, split, batch, recipe)
    assert found.tolist() == to_extended_ids(bag, labels, WRITTEN)[labels != 0].tolist() and (found >= WRITTEN).any() and (found > 0).all()
    shares = calibration.agreement(folder, split)["paraphraser"]
    assert shares["alike"] > 0.8 and shares["tokens"] > 100
    int8 = artifacts.load(folder, precision="int8")
    assert int8.run(int8.plan(read_request({**PICNIC, "seed": 1})))[0].text
