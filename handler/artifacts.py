"""The model artifact: save it, check it, load it. The only file I/O of the package. No pickle anywhere.

An artifact is a directory that describes itself:

    config.json                   format, settings of the pipeline, the two networks' `ModelConfig`s
    parse_generator.safetensors   tensors under the published names; tied ones are stored once, as embedding_decoder.weight
    paraphraser.safetensors
    vocab.json                    token list; a network's vocabulary is its first `vocab_size` entries
    bpe.codes, bpe.vocab.txt      subword-nmt's merges and piece counts
    tagger.safetensors            optional: part-of-speech tags for requests without a parse (`tagger.py`)
    manifest.json                 size and sha256 of each of these; other files are not read
"""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

from handler.errors import ArtifactError
from handler.model import ModelConfig, PositionTable, SynPG
from handler.pipeline import Paraphraser, PipelineConfig
from handler.syntax import LABELS
from handler.tagger import Tagger
from handler.text import Vocabulary, WordPieces

FORMAT = 1
NETS = "parse_generator", "paraphraser"
FILES = "config.json", *(f"{net}.safetensors" for net in NETS), "vocab.json", "bpe.codes", "bpe.vocab.txt"
TAGGER = "tagger.safetensors"
STORED_DTYPES = torch.float32, torch.float16, torch.bfloat16


@dataclass(frozen=True)
class ArtifactConfig:
    """`config.json`."""

    pipeline: PipelineConfig
    parse_generator: ModelConfig
    paraphraser: ModelConfig
    format: int = FORMAT


def save(folder: Path, config: ArtifactConfig, tensors: dict[str, dict[str, torch.Tensor]], vocabulary: list[str],
         codes: Path, counts: Path, dtype: torch.dtype | None = None) -> None:
    """Write an artifact; `tensors` holds a state dict per network, stored as `dtype` when one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", asdict(config))
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    (folder / "bpe.codes").write_bytes(codes.read_bytes())
    (folder / "bpe.vocab.txt").write_bytes(counts.read_bytes())
    for net in NETS:
        aliases = tied_names(getattr(config, net))
        stored = {name: tensor.detach().cpu().to(dtype or tensor.dtype).contiguous()
                  for name, tensor in tensors[net].items() if name not in aliases and name != "pos_encoder.pe"}
        save_file(stored, folder / f"{net}.safetensors")
        (folder / f"{net}.safetensors").chmod(0o644)  # safetensors keeps it to its owner; a container's user may be another
    write_manifest(folder)


def write_json(file: Path, value) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_manifest(folder: Path) -> None:
    """(Re)write `manifest.json` for the files as they are."""
    names = [*FILES, TAGGER] if (folder / TAGGER).is_file() else FILES
    write_json(folder / "manifest.json", {"files": {name: fingerprint(folder / name) for name in names}})


def members(folder: Path) -> list[str]:
    """The files an artifact consists of, manifest first; what else lies in the folder is not part of it."""
    return ["manifest.json", *_read_manifest(folder)]


def _read_manifest(folder: Path) -> dict[str, dict]:
    """File name -> its fingerprint."""
    files = _read_object(folder / "manifest.json").get("files")
    if not isinstance(files, dict) or not set(FILES) <= files.keys() <= {*FILES, TAGGER}:
        raise ArtifactError("manifest.json", "entries for " + ", ".join(FILES) + f" and perhaps {TAGGER}",
                            ", ".join(files) if isinstance(files, dict) else type(files).__name__)
    return files


def fingerprint(file: Path) -> dict:
    """Size in bytes and sha256 of a file."""
    with open(file, "rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def verify(folder: Path) -> ArtifactConfig:
    """Check that every file of the manifest is there, whole and unchanged, and read the configuration.

    Raises ArtifactError with file, expected and found.
    """
    for name, expected in _read_manifest(folder).items():
        file = folder / name
        if not isinstance(expected, dict) or set(expected) != {"bytes", "sha256"}:
            raise ArtifactError("manifest.json", f"bytes and sha256 of {name}", repr(expected)[:80])
        if not file.is_file():
            raise ArtifactError(name, f"a file of {expected['bytes']} bytes", "none")
        if file.stat().st_size != expected["bytes"]:
            raise ArtifactError(name, f"{expected['bytes']} bytes", f"{file.stat().st_size}")
        found = fingerprint(file)["sha256"]
        if found != expected["sha256"]:
            raise ArtifactError(name, f"sha256 {expected['sha256']}", found)
    return read_config(folder / "config.json")


def read_config(file: Path) -> ArtifactConfig:
    """Read `config.json`; no field may be missing, none unknown, none of the wrong kind."""
    raw = _read_object(file)
    if raw.get("format") != FORMAT:
        raise ArtifactError(file.name, f"format {FORMAT}", repr(raw.get("format")))
    sections = {"pipeline": PipelineConfig, "parse_generator": ModelConfig, "paraphraser": ModelConfig}
    if set(raw) != {"format", *sections}:
        raise ArtifactError(file.name, "the keys format, " + ", ".join(sections), ", ".join(raw))
    return ArtifactConfig(**{name: _section(file, name, kind, raw[name]) for name, kind in sections.items()})


def _section(file: Path, name: str, kind, raw):
    known = {f.name for f in fields(kind)}
    required = {f.name for f in fields(kind) if f.default is MISSING}
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
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(file.name, "JSON in UTF-8", str(error)) from None
    if not isinstance(value, dict):
        raise ArtifactError(file.name, "a JSON object", type(value).__name__)
    return value


def tied_names(config: ModelConfig) -> tuple[str, ...]:
    """Tensors that are `embedding_decoder.weight` under another name."""
    return {"none": (), "output": ("linear.weight",), "all": ("linear.weight", "embedding_encoder.weight")}[config.tie]


class Uninitialised(TorchFunctionMode):
    """Makes torch.nn.init do nothing: what is about to be overwritten needs no numbers, and on the meta device torch
    would import its compiler, a second's worth, to draw none."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def load_net(file: Path, config: ModelConfig, device: torch.device) -> SynPG:
    """One network in fp32 on `device`, in evaluation mode. Every tensor's name, shape and type is checked first."""
    with torch.device("meta"), Uninitialised():  # shapes only
        net = SynPG(config)
    expected = {name: tuple(p.shape) for name, p in net.state_dict().items()}
    aliases = tied_names(config)
    try:
        with safe_open(file, framework="pt", device=str(device)) as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    except SafetensorError as error:
        raise ArtifactError(file.name, "a safetensors file", str(error)) from None
    missing, extra = expected.keys() - tensors.keys() - set(aliases), tensors.keys() - expected.keys()
    if missing or extra:
        raise ArtifactError(file.name, f"the {len(expected) - len(aliases)} tensors of config.json's network",
                            f"{_some(missing)} missing, {_some(extra)} unknown")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != expected[name]:
            raise ArtifactError(file.name, f"{name} of shape {expected[name]}", f"{tuple(tensor.shape)}")
        if tensor.dtype not in STORED_DTYPES:
            raise ArtifactError(file.name, f"{name} in fp32, fp16 or bf16", str(tensor.dtype).removeprefix("torch."))
        tensors[name] = tensor.float()
        if not (tensors[name].sum().isfinite() or tensors[name].isfinite().all()):  # the sum is 5 times cheaper
            raise ArtifactError(file.name, f"finite numbers in {name}", "infinity or not-a-number")
    tensors.update({alias: tensors["embedding_decoder.weight"] for alias in aliases})
    net.load_state_dict(tensors, strict=True, assign=True)
    net.pos_encoder = PositionTable(max(config.syntax_width, config.max_steps), config.d_model).to(device)
    return net.eval().requires_grad_(False)


def _some(names) -> str:
    listed = sorted(names)
    return "none" if not listed else ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def load(folder: Path, device: torch.device | str = "cpu") -> Paraphraser:
    """Verify an artifact and build its paraphraser on `device`. Raises ArtifactError; nothing is served half-loaded."""
    folder, device = Path(folder), torch.device(device)
    config = verify(folder)
    vocabulary = Vocabulary.load(folder / "vocab.json")
    if config.paraphraser.vocab_size != len(vocabulary):  # any word may be in a sentence
        raise ArtifactError("vocab.json", f"{config.paraphraser.vocab_size} tokens, as many as paraphraser.vocab_size",
                            f"{len(vocabulary)}")
    if config.parse_generator.vocab_size > len(vocabulary):
        raise ArtifactError("vocab.json", f"at least {config.parse_generator.vocab_size} tokens, parse_generator.vocab_size",
                            f"{len(vocabulary)}")
    syntax_end = max(vocabulary.syntax_ids.values()) + 1
    for net in NETS:
        if getattr(config, net).vocab_size < syntax_end:
            raise ArtifactError("config.json", f"{net}.vocab_size of at least {syntax_end}, the syntax tokens",
                                f"{getattr(config, net).vocab_size}")
    if config.parse_generator.max_steps + 1 > config.paraphraser.syntax_width:
        raise ArtifactError("config.json", "parse_generator.max_steps below paraphraser.syntax_width",
                            f"{config.parse_generator.max_steps} and {config.paraphraser.syntax_width}")
    unknown = LABELS - vocabulary.syntax_ids.keys()
    if unknown:
        raise ArtifactError("vocab.json", "every Penn Treebank label as a syntax token", f"{_some(unknown)} missing")
    pieces = WordPieces(folder / "bpe.codes", folder / "bpe.vocab.txt", config.pipeline.bpe_threshold)
    nets = {net: load_net(folder / f"{net}.safetensors", getattr(config, net), device) for net in NETS}
    tagger = Tagger.load(folder / TAGGER) if TAGGER in members(folder) else None
    return Paraphraser(config.pipeline, vocabulary, pieces, **nets, tagger=tagger)
