"""Small checkpoints as the published code saves them, and what the importer makes of them."""

import pickle
import re
import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from handler import artifacts
from handler.language.vocabulary import SPECIALS
from handler.model.network import ModelConfig, sinusoids
from handler.pipeline import Pipeline
from scripts import import_checkpoint
from tests.factories import CODES, PIECES, TOKENS
from tests.reference import random_net, tiny_config

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


def refused(given: Given, capsys, sentence: str) -> None:
    """Exit 1, one sentence on stderr, nothing on stdout, nothing left behind."""
    assert given.run() == 1
    check_refusal(given, capsys, sentence)


def check_refusal(given: Given, capsys, sentence: str) -> None:
    printed, said = capsys.readouterr()
    assert printed == "" and len(said.splitlines()) == 1 and said.endswith(".\n") and "weights_only" not in said
    assert re.search(sentence, said)
    assert {file.name for file in given.folder.iterdir()} == {file.name for file in given.files.values()}
