"""One training serves all tests of the folder."""

import pytest
import torch

from handler import artifacts
from handler.language.trees import read_tree, words
from scripts.training import parser as training
from tests.parsing.tiny_parser import RECIPE, TREES, files, random_encoder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with a corpus, an encoder, what training on them left in `work`, and the parser it wrote."""
    torch.set_num_threads(1)  # a fixture of the session is made before `one_thread`
    folder = tmp_path_factory.mktemp("parser")
    random_encoder(folder / "encoder")
    for name in "train", "dev":
        lines = ["\t".join([" ".join(words(read_tree(tree))), tree, "hand"]) for tree in TREES]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = []
    training.train(folder / "work", files(folder), folder / "encoder", RECIPE, say=said.append)
    (folder / "said").write_text("\n".join(said), encoding="utf-8")
    training.export(folder / "work", folder / "parser.safetensors")
    return folder


@pytest.fixture(params=["fp32", "int8"])
def parser(trained, request):
    return artifacts.load_parser(trained / "parser.safetensors", request.param)
