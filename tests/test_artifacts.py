"""The artifact: a saved one loads and gives the same answers, and a broken one is refused."""

import json
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file

from handler import artifacts
from handler.errors import ArtifactError
from handler.language.trees import TAGS
from handler.wire.request import read_request
from scripts.common import artifact_files
from scripts.templates import write_templates
from tests.factories import RAIN, TOKENS, WRITTEN, random_counts, tiny_artifact


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "good")


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


def reseal(folder):
    artifact_files.write_manifest(folder)
    return folder


def edit_json(file, change):
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    file.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("tie", ["none", "output", "all"])
@pytest.mark.slow
def test_saved_and_loaded_networks_are_the_same(tmp_path, tie):
    folder = tiny_artifact(tmp_path / tie, tie=tie)
    stored = load_file(folder / "paraphraser.safetensors")
    assert ("linear.weight" in stored) == (tie == "none") and ("embedding_encoder.weight" in stored) == (tie != "all")
    one, two = artifacts.load(folder, compiled=False), artifacts.load(folder)
    assert one.text_generator.net.net.embedding_encoder.weight.shape == one.text_generator.net.net.linear.weight.shape
    rows = one.plan(read_request({**RAIN, "seed": 3, "num_paraphrases": 3}))
    assert one.run(rows) == two.run(two.plan(read_request({**RAIN, "seed": 3, "num_paraphrases": 3})))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_stored_half_and_computed_whole(good, tmp_path, dtype):
    nets = {net: load_file(good / f"{net}.safetensors") for net in artifacts.NETS}
    config = artifacts.verify(good)
    vocabulary = json.loads((good / "vocab.json").read_text(encoding="utf-8"))
    artifact_files.save(tmp_path / "half", config, nets, vocabulary, good / "bpe.codes", good / "bpe.vocab.txt", dtype=dtype)
    assert {t.dtype for t in load_file(tmp_path / "half" / "paraphraser.safetensors").values()} == {dtype}
    loaded = artifacts.load(tmp_path / "half", compiled=False)
    assert {p.dtype for p in loaded.text_generator.net.net.parameters()} == {torch.float32}
    assert loaded.run(loaded.plan(read_request(RAIN)))[0].text


@pytest.mark.parametrize("name", artifacts.FILES)
def test_a_missing_cut_or_changed_file_is_named(copy, name):
    file = copy / name
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=rf"^{name}: expected sha256 \w+, found \w+$"):
        artifacts.load(copy)
    file.write_bytes(data[:-7])
    with pytest.raises(ArtifactError, match=rf"^{name}: expected {len(data)} bytes, found {len(data) - 7}$"):
        artifacts.load(copy)
    file.unlink()
    with pytest.raises(ArtifactError, match=rf"^{name}: expected a file of {len(data)} bytes, found none$"):
        artifacts.load(copy)


@pytest.mark.parametrize("damage", ["a byte", "no number", "no header"])
def test_damaged_weights_are_found_by_their_hash_whatever_else_they_break(copy, monkeypatch, damage):
    """They are hashed while the networks are built of them."""
    file = copy / "paraphraser.safetensors"
    data = bytearray(file.read_bytes())
    data[:8] = {"a byte": data[:8], "no number": data[:8], "no header": b"\xff" * 8}[damage]
    data[-4:] = {"a byte": bytes([data[-4] ^ 1]) + data[-3:], "no number": b"\0\0\xc0\x7f", "no header": data[-4:]}[damage]
    file.write_bytes(data)
    real, ended = artifacts.fingerprint, []

    def slow(file):
        if file.suffix == ".safetensors":
            time.sleep(0.3)  # the networks are built, or cannot be, before this file has been hashed
        ended.append(file.name)
        return real(file)

    monkeypatch.setattr(artifacts, "fingerprint", slow)
    with pytest.raises(ArtifactError, match=r"^paraphraser\.safetensors: expected sha256 \w+, found \w+$"):
        artifacts.load(copy)
    assert "config.json" in ended[: -len(artifacts.NETS)]  # text is checked before anything is built of it


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "vocab.json", "endings.json", "ranges.json"])
def test_json_that_is_nested_too_deep_is_named(copy, name):
    (copy / name).write_text("[" * 100_000, encoding="utf-8")
    if name != "manifest.json":
        reseal(copy)
    with pytest.raises(ArtifactError, match=rf"^{name}: expected .*, found brackets nested too deep$"):
        artifacts.load(copy)


@pytest.mark.parametrize("name", ["tagger", "parser"])
def test_a_header_that_is_nested_too_deep_is_named(tmp_path, name):
    save_numpy({"pieces": np.zeros(1, np.uint8)}, tmp_path / "file", {name: "[" * 100_000})
    with pytest.raises(ArtifactError, match=rf"^file: expected a {name}'s header in JSON, found brackets nested too deep$"):
        {"tagger": artifacts.load_tagger, "parser": artifacts.load_parser}[name](tmp_path / "file")


def test_loading_reads_the_manifest_once(good, monkeypatch):
    read, real = [], artifacts._read_text
    monkeypatch.setattr(artifacts, "_read_text", lambda file, expected: (read.append(file.name), real(file, expected))[1])
    artifacts.load(good, compiled=False)
    assert read.count("manifest.json") == 1


ADDED = {"exclamation": "(ROOT (S (INTJ ) (, ) (NP ) (VP ) (. )))"}


def test_named_templates_are_added_to_an_artifact_and_stay(copy, tmp_path):
    assert not json.loads((copy / "config.json").read_text())["pipeline"].keys() & set(artifact_files.NEWER)  # earlier versions can read it
    write_templates(copy, ADDED)
    assert artifacts.load(copy).config.templates == ADDED
    nets = {net: load_file(copy / f"{net}.safetensors") for net in artifacts.NETS}
    vocabulary = json.loads((copy / "vocab.json").read_text())
    artifact_files.save(tmp_path / "again", artifacts.verify(copy), nets, vocabulary, copy / "bpe.codes", copy / "bpe.vocab.txt")
    assert artifacts.load(tmp_path / "again").config.templates == ADDED
    write_templates(copy, {})
    assert artifacts.load(copy).config.templates == {}


@pytest.mark.parametrize(
    "templates, found", [({"command": "(ROOT (NP ))"}, "the name command"), ({"long": f"(ROOT {'(NP )' * 20})"}, "long")]
)
def test_templates_that_cannot_be_used_are_not_written(copy, templates, found):
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    with pytest.raises(ArtifactError, match=f"config.json: expected .*templates.*, found .*{found}"):
        write_templates(copy, templates)
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_a_folder_that_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="manifest.json: expected a file, found none"):
        artifacts.load(tmp_path)


@pytest.mark.parametrize(
    "change, file, message",
    [
        (lambda c: c.update(format=2), "config.json", "expected format 1, found 2"),
        (lambda c: c.pop("pipeline"), "config.json", "expected the keys"),
        (lambda c: c.update(extra=1), "config.json", "extra"),
        (lambda c: c["pipeline"].update(tokenization="bert"), "config.json", "tokenization must be one of ptb, raw"),
        (lambda c: c["pipeline"].update(bpe_threshold=-1), "config.json", "bpe_threshold"),
        (lambda c: c["pipeline"].update(constrained=1), "config.json", "constrained must be true or false"),
        (lambda c: c["pipeline"].update(source_bonus=-1), "config.json", "source_bonus must be a number from 0 to 100"),
        (lambda c: c["pipeline"].update(repetition_penalty=True), "config.json", "repetition_penalty must be a number"),
        (lambda c: c["pipeline"].update(tag_weight=101), "config.json", "tag_weight must be a number from 0 to 100"),
        (lambda c: c["pipeline"].update(order_bonus="2"), "config.json", "order_bonus must be a number from 0 to 100"),
        (lambda c: c["pipeline"].update(tag_weight=1, constrained=False), "config.json", "tag_weight above 0 needs constrained true"),
        (lambda c: c["pipeline"].update(tag_weight=1, tokenization="raw"), "config.json", "and tokenization ptb"),
        (lambda c: c["pipeline"].update(tag_weight=1), "lexicon.safetensors", "expected a file, for tag_weight 1, found none"),
        (lambda c: c["pipeline"].update(copy_odds=-0.1), "config.json", "copy_odds must be a number from 0 to 100"),
        (
            lambda c: c["pipeline"].update(templates={"mine": "(ROOT (NP x))"}),
            "config.json",
            "expected a usable pipeline, found the template mine: a template has labels only, no words",
        ),
        (
            lambda c: c["pipeline"].update(templates={"long": f"(ROOT {'(NP )' * 20})"}),
            "config.json",
            "expected templates that the networks can read, found long, which has 63 brackets and labels, at most 39 are read",
        ),
        (
            lambda c: c["paraphraser"].update(generation_vocab_size=0),
            "config.json",
            "a usable paraphraser, found generation_vocab_size must be an integer from 3",
        ),
        (
            lambda c: c["paraphraser"].update(generation_vocab_size=len(TOKENS) + 1),
            "config.json",
            f"to vocab_size, or null, not {len(TOKENS) + 1}",
        ),
        (lambda c: c["paraphraser"].update(generation_vocab_size=True), "config.json", "or null, not True"),
        (
            lambda c: c["paraphraser"].update(generation_vocab_size=120, attend_pads=True),
            "config.json",
            "generation_vocab_size must be null with attend_pads",
        ),
        (lambda c: c["paraphraser"].pop("n_heads"), "config.json", "expected paraphraser with the keys"),
        (lambda c: c["paraphraser"].update(n_heads=5), "config.json", "not a multiple of n_heads 5"),
        (lambda c: c["paraphraser"].update(d_model=24), "paraphraser.safetensors", r"of shape \(\d+, 24\), found \(\d+, 12\)"),
        (lambda c: c["paraphraser"].update(n_decoder_layers=3), "paraphraser.safetensors", "missing, none unknown"),
        (lambda c: c["paraphraser"].update(n_decoder_layers=1), "paraphraser.safetensors", "none missing, .* and 15 more unknown"),
        (lambda c: c["paraphraser"].update(vocab_size=9999), "vocab.json", r"expected 9999 tokens, .*, found \d{3}$"),
        (lambda c: c["paraphraser"].update(vocab_size=120), "vocab.json", r"expected 120 tokens, .*, found \d{3}$"),
        (lambda c: c["parse_generator"].update(vocab_size=9999), "vocab.json", "at least 9999 tokens"),
        (lambda c: c["parse_generator"].update(vocab_size=100), "config.json", "parse_generator.vocab_size of at least 109"),
        (lambda c: c["parse_generator"].update(max_steps=64), "config.json", "max_steps below paraphraser.syntax_width"),
    ],
)
@pytest.mark.slow
def test_a_configuration_that_does_not_fit_is_refused(copy, change, file, message):
    edit_json(copy / "config.json", change)
    with pytest.raises(ArtifactError, match=message) as caught:
        artifacts.load(reseal(copy))
    assert caught.value.file == file


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda t: t.update({"linear.bias": t["linear.bias"] * float("nan")}), "finite numbers in linear.bias"),
        (lambda t: t.update({"linear.bias": t["linear.bias"].long()}), "in fp32, fp16 or bf16, found int64"),
        (lambda t: t.pop("linear.bias"), "linear.bias missing, none unknown"),
        (lambda t: t.update(other=torch.zeros(1)), "none missing, other unknown"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(copy, spoil, message):
    file = copy / "parse_generator.safetensors"
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, file)
    with pytest.raises(ArtifactError, match=message):
        artifacts.load(reseal(copy))


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("paraphraser.safetensors", "not tensors", "expected a safetensors file"),
        ("config.json", "{", "JSON in UTF-8"),
        ("config.json", "[]", "a JSON object, found list"),
        ("vocab.json", '["<pad>"]', "first"),
        ("bpe.vocab.txt", "nocount\n", "on line 1"),
        ("bpe.codes", "#version: 0.2\nonly-one\n", "merges"),
    ],
)
def test_files_of_the_wrong_kind_are_refused(copy, name, text, message):
    (copy / name).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=message) as caught:
        artifacts.load(reseal(copy))
    assert caught.value.file == name


@pytest.mark.parametrize(
    "tensors",
    [
        {"counts": torch.zeros(len(TAGS), len(TOKENS), dtype=torch.int16)},
        {"counts": torch.zeros(len(TAGS), 7, dtype=torch.uint16)},
        {"others": torch.zeros(len(TAGS), len(TOKENS), dtype=torch.uint16)},
    ],
)
@pytest.mark.slow
def test_a_lexicon_of_another_kind_is_refused(copy, tensors):
    file = copy / artifacts.LEXICON
    save_file(tensors, file)
    [(name, found)] = tensors.items()
    with pytest.raises(ArtifactError) as caught:
        artifacts.load(reseal(copy))
    assert str(caught.value) == (
        f"lexicon.safetensors: expected counts ({len(TAGS)}, {len(TOKENS)}), uint16, found {name} "
        f"{tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}"
    )
    file.write_bytes(b"x")
    with pytest.raises(ArtifactError, match="lexicon.safetensors: expected a safetensors file"):
        artifacts.load(reseal(copy))
    artifact_files.save_lexicon(file, random_counts())
    assert artifacts.load(reseal(copy)).lexicon is None  # not used at a tag_weight of 0
    edit_json(copy / "config.json", lambda c: c["pipeline"].update(tag_weight=2.5))
    assert artifacts.load(reseal(copy)).lexicon.weight == 2.5


@pytest.mark.parametrize("generation_vocab_size, found", [(WRITTEN, len(TOKENS)), (WRITTEN, WRITTEN + 1), (None, WRITTEN)])
@pytest.mark.slow
def test_a_lexicon_has_a_column_for_each_word_that_is_written(tmp_path, generation_vocab_size, found):
    folder = tiny_artifact(tmp_path / "tiny", tag_weight=1.0, copy_odds=1.0, generation_vocab_size=generation_vocab_size)
    loaded, size = artifacts.load(folder), generation_vocab_size or len(TOKENS)
    assert loaded.lexicon.table.shape[1] == size + (60 if generation_vocab_size else 0)
    assert loaded.run(loaded.plan(read_request({**RAIN, "seed": 1})))[0].text
    artifact_files.save_lexicon(folder / artifacts.LEXICON, random_counts()[:, :found])
    with pytest.raises(ArtifactError) as caught:
        artifacts.load(reseal(folder))
    assert str(caught.value) == (
        f"lexicon.safetensors: expected counts ({len(TAGS)}, {size}), uint16, found counts ({len(TAGS)}, {found}) uint16"
    )


@pytest.mark.slow
def test_a_configuration_from_before_there_were_copied_words_is_read(copy):
    def older(config):
        for name in artifacts.NETS:
            del config[name]["generation_vocab_size"]
        del config["pipeline"]["copy_odds"]

    edit_json(copy / "config.json", older)
    config = artifacts.verify(reseal(copy))
    assert (
        config.paraphraser.generation_vocab_size is None
        and config.paraphraser.output_vocab_size == len(TOKENS)
        and config.pipeline.copy_odds == 0
    )
    assert artifacts.load(copy).run(artifacts.load(copy).plan(read_request({**RAIN, "seed": 1})))


def test_an_artifact_holds_no_pickle(good):
    assert {file.name for file in good.iterdir()} == {*artifacts.FILES, "manifest.json"}
    for file in good.iterdir():
        assert not file.read_bytes().startswith((b"\x80", b"PK"))
