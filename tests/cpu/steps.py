"""What tests of the CPU engine share: an artifact with ranges and drafts, and logits a token a step."""

import torch

from handler import artifacts
from handler.decoding import proposers
from handler.decoding.plain import PlainNetwork
from handler.language.trees import read_tree, syntax_tokens
from handler.model.network import SynPG
from handler.wire.request import CATALOGUE, read_request
from scripts.common import artifact_files
from scripts.training.recording import record
from tests.factories import PICNIC

TEMPLATES = [*CATALOGUE.values(), "(ROOT (S ))", "(ROOT (FRAG (NP ) (. )))"]


def calibrated(folder):
    """Give an artifact ranges and drafts."""
    plain = artifacts.load(folder, compiled=False)
    ranges = {}
    with torch.inference_mode():
        for name in artifacts.NETS:
            ranges[name] = record(plain.backend(name).net.net)
        plain.run(plain.plan(read_request({**PICNIC, "seed": 1, "temperature": 1.0})))
    artifact_files.write_json(folder / artifacts.RANGES, ranges)
    parses = [bytes([1, *(plain.vocabulary.syntax_ids[t] for t in syntax_tokens(read_tree(PICNIC["synt"]))), 2])]
    artifact_files.save_drafts(folder / artifacts.DRAFTS, *proposers.learn(parses, least=1))
    artifact_files.write_manifest(folder)


def encode(net, bag, syntax):
    return net.encode(bag.numpy(), syntax.numpy())


def verify(net, tokens, cache, lengths):
    return torch.from_numpy(net.verify(tokens.numpy().copy(), cache, lengths).copy())


def logits_of(net, bag, syntax, tokens):
    """A token a step: (B, T, V)."""
    net = PlainNetwork(net) if isinstance(net, SynPG) else net
    cache = encode(net, bag, syntax)
    return torch.cat([verify(net, tokens[:, t : t + 1], cache, [t] * len(tokens)) for t in range(tokens.shape[1])], 1)
