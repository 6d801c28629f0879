"""Initial weights: random ones, perhaps with word vectors, or those of an artifact, fitted to another vocabulary."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from handler import artifacts, weights
from handler.language.trees import SYNTAX_TOKENS
from handler.language.vocabulary import SEPARATOR, SPECIALS
from handler.model.network import UNK, ModelConfig, SynPG
from scripts.training.corpus import VECTORS
from scripts.training.work import read_arrays, read_json

RIDGE = 100.0  # on the map from word vectors; the held-out loss hardly depends on it
RARE_LENGTH, RARE_BIAS = 1.25, 1.0  # of a rare token's row, to the common ones' mean, and its bias: short rows are badly copied


ROWS = "embedding_encoder.weight", "embedding_decoder.weight", "linear.weight"  # what has a row for each token


def begin_anew(name: str, shape: dict[str, Any], corpus: Path, seed: int) -> SynPG:
    """A network of a shape with random weights, for the vocabulary of a prepared corpus.

    The words of a paraphraser that have word vectors begin at them: similar words are near each other before any training.
    """
    tokens, record = len(read_json(corpus / "vocab.json")), read_json(corpus / "corpus.json")
    syntax, generator = len(SPECIALS) + len(SYNTAX_TOKENS), torch.Generator().manual_seed(seed)
    if name == "parse_generator":
        net = SynPG(ModelConfig(vocab_size=syntax, **shape))
    else:
        net = SynPG(ModelConfig(vocab_size=tokens, generation_vocab_size=record.get("generation_vocab_size"), **shape))
    net.reset_parameters(generator)
    if name == "paraphraser" and (corpus / VECTORS).exists():
        state = net.state_dict()
        place_at_vectors(state, corpus, net.config.output_vocab_size, generator)
        net.load_state_dict(state)
    return net


def place_at_vectors(state: dict[str, torch.Tensor], corpus: Path, generation_vocab_size: int, generator: torch.Generator) -> None:
    """Move the rows of the tokens that have word vectors, in place, to their vectors: turned at random into the width of the network,
    about their mean, and as long on average as the rows were. Rare tokens are made easy to copy."""
    arrays = read_arrays(corpus / VECTORS)
    ids, vectors = torch.from_numpy(arrays["ids"]), torch.from_numpy(arrays["vectors"]).float()
    width = state[ROWS[0]].shape[1]
    across = torch.linalg.qr(torch.randn(max(width, vectors.shape[1]), min(width, vectors.shape[1]), generator=generator)).Q
    placed = (vectors - vectors.mean(0)) @ (across.T if len(across) == width else across)
    lengths = placed.norm(dim=1)
    if not lengths.any():  # one vector, or all the same: nothing is known of which words are similar
        return
    for key in ROWS:
        state[key][ids] = placed * (state[key][ids].norm(dim=1).mean() / lengths.mean())
    state["linear.bias"][generation_vocab_size:] = RARE_BIAS


def begin_from(base: Path, name: str, corpus: Path) -> SynPG:
    """The network of an artifact, fitted to the vocabulary and the limits of a prepared corpus.

    Tokens that the artifact knows keep their vectors. A new token begins as the mean of the pieces that it was split into. A rare
    token that has a word vector begins where a linear map takes that vector: similar words are near each other in both spaces.
    """
    settings = artifacts.verify(base)
    net = weights.load_net(base / f"{name}.safetensors", getattr(settings, name), torch.device("cpu"))
    old, new = (read_json(folder / "vocab.json") for folder in (base, corpus))
    record = read_json(corpus / "corpus.json")
    c = net.config
    known = {token: i for i, token in enumerate(old[: c.vocab_size])}
    pieces = artifacts.read_pieces(base / "bpe.codes", base / "bpe.vocab.txt", settings.pipeline.bpe_threshold)
    syntax = len(SPECIALS) + len(SYNTAX_TOKENS)
    of_words = c.vocab_size > syntax
    kept = new if of_words else new[:syntax]
    origins = [
        [known[token]] if token in known else [known.get(piece, UNK) for piece in pieces.split([token.removesuffix(SEPARATOR)])]
        for token in kept
    ]
    longest = {"max_steps": record["limits"]["parse"] - 1} if name == "parse_generator" else {"syntax_width": record["limits"]["parse"]}
    generation_vocab_size = {"generation_vocab_size": record.get("generation_vocab_size")} if of_words and record["merges"] else {}
    config = replace(c, vocab_size=len(kept), **generation_vocab_size, **({} if c.attend_pads else longest))
    state = net.state_dict()
    for key in *ROWS, "linear.bias":
        state[key] = torch.stack([state[key][ids].mean(0) for ids in origins])
    if of_words and (corpus / VECTORS).exists():
        begin_at_vectors(state, corpus, config.output_vocab_size, torch.tensor([token in known for token in kept]))
    fitted = SynPG(config)  # a new one: what `load_net` returns shares tied tensors, but not as one parameter
    fitted.load_state_dict(state)
    return fitted


def begin_at_vectors(state: dict[str, torch.Tensor], corpus: Path, generation_vocab_size: int, known: torch.Tensor) -> None:
    """Move the rows of the rare tokens, in place, to where their word vectors say, and make them easy to copy.

    The map is the least squares one from the vectors of the common, known (V,) words to their rows.
    """
    arrays = read_arrays(corpus / VECTORS)
    ids, vectors = torch.from_numpy(arrays["ids"]), F.pad(torch.from_numpy(arrays["vectors"]), (0, 1), value=1.0).double()
    common, rare = (ids < generation_vocab_size) & known[ids], ids >= generation_vocab_size
    one = vectors[common]
    gram = one.T @ one + RIDGE * torch.eye(one.shape[1], dtype=one.dtype)
    for key in ROWS:
        rows = state[key][ids[common]].double()
        state[key][ids[rare]] = (vectors[rare] @ torch.linalg.solve(gram, one.T @ rows)).float()
        lengths = state[key][generation_vocab_size:].norm(dim=1, keepdim=True)
        state[key][generation_vocab_size:] *= RARE_LENGTH * rows.norm(dim=1).mean().float() / lengths
    state["linear.bias"][generation_vocab_size:] = RARE_BIAS
