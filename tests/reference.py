"""The slow, plain oracle: torch's own Transformer in fp32, one row at a time, recomputing the whole prefix at each step.

It was written for these tests from the paper and the published layout. handler/ and scripts/ never import it.
"""

import math

import torch
from torch import nn

from handler.model.network import EOS, PAD, SOS, ModelConfig, SynPG, sinusoids


class Oracle(nn.Module):
    """Takes the same state dict as `SynPG`, computes with `torch.nn.Transformer` and explicit masks."""

    def __init__(self, net: SynPG):
        super().__init__()
        self.config = c = net.config
        self.embedding_encoder = nn.Embedding(c.vocab_size, c.d_model)
        self.embedding_decoder = nn.Embedding(c.vocab_size, c.d_model)
        self.transformer = nn.Transformer(
            c.d_model, c.n_heads, c.n_encoder_layers, c.n_decoder_layers, c.d_feedforward, dropout=0.0, batch_first=True
        )
        self.linear = nn.Linear(c.d_model, c.vocab_size)
        self.load_state_dict(net.state_dict(), strict=True)
        self.eval()

    @torch.no_grad()
    def logits(self, bag: list[int], syntax: list[int], prefix: list[int]) -> torch.Tensor:
        """Logits (T, V) after each token of a prefix that starts with <sos>."""
        c = self.config
        if c.attend_pads:
            bag = bag + [PAD] * (c.bag_width - len(bag))
            syntax = syntax + [PAD] * (c.syntax_width - len(syntax))
        scale, a = math.sqrt(c.d_model), len(bag)
        words = self.embedding_encoder(torch.tensor([bag])) * scale
        tree = self.embedding_encoder(torch.tensor([syntax])) * scale + sinusoids(len(syntax), c.d_model)
        target = self.embedding_decoder(torch.tensor([prefix])) * scale + sinusoids(len(prefix), c.d_model)
        m = a + len(syntax)
        apart = torch.ones(m, m, dtype=torch.bool)  # True: must not attend
        apart[:a, :a] = apart[a:, a:] = False
        memory = self.transformer.encoder(torch.cat([words, tree], 1), mask=apart)
        future = torch.ones(len(prefix), len(prefix), dtype=torch.bool).triu(1)
        return self.linear(self.transformer.decoder(target, memory, tgt_mask=future))[0]

    def greedy(self, bag: list[int], syntax: list[int]) -> list[int]:
        """The published decode: always `max_steps` steps, then what follows the first <eos> is thrown away."""
        prefix = [SOS]
        for _ in range(self.config.max_steps):
            prefix.append(int(self.logits(bag, syntax, prefix)[-1].argmax()))
        ids = prefix[1:]
        return ids[: ids.index(EOS) + 1] if EOS in ids else ids


def tiny_config(attend_pads: bool = False, tie: str = "none", **changes) -> ModelConfig:
    """A network small enough to run hundreds of times in a test."""
    shape = dict(
        vocab_size=140,
        d_model=12,
        n_heads=2,
        d_feedforward=20,
        n_encoder_layers=2,
        n_decoder_layers=2,
        bag_width=9,
        syntax_width=41,
        max_steps=24,
    )
    return ModelConfig(**{**shape, **changes}, attend_pads=attend_pads, tie=tie)


def random_net(config: ModelConfig, seed: int = 0) -> SynPG:
    """Random weights, lively enough that different inputs give different greedy outputs."""
    generator = torch.Generator().manual_seed(seed)
    net = SynPG(config)
    with torch.no_grad():
        for name, p in net.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(noise * 0.1 + (1.0 if name.endswith("weight") else 0.0))
            elif "embedding" in name or name == "linear.weight":
                p.copy_(noise * 0.3)
            else:
                p.copy_(noise * (0.1 if p.dim() == 1 else 0.9 / math.sqrt(p.shape[-1])))
    return net.eval()


def inputs(config, rows, seed=3):
    """Bags and syntax sequences of `rows` random rows of different lengths, ids (B, A) and (B, S)."""
    g = torch.Generator().manual_seed(seed)
    a, s = (config.bag_width, config.syntax_width) if config.attend_pads else (6, 9)
    bag, syntax = torch.zeros(rows, a, dtype=torch.long), torch.zeros(rows, s, dtype=torch.long)
    for i in range(rows):
        n, m = (2 + i) % 5 + 1, 3 + (i * 2) % 6
        bag[i, :n] = torch.randint(5, config.vocab_size, (n,), generator=g)
        syntax[i, :m] = torch.randint(5, config.vocab_size, (m,), generator=g)
    return bag, syntax
