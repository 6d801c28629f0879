"""The rival: the same weights in CTranslate2's Transformer, converted here. Needs the package `ctranslate2`.

What is the same: every weight, post-norm layers with a final norm on both sides, scaled embeddings, the sinusoidal table,
none of it on the bag (the encoder's table starts with as many zero rows as the bag is wide), <sos> as first token. With
pads attended to, they are ordinary source tokens, as in the published code.

What differs: CTranslate2's encoder has no block-diagonal mask, so the bag and the syntax attend to each other there. The
cost is the same or a little higher; the tokens differ. `tests/bench/test_bench.py` holds the conversion against
`reference.PlainTransformer` without that mask: log-probabilities agree to rounding, greedy tokens are equal.

Its parse generator may be given the syntax tokens alone as target vocabulary (`vocabulary=109`): what a careful user
would do, and what this project's engine does.
"""

import importlib.util
from pathlib import Path

import numpy as np

from handler.model.network import PAD, SynPG, sinusoids
from scripts.bench.timing import StepClock, Steps

MISSING = "CTranslate2 is not installed, so its rows are left out: `pip install -r scripts/bench/requirements.txt`."
COMPUTE_TYPES = "int8", "int8_float32", "int16", "float32"  # tried, best first


def available() -> bool:
    return importlib.util.find_spec("ctranslate2") is not None


def compute_types() -> list[str]:
    """Those that this processor can do. \"int8\" and \"int8_float32\" are one there unless half precision is supported."""
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cpu")
    kinds = [kind for kind in COMPUTE_TYPES if kind in supported]
    if {"int8", "int8_float32"} <= set(kinds) and not supported & {"int8_float16", "int8_bfloat16"}:
        kinds.remove("int8_float32")
    return kinds


def convert(net: SynPG, tokens: list[str], folder: Path, vocabulary: int | None = None) -> Path:
    """Write one network as a CTranslate2 model; `vocabulary`: only the first so many tokens can be generated."""
    from ctranslate2.specs import TransformerSpec

    c, state = net.config, {name: tensor.float().numpy() for name, tensor in net.state_dict().items()}
    size = vocabulary or c.vocab_size
    # Declared pre-norm, because only then the specification has the final norms; the flag is what the engine reads.
    spec = TransformerSpec.from_config((c.n_encoder_layers, c.n_decoder_layers), c.n_heads, pre_norm=True)
    bag = c.bag_width if c.attend_pads else 0
    table = sinusoids(max(c.syntax_width + c.bag_width, c.max_steps), c.d_model).numpy()
    spec.encoder.position_encodings.encodings = np.concatenate([np.zeros((bag, c.d_model), np.float32), table])
    spec.decoder.position_encodings.encodings = table
    spec.encoder.embeddings[0].weight = state["embedding_encoder.weight"]
    spec.decoder.embeddings.weight = state["embedding_decoder.weight"][:size]
    spec.decoder.projection.weight, spec.decoder.projection.bias = state["linear.weight"][:size], state["linear.bias"][:size]
    for name, half in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        half.pre_norm = False
        _norm(half.layer_norm, state, f"transformer.{name}.norm")
        for i, layer in enumerate(half.layer):
            _layer(layer, state, f"transformer.{name}.layers.{i}", crossed=name == "decoder")
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = "<unk>", "<sos>", "<eos>"
    spec.config.decoder_start_token, spec.config.layer_norm_epsilon = "<sos>", 1e-5
    spec.register_source_vocabulary(tokens[: c.vocab_size])
    spec.register_target_vocabulary(tokens[:size])
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    return folder


def _layer(layer, state: dict, prefix: str, crossed: bool) -> None:
    """One layer; the published order is self-attention, norm1, [cross-attention, norm2,] feed-forward, last norm."""
    packed = f"{prefix}.self_attn.in_proj"
    _linear(layer.self_attention.linear[0], state[f"{packed}_weight"], state[f"{packed}_bias"])
    _linear(layer.self_attention.linear[1], *_named(state, f"{prefix}.self_attn.out_proj"))
    _norm(layer.self_attention.layer_norm, state, f"{prefix}.norm1")
    if crossed:
        packed, d = f"{prefix}.multihead_attn.in_proj", state[f"{prefix}.norm1.weight"].shape[0]
        for linear, part in zip(layer.attention.linear, (slice(None, d), slice(d, None))):
            _linear(linear, state[f"{packed}_weight"][part], state[f"{packed}_bias"][part])
        _linear(layer.attention.linear[2], *_named(state, f"{prefix}.multihead_attn.out_proj"))
        _norm(layer.attention.layer_norm, state, f"{prefix}.norm2")
    _linear(layer.ffn.linear_0, *_named(state, f"{prefix}.linear1"))
    _linear(layer.ffn.linear_1, *_named(state, f"{prefix}.linear2"))
    _norm(layer.ffn.layer_norm, state, f"{prefix}.norm{3 if crossed else 2}")


def _named(state: dict, name: str):
    return state[f"{name}.weight"], state[f"{name}.bias"]


def _linear(spec, weight, bias) -> None:
    spec.weight, spec.bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)


def _norm(spec, state: dict, name: str) -> None:
    spec.gamma, spec.beta = _named(state, name)


class Translator:
    """One converted network under one compute type and thread count, called with ids."""

    def __init__(self, folder: Path, net_config, tokens: list[str], compute_type: str, threads: int):
        import ctranslate2

        self.config, self.tokens, self.ids = net_config, tokens, {token: i for i, token in enumerate(tokens)}
        self.translator = ctranslate2.Translator(str(folder), compute_type=compute_type, intra_threads=threads, inter_threads=1)

    def source(self, bag: list[int], syntax: list[int]) -> list[str]:
        """The encoder's tokens: bag, then syntax, padded where the artifact says so."""
        c = self.config
        if c.attend_pads:
            bag, syntax = bag + [PAD] * (c.bag_width - len(bag)), syntax + [PAD] * (c.syntax_width - len(syntax))
        return [self.tokens[i] for i in bag + syntax]

    def greedy(self, sources: list[list[str]], most: int, least: int = 1) -> list[list[int]]:
        """Ids of each row, <eos> left out; between `least` and `most` tokens."""
        results = self.translator.translate_batch(
            sources, beam_size=1, max_decoding_length=most, min_decoding_length=least, max_input_length=0
        )
        return [[self.ids[token] for token in result.hypotheses[0]] for result in results]

    def steps(self, sources: list[list[str]], count: int) -> Steps:
        """Time `count` greedy steps of a batch by the library's callback, which it makes once a row and step.

        The callbacks cost 1 to 3 µs each; only the first row's are looked at.
        """
        clock = StepClock()
        self.translator.translate_batch(
            sources,
            beam_size=1,
            max_decoding_length=count,
            min_decoding_length=count,
            max_input_length=0,
            callback=lambda result: clock.tick() if result.batch_id == 0 else None,
        )
        return clock.steps()
