"""Turn a checkpoint of the published code (uclanlp/synpg: plain, Large or fine-tuned) into an artifact."""

import argparse
import collections
import contextlib
import io
import json
import pickle
import re
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from handler import artifacts
from handler.language.trees import LABELS, syntax_tokens, tags, words
from handler.language.vocabulary import SEPARATOR, SPECIALS, Vocabulary, WordPieces
from handler.model.network import EOS, PAD, SOS, ModelConfig, PositionTable, SynPG, sinusoids
from handler.planning import PipelineConfig
from handler.wire.request import EXAMPLE, read_request
from scripts.common.paths import DEMO
from scripts.training import calibration

TAGGER = DEMO / artifacts.TAGGER
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
PER_ENTRY = "embedding_encoder.weight", "embedding_decoder.weight", "linear.weight", "linear.bias"  # a row per token
SAMPLED_WORDS = 2000  # of the dictionary, to see whether the BPE files are its own
WHOLE_WORDS = 0.95  # share of them that must stay whole; the published files reach 1.0, foreign merges 0.2


class CheckpointError(Exception):
    """Files that cannot become an artifact; one sentence."""


class DictionaryUnpickler(pickle.Unpickler):
    """Resolves the four names a pickled dictionary needs. Its own class becomes a bare holder of attributes."""

    def __init__(self, stream):
        super().__init__(stream)
        self.name = stream.name
        self.known = {
            ("utils", "Dictionary"): type("Dictionary", (), {}),
            ("builtins", "int"): int,
            ("builtins", "set"): set,
            ("collections", "defaultdict"): collections.defaultdict,
        }

    def find_class(self, module: str, name: str):
        if (module, name) not in self.known:
            raise CheckpointError(
                f"{self.name} asks for {some([module])}.{some([name])}, which no dictionary needs: "
                "it was not resolved, and nothing was run."
            )
        return self.known[module, name]


def read_dictionary(file: Path) -> list[str]:
    """The tokens of a pickled `utils.Dictionary`, in the order of their ids."""
    refuse_web_page(file)
    with open(file, "rb") as stream:
        try:
            holder = DictionaryUnpickler(stream).load()
        except (CheckpointError, OSError):
            raise
        except Exception:  # a broken pickle raises whatever its bytes run into
            raise CheckpointError(f"{file} is not a pickled dictionary, or it is damaged.") from None
    by_id, by_word = (getattr(holder, name, None) for name in ("idx2word", "word2idx"))
    if type(by_id) is not dict or type(by_word) is not dict:
        raise CheckpointError(f"{file} holds something ({type(holder).__name__}) without the tables idx2word and word2idx.")
    if not all(type(i) is int for i in by_id):
        raise CheckpointError(f"{file}: idx2word has keys that are not integers.")
    gaps = [i for i in range(len(by_id)) if i not in by_id]
    if gaps:
        raise CheckpointError(f"{file}: its {len(by_id)} ids are not contiguous, {gaps[0]} is missing.")
    tokens = [by_id[i] for i in range(len(by_id))]
    for i, token in enumerate(tokens):
        if not isinstance(token, str) or not token or not encodable(token):
            raise CheckpointError(f"{file}: entry {i} is {ascii(token)[:40]}, not a word.")
        if by_word.get(token) != i:
            raise CheckpointError(f"{file}: idx2word and word2idx disagree about entry {i}, {ascii(token)[:40]}.")
    if len(by_word) != len(tokens):
        raise CheckpointError(f"{file}: word2idx has {len(by_word)} words, idx2word {len(tokens)}.")
    if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
        raise CheckpointError(f"{file} begins with {some(tokens[: len(SPECIALS)], 5)}, expected {', '.join(SPECIALS)}.")
    missing = sorted(LABELS - Vocabulary(tokens).syntax_ids.keys())
    if missing:
        raise CheckpointError(
            f"{file} lacks the syntax tokens {some([f'<{label}>' for label in missing])} after its {len(SPECIALS)} special entries."
        )
    return tokens


def encodable(token: str) -> bool:
    try:
        token.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint in fp32, by their published names."""
    refuse_web_page(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript; what is wrong is said below
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a dozen kinds, and a text that recommends to load it without weights_only
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise CheckpointError(
                f"{file} asks for {some([named[1]])}, which no tensor needs: it was not resolved, and nothing was run."
            ) from None
        raise CheckpointError(f"{file} is not a checkpoint of tensors, or it is damaged.") from None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{file} holds something ({type(state).__name__}) other than the tensors of a network by name.")
    odd = [str(name) for name, value in state.items() if not (isinstance(name, str) and is_plain(value))]
    if odd:
        raise CheckpointError(
            f"{file} holds what is not a dense floating-point tensor ({some(odd)}): save the network's state_dict() alone."
        )
    if all(name.startswith("module.") for name in state):  # saved from inside DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: tensor.float() for name, tensor in state.items()}


def is_plain(value) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu" and value.is_floating_point()


def is_finite(tensor: Tensor) -> bool:
    """Whether there is no infinity or not-a-number; a finite sum, ten times cheaper than a look at each, proves it."""
    return bool(tensor.sum(dtype=torch.float).isfinite()) or bool(tensor.isfinite().all())


def read_config(file: Path, state: dict[str, Tensor], entries: int, heads: int, **widths: int) -> ModelConfig:
    """The network's configuration, its sizes from the tensors; every tensor is checked against it.

    entries: the dictionary's. widths: bag_width, syntax_width and max_steps. Takes `pos_encoder.pe` out of the state.
    """
    embedding, hidden = state.get("embedding_encoder.weight"), state.get("transformer.encoder.layers.0.linear1.weight")
    if embedding is None or hidden is None or embedding.dim() != 2 or hidden.dim() != 2:
        raise CheckpointError(f"{file} is not a SynPG checkpoint: it has {some(state)}.")
    if len(embedding) != entries:
        raise CheckpointError(f"{file} embeds {len(embedding)} tokens but the dictionary has {entries}: they do not belong together.")
    width = embedding.shape[1]
    if width % heads:
        raise CheckpointError(f"--heads {heads} does not divide the width {width} of {file}.")
    layers = {
        side: len({found[1] for name in state if (found := re.match(rf"transformer\.{side}\.layers\.(\d+)\.", name))})
        for side in ("encoder", "decoder")
    }
    try:
        config = ModelConfig(
            vocab_size=entries,
            d_model=width,
            n_heads=heads,
            d_feedforward=len(hidden),
            n_encoder_layers=layers["encoder"],
            n_decoder_layers=layers["decoder"],
            attend_pads=True,
            tie="none",
            **widths,
        )
    except ValueError as error:
        raise CheckpointError(f"{file} cannot be served: {error}.") from None
    table = state.pop("pos_encoder.pe", None)
    with torch.device("meta"):  # shapes only
        expected = {name: tuple(p.shape) for name, p in SynPG(config).state_dict().items()}
    missing, unknown = [n for n in expected if n not in state], [n for n in state if n not in expected]
    if missing or unknown:
        raise CheckpointError(
            f"{file} is not SynPG with {layers['encoder']} + {layers['decoder']} layers: {some(missing)} missing, {some(unknown)} unknown."
        )
    for name, tensor in state.items():
        if tuple(tensor.shape) != expected[name]:
            raise CheckpointError(f"{file}: {name} has shape {tuple(tensor.shape)}, expected {expected[name]}.")
        if not is_finite(tensor):
            raise CheckpointError(f"{file}: {name} holds infinity or not-a-number.")
    if table is not None:
        used = max(config.syntax_width, config.max_steps)
        if table.shape[1:] != (1, width) or len(table) < used:
            raise CheckpointError(f"{file}: pos_encoder.pe has shape {tuple(table.shape)}, expected at least {(used, 1, width)}.")
        if not torch.allclose(table[:used, 0], sinusoids(used, width), atol=1e-4):
            raise CheckpointError(f"{file}: pos_encoder.pe is not the sinusoidal table, the only one this network has.")
    return config


def check_pieces(pieces: WordPieces, vocabulary: Vocabulary, name: str) -> None:
    """Raise unless the merges leave the dictionary's whole words whole."""
    whole = [token for token in vocabulary.tokens[first_word(vocabulary) :] if not token.endswith(SEPARATOR)]
    sample = whole[:: max(1, len(whole) // SAMPLED_WORDS)]
    kept = sum(pieces.split([word]) == [word] for word in sample)
    if kept < WHOLE_WORDS * len(sample):
        raise CheckpointError(
            f"{name} leave {100 * kept // len(sample)} % of the dictionary's words whole: they belong to "
            "another dictionary, or --bpe-threshold is not its own."
        )


def first_word(vocabulary: Vocabulary) -> int:
    """The id after those of the syntax tokens."""
    return len(SPECIALS) + len(vocabulary.syntax_ids)


def syntax_share(net: SynPG, bag: list[int], syntax: list[int], words_from: int) -> float:
    """How much of the first token's probability falls on syntax tokens."""
    c = net.config
    rows = [(ids + [PAD] * width)[:width] for ids, width in ((bag, c.bag_width), ([SOS, *syntax, EOS], c.syntax_width))]
    with torch.inference_mode():
        cache = net.encode(*(torch.tensor([row]) for row in rows))
        return net.step(torch.tensor([SOS]), cache).softmax(-1)[0, len(SPECIALS) : words_from].sum().item()


def check_roles(nets: dict[str, SynPG], files: dict[str, Path], vocabulary: Vocabulary, pieces: WordPieces) -> list[str]:
    """Listen to each network's first token. Raises when the two were given in each other's place; returns doubts.

    The shapes are the same, what they say is not: a parse begins with a bracket, a text with a word.
    """
    request = read_request(json.loads(EXAMPLE))
    source, asked = request.source, request.targets[0].tree
    assert source is not None and asked is not None  # the example has both
    bags = {
        "parse_generator": [vocabulary.syntax_ids[tag] for tag in tags(source)],
        "paraphraser": [vocabulary.ids[p] for p in pieces.split(words(source)) if p in vocabulary.ids],
    }
    trees = {"parse_generator": asked, "paraphraser": source}
    share = {
        net: syntax_share(nets[net], bags[net], [vocabulary.syntax_ids[t] for t in syntax_tokens(trees[net])], first_word(vocabulary))
        for net in nets
    }
    mute, parsing = share["parse_generator"] < 0.1, share["paraphraser"] > 0.9
    if mute and parsing:
        raise CheckpointError(
            f"{files['paraphraser']} speaks in parses and {files['parse_generator']} in words: swap --synpg and --parse-generator."
        )
    doubts = []
    if mute:
        doubts.append(f"{files['parse_generator']} does not begin a parse with a bracket")
    if parsing:
        doubts.append(f"{files['paraphraser']} begins a sentence with a syntax token")
    return doubts


def build(config: ModelConfig, state: dict[str, Tensor]) -> SynPG:
    """A network of these very tensors."""
    with torch.device("meta"):
        net = SynPG(config)
    net.load_state_dict(state, assign=True)
    net.pos_encoder = PositionTable(max(config.syntax_width, config.max_steps), config.d_model)
    return net.eval()


def stored(file: Path, state: dict[str, Tensor], dtype: torch.dtype, entries: int) -> dict[str, Tensor]:
    """CopyHead of the tensors as `dtype`, of the vocabulary only the first `entries`."""
    copies = {name: (t[:entries] if name in PER_ENTRY else t).to(dtype, copy=True) for name, t in state.items()}
    for name, tensor in copies.items():
        if not is_finite(tensor):
            raise CheckpointError(f"{file}: {name} has numbers too large for {dtype}; use --dtype fp32.")
    return copies


def convert(options: argparse.Namespace) -> str:
    """Write the artifact; returns what it is, in words."""
    out = options.out.resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{options.out} is there already; remove it or name another folder.")
    files = {
        "parse_generator": options.parse_generator,
        "paraphraser": options.synpg,
        "dictionary": options.dictionary,
        "BPE codes": options.bpe_codes,
        "BPE vocabulary": options.bpe_vocab,
    }
    if options.tagger:
        files["tagger"] = options.tagger
    tokens = read_dictionary(options.dictionary)
    vocabulary = Vocabulary(tokens)
    with contextlib.redirect_stderr(io.StringIO()):  # subword_nmt talks before it raises
        pieces = artifacts.read_pieces(options.bpe_codes, options.bpe_vocab, options.bpe_threshold)
    check_pieces(pieces, vocabulary, f"{options.bpe_codes} and {options.bpe_vocab}")

    prints = {part: artifacts.fingerprint(file)["sha256"] for part, file in files.items()}
    sizes = {
        "parse_generator": dict(syntax_width=options.max_tmpl_len + 2, max_steps=options.max_synt_len + 1),
        "paraphraser": dict(syntax_width=options.max_synt_len + 2, max_steps=options.max_sent_len + 1),
    }
    states = {net: read_state(files[net]) for net in artifacts.NETS}
    configs = {
        net: read_config(files[net], states[net], len(tokens), options.heads, bag_width=options.max_sent_len, **sizes[net])
        for net in artifacts.NETS
    }
    one, other = states.values()
    if one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one):
        raise CheckpointError(f"{options.synpg} and {options.parse_generator} hold the same network.")
    doubts = check_roles({net: build(configs[net], states[net]) for net in artifacts.NETS}, files, vocabulary, pieces)
    for doubt in doubts:
        print(f"Note: {doubt}; is it the right file, and --heads {options.heads} right?", file=sys.stderr)

    if options.constrained:  # a constrained parse has syntax tokens only: the words would cost half of each step
        configs["parse_generator"] = replace(configs["parse_generator"], vocab_size=first_word(vocabulary))
    for net in artifacts.NETS:
        states[net] = stored(files[net], states[net], DTYPES[options.dtype], configs[net].vocab_size)
    config = artifacts.ArtifactConfig(
        PipelineConfig(options.tokenization, options.bpe_threshold, options.constrained), configs["parse_generator"], configs["paraphraser"]
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder) / out.name
        made.mkdir()
        if options.tagger:
            shutil.copyfile(options.tagger, made / artifacts.TAGGER)
        artifacts.save(made, config, states, tokens, options.bpe_codes, options.bpe_vocab)
        (made / "README.md").write_text(record(files, prints, options), encoding="utf-8")
        if options.constrained and (TAGGER.parent / artifacts.DRAFTS).is_file():
            calibration.borrow_drafts(TAGGER.parent, made)
        artifacts.load(made)  # as a server will
        size = sum(file.stat().st_size for file in made.iterdir()) / 1e6
        made.rename(out)
    weights = sum(tensor.numel() for state in states.values() for tensor in state.values()) / 1e6
    return f"{len(tokens)} tokens, {weights:.1f} million weights in {options.dtype}, {size:.0f} MB, " + (
        "with a tagger" if options.tagger else "no tagger, so that requests need a parse"
    )


def record(files: dict[str, Path], prints: dict[str, str], options: argparse.Namespace) -> str:
    """The artifact's README: where it comes from."""
    rows = "".join(f"| {part.replace('_', ' ')} | {files[part].name} | {prints[part]} |\n" for part in files)
    credit = (
        "" if options.tagger != TAGGER else ("\nThe tagger is not theirs: model_store/demo/README.md of this project credits its data.\n")
    )
    return f"""# An imported SynPG checkpoint

Made by `scripts.import_checkpoint` (heads {options.heads}, {options.dtype}, tokenization {options.tokenization}, \
{"constrained" if options.constrained else "unconstrained"}) from

| part | file | sha256 |
|---|---|---|
{rows}
The files' layout, and the published files themselves, are the work of Kuan-Hao Huang and Kai-Wei Chang
(github.com/uclanlp/synpg, a repository under the MIT licence): "Generating Syntactically Controlled Paraphrases without
Using Annotated Parallel Pairs", EACL 2021.
{credit}"""


def refuse_web_page(file: Path) -> None:
    """A drive's page that asks whether to go on is the usual thing to be saved in a large file's stead."""
    with open(file, "rb") as stream:
        if stream.read(200).lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise CheckpointError(f"{file} is a web page, not the download it offers.")


def some(names, count: int = 3) -> str:
    listed = [ascii(name)[1:-1] if isinstance(name, str) else ascii(name) for name in names]
    return ", ".join(listed[:count]) + (f" and {len(listed) - count} more" if len(listed) > count else "") or "none"
