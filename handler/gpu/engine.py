"""Runs a network on a GPU: a decoding step is one CUDA graph, and nothing in it waits for the host.

A step consists of many operations on little data. Launched one by one, they take longer to launch than to compute. Counted on a
CPU, a sampled step of the published shape has 103 operations and a greedy one 93 (the shipped parse generator: 87 and 77; the
shipped paraphraser: 136 and 126, constraints included). Each is at least one launch on a GPU; a graph is one launch. The encoder
is a graph too.

A graph is recorded once and repeats the same operations on the same addresses. Therefore:

* Shapes are fixed. The batch is filled with idle rows up to a power of two, the syntax is padded to one of a few widths, and the KV
  cache has room for all steps. A tensor holds the current position. `GraphBuffers` has the tensors of one such shape, and they are
  never replaced.
* A step includes the constraints, the choice of the token, its log-probability, storing the token and noting which rows have ended.
  The random numbers are drawn beforehand. They are the same ones as in `decoding.loop.decode`.
* The host checks every few steps whether all rows have ended. Tokens after a row's <eos> are dropped, so a late check costs time but
  changes no answer.
* An ended row stays in the batch. A smaller batch would need another graph and another cache to copy into.

Attended pads are treated like any token here. The shape is fixed, so folding them into one key would save nothing.

If a graph cannot be recorded, and on a CPU, the same functions run operation by operation. Shapes as in `model/network.py`.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from handler.decoding.rules import Hints, Rules
from handler.decoding.sampling import LEAST_TEMPERATURE, Decoded, DecodingOptions
from handler.gpu.constraints import StaticState, constraint_of
from handler.gpu.weights import FusedWeights
from handler.model.copying import CopyHead, to_token_ids
from handler.model.network import EOS, PAD, SOS, SynPG

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
CHECK_EVERY = 4  # steps between two checks whether all rows have ended; at each check the GPU waits for the host
FIRST_WIDTH = 64  # of the syntax, where pads are masked; it doubles up to the network's own


def best_precision(device: torch.device) -> str:
    """The fastest safe precision that the device supports in hardware: bf16, else fp16, else fp32."""
    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
    return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"


def round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def draw(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
    """`sampling.choose` without asking whether any row is sampled, for which the GPU would have to be waited for.

    logits (B, V), minus infinity where forbidden; temperatures (B,); uniforms (B,) fp64 in [0, 1); returns tokens (B,).
    """
    heated = logits / temperatures.clamp_min(LEAST_TEMPERATURE)[:, None]
    cumulative = torch.softmax(heated, -1).double().cumsum(-1)  # (B, V)
    drawn = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
    return torch.where(temperatures > 0, drawn.clamp_max(logits.shape[1] - 1), logits.argmax(-1))


class GraphBuffers:
    """All tensors for one batch size and input width, at fixed addresses. Of the B rows, the last ones may be idle."""

    def __init__(self, net: "CudaGraphEngine", rows: int, width: int, constraint: StaticState | None):
        c, device = net.config, net.device
        layers, H, D = c.n_decoder_layers, net.net.heads, net.net.width
        M, T = round_up(c.bag_width + width, 16), round_up(c.max_steps, 16)  # fused attention copies biases of other widths

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.bag, self.syntax = zeros(rows, c.bag_width), zeros(rows, width)
        self.temperatures, self.uniforms = zeros(rows, dtype=torch.float), zeros(rows, c.max_steps, dtype=torch.double)
        self.memory, self.memory_bias = zeros(layers, rows, 2, H, M, D, dtype=net.dtype), zeros(rows, 1, 1, M, dtype=net.dtype)
        self.cache, self.bias = zeros(layers, rows, 2, H, T, D, dtype=net.dtype), zeros(1, 1, 1, T, dtype=net.dtype)
        self.copies: CopyHead | None = None
        if c.generation_vocab_size is not None:
            self.copies = CopyHead(
                self.bag, zeros(rows, c.d_model, c.bag_width, dtype=torch.float), zeros(rows, 1, c.bag_width, dtype=torch.float)
            )
        self.position, self.tokens = zeros(1), zeros(rows)
        self.ids, self.token_logprobs = zeros(rows, c.max_steps), zeros(rows, c.max_steps, dtype=torch.float)
        self.ended = zeros(rows, dtype=torch.bool)
        self.constraint = constraint and constraint.allocate(rows, c)
        self.syntax[:, 0] = SOS  # an idle row is some row too
        self.memory_bias[..., c.bag_width + width :] = -math.inf
        self.recorded: dict[str | tuple[bool, bool], Callable[[], None]] = {}  # "start", and steps: (sampled, scored)

    def load_batch(
        self, bag: np.ndarray, syntax: np.ndarray, options: list[DecodingOptions], stream: str, constraint: StaticState | None
    ) -> None:
        """Copy a batch's inputs here."""
        B, steps = len(options), self.ids.shape[1]
        for mine, theirs in ((self.bag, bag), (self.syntax, syntax)):
            mine[:B].zero_()
            mine[:B, : theirs.shape[1]].copy_(torch.from_numpy(theirs))
        self.temperatures[:B].copy_(torch.tensor([o.temperature for o in options]))
        if any(o.temperature for o in options):
            uniforms = [o.uniforms(steps, stream) if o.temperature else [0.0] * steps for o in options]
            self.uniforms[:B].copy_(torch.tensor(uniforms, dtype=torch.double))
        if self.constraint is not None and constraint is not None:
            self.constraint.copy_from(constraint)
        self.ended.fill_(True)
        self.ended[:B] = False

    def decoded(self, rows: int, steps: int, scored: bool) -> list[Decoded]:
        """The tokens of the first rows, each up to its <eos>."""
        found = []
        for ids, token_logprobs in zip(self.ids[:rows, :steps].tolist(), self.token_logprobs[:rows, :steps].tolist()):
            ended = EOS in ids
            ids = ids[: ids.index(EOS) + 1] if ended else ids
            found.append(Decoded(ids, sum(token_logprobs[: len(ids)]) if scored else 0.0, ended))
        return found


class CudaGraphEngine:
    """One network, ready to decode on its GPU. On a CPU, for tests, it runs the same steps without graphs.

    net:        its weights are converted to `precision`.
    precision:  "bf16", "fp16", "fp32" or "auto".
    output_vocab_size: how many logits are computed, from the first on; None: all.
    input_vocab_size: how many tokens the input may contain, from the first on; None: all.
    graphs:     False: each operation of a step is launched separately.
    always_scored: always compute log-probabilities, because a step without them would be another graph.
    """

    free_rows = 32  # a step is bound by its launches; how many rows that holds for has not been measured on a GPU

    @torch.inference_mode()
    def __init__(
        self,
        net: SynPG,
        precision: str = "auto",
        output_vocab_size: int | None = None,
        input_vocab_size: int | None = None,
        graphs: bool = True,
        always_scored: bool = False,
    ):
        self.config, self.device, self.always_scored = net.config, net.device, always_scored
        self.precision = best_precision(self.device) if precision == "auto" else precision
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be auto or one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.dtype, self.graphs = PRECISIONS[self.precision], graphs and self.device.type == "cuda"
        self.output_vocab_size = min(output_vocab_size or net.config.output_vocab_size, net.config.output_vocab_size)
        self.buffers: dict[tuple, GraphBuffers] = {}
        self.pool: Any = None  # memory that all graphs use in turn for what does not outlast a run
        self.steps = self.overshoot = 0  # of the last batch: all steps; those after its last row had ended
        self.net = FusedWeights(net, self.dtype, output_vocab_size, input_vocab_size)

    @torch.inference_mode()
    def generate(
        self,
        bag: np.ndarray,
        syntax: np.ndarray,
        options: list[DecodingOptions],
        stream: str,
        rules: Rules | None = None,
        scored: bool = True,
        hints: Hints | None = None,
    ) -> list[Decoded]:
        """Does what `decoding.loop.decode` does, with the same random numbers. It drafts nothing, so it needs no hints."""
        c, constraint, scored = self.config, constraint_of(rules, self.device), scored or self.always_scored
        if c.attend_pads and (bag.shape[1], syntax.shape[1]) != (c.bag_width, c.syntax_width):
            raise ValueError(f"widths {bag.shape[1]} and {syntax.shape[1]}, expected {c.bag_width} and {c.syntax_width}")
        with self._on_device():
            buffers, start, step = self.prepare(len(options), syntax.shape[1], constraint, any(o.temperature for o in options), scored)
            buffers.load_batch(bag, syntax, options, stream, constraint)
            start()
            self.steps = self._run(buffers, step)
            decoded = buffers.decoded(len(options), self.steps, scored)
        self.overshoot = self.steps - max(len(row.ids) for row in decoded)
        return decoded

    @torch.inference_mode()
    def warm(self, rows: int, rules: Rules | None = None, scored: bool = True) -> None:
        """Prepare for all batches of up to `rows` rows with constraints like these, so that no request waits for that."""
        constraint, scored, size = constraint_of(rules, self.device), scored or self.always_scored, 1
        while size < 2 * rows:
            for width in self.widths():
                for sampled in (False, True):
                    with self._on_device():
                        self.prepare(size, width, constraint, sampled, scored)
            size *= 2

    def widths(self) -> list[int]:
        """The widths to which the syntax input is padded."""
        most, width = self.config.syntax_width, FIRST_WIDTH
        found = []
        while not self.config.attend_pads and width < most:
            found.append(width)
            width *= 2
        return [*found, most]

    @contextlib.contextmanager
    def _on_device(self) -> Iterator[None]:
        if self.device.type != "cuda":
            yield
            return
        # All attention kernels except cuDNN's, which builds plans while it runs.
        with torch.cuda.device(self.device), sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            yield

    @staticmethod
    def _run(buffers: GraphBuffers, step: Callable[[], None], check_every: int = CHECK_EVERY) -> int:
        """Run steps until the host sees that all rows have ended. Returns the number of steps."""
        steps = buffers.ids.shape[1]
        for done in range(1, steps):
            step()
            if done % check_every == 0 and buffers.ended.all():
                return done
        step()
        return steps

    def prepare(
        self, rows: int, width: int, constraint: StaticState | None, sampled: bool, scored: bool
    ) -> tuple[GraphBuffers, Callable[[], None], Callable[[], None]]:
        """The buffers for a batch, the function that starts it and the one that makes a step; records the two if needed."""
        size = 1 << (rows - 1).bit_length()
        width = next(w for w in self.widths() if w >= width)
        key = size, width, constraint and (type(constraint), *constraint.fixed)
        buffers = self.buffers.get(key)
        if buffers is None:
            buffers = self.buffers[key] = GraphBuffers(self, size, width, constraint)

        def start() -> None:
            self._start(buffers)

        def step() -> None:
            self._step(buffers, sampled, scored)

        for name, function in (("start", start), ((sampled, scored), step)):
            if name not in buffers.recorded:
                buffers.recorded[name] = self._record(function, start, step)
        return buffers, buffers.recorded["start"], buffers.recorded[sampled, scored]

    def _record(self, function: Callable[[], None], *rehearsal: Callable[[], None]) -> Callable[[], None]:
        """Record a function as a CUDA graph, or return it unchanged without graphs. The rehearsal uses what is in the buffers."""
        if not self.graphs:
            return function
        try:
            self.pool = self.pool or torch.cuda.graph_pool_handle()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries initialise themselves at their first call, which cannot be recorded
                for each in rehearsal * 2:
                    each()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                function()
            return graph.replay
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            warnings.warn(f"decoding goes on without CUDA graphs: {error}", RuntimeWarning, stacklevel=2)
            self.graphs = False
            return function

    def _start(self, buffers: GraphBuffers) -> None:
        """Encode the inputs in the buffers and reset the buffers to the first step."""
        if buffers.copies is not None and self.net.copy_weights is not None:
            copies = CopyHead.of(buffers.bag, self.config.output_vocab_size, *self.net.copy_weights)
            buffers.copies.weight.copy_(copies.weight)
            buffers.copies.bias.copy_(copies.bias)
        buffers.position.zero_()
        buffers.tokens.fill_(SOS)
        buffers.bias.fill_(-math.inf)
        net, (B, A), S = self.net, buffers.bag.shape, buffers.syntax.shape[1]
        a, s = slice(None, A), slice(A, None)
        bag_bias = syntax_bias = None
        if not self.config.attend_pads:
            buffers.memory_bias[..., : A + S].zero_().masked_fill_(
                (torch.cat([buffers.bag, buffers.syntax], 1) == PAD)[:, None, None], -math.inf
            )
            buffers.memory_bias[..., 0].zero_()  # as in `SynPG`
            # Clones, because a slice may begin at an address that fused attention does not accept.
            bag_bias, syntax_bias = buffers.memory_bias[..., :A].clone(), buffers.memory_bias[..., A : A + S].clone()

        def attend(qkv: Tensor) -> Tensor:
            q, k, v = qkv.view(B, A + S, 3, net.heads, net.width).permute(2, 0, 3, 1, 4)  # (B, H, A + S, D) each
            parts = [
                F.scaled_dot_product_attention(q[:, :, i], k[:, :, i], v[:, :, i], attn_mask=bias, scale=net.scale)
                for i, bias in ((a, bag_bias), (s, syntax_bias))
            ]
            return torch.cat(parts, 2).transpose(1, 2).reshape(B * (A + S), -1)

        x = F.embedding(torch.cat([buffers.bag, buffers.syntax], 1), net.encoder_embedding)  # (B, A + S, E)
        x[:, A:] += net.positions[:S]
        x = x.flatten(0, 1)
        for own, forward in net.encoder:
            x = forward(own(x, attend), torch.relu_)
        x = net.encoder_norm(x)
        for memory, (weight, bias) in zip(buffers.memory, net.memory):
            packed = F.linear(x, weight, bias).view(B, A + S, 2, net.heads, net.width)
            memory[..., : A + S, :].copy_(packed.permute(0, 2, 3, 1, 4))

    def _step(self, buffers: GraphBuffers, sampled: bool, scored: bool) -> None:
        """Feed each row's last token, choose the next one, store it and advance the position."""
        net, B = self.net, len(buffers.tokens)

        def attend(q: Tensor, kv: Tensor, bias: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, kv[:, 0], kv[:, 1], attn_mask=bias, scale=net.scale).reshape(B, -1)

        buffers.bias.index_fill_(3, buffers.position, 0.0)
        tokens = (
            buffers.tokens
            if buffers.copies is None
            else to_token_ids(buffers.bag, buffers.tokens[:, None], self.config.output_vocab_size)[:, 0]
        )
        x = F.embedding(tokens, net.decoder_embedding) + net.positions.index_select(0, buffers.position)  # (B, E)
        for (own, cross, forward), cache, memory in zip(net.decoder, buffers.cache, buffers.memory):

            def attend_self(qkv: Tensor) -> Tensor:
                qkv = qkv.view(B, 3, net.heads, 1, net.width)
                cache.index_copy_(3, buffers.position, qkv[:, 1:])
                return attend(qkv[:, 0], cache, buffers.bias)

            x = own(x, attend_self)
            x = cross(x, lambda q: attend(q.view(B, net.heads, 1, net.width), memory, buffers.memory_bias))
            x = forward(x, torch.relu_)
        states = net.decoder_norm(x.float())
        logits = F.linear(states, *net.logits)  # (B, V)
        if buffers.copies is not None:
            logits = torch.cat([logits, buffers.copies.logits(states[:, None])[:, 0]], 1)  # (B, W + A)
        scores = logits if buffers.constraint is None else buffers.constraint.process(logits)
        if sampled:
            tokens = draw(scores, buffers.temperatures, buffers.uniforms.index_select(1, buffers.position)[:, 0])
        else:
            tokens = scores.argmax(-1)
        if buffers.constraint is not None:
            buffers.constraint.accept(tokens)
        if scored:
            token_logprobs = torch.log_softmax(logits, -1).gather(1, tokens[:, None])
            buffers.token_logprobs.index_copy_(1, buffers.position, token_logprobs)
        buffers.ids.index_copy_(1, buffers.position, tokens[:, None])
        buffers.tokens.copy_(tokens)
        buffers.ended.logical_or_(tokens == EOS)
        buffers.position.add_(1)
