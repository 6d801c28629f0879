"""Import of published checkpoints: what is converted, what comes along, what is left where it cannot be written."""

import errno
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
import torch

from handler import artifacts
from handler.language.tagger import TENSORS
from handler.language.trees import SYNTAX_TOKENS
from handler.language.vocabulary import SPECIALS
from handler.pipeline import Pipeline
from handler.wire.request import read_request
from scripts.common import artifact_files
from scripts.training import published
from tests.factories import PICNIC, RAIN, TOKENS
from tests.training.checkpoint_files import CONFIGS, dictionary, pickled, refused

SYNTAX_END = len(SPECIALS) + len(SYNTAX_TOKENS)


def greedy(paraphraser: Pipeline, request: dict = RAIN):
    [done] = paraphraser.run(paraphraser.plan(read_request({**request, "temperature": 0, "seed": 0})))
    return done


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.slow
def test_tensors_and_sizes_are_the_checkpoints(given, zipped, prefix):
    originals = {net: {name: tensor for name, tensor in state.items() if name != "pos_encoder.pe"} for net, state in given.states.items()}
    given.states = {net: {prefix + name: t for name, t in state.items()} for net, state in given.states.items()}
    paraphraser = given.load("--faithful", _use_new_zipfile_serialization=zipped)
    for net, original in originals.items():
        imported = paraphraser.backend(net).net.net
        assert imported.config == CONFIGS[net]
        state = imported.state_dict()
        assert state.keys() == original.keys()
        assert all(torch.equal(state[name], original[name]) for name in state)
    assert paraphraser.vocabulary.tokens == TOKENS
    for stored, name in (("bpe.codes", "bpe-codes"), ("bpe.vocab.txt", "bpe-vocab")):
        assert (given.out / stored).read_bytes() == given.files[name].read_bytes()


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.slow
def test_the_dictionary_may_be_pickled_by_any_python_3(given, protocol):
    given.files["dictionary"].write_bytes(pickled(dictionary(TOKENS), protocol))
    assert given.load().vocabulary.tokens == TOKENS


def test_an_imported_artifact_paraphrases(given, capsys):
    paraphraser = given.load("--max-synt-len", "50")
    for request in RAIN, PICNIC:
        done = greedy(paraphraser, request)
        assert done.template == request["tmpl"] and done.text and "@@" not in done.text
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 and printed[0].endswith(f"python -m scripts.build_archive --artifact {given.out}")
    assert str(given.out) in printed[0].split(":")[0]


@pytest.mark.parametrize(
    "options, tokenization, constrained",
    [
        ([], "ptb", True),
        (["--faithful"], "raw", False),
        (["--tokenization", "raw"], "raw", True),
        (["--no-constrained"], "ptb", False),
        (["--faithful", "--constrained"], "raw", True),
        (["--faithful", "--tokenization", "ptb"], "ptb", False),
    ],
)
@pytest.mark.slow
def test_options_of_the_pipeline(given, options, tokenization, constrained):
    paraphraser = given.load(*options, "--bpe-threshold", "7")
    assert (paraphraser.config.tokenization, paraphraser.config.constrained) == (tokenization, constrained)
    assert paraphraser.config.bpe_threshold == 7


def test_lengths_it_was_trained_with(given):
    paraphraser = given.load("--no-constrained", "--max-sent-len", "3", "--max-tmpl-len", "10", "--max-synt-len", "12")
    assert paraphraser.parse_generator.config == replace(CONFIGS["parse_generator"], bag_width=3, syntax_width=12, max_steps=13)
    assert paraphraser.text_generator.config == replace(CONFIGS["paraphraser"], bag_width=3, syntax_width=14, max_steps=4)


@pytest.fixture
def tagger(tmp_path_factory):
    """A file of a tagger to which every word is a verb."""
    file = tmp_path_factory.mktemp("tagger") / "verbs.safetensors"
    arrays = {name: np.zeros(0, kind) for name, kind in TENSORS.items()}
    safetensors.numpy.save_file(arrays, file, {"tagger": json.dumps({"format": 1, "tags": ["VB"]})})
    return file


@pytest.mark.skipif(not published.PARSER.is_file(), reason="there is no model_store/demo/parser.safetensors")
def test_the_shipped_parser_comes_along_and_constituents_are_moved(given):
    given.tagger = []  # the shipped one
    pipeline = given.load("--max-synt-len", "50")
    [row] = pipeline.plan(read_request({"sent": "It rains .", "tmpl": RAIN["tmpl"]}))
    assert pipeline.config.movement and str(row.source.parse) == "(ROOT (S (NP (PRP It)) (VP (VBZ rains)) (. .)))"
    shutil.rmtree(given.out)
    faithful = given.load("--faithful")
    assert not faithful.config.movement and faithful.planner.parser is None


def test_a_tagger_comes_along_and_replaces_the_parse(given, tagger, monkeypatch, capsys):
    monkeypatch.setattr(published, "TAGGER", tagger)
    monkeypatch.setattr(published, "PARSER", tagger.with_name("none"))
    given.tagger = []  # the shipped one, where there is one
    paraphraser = given.load("--max-synt-len", "50")
    request = {"sent": "It rains", "tmpl": RAIN["tmpl"]}
    [row] = paraphraser.plan(read_request(request))
    assert row.tags == [TOKENS.index("<VB>")] * 2 and row.tags_predicted
    assert greedy(paraphraser, request).text
    assert ", with a tagger." in capsys.readouterr().out
    note = (given.out / "README.md").read_text(encoding="utf-8")
    assert f"verbs.safetensors | {artifacts.fingerprint(tagger)['sha256']} |" in note and "credits their data" in note


@pytest.mark.slow
def test_without_a_tagger_it_says_that_requests_need_a_parse(given, tagger, monkeypatch, capsys):
    assert given.load().planner.tagger is None
    assert "no tagger, so that requests need a parse." in capsys.readouterr().out
    shutil.rmtree(given.out)
    monkeypatch.setattr(published, "TAGGER", given.folder / "none")
    given.tagger = []
    assert given.load().planner.tagger is None
    shutil.rmtree(given.out)
    given.tagger = ["--tagger", str(tagger)]
    assert given.load().planner.tagger.labels == ["VB"]
    assert "credits its data" not in (given.out / "README.md").read_text(encoding="utf-8")


def test_a_broken_tagger(given, capsys, tmp_path_factory):
    file = tmp_path_factory.mktemp("tagger") / "broken.safetensors"
    file.write_bytes(b"x")
    given.tagger = ["--tagger", str(file)]
    refused(given, capsys, "A server would refuse this: tagger.safetensors: expected a safetensors file")
    file.unlink()
    refused(given, capsys, "broken.safetensors: No such file or directory")


def test_half_precision_halves_the_files(given):
    full = given.load()
    sizes = [(given.out / f"{net}.safetensors").stat().st_size for net in artifacts.NETS]
    shutil.rmtree(given.out)
    half = given.load("--dtype", "fp16")
    for net, size in zip(artifacts.NETS, sizes):
        assert (given.out / f"{net}.safetensors").stat().st_size < 0.7 * size
        assert torch.equal(half.backend(net).net.net.linear.weight, full.backend(net).net.net.linear.weight.half().float())


@pytest.mark.slow
def test_a_constrained_parse_generator_loses_the_words_it_cannot_say_and_nothing_else(given):
    length = "--max-synt-len", "50"
    short = given.load(*length)
    shutil.rmtree(given.out)
    whole = given.load("--no-constrained", *length)
    assert short.parse_generator.config == replace(whole.parse_generator.config, vocab_size=SYNTAX_END)
    whole = Pipeline(short.config, whole.vocabulary, whole.planner.pieces, whole.parse_generator, whole.text_generator)
    assert greedy(short) == greedy(whole)
    sampled = read_request({**RAIN, "temperature": 1.0, "num_paraphrases": 3, "seed": 4})
    parses, others = ([p.parse for p in each.run(each.plan(sampled))] for each in (short, whole))
    assert parses == others and len(set(parses)) == 3


def test_the_artifact_says_where_it_comes_from(given):
    given.load()
    text = (given.out / "README.md").read_text(encoding="utf-8")
    for file in given.files.values():
        assert f"{file.name} | {artifacts.fingerprint(file)['sha256']} |" in text
    assert str(given.folder) not in text and "uclanlp/synpg" in text and "MIT" in text


def test_nothing_is_left_when_writing_fails(given, capsys, monkeypatch):
    def full(folder):
        assert (folder / "paraphraser.safetensors").is_file()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    monkeypatch.setattr(artifact_files, "write_manifest", full)
    refused(given, capsys, "No space left on device")


def test_nothing_is_left_when_a_server_would_refuse_it(given, capsys, monkeypatch):
    write = artifact_files.write_manifest

    def spoil(folder):
        write(folder)
        (folder / "vocab.json").write_text("[]", encoding="utf-8")

    monkeypatch.setattr(artifact_files, "write_manifest", spoil)
    refused(given, capsys, "A server would refuse this: vocab.json: expected")


def test_what_is_there_already_is_left_alone(given, capsys):
    given.out.mkdir()
    (given.out / "mine.txt").write_text("mine")
    assert given.run() == 1
    assert re.fullmatch(r".*out is there already; remove it or name another folder\.\n", capsys.readouterr().err)
    assert [file.name for file in given.out.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken_and_a_new_one_made_with_its_parents(given):
    given.out.mkdir()
    given.load()
    given.out = given.folder / "a" / "b"
    given.load()
    assert [file.name for file in (given.folder / "a").iterdir()] == ["b"]
