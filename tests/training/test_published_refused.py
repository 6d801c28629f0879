"""Checkpoints that are not imported: what would run code, what does not fit, what is swapped. Each is one sentence and leaves nothing."""

import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch

from scripts.training import published
from tests.factories import CODES, TOKENS
from tests.training.checkpoint_files import Given, check_refusal, dictionary, pickled, refused

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
