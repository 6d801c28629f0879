"""A parser that is trained on a dozen trees, from a tiny encoder of random weights."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file as save_torch

from scripts.training.parser_data import Recipe

TREES = """(ROOT (S (NP (DT The) (NN cat)) (VP (VBD sat)) (. .)))
(ROOT (S (NP (DT The) (NN dog)) (VP (VBD ran)) (. .)))
(ROOT (S (NP (DT A) (NN dog)) (VP (VBD saw) (NP (DT the) (NN cat))) (. .)))
(ROOT (S (NP (NNP Anna)) (VP (VBD saw) (NP (NP (DT a) (NN bird)) (PP (IN with) (NP (DT a) (NN dog))))) (. .)))
(ROOT (S (NP (PRP She)) (VP (VBZ wants) (S (VP (TO to) (VP (VB see) (NP (PRP it)))))) (. .)))
(ROOT (S (NP (PRP He)) (VP (VBZ likes) (NP (DT the) (JJ old) (NN bird))) (. .)))
(ROOT (SQ (VBD Did) (NP (PRP he)) (VP (VB see) (NP (DT the) (NN dog))) (. ?)))
(ROOT (SBARQ (WHADVP (WRB Why)) (SQ (VBD did) (NP (DT the) (NN cat)) (VP (VB run))) (. ?)))
(ROOT (S (NP (DT The) (JJ old) (NN cat)) (VP (VBD ran) (ADVP (RB away))) (. .)))
(ROOT (S (NP (NNP Tom)) (VP (VBD ran) (PP (TO to) (NP (DT the) (NN dog)))) (. .)))
(ROOT (INTJ (UH Oh) (. !)))
(ROOT (S (S (NP (CD 12) (NNS birds)) (VP (VBD sat))) (CC and) (S (NP (NNP Tom)) (VP (VBD ran))) (. .)))""".splitlines()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *LETTERS,
    *"0123456789.,?!'\"()-",
    *(f"##{c}" for c in LETTERS),
    *"the cat dog bird saw see ran sat want like old did why away anna tom".split(),
]


def random_encoder(folder: Path, width: int = 64, inner: int = 96, layers: int = 3) -> Path:
    """A BERT as its makers publish it, a tiny one of random weights."""
    folder.mkdir()
    make = torch.Generator().manual_seed(0)
    normal = lambda *form: torch.randn(*form, generator=make) * 0.1  # noqa: E731
    tensors = {
        "embeddings.word_embeddings.weight": normal(len(PIECES), width) * 10,
        "embeddings.position_embeddings.weight": normal(512, width),
        "embeddings.token_type_embeddings.weight": normal(2, width),
        "embeddings.LayerNorm.weight": torch.ones(width),
        "embeddings.LayerNorm.bias": torch.zeros(width),
    }
    linear = {
        **{f"attention.self.{name}": (width, width) for name in ("query", "key", "value")},
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    for layer in (f"encoder.layer.{i}." for i in range(layers)):
        for name, form in linear.items():
            tensors |= {f"{layer}{name}.weight": normal(*form), f"{layer}{name}.bias": normal(form[0])}
        for name in "attention.output.LayerNorm", "output.LayerNorm":
            tensors |= {f"{layer}{name}.weight": torch.ones(width), f"{layer}{name}.bias": torch.zeros(width)}
    save_torch(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4, "intermediate_size": inner}), encoding="utf-8")
    vocabulary = {"model": {"vocab": {piece: i for i, piece in enumerate(PIECES)}}}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder


RECIPE = Recipe(
    weights={"hand": 2},
    epochs=60,
    layers=2,
    hidden=64,
    min_chain=1,
    rate=3e-3,
    new_rate=3e-3,
    warmup=10,
    dropout=0.0,
    word_dropout=0.0,
    lower=0.3,
    no_stop=0.0,
    batch=200,
)


def files(folder):
    return {name: folder / f"{name}.tsv" for name in ("train", "dev")}
