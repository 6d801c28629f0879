"""Against the published files: the ids and answers of the published code.

They need dictionary.pkl, bpe.codes, vocab.txt and golden.json. SYNPG_PUBLISHED names their folder; without it
`../shared/data/published` beside the checkout is tried, and where there is none these tests are skipped. SYNPG_PUBLISHED set to nothing
skips them too.
"""

import json
import os
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.model.network import ModelConfig, SynPG, sinusoids
from handler.pipeline import Pipeline
from handler.wire.request import read_request
from scripts import import_checkpoint
from scripts.bench.published import SHAPE
from scripts.common.paths import ROOT
from tests.training.checkpoint_files import CONFIGS, published_state

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
    shape = ModelConfig(vocab_size=ENTRIES, syntax_width=162, max_steps=41, **SHAPE)
    paraphraser = import_published(disk, lambda net: golden_weights(net, shape))
    assert paraphraser.text_generator.config == shape
    assert paraphraser.parse_generator.config == replace(shape, syntax_width=102, max_steps=161)
    rows = rows_of(paraphraser, golden)
    parses = paraphraser.generate_parses(rows)
    assert [parse.ids for parse in parses] == [case["parse_ids"] for case in golden]
    texts = paraphraser.generate_texts(rows, parses)
    assert [text.ids for text in texts] == [case["text_ids"] for case in golden]
    assert [paraphraser.vocabulary.decode_text(text.ids) for text in texts] == [case["answer"] for case in golden]
