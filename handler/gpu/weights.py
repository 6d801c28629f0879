"""A network's weights, fused for decoding on a GPU: half precision, few operations, shapes that suit fast kernels.

Torch only: no loop over time, no files, no choice of device. Shapes as in `model/network.py`; R rows of a matrix.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handler.model.network import Attention, FeedForwardLayer, SynPG


class Norm:
    """LayerNorm in `dtype`. The GPU sums in fp32 whatever that is."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype, plus: Tensor | float = 0.0):
        self.shape, self.weight, self.bias, self.eps = norm.normalized_shape, norm.weight.to(dtype), (norm.bias + plus).to(dtype), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class Sublayer:
    """norm(x + out(f(into(x)))), the form of each part of a post-norm layer.

    `out` has no bias here. The norm before this sublayer has already added it to x, and the bias of `into` corrects for that (see
    `fold_residual_biases`). So the residual sum needs no kernel launch of its own: the product is added to x in place.
    """

    def __init__(self, into: Tensor, bias: Tensor, out: Tensor, norm: Norm):
        self.into, self.bias, self.out, self.norm = into, bias, out.T, norm  # (N, E), (N,), (N', E)

    def __call__(self, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        """x (R, E), which is overwritten."""
        return self.norm(x.addmm_(f(F.linear(x, self.into, self.bias)), self.out))


Part = tuple[Tensor, Tensor, Tensor, Tensor, nn.LayerNorm]  # into, its bias, out, its bias, norm


def fold_residual_biases(layers: Sequence[tuple[Part, ...]], dtype: torch.dtype) -> tuple[list[list[Sublayer]], Tensor]:
    """Move each sublayer's output bias to the norm before it. Returns the sublayers of each layer in `dtype`, and what must be added to
    the first sublayer's x."""
    moved = [part[3] for layer in layers for part in layer]
    after: Iterator[Tensor | float] = iter([*moved[1:], 0.0])
    return [
        [
            Sublayer(into.to(dtype), (bias - into.to(dtype).float() @ before).to(dtype), out.to(dtype), Norm(norm, dtype, next(after)))
            for into, bias, out, before, norm in layer
        ]
        for layer in layers
    ], moved[0]


def feed_forward(layer: FeedForwardLayer, norm: nn.LayerNorm) -> Part:
    return layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias, norm


class Heads:
    """The projections of an attention layer, with the head width D padded with zeros to a multiple of 8.

    A GPU's fused attention accepts no other width, and the published networks have 50. The zeros change no product and no sum.
    """

    def __init__(self, attention: Attention):
        self.n, self.width = attention.n_heads, attention.out_proj.in_features // attention.n_heads
        self.extra = -self.width % 8
        self.weight, self.bias = self._pad(attention.in_proj_weight), self._pad(attention.in_proj_bias)  # (3HD, E), (3HD,)
        out = attention.out_proj.weight.unflatten(1, (self.n, self.width))
        self.out, self.out_bias = F.pad(out, (0, self.extra)).flatten(1), attention.out_proj.bias  # (E, HD), (E,)

    def _pad(self, packed: Tensor) -> Tensor:
        """Along the first dimension, (3HD, …)."""
        return F.pad(packed.view(3 * self.n, self.width, -1), (0, 0, 0, self.extra)).view(-1, *packed.shape[1:])


class FusedWeights:
    """All weights of a network. Everything is computed in `dtype` except the logits, whose small differences decide.

    output_vocab_size: how many logits are computed, from the first on. input_vocab_size: how many tokens the input may contain, from the
    first on. None means all.
    """

    def __init__(self, net: SynPG, dtype: torch.dtype, output_vocab_size: int | None = None, input_vocab_size: int | None = None):
        encoder, decoder, scale = net.transformer.encoder, net.transformer.decoder, math.sqrt(net.config.d_model)
        own = [Heads(layer.self_attn) for layer in encoder.layers]
        layers: list[tuple[Part, ...]] = [
            ((heads.weight, heads.bias, heads.out, heads.out_bias, layer.norm1), feed_forward(layer, layer.norm2))
            for layer, heads in zip(encoder.layers, own)
        ]
        self.encoder, first = fold_residual_biases(layers, dtype)
        self.encoder_embedding = (net.embedding_encoder.weight[:input_vocab_size] * scale + first).to(dtype)
        self.encoder_norm = Norm(encoder.norm, dtype)

        own, cross = ([Heads(getattr(layer, name)) for layer in decoder.layers] for name in ("self_attn", "multihead_attn"))
        n = own[0].n * (own[0].width + own[0].extra)
        layers = [
            (
                (mine.weight, mine.bias, mine.out, mine.out_bias, layer.norm1),
                (other.weight[:n], other.bias[:n], other.out, other.out_bias, layer.norm2),
                feed_forward(layer, layer.norm3),
            )
            for layer, mine, other in zip(decoder.layers, own, cross)
        ]
        self.decoder, first = fold_residual_biases(layers, dtype)
        self.memory = [(heads.weight[n:].to(dtype), heads.bias[n:].to(dtype)) for heads in cross]
        self.decoder_embedding = (net.embedding_decoder.weight[:output_vocab_size] * scale + first).to(dtype)
        self.decoder_norm = Norm(decoder.norm, torch.float)
        weight, bias = net.linear.weight.float(), net.linear.bias.float()
        self.generation_vocab_size = net.config.generation_vocab_size
        self.logits = weight[: self.generation_vocab_size or output_vocab_size], bias[: self.generation_vocab_size or output_vocab_size]
        self.copy_weights = (
            (weight[self.generation_vocab_size :], bias[self.generation_vocab_size :]) if self.generation_vocab_size else None
        )
        self.positions = net.pos_encoder.table.to(dtype)
        self.heads, self.width, self.scale = own[0].n, n // own[0].n, own[0].width ** -0.5  # H, D, and the scale of the attention products
