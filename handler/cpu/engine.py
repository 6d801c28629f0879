"""The network as it is served on a CPU: the same arithmetic as `model.SynPG`, packed, with several tokens a call.

What is different from `SynPG`, and why:

* The layers are TorchScript. A step is some two hundred small operations, and calling them from Python costs as much as
  what they do.
* `precision="int8"`: weights are stored in eight bits with one scale per output, and the input of each linear layer is
  rounded with one fixed scale, measured once (`scripts/calibrate.py`). The sums are whole numbers, so a row's result does not
  depend on its neighbours; a scale drawn from the batch would make it. Norms stay in fp32, attention goes to fp64 (`upcast_attention`).
* `verify` takes several tokens a row and rows of different lengths, which is what drafts need (`drafts.py`).
* Only the first `output_vocab_size` logits are computed, where no other can be chosen. Those of words copied from the sentence
  (`model.CopyHead`) are few and computed in fp64, for the same reason as attention.
* Attended pads of the bag are identical rows: all but one per batch column collapse into one key whose score has
  log(count) added, which is exactly the same sum.
* Nothing crosses between bag and syntax in the encoder, so each is encoded by itself and once: rows that share a sentence or a
  target share its encoding, and a parse generator remembers its templates, of which people ask for a few.

Torch only: no loop over time, no files. Shapes as in `model.py`; T tokens a row.
"""

import math
import warnings
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handler.model.copying import CopyHead, to_token_ids
from handler.model.network import PAD, KVCache, ModelConfig, SynPG

PRECISIONS = "fp32", "int8"
FIRST_CAPACITY = 32  # positions a cache has room for at first; it doubles
REMEMBERED_BYTES = 64 << 20  # of encoded templates; the published parse generator's take 3 MB each in int8, the demo's under 0.2
Ranges = dict[str, tuple[float, float]]  # name of a linear layer -> least and greatest input seen
Memory = tuple[list[Tensor], list[Tensor]]  # keys and values of one input, L of (B, H, S, D)


class Float(nn.Module):
    """A linear layer in fp32."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def relu(self, x: Tensor) -> Tensor:
        return torch.relu(self.forward(x))


class Int8(nn.Module):
    """A linear layer with int8 weights and an input that is rounded to 256 levels between two bounds; fp32 in, fp32 out."""

    def __init__(self, weight: Tensor, bias: Tensor, bounds: tuple[float, float]):
        super().__init__()
        low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
        self.scale = max(high - low, 1e-6) / 255
        self.zero_point = round(-low / self.scale)
        scales = weight.abs().amax(1).clamp_min(1e-8) / 127
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces that these types will go; its version is pinned
            rounded = torch.quantize_per_channel(weight.detach(), scales, torch.zeros(len(weight), dtype=torch.int), 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(rounded, bias.detach().clone())  # it keeps the bias it is given

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(x, self.scale, self.zero_point, self.packed)

    def relu(self, x: Tensor) -> Tensor:
        """max(0, forward(x)) in one operation."""
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_relu_output_fp32(x, self.scale, self.zero_point, self.packed)


class Norm(nn.Module):
    """LayerNorm, without the module's own overhead."""

    def __init__(self, weight: Tensor, bias: Tensor, eps: float):
        super().__init__()
        self.shape, self.eps = [len(weight)], eps
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


def upcast_attention(x: Tensor, wide: bool) -> Tensor:
    """x in fp64, or as it is. Attention sums in an order that depends on how wide the batch is; in fp32 the last bit differs, a
    later layer rounds it to another eighth bit, and a sampled word of a hundred texts becomes another one."""
    return x.double() if wide else x


class LayerFactory:
    """What the layers are made of: linear layers of one precision, norms, rows of embeddings."""

    def __init__(self, precision: str, ranges: Ranges | None):
        self.precision, self.ranges = precision, ranges
        self.wide = precision == "int8"

    def linear(self, name: str, weight: Tensor, bias: Tensor) -> nn.Module:
        return Int8(weight, bias, self.ranges[name]) if self.precision == "int8" else Float(weight, bias)

    def norm(self, norm: nn.LayerNorm) -> Norm:
        return Norm(self.keep(norm.weight), self.keep(norm.bias), norm.eps)

    def rows(self, table: Tensor, count: int | None = None) -> Tensor:
        """The first rows of a table."""
        return self.keep(table) if count is None or count >= len(table) else table[:count].detach().clone()

    def keep(self, tensor: Tensor) -> Tensor:
        """The tensor as it is in fp32; a copy for int8: all tensors of a file are one piece of memory, and a norm's few
        numbers would hold on to the weights that int8 no longer needs."""
        return tensor.detach() if self.precision == "fp32" else tensor.detach().clone()


class EncoderLayer(nn.Module):
    def __init__(self, layer, n_heads: int, parts: LayerFactory, name: str):
        super().__init__()
        self.heads = n_heads
        self.wide = parts.wide
        self.qkv = parts.linear(f"{name}.qkv", layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
        self.out = parts.linear(f"{name}.out", layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias)
        self.up = parts.linear(f"{name}.up", layer.linear1.weight, layer.linear1.bias)
        self.down = parts.linear(f"{name}.down", layer.linear2.weight, layer.linear2.bias)
        self.norm1, self.norm2 = parts.norm(layer.norm1), parts.norm(layer.norm2)

    def forward(self, x: Tensor, bias: Optional[Tensor]) -> Tensor:
        B, S, E = x.shape
        qkv = upcast_attention(self.qkv(x), self.wide).view(B, S, 3, self.heads, E // self.heads).permute(2, 0, 3, 1, 4)  # (3, B, H, S, D)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=bias)
        x = self.norm1(x + self.out(attended.transpose(1, 2).reshape(B, S, E).float()))
        return self.norm2(x + self.down(self.up.relu(x)))


class Encoder(nn.Module):
    """One embedded input, bag or syntax, to its part of the keys and values of every decoder layer's cross-attention."""

    def __init__(self, net: SynPG, parts: LayerFactory):
        super().__init__()
        heads = net.config.n_heads
        self.heads = heads
        self.wide = parts.wide
        self.layers = nn.ModuleList(
            [EncoderLayer(layer, heads, parts, f"encoder.{i}") for i, layer in enumerate(net.transformer.encoder.layers)]
        )
        self.norm = parts.norm(net.transformer.encoder.norm)
        d = net.config.d_model
        attentions = [layer.multihead_attn for layer in net.transformer.decoder.layers]
        self.kv = nn.ModuleList([parts.linear("memory", a.in_proj_weight[d:], a.in_proj_bias[d:]) for a in attentions])

    def forward(self, x: Tensor, bias: Optional[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        for layer in self.layers:
            x = layer(x, bias)
        x = self.norm(x)
        B, S, E = x.shape
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for kv in self.kv:
            packed = upcast_attention(kv(x), self.wide).view(B, S, 2, self.heads, E // self.heads).permute(2, 0, 3, 1, 4)  # (2, B, H, S, D)
            keys.append(packed[0])
            values.append(packed[1])
        return keys, values


class DecoderLayer(nn.Module):
    def __init__(self, layer, n_heads: int, parts: LayerFactory, name: str):
        super().__init__()
        self.heads = n_heads
        cross, d = layer.multihead_attn, layer.norm1.normalized_shape[0]
        self.wide = parts.wide
        self.qkv = parts.linear(f"{name}.qkv", layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
        self.out = parts.linear(f"{name}.out", layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias)
        self.cross_q = parts.linear(f"{name}.cross_q", cross.in_proj_weight[:d], cross.in_proj_bias[:d])
        self.cross_out = parts.linear(f"{name}.cross_out", cross.out_proj.weight, cross.out_proj.bias)
        self.up = parts.linear(f"{name}.up", layer.linear1.weight, layer.linear1.bias)
        self.down = parts.linear(f"{name}.down", layer.linear2.weight, layer.linear2.bias)
        self.norm1, self.norm2, self.norm3 = parts.norm(layer.norm1), parts.norm(layer.norm2), parts.norm(layer.norm3)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        start: int,
        positions: Optional[Tensor],
        bias: Optional[Tensor],
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_bias: Optional[Tensor],
    ) -> Tensor:
        B, T, E = x.shape
        D = E // self.heads
        qkv = upcast_attention(self.qkv(x), self.wide).view(B, T, 3, self.heads, D).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        end = start + T
        if positions is None:
            keys[:, :, start:end] = qkv[1]
            values[:, :, start:end] = qkv[2]
        else:
            place = positions[:, None, :, None].expand(B, self.heads, T, D)
            keys.scatter_(2, place, qkv[1])
            values.scatter_(2, place, qkv[2])
        attended = F.scaled_dot_product_attention(qkv[0], keys[:, :, :end], values[:, :, :end], attn_mask=bias)
        x = self.norm1(x + self.out(attended.transpose(1, 2).reshape(B, T, E).float()))
        q = upcast_attention(self.cross_q(x), self.wide).view(B, T, self.heads, D).transpose(1, 2)
        crossed = F.scaled_dot_product_attention(q, memory_keys, memory_values, attn_mask=memory_bias)
        x = self.norm2(x + self.cross_out(crossed.transpose(1, 2).reshape(B, T, E).float()))
        return self.norm3(x + self.down(self.up.relu(x)))


class Decoder(nn.Module):
    """Embedded tokens to logits, and the states they come from; writes their keys and values into the cache."""

    def __init__(self, net: SynPG, parts: LayerFactory, vocabulary: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [DecoderLayer(layer, net.config.n_heads, parts, f"decoder.{i}") for i, layer in enumerate(net.transformer.decoder.layers)]
        )
        self.norm = parts.norm(net.transformer.decoder.norm)
        self.logits = parts.linear("logits", net.linear.weight[:vocabulary], net.linear.bias[:vocabulary])

    def forward(
        self,
        x: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
        start: int,
        positions: Optional[Tensor],
        bias: Optional[Tensor],
        memory_keys: list[Tensor],
        memory_values: list[Tensor],
        memory_bias: Optional[Tensor],
    ) -> tuple[Tensor, Tensor]:
        for i, layer in enumerate(self.layers):
            x = layer(x, keys[i], values[i], start, positions, bias, memory_keys[i], memory_values[i], memory_bias)
        x = self.norm(x)
        return self.logits(x), x


class EncoderCache:
    """What was encoded last, by the input's ids; the longest unused are forgotten beyond `REMEMBERED_BYTES`."""

    def __init__(self):
        self.entries: dict[bytes, Memory] = {}  # in the order of their last use
        self.bytes = 0

    def get(self, key: bytes) -> Memory | None:
        if key in self.entries:
            self.entries[key] = self.entries.pop(key)
        return self.entries.get(key)

    def add(self, key: bytes, memory: Memory) -> Memory:
        """Returns `memory`, in tensors of their own."""
        memory = tuple([t.contiguous() for t in side] for side in memory)
        self.entries[key] = memory
        self.bytes += self.size(memory)
        while self.bytes > REMEMBERED_BYTES and len(self.entries) > 1:
            self.bytes -= self.size(self.entries.pop(next(iter(self.entries))))
        return memory

    @staticmethod
    def size(memory: Memory) -> int:
        return sum(t.nbytes for side in memory for t in side)


class Engine:
    """One network, ready to serve. The interface that `decoding` uses: `config`, `encode`, `step`, `verify`.

    net:        its weights are taken over, not copied, in fp32.
    precision:  "fp32" or "int8"; int8 needs `ranges`.
    output_vocab_size: how many logits are computed, from the first on; None: all.
    input_vocab_size: how many tokens its input is made of, from the first on; None: all.
    remembers:  whether inputs B are worth remembering: templates are, parses hardly come again.
    """

    def __init__(
        self,
        net: SynPG,
        precision: str = "fp32",
        ranges: Ranges | None = None,
        output_vocab_size: int | None = None,
        input_vocab_size: int | None = None,
        remembers: bool = False,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "int8" and ranges is None:
            raise ValueError("int8 needs the ranges of the layers' inputs")
        self.config, self.precision = net.config, precision
        self.remembered = EncoderCache() if remembers else None
        self.shares = True  # encode rows that are equal once; a benchmark that repeats its sentences switches it off
        self.output_vocab_size = min(output_vocab_size or net.config.output_vocab_size, net.config.output_vocab_size)

        parts = LayerFactory(precision, ranges)
        self.encoder = scripted(Encoder(net, parts).eval())
        self.decoder = scripted(Decoder(net, parts, self.output_vocab_size).eval())
        self.take_tables(net, parts, output_vocab_size, input_vocab_size)
        self.positions = net.pos_encoder.table
        self.scale = math.sqrt(net.config.d_model)
        self.dtype = torch.float64 if parts.wide else torch.float32  # of attention

    def take_tables(self, net: SynPG, parts: LayerFactory, output_vocab_size: int | None, input_vocab_size: int | None) -> None:
        """The embeddings, tied ones once, and what texts copy with."""
        source, target = net.embedding_encoder.weight, net.embedding_decoder.weight
        self.encoder_embedding = parts.rows(source, input_vocab_size)
        tied = source.data_ptr() == target.data_ptr() and input_vocab_size == output_vocab_size
        self.decoder_embedding = self.encoder_embedding if tied else parts.rows(target, output_vocab_size)
        self.copy_weights = None  # rows and biases of the output layer, of the tokens that are not freely written
        if (W := net.config.generation_vocab_size) is not None:
            tied = net.linear.weight.data_ptr() == target.data_ptr()
            self.copy_weights = self.decoder_embedding[W:] if tied else parts.keep(net.linear.weight[W:]), parts.keep(net.linear.bias[W:])

    @property
    def device(self) -> torch.device:
        return self.encoder_embedding.device

    def encode(self, bag: Tensor, syntax: Tensor) -> KVCache:
        """Read both inputs, as `SynPG.encode` does."""
        c = self.config
        copies = None if self.copy_weights is None else CopyHead.of(bag, c.generation_vocab_size, *self.copy_weights)
        bag_bias = syntax_bias = memory_bias = None
        if c.attend_pads:
            if (bag.shape[1], syntax.shape[1]) != (c.bag_width, c.syntax_width):
                raise ValueError(f"widths {bag.shape[1]} and {syntax.shape[1]}, expected {c.bag_width} and {c.syntax_width}")
            width = int((bag != PAD).sum(1).max()) + 1  # the last column is a pad in every row
            if width < c.bag_width:
                bag = bag[:, :width]
                bag_bias = torch.zeros(len(bag), 1, 1, width, dtype=self.dtype)
                bag_bias[..., -1] = math.log(c.bag_width - width + 1)
                memory_bias = F.pad(bag_bias, (0, c.syntax_width))
        else:
            bag_bias, syntax_bias = (
                torch.zeros(ids.shape, dtype=self.dtype).masked_fill_(ids == PAD, -math.inf)[:, None, None] for ids in (bag, syntax)
            )  # (B, 1, 1, A), (B, 1, 1, S)
            memory_bias = torch.cat([bag_bias, syntax_bias], -1)
            if not torch.isinf(memory_bias).any():
                bag_bias = syntax_bias = memory_bias = None
        bag_side = self._read(F.embedding(bag, self.encoder_embedding) * self.scale, bag, bag_bias)
        placed = F.embedding(syntax, self.encoder_embedding) * self.scale + self.positions[: syntax.shape[1]]
        syntax_side = self._read(placed, syntax, syntax_bias) if self.remembered is None else self.encode_cached(placed, syntax)
        memory_keys, memory_values = ([torch.cat(parts, 2) for parts in zip(*sides)] for sides in zip(bag_side, syntax_side))
        shape = (len(bag), c.n_heads, min(FIRST_CAPACITY, c.max_steps), c.d_model // c.n_heads)
        layers = range(c.n_decoder_layers)
        return KVCache(
            [torch.zeros(shape, dtype=self.dtype) for _ in layers],
            [torch.zeros(shape, dtype=self.dtype) for _ in layers],
            memory_keys,
            memory_values,
            memory_bias,
            copies and CopyHead(copies.bag, copies.weight.double(), copies.bias.double()),
        )

    def _read(self, x: Tensor, ids: Tensor, bias: Tensor | None) -> Memory:
        """One input, x (B, S, E) embedded from ids (B, S), encoded. Rows that are equal are encoded once."""
        if not self.shares:
            return self.encoder(x, bias)
        places: dict[bytes, int] = {}
        index = [places.setdefault(row.tobytes(), i) for i, row in enumerate(ids.numpy())]
        if len(places) == len(index):
            return self.encoder(x, bias)
        distinct = list(places.values())
        keys, values = self.encoder(x[distinct], None if bias is None else bias[distinct])
        index = [distinct.index(i) for i in index]
        return [t[index] for t in keys], [t[index] for t in values]

    def encode_cached(self, x: Tensor, ids: Tensor) -> Memory:
        """`_read` of syntax, from what was encoded before where it can be. Each row is encoded alone, without pads that do not
        count, so that it makes no difference when and beside which others it came first."""
        rows = []
        for i, row in enumerate(ids):
            length = len(row) if self.config.attend_pads else int((row != PAD).sum())
            key = row[:length].numpy().tobytes()
            found = self.remembered.get(key)
            rows.append(found or self.remembered.add(key, self.encoder(x[i : i + 1, :length], None)))
        width = ids.shape[1]
        if len(rows) == 1 and rows[0][0][0].shape[2] == width:
            return rows[0]
        return tuple(
            [torch.cat([F.pad(t, (0, 0, 0, width - t.shape[2])) for t in tensors]) for tensors in zip(*sides)] for sides in zip(*rows)
        )

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Feed one token a row, (B,); returns the logits of the next one, (B, V), and lengthens the cache."""
        logits = self.verify(tokens[:, None], cache, [cache.length] * len(tokens))
        cache.length += 1
        return logits[:, 0]

    def verify(self, tokens: Tensor, cache: KVCache, lengths: list[int]) -> Tensor:
        """Feed T tokens a row, (B, T), after the first `lengths` (B) tokens of each; logits after each of them, (B, T, V) or, with
        `written`, (B, T, W + A).

        What the cache held beyond these lengths is overwritten: that is how a rejected draft is dropped.
        """
        T, start = tokens.shape[1], max(lengths)
        self._make_room(cache, start + T)
        positions = bias = None
        if cache.copies is not None:
            tokens = to_token_ids(cache.copies.bag, tokens, self.config.generation_vocab_size)
        x = F.embedding(tokens, self.decoder_embedding) * self.scale
        if min(lengths) == start:
            x = x + self.positions[start : start + T]
            if T > 1:
                bias = torch.full((1, 1, T, start + T), -math.inf, dtype=self.dtype).triu_(start + 1)
        else:
            positions = torch.tensor(lengths)[:, None] + torch.arange(T)  # (B, T)
            x = x + self.positions[positions.clamp_max(len(self.positions) - 1)]
            bias = torch.zeros(len(tokens), 1, T, start + T, dtype=self.dtype)
            bias.masked_fill_(torch.arange(start + T) > positions[:, None, :, None], -math.inf)
        logits, states = self.decoder(
            x, cache.keys, cache.values, start, positions, bias, cache.memory_keys, cache.memory_values, cache.memory_bias
        )
        return logits if cache.copies is None else torch.cat([logits, cache.copies.logits(states.double()).float()], -1)

    def _make_room(self, cache: KVCache, needed: int) -> None:
        have = cache.keys[0].shape[2]
        if needed > have:
            more = max(needed, 2 * have) - have
            for tensors in (cache.keys, cache.values):
                tensors[:] = [F.pad(t, (0, 0, 0, more)) for t in tensors]


def layer_names(config: ModelConfig) -> set[str]:
    """The linear layers of an engine, as `ranges` names them."""
    attention, feed_forward = ("qkv", "out"), ("up", "down")
    return {
        "memory",
        "logits",
        *(f"encoder.{i}.{part}" for i in range(config.n_encoder_layers) for part in (*attention, *feed_forward)),
        *(f"decoder.{i}.{part}" for i in range(config.n_decoder_layers) for part in (*attention, "cross_q", "cross_out", *feed_forward)),
    }


def scripted(module: nn.Module):
    """The module as TorchScript, frozen.

    Its profiling is switched off, for the whole process: it would watch the first calls and compile again after them, which
    makes loading and the first request three times slower and the others no faster.
    """
    torch._C._jit_set_profiling_mode(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch recommends its compiler, which takes many seconds to start
        return torch.jit.freeze(torch.jit.script(module))
