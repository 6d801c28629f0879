"""Verifies and loads a model artifact. All file access of the package is here. It reads no pickle.

`scripts/common/artifact_files.py` writes what is read here.

An artifact is a folder that describes itself:

    config.json                   format, settings of the pipeline with the named templates it adds, `ModelConfig` of each network
    parse_generator.safetensors   tensors under the published names; tied ones are stored once, as embedding_decoder.weight. In an
                                  archive linear weights may be int8, with their scales beside them (`weights.py`)
    paraphraser.safetensors
    vocab.json                    token list; a network's vocabulary is its first `vocab_size` entries
    bpe.codes, bpe.vocab.txt      subword-nmt's merges and piece counts
    tagger.safetensors            optional: tags requests without a parse (`language/tagger.py`)
    parser.safetensors            optional: parses requests without a parse (`parsing/parser.py`)
    drafts.safetensors            optional: guesses that make parses faster to generate (`decoding/proposers.py`)
    lexicon.safetensors           optional: how often each word had which tag (`decoding/lexicon.py`)
    endings.json                  optional: tokens that only end words and are never a word (`decoding/grammar.py`)
    ranges.json                   optional: smallest and largest input of each linear layer, for int8 (`cpu/graph.py`)
    manifest.json                 size and sha256 of each of these files; other files are not read
"""

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file as load_numpy

from handler.cpu.engine import PRECISIONS, Engine
from handler.cpu.graph import Ranges, layer_names
from handler.cpu.runtime import give_back
from handler.decoding.backend import Backend, StepwiseBackend
from handler.decoding.lexicon import Lexicon
from handler.decoding.plain import PlainNetwork
from handler.decoding.proposers import WIDTH as DRAFT_WIDTH
from handler.decoding.proposers import NgramProposer
from handler.errors import ArtifactError, RequestError, parse_json
from handler.gpu.engine import PRECISIONS as GPU_PRECISIONS
from handler.gpu.engine import CudaGraphEngine
from handler.language.split_tags import SPLIT
from handler.language.tagger import Tagger
from handler.language.trees import LABELS
from handler.language.vocabulary import Vocabulary, WordPieces, counted_pieces
from handler.language.word_classes import ROWS as TAG_ROWS
from handler.model.network import ModelConfig
from handler.parsing.parser import Parser
from handler.pipeline import Pipeline
from handler.planning import PipelineConfig
from handler.weights import load_net, load_rounded, some

FORMAT = 1
NETS = "parse_generator", "paraphraser"
FILES = "config.json", *(f"{net}.safetensors" for net in NETS), "vocab.json", "bpe.codes", "bpe.vocab.txt"
TAGGER, DRAFTS, RANGES, ENDINGS, LEXICON, PARSER = OPTIONAL = (
    "tagger.safetensors",
    "drafts.safetensors",
    "ranges.json",
    "endings.json",
    "lexicon.safetensors",
    "parser.safetensors",
)
RENAMED = {"written": "generation_vocab_size"}  # fields of config.json: name in version 0.1.0 -> name in the code


@dataclass(frozen=True)
class ArtifactConfig:
    """`config.json`."""

    pipeline: PipelineConfig
    parse_generator: ModelConfig
    paraphraser: ModelConfig
    format: int = FORMAT


def members(folder: Path) -> list[str]:
    """The files of an artifact, the manifest first. Other files in the folder are not part of it."""
    return ["manifest.json", *_read_manifest(folder)]


def _read_manifest(folder: Path) -> dict[str, dict]:
    """File name -> its fingerprint."""
    files = _read_object(folder / "manifest.json").get("files")
    if not isinstance(files, dict) or not set(FILES) <= files.keys() <= {*FILES, *OPTIONAL}:
        raise ArtifactError(
            "manifest.json",
            f"entries for {', '.join(FILES)} and perhaps {', '.join(OPTIONAL)}",
            ", ".join(files) if isinstance(files, dict) else type(files).__name__,
        )
    return files


def fingerprint(file: Path) -> dict:
    """Size in bytes and sha256 of a file."""
    with open(file, "rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def verify(folder: Path) -> ArtifactConfig:
    """Check that every file of the manifest is present and unchanged, and read the configuration.

    Raises ArtifactError with the file, what was expected and what was found.
    """
    manifest = _complete(folder)
    _check_hashes(folder, manifest)
    return read_config(folder / "config.json")


def _complete(folder: Path) -> dict[str, dict]:
    """The manifest of an artifact whose files are there, each with its size. Raises ArtifactError."""
    manifest = _read_manifest(folder)
    for name, expected in manifest.items():
        file = folder / name
        if not isinstance(expected, dict) or set(expected) != {"bytes", "sha256"}:
            raise ArtifactError("manifest.json", f"bytes and sha256 of {name}", repr(expected)[:80])
        if not file.is_file():
            raise ArtifactError(name, f"a file of {expected['bytes']} bytes", "none")
        if file.stat().st_size != expected["bytes"]:
            raise ArtifactError(name, f"{expected['bytes']} bytes", f"{file.stat().st_size}")
    return manifest


def _check_hashes(folder: Path, manifest: dict[str, dict]) -> None:
    """Raise ArtifactError for a file that is not what the manifest says."""
    for name, expected in manifest.items():
        found = fingerprint(folder / name)["sha256"]
        if found != expected["sha256"]:
            raise ArtifactError(name, f"sha256 {expected['sha256']}", found)


@contextlib.contextmanager
def _hashing(folder: Path, manifest: dict[str, dict]) -> Iterator[None]:
    """Checks the hashes of an artifact's files while the context builds something of them. Raises ArtifactError at its end, in the place
    of what a damaged file has made the context raise.

    Text files are checked before the context begins. Large ones are checked on another core, if there is one, since hashing them
    takes half as long as all the rest. They hold nothing but arrays, whose names, shapes and numbers are checked where they are read.
    """
    arrays = {name: expected for name, expected in manifest.items() if name.endswith(".safetensors")}
    _check_hashes(folder, {name: expected for name, expected in manifest.items() if name not in arrays})
    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(_check_hashes, folder, arrays)
        try:
            yield
        except Exception:
            checked.result()
            raise
        checked.result()


def read_config(file: Path) -> ArtifactConfig:
    """Read `config.json`. A missing or unknown field, or one of the wrong type, is an error."""
    raw = _read_object(file)
    if raw.get("format") != FORMAT:
        raise ArtifactError(file.name, f"format {FORMAT}", repr(raw.get("format")))
    sections = {"pipeline": PipelineConfig, "parse_generator": ModelConfig, "paraphraser": ModelConfig}
    if set(raw) != {"format", *sections}:
        raise ArtifactError(file.name, "the keys format, " + ", ".join(sections), ", ".join(raw))
    return ArtifactConfig(**{name: _section(file, name, kind, raw[name]) for name, kind in sections.items()})


def _section(file: Path, name: str, kind: type, raw: Any) -> Any:
    known = {f.name for f in fields(kind)}
    if isinstance(raw, dict):
        raw = {RENAMED.get(key, key): value for key, value in raw.items()}
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if not isinstance(raw, dict) or not required <= raw.keys() <= known:
        keys = sorted(raw) if isinstance(raw, dict) else [type(raw).__name__]
        raise ArtifactError(file.name, f"{name} with the keys {', '.join(sorted(known))}", ", ".join(keys))
    try:
        return kind(**raw)
    except ValueError as error:
        raise ArtifactError(file.name, f"a usable {name}", str(error)) from None


def _read_object(file: Path) -> dict:
    if not file.is_file():
        raise ArtifactError(file.name, "a file", "none")
    value = parse_json(_read_text(file, "JSON in UTF-8"), file.name, "JSON in UTF-8")
    if not isinstance(value, dict):
        raise ArtifactError(file.name, "a JSON object", type(value).__name__)
    return value


def load(
    folder: Path | str, device: torch.device | str = "cpu", precision: str = "auto", drafts: bool = True, compiled: bool = True
) -> Pipeline:
    """Verify an artifact and build its pipeline on `device`. Raises ArtifactError, and then nothing is served.

    precision: "fp32"; on a CPU "int8", which needs `ranges.json`; on a GPU "bf16" and "fp16"; "auto": on a CPU int8 if there
               are ranges; on a GPU bf16, or fp16 where it has no bf16.
    drafts:    False: a token a step (the same tokens).
    compiled:  False: the plain network of `model/network.py`, which the backends are tested against; on other devices always.
    """
    folder, device = Path(folder), torch.device(device)
    manifest = _complete(folder)
    with _hashing(folder, manifest):
        return _built(folder, read_config(folder / "config.json"), frozenset(manifest), device, precision, drafts, compiled)


def _built(
    folder: Path, config: ArtifactConfig, present: Collection[str], device: torch.device, precision: str, drafts: bool, compiled: bool
) -> Pipeline:
    """The pipeline of an artifact. Arguments as in `load`; present: the names of its files."""
    vocabulary, syntax_end = checked_vocabulary(folder, config)
    pieces = read_pieces(folder / "bpe.codes", folder / "bpe.vocab.txt", config.pipeline.bpe_threshold)
    parse_generator, text_generator = _backends(folder, config, present, syntax_end, device, precision, drafts, compiled)
    tagger = load_tagger(folder / TAGGER) if TAGGER in present else None
    endings = read_endings(folder / ENDINGS, vocabulary) if ENDINGS in present else ()
    parser = load_parser(folder / PARSER) if PARSER in present else None
    lexicon = _lexicon(folder, config, present)
    pipeline = Pipeline(config.pipeline, vocabulary, pieces, parse_generator, text_generator, tagger, endings, lexicon, parser)
    check_templates(pipeline, config.pipeline.templates)
    return pipeline


def check_templates(pipeline: Pipeline, templates: dict[str, str]) -> None:
    """Raise ArtifactError if the networks cannot read one of these named templates, which are well-formed."""
    for name, template in templates.items():
        try:
            pipeline.planner.check_template(template)
        except RequestError as error:
            raise ArtifactError("config.json", "templates that the networks can read", f"{name}, which {error.reason}") from None


def _backends(
    folder: Path,
    config: ArtifactConfig,
    present: Collection[str],
    syntax_end: int,
    device: torch.device,
    precision: str,
    drafts: bool,
    compiled: bool,
) -> list[Backend]:
    """The backends of the two networks on `device`. Arguments as in `load`.

    present: the names of the artifact's files.
    syntax_end: how many of the vocabulary's first tokens are special or syntax tokens. The parse generator reads no others, and
    with constraints it writes no others. Its encoded templates are cached, because people use only a few.
    """
    ranges = read_ranges(folder / RANGES, config) if RANGES in present else None
    on_cpu, on_gpu = compiled and device.type == "cpu", compiled and device.type == "cuda"
    if precision == "auto" and not on_gpu:
        precision = "int8" if on_cpu and ranges else "fp32"
    allowed = "auto", *(GPU_PRECISIONS if on_gpu else PRECISIONS)
    if precision not in allowed:
        raise ValueError(f"precision must be {allowed[0]} or one of {', '.join(allowed[1:])}, not {precision!r}")
    if precision == "int8" and not (on_cpu and ranges):
        raise ArtifactError(RANGES, "a file, and a CPU to compute on, for int8", "none" if on_cpu else str(device))
    proposer = load_drafts(folder / DRAFTS) if drafts and on_cpu and DRAFTS in present else None
    found: list[Backend] = []
    for name in NETS:
        file, net_config, parses = folder / f"{name}.safetensors", getattr(config, name), name == "parse_generator"
        net, rounded = load_rounded(file, net_config) if precision == "int8" else (load_net(file, net_config, device), {})
        output_size = syntax_end if parses and config.pipeline.constrained else None
        input_size = syntax_end if parses else None
        if on_cpu:
            engine = Engine(net, precision, ranges[name] if ranges else None, output_size, input_size, parses, rounded)
            found.append(StepwiseBackend(engine, precision, engine.output_vocab_size, proposer if parses else None, drafts=drafts))
        elif on_gpu:
            found.append(CudaGraphEngine(net, precision, output_size, input_size, always_scored=not parses))
        else:
            found.append(StepwiseBackend(PlainNetwork(net), precision, net.output_vocab_size))
    if on_cpu:
        del net, rounded  # the engines have copies of the weights
        give_back()
    return found


def _lexicon(folder: Path, config: ArtifactConfig, present: Collection[str]) -> Lexicon | None:
    """The lexicon with the configuration's `tag_weight`; None if that is 0."""
    writer, weight, split_weight = config.paraphraser, config.pipeline.tag_weight, config.pipeline.split_weight
    counts, split_counts = load_lexicon(folder / LEXICON, writer.output_vocab_size) if LEXICON in present else (None, None)
    if not weight:
        return None
    if counts is None:
        raise ArtifactError(LEXICON, f"a file, for tag_weight {weight}", "none")
    if split_weight and split_counts is None:
        raise ArtifactError(LEXICON, f"counts of split tags, for split_weight {split_weight}", "none")
    copies = 0 if writer.generation_vocab_size is None else writer.bag_width
    return Lexicon(counts, weight, copies, split_counts, split_weight)


def read_vocabulary(file: Path) -> Vocabulary:
    """Read `vocab.json`; raises ArtifactError."""
    return Vocabulary.from_json(_read_text(file, "a JSON list in UTF-8"), file.name)


def read_pieces(codes: Path, counts: Path | None, threshold: int = 0) -> WordPieces:
    """Read byte-pair encoding. codes: merges as learn-bpe writes them. counts: `piece count` lines; pieces counted less often than
    `threshold` are split further. Without counts there is no such limit. Raises ArtifactError."""
    known = counted_pieces(_read_text(counts, "`piece count` on each line, in UTF-8"), threshold, counts.name) if counts else None
    return WordPieces(_read_text(codes, "merges as subword-nmt learn-bpe writes them, in UTF-8"), known, codes.name)


def load_tagger(file: Path) -> Tagger:
    """Read what `scripts.train_tagger` wrote; raises ArtifactError."""
    return Tagger.from_arrays(*_with_metadata(file), file.name)


def load_parser(file: Path, precision: str = "int8") -> Parser:
    """Read what `scripts.train_parser` wrote; precision as in `Parser.from_arrays`. Raises ArtifactError."""
    return Parser.from_arrays(*_with_metadata(file), file.name, precision)


def _with_metadata(file: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """What a safetensors file says of itself, and its arrays."""
    if not file.is_file():
        raise ArtifactError(file.name, "a file", "none")
    try:
        with safe_open(file, framework="numpy") as stored:
            return stored.metadata() or {}, {name: stored.get_tensor(name) for name in stored.keys()}
    except SafetensorError as error:
        raise ArtifactError(file.name, "a safetensors file", str(error)) from None


def _read_text(file: Path, expected: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(file.name, expected, str(error)) from None


def checked_vocabulary(folder: Path, config: ArtifactConfig) -> tuple[Vocabulary, int]:
    """Read the vocabulary and check it against both networks. Also returns how many of its first tokens are special or syntax.
    Raises ArtifactError."""
    vocabulary = read_vocabulary(folder / "vocab.json")
    if config.paraphraser.vocab_size != len(vocabulary):  # any word may be in a sentence
        raise ArtifactError(
            "vocab.json", f"{config.paraphraser.vocab_size} tokens, as many as paraphraser.vocab_size", f"{len(vocabulary)}"
        )
    if config.parse_generator.vocab_size > len(vocabulary):
        raise ArtifactError(
            "vocab.json", f"at least {config.parse_generator.vocab_size} tokens, parse_generator.vocab_size", f"{len(vocabulary)}"
        )
    syntax_end = max(vocabulary.syntax_ids.values()) + 1
    for net in NETS:
        if getattr(config, net).vocab_size < syntax_end:
            raise ArtifactError(
                "config.json", f"{net}.vocab_size of at least {syntax_end}, the syntax tokens", f"{getattr(config, net).vocab_size}"
            )
    if config.parse_generator.max_steps + 1 > config.paraphraser.syntax_width:
        raise ArtifactError(
            "config.json",
            "parse_generator.max_steps below paraphraser.syntax_width",
            f"{config.parse_generator.max_steps} and {config.paraphraser.syntax_width}",
        )
    unknown = LABELS - vocabulary.syntax_ids.keys()
    if unknown:
        raise ArtifactError("vocab.json", "every Penn Treebank label as a syntax token", f"{some(unknown)} missing")
    return vocabulary, syntax_end


def load_drafts(file: Path) -> NgramProposer:
    tensors = _arrays(file)
    contexts, tokens = tensors.get("contexts"), tensors.get("tokens")
    if (
        contexts is None
        or tokens is None
        or contexts.dtype != np.uint8
        or tokens.dtype != np.uint8
        or (contexts.shape != (len(tokens), DRAFT_WIDTH))
    ):
        raise ArtifactError(file.name, f"contexts (N, {DRAFT_WIDTH}) and tokens (N), uint8", _described(tensors))
    return NgramProposer(contexts, tokens)


def load_lexicon(file: Path, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the counts (T, W) of tags for the `size` tokens that may be written freely; and those of split tags (P, W), if there are any."""
    tensors = _arrays(file)
    for name, rows in {"counts": len(TAG_ROWS), "split_counts": len(SPLIT)}.items():
        array = tensors.get(name)
        if name == "counts" and array is None or array is not None and (array.dtype != np.uint16 or array.shape != (rows, size)):
            raise ArtifactError(file.name, f"{name} {(rows, size)}, uint16", _described(tensors))
    return tensors["counts"], tensors.get("split_counts")


def _arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        return load_numpy(file)
    except SafetensorError as error:
        raise ArtifactError(file.name, "a safetensors file", str(error)) from None


def _described(tensors: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in tensors.items()) or "nothing"


def read_endings(file: Path, vocabulary: Vocabulary) -> list[int]:
    """Read the ids of the tokens that only end words and are never a word."""
    tokens = _read_object(file).get("tokens")
    if not isinstance(tokens, list):
        raise ArtifactError(file.name, "a list, tokens", type(tokens).__name__)
    unknown = [token for token in tokens if not isinstance(token, str) or token not in vocabulary.ids]
    if unknown:
        raise ArtifactError(file.name, "tokens of the vocabulary", repr(unknown[0])[:80])
    return [vocabulary.ids[token] for token in tokens]


def read_ranges(file: Path, config: ArtifactConfig) -> dict[str, Ranges]:
    """Read network -> layer -> smallest and largest input."""
    raw = _read_object(file)
    for name in NETS:
        found, expected = raw.get(name), layer_names(getattr(config, name))
        if not isinstance(found, dict) or set(found) != expected:
            raise ArtifactError(
                file.name, f"{len(expected)} layers of {name}", f"{len(found)} others" if isinstance(found, dict) else type(found).__name__
            )
        for layer, bounds in found.items():
            if not (
                isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(b, float | int) for b in bounds) and bounds[0] < bounds[1]
            ):
                raise ArtifactError(file.name, f"two rising numbers for {name}, {layer}", repr(bounds)[:80])
    return {name: {layer: tuple(bounds) for layer, bounds in raw[name].items()} for name in NETS}
