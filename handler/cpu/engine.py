"""The network as it is served on a CPU: the arithmetic of `model.network.SynPG` in ONNX Runtime, with several tokens a call.

`graph.py` says what is computed and why in that way. Here is what stays outside of the graphs:

* Embeddings are held here and lent to the decoder's graph, so they are in memory once. What a step reads and writes has a fixed
  place for as long as its shape stays, and onnxruntime is told of it once.
* `verify` takes several tokens a row and rows of different lengths, which is what drafts need (`decoding/proposers.py`).
* Only the first `output_vocab_size` logits are computed, where no other can be chosen.
* Attended pads of the bag are identical rows: the first of them stands for all, with log(count) added to its score, which is
  exactly the same sum.
* Nothing crosses between bag and syntax in the encoder, so each is encoded by itself and once: rows that share a sentence or a
  target share its encoding, and a parse generator remembers its templates, of which people ask for a few.

In int8, a row's logits are the same bits alone, in any batch, and however many of its tokens are fed at a time.
No loop over time, no files. Shapes as in `model/network.py`; T tokens a row.
"""

import math
from typing import Any

import numpy as np
import torch

from handler.cpu import graph
from handler.cpu.graph import Quantised, Ranges
from handler.cpu.runtime import session
from handler.model.copying import CopyHead, to_token_ids
from handler.model.network import PAD, SynPG

PRECISIONS = "fp32", "int8"
ROOM = 32  # positions by which a cache grows
ENCODED = 512  # positions of all rows encoded in one call, which bounds the memory that it needs
REMEMBERED_BYTES = 64 << 20  # of encoded templates; the published parse generator's take 1.5 MB each, the demo's under 0.1
MASKED = np.float32(-math.inf)


def padded(width: int) -> int:
    return -(-width // graph.GROUPED) * graph.GROUPED


def widths(ids: np.ndarray) -> np.ndarray:
    """Of ids (B, S), the places of each row up to its last token, (B,); one at least, since some key must be attended to."""
    return np.maximum((np.arange(1, ids.shape[1] + 1) * (ids != PAD)).max(1), 1)


class Encoder:
    """One embedded input, bag or syntax, to its part of the keys and values of every decoder layer's cross-attention."""

    def __init__(self, model: bytes, width: int):
        self.session, self.width = session(model), width

    def __call__(self, x: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """x (B, S, E), bias (B, S) added to the scores; returns (B, S, L * 2 * E)."""
        B, S, E = x.shape
        if S == 1:  # see `graph.encoder`
            x, bias = np.pad(x, ((0, 0), (0, 1), (0, 0))), np.array([[0.0, MASKED]] * B, np.float32)
        S = x.shape[1]
        mask = np.zeros((1, 1, S, S), np.float32)
        if bias is not None:
            mask = np.ascontiguousarray(np.broadcast_to(bias[:, None, None], (B, 1, S, S)))
        memory = np.empty((B, S, self.width), np.float32)
        binding = self.session.io_binding()
        for name, array in (("x", np.ascontiguousarray(x)), ("mask", mask)):
            binding.bind_cpu_input(name, array)
        binding.bind_output(self.session.get_outputs()[0].name, "cpu", 0, np.float32, memory.shape, memory.ctypes.data)
        self.session.run_with_iobinding(binding)
        return memory


class Cache:
    """What decoding carries from step to step. A value: made by `Engine.encode`, passed to `step` and `verify`, then dropped."""

    def __init__(self, memory: np.ndarray, memory_mask: np.ndarray, copies: CopyHead | None):
        """memory (L, 2, B, H, M, D), keys and values; memory_mask (B, M), added to the scores."""
        self.memory, self.memory_mask, self.copies = memory, memory_mask, copies
        L, _, B, H, _, D = memory.shape
        self.tokens = np.zeros((L, 2, B, H, 0, D), np.float32)  # keys and values, (L, 2, B, H, C, D)
        self.binding: Any = None  # onnxruntime's, once something is bound
        self.fed = 0  # tokens of each row that it is bound for; 0: everything is to be bound anew
        self.bound: dict[str, np.ndarray] = {}  # what `binding` refers to

    def select_rows(self, rows: np.ndarray) -> None:
        """Drop all rows but these; rows (kept,) are indices in their new order."""
        self.memory, self.tokens = self.memory.take(rows, 2), self.tokens.take(rows, 2)
        self.memory_mask = self.memory_mask[rows]
        self.copies = self.copies and self.copies.select_rows(torch.from_numpy(rows))
        self.fed = 0

    def make_room(self, needed: int) -> None:
        """For so many positions."""
        have = self.tokens.shape[4]
        if needed > have:
            more = -(-(needed - have) // ROOM) * ROOM
            self.tokens = np.pad(self.tokens, [(0, 0)] * 4 + [(0, more), (0, 0)])
            self.fed = 0

    def bind(self, engine: "Engine", tokens: int) -> None:
        """Tell onnxruntime where everything is, for steps of so many tokens a row."""
        (B,), H = self.memory_mask.shape[:1], engine.config.n_heads
        if not self.fed:
            self._bind_kept(engine)
        self.fed = tokens
        at = self._bind("at", np.zeros(B, np.int64))
        self._bind("ids", np.zeros((B, tokens), np.int64))
        # A single token is at `at`, and so are all its queries.
        self._bind("places", at[:, None] if tokens == 1 else np.zeros((B, tokens), np.int64))
        self._bind("queries", at[:, None] if tokens == 1 else np.zeros((B, H * tokens), np.int64))
        if self.copies is not None:
            repeated = tokens if B == 1 else 1  # see `graph.decoder`
            self._bind("copy_weight", self.copies.weight.numpy()[:, None].repeat(repeated, 1))
        width = engine.output_vocab_size + (0 if self.copies is None else self.copies.bag.shape[1])
        self.logits = np.empty((B, tokens, width), np.float32)
        self.binding.bind_output(engine.logits, "cpu", 0, np.float32, self.logits.shape, self.logits.ctypes.data)

    def _bind_kept(self, engine: "Engine") -> None:
        """What stays from step to step."""
        self.binding, self.bound = engine.decoder.io_binding(), {}
        for i, layer in enumerate(zip(self.tokens, self.memory)):
            for name, held, read in zip(("keys", "values"), *layer):
                self._bind(f"{name}{i}", held)
                self._bind(f"memory_{name}{i}", read)
                self.binding.bind_output(f"new_{name}{i}", "cpu", 0, np.float32, held.shape, held.ctypes.data)
        self._bind("embedding", engine.decoder_embedding.numpy())
        self._bind("positions", engine.positions)
        self._bind("causal", engine.causal(self.tokens.shape[4]))
        self._bind("memory_mask", np.ascontiguousarray(self.memory_mask[:, None, None]))
        if self.copies is not None:
            self._bind("copy_bias", self.copies.bias.numpy()[:, None])

    def _bind(self, name: str, array: np.ndarray) -> np.ndarray:
        """Returns the array."""
        self.bound[name] = array
        self.binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return array


class EncoderCache:
    """What was encoded last, by the input's ids; the longest unused are forgotten beyond `REMEMBERED_BYTES`."""

    def __init__(self) -> None:
        self.entries: dict[bytes, np.ndarray] = {}  # in the order of their last use
        self.bytes = 0

    def get(self, key: bytes) -> np.ndarray | None:
        if key in self.entries:
            self.entries[key] = self.entries.pop(key)
        return self.entries.get(key)

    def add(self, key: bytes, memory: np.ndarray) -> np.ndarray:
        """Returns `memory`."""
        self.entries[key] = memory
        self.bytes += memory.nbytes
        while self.bytes > REMEMBERED_BYTES and len(self.entries) > 1:
            self.bytes -= self.entries.pop(next(iter(self.entries))).nbytes
        return memory


class Engine:
    """One network, ready to serve. A `decoding.loop.Network`.

    net:        its weights are copied; whoever lets go of it afterwards has them in memory once.
    rounded:    linear weights that are quantised already, by their names; `net` needs no content for them.
    precision:  "fp32" or "int8"; int8 needs `ranges`.
    output_vocab_size: how many logits are computed, from the first on; None: all.
    input_vocab_size: how many tokens its input is made of, from the first on; None: all.
    remembers: whether inputs B are worth remembering: templates are, parses hardly come again.
    """

    def __init__(
        self,
        net: SynPG,
        precision: str = "fp32",
        ranges: Ranges | None = None,
        output_vocab_size: int | None = None,
        input_vocab_size: int | None = None,
        remembers: bool = False,
        rounded: dict[str, Quantised] | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "int8" and ranges is None:
            raise ValueError("int8 needs the ranges of the layers' inputs")
        c = net.config
        self.config, self.precision = c, precision
        self.remembered = EncoderCache() if remembers else None
        self.shares = True  # encode rows that are equal once; a benchmark that repeats its sentences switches it off
        self.output_vocab_size = min(output_vocab_size or c.output_vocab_size, c.output_vocab_size)

        rounded = rounded or {}
        weights: graph.Weights = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items() if name not in rounded}
        weights |= rounded
        ranges = ranges if precision == "int8" else None
        self.encoder = Encoder(graph.encoder(c, weights, ranges), c.n_decoder_layers * 2 * c.d_model)
        self.positions = net.pos_encoder.table.numpy()
        copies = c.generation_vocab_size is not None
        self.decoder = session(graph.decoder(c, weights, ranges, self.output_vocab_size, copies, len(self.positions)))
        self.logits = self.decoder.get_outputs()[0].name
        self._take_tables(net, output_vocab_size, input_vocab_size)
        self.scale = np.float32(math.sqrt(c.d_model))
        self.masks: dict[int, np.ndarray] = {}  # what `causal` returned

    def _take_tables(self, net: SynPG, output_vocab_size: int | None, input_vocab_size: int | None) -> None:
        """The embeddings, tied ones once, and what texts copy with. CopyHead: all tensors of a file are one piece of memory, and these
        would hold on to the weights that have gone into the graphs."""
        source, target = net.embedding_encoder.weight.detach(), net.embedding_decoder.weight.detach()
        self.encoder_embedding = source[:input_vocab_size].clone()
        tied = source.data_ptr() == target.data_ptr() and input_vocab_size == output_vocab_size
        self.decoder_embedding = self.encoder_embedding if tied else target[:output_vocab_size].clone()
        self.copy_weights = None  # rows and biases of the output layer, of the tokens that are not freely written
        if (W := net.config.generation_vocab_size) is not None:
            weight = net.linear.weight.detach()
            tied = weight.data_ptr() == target.data_ptr()
            self.copy_weights = self.decoder_embedding[W:] if tied else weight[W:].clone(), net.linear.bias.detach()[W:].clone()

    def encode(self, bag: np.ndarray, syntax: np.ndarray) -> Cache:
        """Read both inputs, as `SynPG.encode` does."""
        c = self.config
        copies = None
        if self.copy_weights is not None and c.generation_vocab_size is not None:
            copies = CopyHead.of(torch.from_numpy(bag), c.generation_vocab_size, *self.copy_weights)
        words, tree = bag, syntax
        read, heard = widths(words), widths(tree)  # places of each row that count
        if c.attend_pads:
            if (bag.shape[1], syntax.shape[1]) != (c.bag_width, c.syntax_width):
                raise ValueError(f"widths {bag.shape[1]} and {syntax.shape[1]}, expected {c.bag_width} and {c.syntax_width}")
            pads = c.bag_width - read
            read, heard = read + (pads > 0), np.full_like(heard, c.syntax_width)
            bias = np.where(np.arange(c.bag_width) < read[:, None] - 1, 0.0, np.log(np.maximum(pads, 1))[:, None]).astype(np.float32)
        else:
            bias = np.where(words == PAD, MASKED, np.float32(0.0))
            bias[:, 0] = 0.0  # as in `SynPG`
        ends = read + heard
        M = padded(int(ends.max()))
        memory = np.zeros((c.n_decoder_layers, 2, len(words), c.n_heads, M, c.d_model // c.n_heads), np.float32)
        mask = np.where(np.arange(M) < ends[:, None], np.float32(0.0), MASKED)  # (B, M)
        for row, own, width in zip(mask, bias, read):
            row[:width] = own[:width]
        self._encode(words, 0, read, bias, memory, np.zeros_like(read))
        if self.remembered is None:
            self._encode(tree, self.positions, heard, None, memory, read)
        else:
            self._encode_cached(self.remembered, tree, heard, memory, read)
        return Cache(memory, mask, copies)

    def causal(self, width: int) -> np.ndarray:
        """What a token at each place adds to the scores of `width` positions, (C, C)."""
        if width not in self.masks:
            self.masks[width] = np.triu(np.full((width, width), MASKED, np.float32), 1)
        return self.masks[width]

    def _embed(self, table: torch.Tensor, ids: np.ndarray, positions: np.ndarray | int) -> np.ndarray:
        x = table.numpy().take(ids, 0)
        x *= self.scale
        x += positions
        return x

    def _encode(
        self, ids: np.ndarray, positions: np.ndarray | int, read: np.ndarray, bias: np.ndarray | None, memory: np.ndarray, begin: np.ndarray
    ) -> None:
        """Encode one input, the first `read` (B) of ids (B, S), and write it to memory from `begin` (B) on. bias (B, S) is added to
        the scores. Rows that are equal are encoded once."""
        places: dict[bytes | int, list[int]] = {}
        for i, row in enumerate(ids):
            places.setdefault(row.tobytes() if self.shares else i, []).append(i)
        groups = list(places.values())
        width = int(read.max())
        most = max(ENCODED // width, 1)
        for some in (groups[start : start + most] for start in range(0, len(groups), most)):
            rows = [same[0] for same in some]
            own = np.zeros((len(rows), width), np.float32) if bias is None else bias[rows, :width]
            own = np.where(np.arange(width) < read[rows, None], own, MASKED)
            x = self._embed(self.encoder_embedding, ids[rows, :width], positions if isinstance(positions, int) else positions[:width])
            for same, found in zip(some, self.encoder(x, own)):
                for row in same:
                    self._place(found[: read[row]], memory, row, begin[row])

    def _encode_cached(self, remembered: EncoderCache, ids: np.ndarray, read: np.ndarray, memory: np.ndarray, begin: np.ndarray) -> None:
        """`_encode` of syntax, from what was encoded before where it can be."""
        for i, row in enumerate(ids):
            key = row[: read[i]].tobytes()
            found = remembered.get(key)
            if found is None:
                x = self._embed(self.encoder_embedding, row[None, : read[i]], self.positions[: read[i]])
                found = remembered.add(key, self.encoder(x, None)[0, : read[i]])
            self._place(found, memory, i, begin[i])

    def _place(self, encoded: np.ndarray, memory: np.ndarray, row: int, begin: int) -> None:
        """encoded (S, L * 2 * E) to the places from `begin` on of a row of memory (L, 2, B, H, M, D)."""
        L, _, _, H, _, D = memory.shape
        memory[:, :, row, :, begin : begin + len(encoded)] = encoded.reshape(-1, L, 2, H, D).transpose(1, 2, 3, 0, 4)

    def verify(self, tokens: np.ndarray, cache: Cache, lengths: list[int]) -> np.ndarray:
        """Feed T tokens a row, (B, T), after the first `lengths` (B) tokens of each; logits after each of them, (B, T, V) or, with
        `generation_vocab_size`, (B, T, W + A).

        What the cache held beyond these lengths is overwritten: that is how a rejected draft is dropped. So is what was returned, by
        the next call with this cache.
        """
        T, W = tokens.shape[1], self.config.generation_vocab_size
        cache.make_room(max(lengths) + T)
        if cache.fed != T:
            cache.bind(self, T)
        if cache.copies is not None and W is not None and any(token >= W for row in tokens.tolist() for token in row):
            tokens = to_token_ids(cache.copies.bag, torch.from_numpy(tokens), W).numpy()  # most steps copy nothing
        bound = cache.bound
        bound["ids"][...] = tokens
        bound["at"][...] = lengths
        if T > 1:
            bound["places"][...] = bound["at"][:, None] + np.arange(T)
            bound["queries"][...] = np.tile(bound["places"], (1, self.config.n_heads))
        self.decoder.run_with_iobinding(cache.binding)
        return cache.logits
