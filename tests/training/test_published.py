"""Import of published checkpoints: what is converted, what is refused with which message, what is never executed.

The last tests need the published files (dictionary.pkl, bpe.codes, vocab.txt, golden.json). SYNPG_PUBLISHED names their
folder; without it `../shared/data/published` beside the checkout is tried, and where there is none they are skipped.
SYNPG_PUBLISHED set to nothing skips them too.
"""

import errno
import json
import os
import pickle
import re
import shutil
import sys
import tempfile
import types
import zlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from handler import artifacts
from handler.language.tagger import TENSORS
from handler.language.trees import SYNTAX_TOKENS
from handler.language.vocabulary import SPECIALS
from handler.model.network import ModelConfig, SynPG, sinusoids
from handler.pipeline import Pipeline
from handler.wire.request import read_request
from scripts import import_checkpoint
from scripts.common.paths import ROOT
from scripts.training import published
from tests.factories import CODES, PICNIC, PIECES, RAIN, TOKENS
from tests.reference import random_net, tiny_config

SYNTAX_END = len(SPECIALS) + len(SYNTAX_TOKENS)
WIDTHS = dict(bag_width=40, attend_pads=True)
CONFIGS = {
    "parse_generator": tiny_config(
        vocab_size=len(TOKENS), n_encoder_layers=1, n_decoder_layers=1, d_feedforward=16, syntax_width=102, max_steps=161, **WIDTHS
    ),
    "paraphraser": tiny_config(vocab_size=len(TOKENS), n_encoder_layers=1, n_decoder_layers=2, syntax_width=162, max_steps=41, **WIDTHS),
}


def published_state(config: ModelConfig, seed: int = 0) -> dict:
    """A state dict as the published code saves it."""
    return {**random_net(config, seed).state_dict(), "pos_encoder.pe": sinusoids(5000, config.d_model)[:, None]}


def dictionary(tokens: list[str]) -> dict:
    """The attributes of a published dictionary."""
    spans = {token for token in tokens[len(SPECIALS) :] if token[:1] == "<"}
    return {
        "word2idx": {token: i for i, token in enumerate(tokens)},
        "idx2word": dict(reversed(list(enumerate(tokens)))),
        "word_count": defaultdict(int),
        "span_words": spans,
        "span_idxs": {tokens.index(token) for token in spans},
    }


def pickled(attributes: dict, protocol: int = 3) -> bytes:
    """The pickle of an `utils.Dictionary`, a class that is gone again when this returns."""
    module = types.ModuleType("utils")
    module.Dictionary = type("Dictionary", (), {"__module__": "utils"})
    holder = module.Dictionary()
    vars(holder).update(attributes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "utils", module)
        return pickle.dumps(holder, protocol)


class Given:
    """A folder with the five files, and what the importer makes of them."""

    def __init__(self, folder: Path):
        self.folder, self.out, self.tagger = folder, folder / "out", ["--no-tagger"]
        self.files = {
            "synpg": folder / "synpg.pt",
            "parse-generator": folder / "parse.pt",
            "dictionary": folder / "dictionary.pkl",
            "bpe-codes": folder / "codes",
            "bpe-vocab": folder / "vocab",
        }
        self.states = {net: published_state(config, seed) for seed, (net, config) in enumerate(CONFIGS.items())}
        self.files["dictionary"].write_bytes(pickled(dictionary(TOKENS)))
        self.files["bpe-codes"].write_text(CODES, encoding="utf-8")
        self.files["bpe-vocab"].write_text("zz@@ 1000\n" + "".join(f"{piece} 100\n" for piece in PIECES), encoding="utf-8")

    def run(self, *options: str, **saving) -> int:
        for name, net in (("synpg", "paraphraser"), ("parse-generator", "parse_generator")):
            if self.states[net] is not None:
                torch.save(self.states[net], self.files[name], **saving)
        files = [text for name, file in self.files.items() for text in (f"--{name}", str(file))]
        return import_checkpoint.main([*files, "--heads", "2", *self.tagger, *options, str(self.out)])

    def load(self, *options: str, **saving) -> Pipeline:
        assert self.run(*options, **saving) == 0
        assert "utils" not in sys.modules
        return artifacts.load(self.out, compiled=False)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small, and one row at a time, lose more by waiting for a second thread than it does for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def given(tmp_path):
    return Given(tmp_path)


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


# What must never be run


class Payload:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "place, protocol", [*(("top", protocol) for protocol in range(6)), *(("inside", protocol) for protocol in (3, 4, 5))]
)
def test_a_dictionary_that_would_run_code_is_refused_and_does_not(given, capsys, place, protocol):
    marker = given.folder / "ran"
    evil = (
        pickle.dumps(Payload(marker), protocol)
        if place == "top"
        else pickled({**dictionary(TOKENS), "word_count": Payload(marker)}, protocol)
    )
    if place == "top":
        pickle.loads(evil)  # it is a payload indeed
        marker.rmdir()
    given.files["dictionary"].write_bytes(evil)
    refused(given, capsys, rf"dictionary.pkl asks for {os.mkdir.__module__}.mkdir, which no dictionary needs: .* nothing was run")
    assert not marker.exists()


@pytest.mark.parametrize(
    "source, name",
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cutils\nos\n.", "utils.os"),
        (b"cos\nsystem\n.", "os.system"),
        (b"ccollections\nOrderedDict\n)R.", "collections.OrderedDict"),
        (b"cbuiltins\nint.__class__\n.", "builtins.int.__class__"),
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", "builtins.getattr"),
        (b"\x80\x02cutils\nDictionary\n)\x81cos\nabort\n.", "os.abort"),
        (b"(S'1'\nibuiltins\nexec\n.", "builtins.exec"),
        (b"c\x1b[31m\nx\n.", r"\x1b[31m.x"),
    ],
)
def test_no_other_name_is_resolved(given, capsys, source, name):
    given.files["dictionary"].write_bytes(source)
    refused(given, capsys, f"dictionary.pkl asks for {re.escape(name)}, which no dictionary needs")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_checkpoint_with_a_changed_bit_is_refused(given, capsys, share):
    file = given.files["synpg"]
    torch.save(given.states["paraphraser"], file)
    data = bytearray(file.read_bytes())
    weights = torch.load(file, weights_only=True)["embedding_encoder.weight"].numpy().tobytes()
    data[data.index(weights) + int(share * len(weights))] ^= 1
    file.write_bytes(data)
    given.states["paraphraser"] = None
    refused(given, capsys, "synpg.pt is not a checkpoint of tensors, or it is damaged")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(given, capsys, zipped):
    marker = given.folder / "ran"
    torch.save({"linear.weight": Payload(marker)}, given.files["synpg"], _use_new_zipfile_serialization=zipped)
    torch.load(given.files["synpg"], weights_only=False)
    marker.rmdir()
    given.states["paraphraser"] = None
    refused(given, capsys, rf"synpg.pt asks for {os.mkdir.__module__}.mkdir, which no tensor needs: .* nothing was run")
    assert not marker.exists()


# What does not fit


def refused(given: Given, capsys, sentence: str) -> None:
    """Exit 1, one sentence on stderr, nothing on stdout, nothing left behind."""
    assert given.run() == 1
    check_refusal(given, capsys, sentence)


def check_refusal(given: Given, capsys, sentence: str) -> None:
    printed, said = capsys.readouterr()
    assert printed == "" and len(said.splitlines()) == 1 and said.endswith(".\n") and "weights_only" not in said
    assert re.search(sentence, said)
    assert {file.name for file in given.folder.iterdir()} == {file.name for file in given.files.values()}


def tensor(net: str, name: str, change) -> object:
    def spoil(given: Given) -> None:
        given.states[net][name] = change(given.states[net][name])

    return spoil


def state(net: str, change) -> object:
    def spoil(given: Given) -> None:
        given.states[net] = change(given.states[net])

    return spoil


def tables(**changes) -> object:
    def spoil(given: Given) -> None:
        attributes = dictionary(TOKENS)
        for name, change in changes.items():
            attributes[name] = change(attributes[name])
        given.files["dictionary"].write_bytes(pickled(attributes))

    return spoil


def vocabulary(change) -> object:
    def spoil(given: Given) -> None:
        given.files["dictionary"].write_bytes(pickled(dictionary(change(list(TOKENS)))))

    return spoil


def content(name: str, data: bytes) -> object:
    def spoil(given: Given) -> None:
        given.states[{"synpg": "paraphraser", "parse-generator": "parse_generator"}.get(name, "")] = None
        given.files[name].write_bytes(data)

    return spoil


def without(*names: str):
    return lambda table: {name: value for name, value in table.items() if name not in names}


def with_value(index: int, value: float):
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[index] = value
        return tensor

    return change


def swap_ids(words: dict) -> dict:
    return {**words, "the": words["is"], "is": words["the"]}


MISMATCHES = {
    "tensor missing": (
        state("paraphraser", without("transformer.decoder.layers.1.norm3.bias")),
        r"synpg.pt is not SynPG with 1 \+ 2 layers: transformer.decoder.layers.1.norm3.bias missing, none unknown",
    ),
    "tensors unknown": (
        state("parse_generator", lambda s: {**s, "pos": torch.ones(1), "pooler": torch.ones(1)}),
        r"parse.pt is not SynPG with 1 \+ 1 layers: none missing, pos, pooler unknown",
    ),
    "layer missing": (
        state("paraphraser", lambda s: {n.replace("decoder.layers.1", "decoder.layers.5"): t for n, t in s.items()}),
        r"synpg.pt is not SynPG .* and \d+ more missing, .* and \d+ more unknown",
    ),
    "no decoder": (
        state("paraphraser", lambda s: {n: t for n, t in s.items() if ".decoder.layers." not in n}),
        r"synpg.pt cannot be served: n_decoder_layers must be a positive integer",
    ),
    "another network": (
        state("paraphraser", lambda s: {"encoder.weight": torch.ones(2, 2)}),
        r"synpg.pt is not a SynPG checkpoint: it has encoder.weight\.",
    ),
    "shape": (
        tensor("paraphraser", "transformer.encoder.layers.0.linear2.weight", lambda t: t[:, :-1]),
        r"synpg.pt: transformer.encoder.layers.0.linear2.weight has shape \(12, 19\), expected \(12, 20\)",
    ),
    "output layer": (
        tensor("parse_generator", "linear.weight", lambda t: t[:-1]),
        rf"parse.pt: linear.weight has shape \({len(TOKENS) - 1}, 12\), expected \({len(TOKENS)}, 12\)",
    ),
    "not a number": (
        tensor("paraphraser", "linear.bias", with_value(3, float("nan"))),
        r"synpg.pt: linear.bias holds infinity or not-a-number",
    ),
    "infinity": (tensor("parse_generator", "linear.weight", with_value(3, float("-inf"))), r"parse.pt: linear.weight holds infinity"),
    "learned positions": (tensor("paraphraser", "pos_encoder.pe", lambda t: t + 0.01), r"synpg.pt: pos_encoder.pe is not the sinus"),
    "few positions": (
        tensor("paraphraser", "pos_encoder.pe", lambda t: t[:100]),
        r"synpg.pt: pos_encoder.pe has shape \(100, 1, 12\), expected at least \(162, 1, 12\)",
    ),
    "integer tensor": (tensor("paraphraser", "linear.bias", lambda t: t.int()), r"synpg.pt holds what is not .* \(linear.bias\)"),
    "sparse tensor": (tensor("paraphraser", "linear.weight", lambda t: t.to_sparse()), r"synpg.pt holds what is not a dense"),
    "no data": (tensor("paraphraser", "linear.weight", lambda t: t.to("meta")), r"synpg.pt holds what is not a dense"),
    "training state": (
        state("paraphraser", lambda s: {"net": s, "optimizer": {}, "step": 3}),
        r"synpg.pt holds what is not .* \(net, optimizer, step\): save the network's state_dict\(\) alone",
    ),
    "list": (state("paraphraser", lambda s: [1]), r"synpg.pt holds something \(list\)"),
    "whole module": (state("paraphraser", lambda s: torch.nn.Linear(1, 1)), r"synpg.pt asks for torch.nn.modules.linear.Linear"),
    "web page": (content("synpg", b"\n<!DOCTYPE html><html><title>Virus scan warning"), r"synpg.pt is a web page"),
    "empty file": (content("parse-generator", b""), r"parse.pt is not a checkpoint of tensors, or it is damaged"),
    "a pickle": (content("synpg", pickle.dumps({"a": 1}, 4)), r"synpg.pt is not a checkpoint of tensors, or it is damaged"),
    "other file": (content("synpg", b"hello world, this is text\n"), r"synpg.pt is not a checkpoint of tensors, or it is damaged"),
    "dictionary of another size": (
        vocabulary(lambda tokens: tokens + ["zoo"]),
        rf"parse.pt embeds {len(TOKENS)} tokens but the dictionary has {len(TOKENS) + 1}: they do not belong",
    ),
    "gap in the ids": (tables(idx2word=without(120)), rf"dictionary.pkl: its {len(TOKENS) - 1} ids are not contiguous, 120 is missing"),
    "ids from one": (tables(idx2word=lambda t: {i + 1: token for i, token in t.items()}), r"not contiguous, 0 is missing"),
    "ids of text": (tables(idx2word=lambda t: {str(i): token for i, token in t.items()}), r"idx2word has keys that are not integers"),
    "tables disagree": (tables(word2idx=swap_ids), r"idx2word and word2idx disagree about entry 109, 'the'"),
    "word too many": (tables(word2idx=lambda t: {**t, "zoo": 3}), rf"word2idx has {len(TOKENS) + 1} words, idx2word {len(TOKENS)}"),
    "empty word": (vocabulary(lambda tokens: tokens[:-1] + [""]), rf"entry {len(TOKENS) - 1} is '', not a word"),
    "number for a word": (tables(idx2word=lambda t: {**t, 110: 7}), r"entry 110 is 7, not a word"),
    "half a character": (vocabulary(lambda tokens: tokens[:-1] + ["\ud800"]), r"entry \d+ is '\\ud800', not a word"),
    "no special entries": (
        vocabulary(lambda tokens: tokens[:2] + tokens[3:] + ["<eos>"]),
        r"dictionary.pkl begins with <pad>, <sos>, <unk>, <msk>, <PAD>, expected <pad>, <sos>, <eos>",
    ),
    "no label": (
        vocabulary(lambda tokens: ["<NPP>" if token == "<NP>" else token for token in tokens]),
        r"dictionary.pkl lacks the syntax tokens <NP>",
    ),
    "no tables": (tables(idx2word=list), r"dictionary.pkl holds something \(Dictionary\) without the tables"),
    "not an object": (content("dictionary", pickle.dumps({"a": 1})), r"dictionary.pkl holds something \(dict\) without the tables"),
    "cut dictionary": (content("dictionary", pickled(dictionary(TOKENS))[:900]), r"dictionary.pkl is not a pickled dictionary, or"),
    "page for a dictionary": (content("dictionary", b"<html>"), r"dictionary.pkl is a web page"),
    "codes that are none": (content("bpe-codes", b"one two three\n"), r"codes: expected merges"),
    "codes not text": (content("bpe-codes", b"\xff\xfe\x00"), r"codes: expected merges"),
    "counts not text": (content("bpe-vocab", b"caf\xe9 100\n"), r"vocab: expected `piece count` on each line"),
    "counts that are none": (content("bpe-vocab", CODES.encode()), r"vocab: expected `piece count` on each line"),
    "foreign codes": (
        content("bpe-codes", b"#version: 0.2\nt h\no f</w>\n"),
        r"codes and .*vocab leave \d\d % of the dictionary's words whole: they belong to another dictionary, or",
    ),
    "foreign counts": (content("bpe-vocab", b"the 100\n"), r"codes and .*vocab leave \d+ % of the dictionary's words whole"),
}


@pytest.mark.parametrize("mismatch", MISMATCHES)
@pytest.mark.slow
def test_a_mismatch_is_one_sentence_and_leaves_nothing(given, capsys, recwarn, mismatch):
    spoil, sentence = MISMATCHES[mismatch]
    spoil(given)
    refused(given, capsys, sentence)
    assert not recwarn.list


def test_the_files_of_the_mismatches_are_otherwise_good(given, capsys):
    assert given.run() == 0
    assert capsys.readouterr().err == ""


def test_a_cut_download(given, capsys):
    given.run()
    shutil.rmtree(given.out)
    capsys.readouterr()
    for name in "synpg", "parse-generator":
        whole = given.files[name].read_bytes()
        given.states["paraphraser" if name == "synpg" else "parse_generator"] = None
        given.files[name].write_bytes(whole[: len(whole) // 2])
        refused(given, capsys, rf"{given.files[name].name} is not a checkpoint of tensors, or it is damaged")
        given.files[name].write_bytes(whole)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--heads", "5"], r"--heads 5 does not divide the width 12 of .*parse.pt"),
        (["--bpe-threshold", "101"], r"leave \d+ % of the dictionary's words whole"),
        (["--max-synt-len", "5000"], r"parse.pt cannot be served: syntax_width and max_steps must be at most 5000"),
    ],
)
def test_options_that_do_not_fit(given, capsys, options, sentence):
    assert given.run(*options) == 1
    check_refusal(given, capsys, sentence)


def test_numbers_too_large_for_half_precision(given, capsys):
    given.states["paraphraser"]["linear.bias"][TOKENS.index("the")] = 1e5
    assert given.run("--dtype", "fp16") == 1
    check_refusal(given, capsys, r"synpg.pt: linear.bias has numbers too large for .*16; use --dtype fp32")


def test_numbers_whose_sum_overflows_are_finite():
    assert published.is_finite(torch.tensor([3e38, 3e38]))
    assert not published.is_finite(torch.tensor([float("inf"), -float("inf")]))


def test_a_missing_file(given, capsys):
    given.files["bpe-codes"].unlink()
    assert given.run() == 1
    assert re.fullmatch(r".*codes: No such file or directory\.\n", capsys.readouterr().err)


# Which is which: the shapes are the same, what they say is not


def outspoken(given: Given) -> None:
    """Networks that are sure of their first token: a bracket, a word."""
    given.states["parse_generator"]["linear.bias"][TOKENS.index("<(>")] = 40
    given.states["paraphraser"]["linear.bias"][TOKENS.index("it")] = 40


def test_swapped_checkpoints_are_told_apart(given, capsys):
    outspoken(given)
    nets = given.states["parse_generator"], given.states["paraphraser"]
    given.states["paraphraser"], given.states["parse_generator"] = nets
    refused(given, capsys, r"synpg.pt speaks in parses and .*parse.pt in words: swap --synpg and --parse-generator")


def test_checkpoints_in_their_places_raise_no_doubt(given, capsys):
    outspoken(given)
    assert given.run() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "net, other, note",
    [
        ("parse_generator", "paraphraser", r"Note: .*parse.pt does not begin a parse with a bracket; .*--heads 2"),
        ("paraphraser", "parse_generator", r"Note: .*synpg.pt begins a sentence with a syntax token; .*--heads 2"),
    ],
)
def test_a_network_that_says_the_wrong_thing_is_noted(given, capsys, net, other, note):
    outspoken(given)
    given.states[net] = {name: t + 0.001 if name == "linear.bias" else t for name, t in given.states[other].items()}
    assert given.run() == 0
    assert re.fullmatch(note + r".*\n", capsys.readouterr().err)


def test_the_same_network_twice(given, capsys):
    given.states["paraphraser"] = given.states["parse_generator"]
    refused(given, capsys, "synpg.pt and .*parse.pt hold the same network")


# OUT


def test_nothing_is_left_when_writing_fails(given, capsys, monkeypatch):
    def full(folder):
        assert (folder / "paraphraser.safetensors").is_file()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    monkeypatch.setattr(artifacts, "write_manifest", full)
    refused(given, capsys, "No space left on device")


def test_nothing_is_left_when_a_server_would_refuse_it(given, capsys, monkeypatch):
    write = artifacts.write_manifest

    def spoil(folder):
        write(folder)
        (folder / "vocab.json").write_text("[]", encoding="utf-8")

    monkeypatch.setattr(artifacts, "write_manifest", spoil)
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


# Against the published files


PUBLISHED = Path(os.environ.get("SYNPG_PUBLISHED", ROOT.parent / "shared" / "data" / "published"))
GOLDEN = PUBLISHED / "golden.json"
needs_published = pytest.mark.skipif(not GOLDEN.is_file(), reason="SYNPG_PUBLISHED names no folder with the published files")
ENTRIES = 31_414


def import_published(folder: Path, states, *options: str) -> Pipeline:
    """The published vocabulary with given weights; `states` is called with "pg" and "synpg", one after the other."""
    files = {
        "--parse-generator": folder / "pg.pt",
        "--synpg": folder / "synpg.pt",
        "--dictionary": PUBLISHED / "dictionary.pkl",
        "--bpe-codes": PUBLISHED / "bpe.codes",
        "--bpe-vocab": PUBLISHED / "vocab.txt",
    }
    for net in "pg", "synpg":
        torch.save(states(net), folder / f"{net}.pt")
    arguments = [str(text) for pair in files.items() for text in pair]
    assert import_checkpoint.main([*arguments, *options, "--faithful", str(folder / "out")]) == 0
    return artifacts.load(folder / "out")


def golden_weights(net: str, config: ModelConfig) -> dict:
    """The recipe of golden.json."""
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in SynPG(config).state_dict().items()}
    state = {"pos_encoder.pe": sinusoids(5000, config.d_model)[:, None]}
    for name, shape in shapes.items():
        x = np.random.RandomState(zlib.crc32(f"{net}:{name}".encode())).standard_normal(shape).astype(np.float32)
        if "norm" in name:
            x = 0.1 * x + (1 if name.endswith("weight") else 0)
        elif name.endswith("bias") or name == "linear.weight":
            x = 0.1 * x
        else:
            x = 0.06 * x if "embedding" in name else x * 0.6 / np.sqrt(shape[1])
        state[name] = torch.from_numpy(x.astype(np.float32))
    return state


@pytest.fixture
def golden():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]


def rows_of(paraphraser: Pipeline, cases: list[dict], target: str = "tmpl"):
    """One row a case; `target` is the field of the case that is followed."""
    requests = [
        {"sent": case["sent"], "synt": case["synt"], "tmpl" if target == "tmpl" else "parse": case[target], "temperature": 0}
        for case in cases
    ]
    return [row for request in requests for row in paraphraser.plan(read_request(request))]


@needs_published
@pytest.mark.slow
def test_ids_are_those_of_the_published_code(tmp_path, golden):
    config = replace(CONFIGS["paraphraser"], vocab_size=ENTRIES)
    paraphraser = import_published(tmp_path, lambda net: published_state(config, len(net)), "--heads", "2")
    assert len(paraphraser.vocabulary) == ENTRIES and len(golden) == 3
    for case, row, parsed in zip(golden, rows_of(paraphraser, golden), rows_of(paraphraser, golden, "synt")):
        assert row.pieces == case["word_ids"]
        assert row.tags == case["tag_ids"]
        assert [1, *row.syntax, 2] == case["template_ids"]
        assert [1, *parsed.syntax, 2] == case["parse_of_synt_ids"]


@pytest.fixture
def disk():
    """A folder that is gone after the test: pytest would keep the 800 MB of each of the last three runs."""
    with tempfile.TemporaryDirectory(prefix="synpg-") as folder:
        yield Path(folder)


@needs_published
@pytest.mark.slow
def test_greedy_answers_are_those_of_the_published_code(disk, golden):
    shape = ModelConfig(
        vocab_size=ENTRIES,
        d_model=300,
        n_heads=6,
        d_feedforward=2048,
        n_encoder_layers=6,
        n_decoder_layers=6,
        bag_width=40,
        syntax_width=162,
        max_steps=41,
        attend_pads=True,
        tie="none",
    )
    paraphraser = import_published(disk, lambda net: golden_weights(net, shape))
    assert paraphraser.text_generator.config == shape
    assert paraphraser.parse_generator.config == replace(shape, syntax_width=102, max_steps=161)
    rows = rows_of(paraphraser, golden)
    parses = paraphraser.generate_parses(rows)
    assert [parse.ids for parse in parses] == [case["parse_ids"] for case in golden]
    texts = paraphraser.generate_texts(rows, parses)
    assert [text.ids for text in texts] == [case["text_ids"] for case in golden]
    assert [paraphraser.vocabulary.decode_text(text.ids) for text in texts] == [case["answer"] for case in golden]
