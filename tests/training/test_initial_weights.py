"""Weights that a training from nothing begins with: random ones, or words at their vectors."""

import json

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.wire.request import read_request
from scripts import train
from scripts.training import corpus, initial_weights, trainer
from tests.factories import PICNIC

SHAPE = dict(d_model=16, n_heads=2, d_feedforward=32, n_encoder_layers=1, n_decoder_layers=1)
PARSE = "(ROOT (S (NP (DT the) (NN {})) (VP (VBZ likes) (NP (DT a) (NN {}))) (. .)))"
NOUNS = "dog cat bird horse".split()


def files(folder, width):
    """Arguments of a training from nothing on a few sentences, with vectors: two nouns alike, one of them never seen."""
    for name, times in (("train", 10), ("dev", 1)):
        lines = [(f"the {one} likes a {two} .", PARSE.format(one, two)) for one in NOUNS for two in NOUNS]
        (folder / f"{name}.tsv").write_text("".join(f"{text}\t{parse}\n" for text, parse in lines) * times)
    rng = np.random.default_rng(1)
    vectors = {word: rng.normal(size=width) for word in ("the", "a", "likes", *NOUNS)}
    vectors["zebra"] = vectors["horse"] + 0.01
    lines = (f"{word} {' '.join(map(str, vector))}\n" for word, vector in vectors.items())
    (folder / "vectors.txt").write_text("".join(lines))
    given = ["--train", str(folder / "train.tsv"), "--dev", str(folder / "dev.tsv"), "--vectors", str(folder / "vectors.txt")]
    return [str(folder / "work"), *given, "--merges", "60", "--threads", "1", "--epochs", "0.2"]


@pytest.mark.parametrize("width", [6, 40])
def test_words_begin_at_their_vectors(tmp_path, monkeypatch, width):
    for name in trainer.NETS:
        monkeypatch.setitem(trainer.SHAPES, name, {**trainer.SHAPES[name], **SHAPE})
    assert train.main(files(tmp_path, width)) == 0
    folder = tmp_path / "work" / "corpus"
    tokens = json.loads((folder / "vocab.json").read_text())
    nets = [initial_weights.begin_anew("paraphraser", trainer.SHAPES["paraphraser"], folder, seed) for seed in (1, 1, 2)]
    assert all(torch.equal(one, two) for one, two in zip(nets[0].state_dict().values(), nets[1].state_dict().values()))
    written = nets[0].config.generation_vocab_size
    assert written is not None and written <= tokens.index("zebra") < len(tokens)  # it was never seen, and is only copied
    with np.load(folder / corpus.VECTORS) as arrays:
        ids, vectors = arrays["ids"], torch.from_numpy(arrays["vectors"])
    for net in nets:
        rows = net.linear.weight[ids].detach()
        if width < SHAPE["d_model"]:  # nothing is lost: all distances are in proportion
            ratio = torch.pdist(rows) / torch.pdist(vectors)
            torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
        zebra, horse, dog = (net.linear.weight[tokens.index(word)].detach() for word in ("zebra", "horse", "dog"))
        assert (zebra - horse).norm() < 0.1 * (dog - horse).norm()
        others = [i for i in range(len(tokens)) if i not in ids]
        assert 0.5 < rows.norm(dim=1).mean() / net.linear.weight[others].norm(dim=1).mean() < 2
        assert (net.linear.bias[written:] == initial_weights.RARE_BIAS).all() and not net.linear.bias[:written].any()
        assert torch.equal(net.linear.weight, net.embedding_encoder.weight)
    assert train.main([str(tmp_path / "work"), "--export", str(tmp_path / "out")]) == 0
    paraphraser = artifacts.load(tmp_path / "out")
    assert artifacts.verify(tmp_path / "out").paraphraser.generation_vocab_size == written
    assert paraphraser.run(paraphraser.plan(read_request({**PICNIC, "seed": 1})))[0].text


def test_vectors_that_are_all_the_same_change_nothing(tmp_path):
    np.savez(tmp_path / corpus.VECTORS, ids=np.array([1, 2]), vectors=np.ones((2, 3), np.float32))
    state = {key: torch.randn(4, 6) for key in initial_weights.ROWS} | {"linear.bias": torch.zeros(4)}
    before = {key: tensor.clone() for key, tensor in state.items()}
    initial_weights.place_at_vectors(state, tmp_path, 3, torch.Generator().manual_seed(1))
    assert all(torch.equal(state[key], before[key]) for key in before)
