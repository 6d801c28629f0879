"""The network of the source parser in torch, as it is trained; `handler/parsing/network.py` is the one that serves."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handler.parsing.parser import SHAPES


class Layer(nn.Module):
    """One layer of BERT."""

    def __init__(self, width: int, inner: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

    def forward(self, x: Tensor, mask: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """x (B, P, D), mask (B, 1, 1, P) -> (B, P, D); read: `rounded` or nothing, what happens to inputs"""
        b, p, d = x.shape
        q, k, v = self.qkv(read(x)).view(b, p, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(b, p, d)
        x = self.norm1(x + F.dropout(self.out(read(attended)), self.dropout, self.training))
        inner = F.gelu(self.up(read(x)), approximate="tanh")
        return self.norm2(x + F.dropout(self.down(read(inner)), self.dropout, self.training))


def rounded(x: Tensor) -> Tensor:
    """To 256 levels between the least and the greatest, as `handler.parsing.network` does in int8; gradients pass."""
    low, high = x.detach().aminmax()
    scale = (high.clamp_min(0) - low.clamp_max(0)).clamp_min(1e-6) / 255
    zero = torch.round(-low.clamp_max(0) / scale).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


class Net(nn.Module):
    """The network of `handler.parsing.parser`; the embedding is a buffer, for it is not trained."""

    embedding: Tensor

    def __init__(
        self,
        embedding: Tensor,
        positions: int,
        layers: int,
        heads: int,
        inner: int,
        hidden: int,
        tags: int,
        labels: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        width = embedding.shape[1]
        self.register_buffer("embedding", embedding)
        self.position, self.shape = nn.Parameter(torch.zeros(positions, width)), nn.Parameter(torch.zeros(SHAPES, width))
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList(Layer(width, inner, heads, dropout) for _ in range(layers))
        self.tags = nn.Linear(width, tags)
        self.left, self.right = nn.Linear(2 * width, hidden), nn.Linear(2 * width, hidden)
        self.labels = nn.Linear(hidden, labels)
        self.dropout, self.rounds = dropout, False

    def pretrained(self) -> list[nn.Parameter]:
        return [self.position, *self.norm.parameters(), *self.layers.parameters()]

    def forward(self, ids: Tensor, shapes: Tensor, mask: Tensor, ends: Tensor, rows: Tensor, begins: Tensor, stops: Tensor, places: Tensor):
        """ids and shapes (B, P); mask (B, P), True where a piece is; ends (2, B, W + 2), the first and last piece of each word;
        rows, begins, stops (S,): the spans; places (N,): the words in (B x W). Returns scores (S, L) and tags (N, T)."""
        x = self.norm(self.embedding[ids] + self.position[: ids.shape[1]] + self.shape[shapes])
        x = F.dropout(x, self.dropout, self.training)
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :], rounded if self.rounds else lambda same: same)
        first, last = (x.gather(1, e[..., None].expand(-1, -1, x.shape[-1])) for e in ends)
        w = (first + last) / 2  # (B, W + 2, D)
        pairs = torch.cat([w[:, :-1], w[:, 1:]], -1)  # (B, W + 1, 2 D): of the gaps between words
        left, right = self.left(pairs), self.right(pairs)
        gaps = pairs.shape[1]
        spans = torch.relu(left.flatten(0, 1)[rows * gaps + begins] + right.flatten(0, 1)[rows * gaps + stops])
        spans = F.dropout(spans, self.dropout, self.training)
        return self.labels(spans), self.tags(w[:, 1:-1].flatten(0, 1)[places])


def loss_of(net: Net, inputs: list[Tensor], targets: Tensor, tags: Tensor) -> Tensor:
    """Cross-entropy of the spans' labels and of the tags, nats a word."""
    scores, kinds = net(*inputs)
    return (F.cross_entropy(scores, targets, reduction="sum") + F.cross_entropy(kinds, tags, reduction="sum")) / len(tags)
