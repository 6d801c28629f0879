"""The SynPG network: a post-norm encoder-decoder whose encoder reads a bag of words and a syntax sequence side by side.

One class serves as parse generator (bag of part-of-speech tags + template -> parse) and as paraphraser (bag of words + parse ->
text). Torch only: no loop over time, no files, no choice of device, no vocabulary.

Source: Huang and Chang, "Generating Syntactically Controlled Paraphrases without Using Annotated Parallel Pairs",
EACL 2021 (arXiv 2101.10579). Tensor names are those of the authors' checkpoints (the layout of `torch.nn.Transformer`).

Shapes: B rows, A width of the bag (input without positions), S width of the syntax sequence (input with positions),
M = A + S width of the memory, T target positions, V vocabulary, W tokens that may be written freely, H heads, D head width,
E = H * D model width, L layers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handler.model.copying import CopyHead, to_token_ids

PAD, SOS, EOS, UNK = 0, 1, 2, 3
TIES = "none", "output", "all"
MAX_POSITIONS = 5000  # rows of the published `pos_encoder.pe`


@dataclass(frozen=True)
class ModelConfig:
    """Everything that determines the shape and the arithmetic of one network. Part of the artifact's `config.json`."""

    vocab_size: int  # V: ids 0 .. V-1 are the first V entries of the artifact's vocabulary
    d_model: int  # E
    n_heads: int  # H, divides E
    d_feedforward: int  # hidden width of the feed-forward blocks
    n_encoder_layers: int
    n_decoder_layers: int
    bag_width: int  # most tokens in the bag; with attended pads, its exact width
    syntax_width: int  # most syntax tokens, <sos> and <eos> included; with attended pads, the exact width
    max_steps: int  # most tokens generated, <eos> included
    attend_pads: bool  # True: pads are embedded and attended to (published checkpoints). False: pads are masked
    tie: str  # "none"; "output": `linear.weight` is `embedding_decoder.weight`; "all": and `embedding_encoder.weight` too
    generation_vocab_size: int | None = None  # W: the first W tokens may be written freely, others only if in the bag; None: V

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "d_model",
            "n_heads",
            "d_feedforward",
            "n_encoder_layers",
            "n_decoder_layers",
            "bag_width",
            "syntax_width",
            "max_steps",
        ):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        W = self.generation_vocab_size
        if W is not None and (type(W) is not int or not EOS < W <= self.vocab_size):
            raise ValueError(f"generation_vocab_size must be an integer from {EOS + 1} to vocab_size, or null, not {W!r}")
        if type(self.attend_pads) is not bool:
            raise ValueError(f"attend_pads must be true or false, not {self.attend_pads!r}")
        if self.attend_pads and self.generation_vocab_size is not None:
            raise ValueError("generation_vocab_size must be null with attend_pads")
        if self.tie not in TIES:
            raise ValueError(f"tie must be one of {', '.join(TIES)}, not {self.tie!r}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if max(self.syntax_width, self.max_steps) > MAX_POSITIONS:
            raise ValueError(f"syntax_width and max_steps must be at most {MAX_POSITIONS}")

    @property
    def output_vocab_size(self) -> int:
        """W."""
        return self.generation_vocab_size or self.vocab_size


def sinusoids(length: int, d_model: int) -> Tensor:
    """Position table, shape (length, E): sine in even columns, cosine in odd ones."""
    position = torch.arange(length, dtype=torch.float, device="cpu").unsqueeze(1)
    rate = torch.exp(torch.arange(0, d_model, 2, device="cpu").float() * (-math.log(10000.0) / d_model))
    table = torch.zeros(length, d_model, device="cpu")
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)[:, : d_model // 2]
    return table


class PositionTable(nn.Module):
    """The position table. It is computed, not stored. If a checkpoint contains one (`pe`), it must equal this one."""

    def __init__(self, length: int, d_model: int):
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", sinusoids(length, d_model), persistent=False)  # (positions, E)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, metadata: dict, strict: bool, missing: list[str], unexpected: list[str], errors: list[str]
    ) -> None:
        stored = state_dict.pop(prefix + "pe", None)
        if stored is not None:
            n, d = self.table.shape
            if stored.shape != (MAX_POSITIONS, 1, d):
                errors.append(f"{prefix}pe has shape {tuple(stored.shape)}, expected {(MAX_POSITIONS, 1, d)}")
            elif not torch.allclose(stored[:n, 0].to(self.table), self.table, atol=1e-4):
                errors.append(f"{prefix}pe is not the sinusoidal table")
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)


class Attention(nn.Module):
    """Multi-head attention with packed input projections (names of `torch.nn.MultiheadAttention`)."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * d_model))
        self.out_proj = nn.Linear(d_model, d_model)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, E) -> (B, H, T, D)."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (B, T, E), each (B, H, T, D)."""
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, T, 3E)
        q, k, v = packed.chunk(3, dim=-1)
        return self.heads(q), self.heads(k), self.heads(v)

    def q(self, x: Tensor) -> Tensor:
        """Queries of x (B, T, E), (B, H, T, D)."""
        d = x.shape[-1]
        return self.heads(F.linear(x, self.in_proj_weight[:d], self.in_proj_bias[:d]))

    def kv(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of memory (B, M, E), each (B, H, M, D)."""
        d = memory.shape[-1]
        packed = F.linear(memory, self.in_proj_weight[d:], self.in_proj_bias[d:])  # (B, M, 2E)
        k, v = packed.chunk(2, dim=-1)
        return self.heads(k), self.heads(v)

    def merge(self, x: Tensor) -> Tensor:
        """(B, H, T, D) -> output projection of (B, T, E)."""
        return self.out_proj(x.transpose(1, 2).flatten(2))


class FeedForwardLayer(nn.Module):
    """Base of encoder and decoder layers: the residual connection and the feed-forward block."""

    def __init__(self, c: ModelConfig, dropout: float):
        super().__init__()
        self.self_attn = Attention(c.d_model, c.n_heads)
        self.linear1 = nn.Linear(c.d_model, c.d_feedforward)
        self.linear2 = nn.Linear(c.d_feedforward, c.d_model)
        self.norm1, self.norm2 = nn.LayerNorm(c.d_model), nn.LayerNorm(c.d_model)
        self.dropout = dropout

    def add(self, norm: nn.LayerNorm, x: Tensor, branch: Tensor) -> Tensor:
        """Post-norm residual: norm(x + branch), both (B, T, E)."""
        if self.training and self.dropout:
            branch = F.dropout(branch, self.dropout)
        return norm(x + branch)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.relu(self.linear1(x)))  # (B, T, E)


class EncoderLayer(FeedForwardLayer):
    """Self-attention within the bag and within the syntax, not across them. All weights are shared."""

    def forward(self, x: Tensor, bag_width: int, bag_bias: Tensor | None, syntax_bias: Tensor | None) -> Tensor:
        q, k, v = self.self_attn.qkv(x)  # (B, H, M, D)
        a = slice(None, bag_width), slice(bag_width, None)
        attended = torch.cat(
            [
                F.scaled_dot_product_attention(q[:, :, s], k[:, :, s], v[:, :, s], attn_mask=bias)
                for s, bias in zip(a, (bag_bias, syntax_bias))
            ],
            dim=2,
        )  # (B, H, M, D)
        x = self.add(self.norm1, x, self.self_attn.merge(attended))
        return self.add(self.norm2, x, self.feed_forward(x))


class DecoderLayer(FeedForwardLayer):
    """Causal self-attention, cross-attention to the memory, feed-forward."""

    def __init__(self, c: ModelConfig, dropout: float):
        super().__init__(c, dropout)
        self.multihead_attn = Attention(c.d_model, c.n_heads)
        self.norm3 = nn.LayerNorm(c.d_model)

    def after_self_attention(self, x: Tensor, attended: Tensor, memory_k: Tensor, memory_v: Tensor, memory_bias: Tensor | None) -> Tensor:
        """The rest of the layer. x (B, T, E), attended (B, H, T, D), memory_k and memory_v (B, H, M, D)."""
        x = self.add(self.norm1, x, self.self_attn.merge(attended))
        crossed = F.scaled_dot_product_attention(self.multihead_attn.q(x), memory_k, memory_v, attn_mask=memory_bias)
        x = self.add(self.norm2, x, self.multihead_attn.merge(crossed))
        return self.add(self.norm3, x, self.feed_forward(x))

    def forward(self, x: Tensor, memory: Tensor, memory_bias: Tensor | None) -> Tensor:
        q, k, v = self.self_attn.qkv(x)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
        return self.after_self_attention(x, attended, *self.multihead_attn.kv(memory), memory_bias)

    def step(
        self, x: Tensor, keys: Tensor, values: Tensor, length: int, memory_k: Tensor, memory_v: Tensor, memory_bias: Tensor | None
    ) -> Tensor:
        """One position: x (B, 1, E); writes position `length` of keys and values (B, H, T, D) and attends up to it."""
        q, k, v = self.self_attn.qkv(x)
        keys[:, :, length : length + 1], values[:, :, length : length + 1] = k, v
        attended = F.scaled_dot_product_attention(q, keys[:, :, : length + 1], values[:, :, : length + 1])
        return self.after_self_attention(x, attended, memory_k, memory_v, memory_bias)


class Stack(nn.Module):
    """Layers and a final norm: `encoder` and `decoder` of the checkpoint."""

    def __init__(self, layers: Sequence[nn.Module], d_model: int):
        super().__init__()
        self.layers: Any = nn.ModuleList(layers)  # Any: a ModuleList does not tell of what class its modules are
        self.norm = nn.LayerNorm(d_model)


@dataclass
class KVCache:
    """What decoding keeps from step to step. `SynPG.encode` creates it, `SynPG.step` extends it, then it is dropped."""

    keys: list[Tensor]  # L of (B, H, max_steps, D), filled up to `length`
    values: list[Tensor]  # L of (B, H, max_steps, D)
    memory_keys: list[Tensor]  # L of (B, H, M, D)
    memory_values: list[Tensor]  # L of (B, H, M, D)
    memory_bias: Tensor | None  # (B, 1, 1, M), added to the scores; None when every position counts
    copies: "CopyHead | None" = None  # None if all tokens may be written freely
    length: int = 0  # positions decoded so far

    def select_rows(self, rows: Tensor) -> None:
        """Keep only these rows; rows (kept,) are indices in the new order."""
        for tensors in (self.keys, self.values, self.memory_keys, self.memory_values):
            tensors[:] = [t.index_select(0, rows) for t in tensors]
        if self.memory_bias is not None:
            self.memory_bias = self.memory_bias.index_select(0, rows)
        if self.copies is not None:
            self.copies = self.copies.select_rows(rows)


class Transformer(nn.Module):
    """Both stacks, under their names in the checkpoint."""

    def __init__(self, encoder: Stack, decoder: Stack):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


class SynPG(nn.Module):
    """The network. `encode` once, then `step` per token; `forward` scores whole targets (training, teacher forcing)."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0):
        super().__init__()
        self.config = c = config
        self.embedding_encoder = nn.Embedding(c.vocab_size, c.d_model)
        self.embedding_decoder = nn.Embedding(c.vocab_size, c.d_model)
        self.pos_encoder = PositionTable(max(c.syntax_width, c.max_steps), c.d_model)
        self.transformer = Transformer(
            Stack([EncoderLayer(c, dropout) for _ in range(c.n_encoder_layers)], c.d_model),
            Stack([DecoderLayer(c, dropout) for _ in range(c.n_decoder_layers)], c.d_model),
        )
        self.linear = nn.Linear(c.d_model, c.vocab_size)
        if c.tie != "none":
            self.linear.weight = self.embedding_decoder.weight
        if c.tie == "all":
            self.embedding_encoder.weight = self.embedding_decoder.weight

    @property
    def device(self) -> torch.device:
        return self.linear.weight.device

    @property
    def output_vocab_size(self) -> int:
        """The number of logits without those of copied tokens."""
        return self.config.output_vocab_size

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initial weights for training: Xavier for matrices, zero biases, embeddings of unit variance after scaling."""
        for name, p in self.named_parameters():
            if "embedding" in name or name == "linear.weight":
                nn.init.normal_(p, std=self.config.d_model**-0.5, generator=generator)
            elif p.dim() == 2:
                nn.init.xavier_uniform_(p, generator=generator)
            elif "norm" not in name:
                nn.init.zeros_(p)

    def encode(self, bag: Tensor, syntax: Tensor) -> KVCache:
        """Encode both inputs and set up decoding.

        bag (B, A) and syntax (B, S) are ids, <pad> after each row's end. With attended pads the widths must be exactly
        `bag_width` and `syntax_width`; otherwise they may be the batch's own.
        """
        c = self.config
        if c.attend_pads and (bag.shape[1], syntax.shape[1]) != (c.bag_width, c.syntax_width):
            raise ValueError(f"widths {bag.shape[1]} and {syntax.shape[1]}, expected {c.bag_width} and {c.syntax_width}")
        memory, bias = self._memory(bag, syntax)
        layers = self.transformer.decoder.layers
        crossed = [layer.multihead_attn.kv(memory) for layer in layers]
        shape = (len(bag), c.n_heads, c.max_steps, c.d_model // c.n_heads)
        return KVCache(
            keys=[memory.new_empty(shape) for _ in layers],
            values=[memory.new_empty(shape) for _ in layers],
            memory_keys=[k for k, _ in crossed],
            memory_values=[v for _, v in crossed],
            memory_bias=bias,
            copies=self.copies(bag),
        )

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Feed one token for each row, shape (B,). Returns the logits of the next token, (B, V), and extends the cache.

        With `generation_vocab_size`, tokens are numbered as `CopyHead` says, and the logits are (B, W + A).
        """
        if cache.copies is not None:
            tokens = to_token_ids(cache.copies.bag, tokens[:, None], self.config.output_vocab_size)[:, 0]
        x = self._embed(self.embedding_decoder, tokens[:, None]) + self.pos_encoder.table[cache.length]  # (B, 1, E)
        for i, layer in enumerate(self.transformer.decoder.layers):
            x = layer.step(x, cache.keys[i], cache.values[i], cache.length, cache.memory_keys[i], cache.memory_values[i], cache.memory_bias)
        cache.length += 1
        return self.logits(self.transformer.decoder.norm(x), cache.copies)[:, 0]

    def copies(self, bag: Tensor) -> CopyHead | None:
        """The copy head for these bags (B, A); None if all tokens may be written freely."""
        W = self.config.generation_vocab_size
        return None if W is None else CopyHead.of(bag, W, self.linear.weight[W:], self.linear.bias[W:])

    def logits(self, states: Tensor, copies: CopyHead | None) -> Tensor:
        """The logits of decoder states (B, T, E): (B, T, V), or (B, T, W + A) in the numbering of `CopyHead`."""
        if copies is None:
            return self.linear(states)
        W = self.config.generation_vocab_size
        return torch.cat([F.linear(states, self.linear.weight[:W], self.linear.bias[:W]), copies.logits(states)], -1)

    def forward(self, bag: Tensor, syntax: Tensor, target: Tensor) -> Tensor:
        """Decoder states of every position of a known target, (B, T, E); `logits` turns them into logits.

        bag (B, A), syntax (B, S), target (B, T) starting with <sos>. Logits are left to the caller, who can skip pads.
        """
        memory, bias = self._memory(bag, syntax)
        x = self._embed(self.embedding_decoder, target) + self.pos_encoder.table[: target.shape[1]]
        for layer in self.transformer.decoder.layers:
            x = layer(x, memory, bias)
        return self.transformer.decoder.norm(x)

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        return embedding(ids) * math.sqrt(self.config.d_model)

    def _memory(self, bag: Tensor, syntax: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encoder output (B, M, E), bag first, and its key bias (B, 1, 1, M)."""
        placed = self._embed(self.embedding_encoder, syntax) + self.pos_encoder.table[: syntax.shape[1]]
        x = torch.cat([self._embed(self.embedding_encoder, bag), placed], dim=1)  # (B, M, E)
        bag_bias = syntax_bias = bias = None
        if not self.config.attend_pads:
            bias = torch.zeros(len(bag), 1, 1, x.shape[1], dtype=x.dtype, device=x.device)
            bias.masked_fill_((torch.cat([bag, syntax], dim=1) == PAD)[:, None, None], -math.inf)
            bias[:, :, :, 0] = 0.0  # an empty bag (all words dropped) still needs one key
            bag_bias, syntax_bias = bias[..., : bag.shape[1]], bias[..., bag.shape[1] :]
        for layer in self.transformer.encoder.layers:
            x = layer(x, bag.shape[1], bag_bias, syntax_bias)
        return self.transformer.encoder.norm(x), bias
