"""The published way to decode: torch's own Transformer, the whole prefix again at every step, never stopping.

Written from the description of the published code, and as it does: the encoder once, then always `max_steps` decoder
passes over everything generated so far, the output layer for the last position only; fp32, no cache, one row at a time.
`tests/reference.py` holds the project's oracle; `tests/bench/test_bench.py` holds this one against it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from handler.model.network import EOS, PAD, SOS, SynPG, sinusoids


class PlainTransformer(nn.Module):
    """One network of an artifact in `torch.nn.Transformer`."""

    def __init__(self, net: SynPG, apart: bool = True):
        """apart: bag and syntax do not attend to each other in the encoder, as published; False: they do, as in
        CTranslate2, to check its weights."""
        super().__init__()
        self.config, self.apart = net.config, apart
        c = net.config
        self.embedding_encoder = nn.Embedding(c.vocab_size, c.d_model)
        self.embedding_decoder = nn.Embedding(c.vocab_size, c.d_model)
        self.transformer = nn.Transformer(
            c.d_model, c.n_heads, c.n_encoder_layers, c.n_decoder_layers, c.d_feedforward, dropout=0.0, batch_first=True
        )
        self.linear = nn.Linear(c.d_model, c.vocab_size)
        self.load_state_dict(net.state_dict(), assign=True)
        self.eval().requires_grad_(False)

    def memory(self, bag: list[int], syntax: list[int]) -> Tensor:
        """Encoder output (1, M, E)."""
        c = self.config
        if c.attend_pads:
            bag = bag + [PAD] * (c.bag_width - len(bag))
            syntax = syntax + [PAD] * (c.syntax_width - len(syntax))
        words = self.embedding_encoder(torch.tensor([bag])) * math.sqrt(c.d_model)
        placed = self._placed(self.embedding_encoder, syntax)
        a, m = len(bag), len(bag) + len(syntax)
        forbidden = torch.zeros(m, m, dtype=torch.bool)
        if self.apart:
            forbidden[:a, a:] = forbidden[a:, :a] = True
        return self.transformer.encoder(torch.cat([words, placed], 1), mask=forbidden)

    def _placed(self, embedding: nn.Embedding, ids: list[int]) -> Tensor:
        d = self.config.d_model
        return embedding(torch.tensor([ids])) * math.sqrt(d) + sinusoids(len(ids), d)

    def logits(self, memory: Tensor, prefix: list[int]) -> Tensor:
        """Logits (V,) of what follows the prefix, all of which is computed again."""
        future = nn.Transformer.generate_square_subsequent_mask(len(prefix))
        states = self.transformer.decoder(self._placed(self.embedding_decoder, prefix), memory, tgt_mask=future)
        return self.linear(states[0, -1])

    def greedy(self, bag: list[int], syntax: list[int], steps: int, tick: Callable[[], None] = lambda: None) -> list[int]:
        """`steps` tokens; what follows the first <eos> is thrown away at the end. `tick` is called after each."""
        with torch.inference_mode():
            memory, ids = self.memory(bag, syntax), [SOS]
            for _ in range(steps):
                ids.append(int(self.logits(memory, ids).argmax()))
                tick()
        return ids[1 : ids.index(EOS) + 1] if EOS in ids else ids[1:]
