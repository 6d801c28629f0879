"""Turn a checkpoint of the published code (uclanlp/synpg: plain, Large or fine-tuned) into an artifact."""

import contextlib
import io
import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from handler import artifacts
from handler.language.trees import syntax_tokens, tags, words
from handler.language.vocabulary import SEPARATOR, SPECIALS, Vocabulary, WordPieces
from handler.model.network import EOS, PAD, SOS, ModelConfig, PositionTable, SynPG
from handler.planning import PipelineConfig
from handler.wire.request import EXAMPLE, read_request
from scripts.common import artifact_files
from scripts.common.paths import DEMO
from scripts.training import calibration
from scripts.training.checkpoints import CheckpointError, is_finite, read_config, read_dictionary, read_state
from scripts.training.staging import staged

TAGGER, PARSER = DEMO / artifacts.TAGGER, DEMO / artifacts.PARSER
RELATION_WEIGHT = 4.0  # as in the model that ships
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
PER_ENTRY = "embedding_encoder.weight", "embedding_decoder.weight", "linear.weight", "linear.bias"  # a row per token
SAMPLED_WORDS = 2000  # of the dictionary, to see whether the BPE files are its own
WHOLE_WORDS = 0.95  # share of them that must stay whole; the published files reach 1.0, foreign merges 0.2


@dataclass(frozen=True)
class ImportOptions:
    """What is imported, and how. The defaults are those of the published code."""

    out: Path  # folder to be made
    synpg: Path  # checkpoint of the paraphraser
    parse_generator: Path  # the other checkpoint
    dictionary: Path  # pickled
    bpe_codes: Path
    bpe_vocab: Path
    tagger: Path | None  # None: requests need a parse
    bpe_threshold: int = 50  # pieces counted less often are split further
    heads: int = 6  # attention heads of both networks
    max_sent_len: int = 40  # word pieces
    max_tmpl_len: int = 100  # brackets and labels
    max_synt_len: int = 160  # brackets and labels
    tokenization: str = "ptb"
    constrained: bool = True
    dtype: str = "fp32"  # of DTYPES

    def files(self) -> dict[str, Path]:
        """Every file that is read, by its part in the artifact."""
        files = {
            "parse_generator": self.parse_generator,
            "paraphraser": self.synpg,
            "dictionary": self.dictionary,
            "BPE codes": self.bpe_codes,
            "BPE vocabulary": self.bpe_vocab,
        }
        return files | ({"tagger": self.tagger} if self.tagger else {})

    def widths(self) -> dict[str, dict[str, int]]:
        """Network -> its limits, with <sos> and <eos>."""
        return {
            "parse_generator": dict(bag_width=self.max_sent_len, syntax_width=self.max_tmpl_len + 2, max_steps=self.max_synt_len + 1),
            "paraphraser": dict(bag_width=self.max_sent_len, syntax_width=self.max_synt_len + 2, max_steps=self.max_sent_len + 1),
        }


def convert(options: ImportOptions) -> str:
    """Write the artifact; returns what it is, in words."""
    require_free(options.out)
    tokens = read_dictionary(options.dictionary)
    vocabulary, pieces = Vocabulary(tokens), read_pieces(options)
    check_pieces(pieces, vocabulary, f"{options.bpe_codes} and {options.bpe_vocab}")
    prints = {part: artifacts.fingerprint(file)["sha256"] for part, file in options.files().items()}
    states, configs = read_networks(options, len(tokens))
    for doubt in check_roles({net: build(configs[net], states[net]) for net in artifacts.NETS}, options.files(), vocabulary, pieces):
        print(f"Note: {doubt}; is it the right file, and --heads {options.heads} right?", file=sys.stderr)
    if options.constrained:  # a constrained parse has syntax tokens only: the words would cost half of each step
        configs["parse_generator"] = replace(configs["parse_generator"], vocab_size=first_word(vocabulary))
    for net in artifacts.NETS:
        states[net] = stored(options.files()[net], states[net], DTYPES[options.dtype], configs[net].vocab_size)
    with staged(options.out) as made:
        write(made, options, tokens, configs, states, prints)
    size = sum(file.stat().st_size for file in options.out.iterdir()) / 1e6
    weights = sum(tensor.numel() for state in states.values() for tensor in state.values()) / 1e6
    return f"{len(tokens)} tokens, {weights:.1f} million weights in {options.dtype}, {size:.0f} MB, " + (
        "with a tagger" if options.tagger else "no tagger, so that requests need a parse"
    )


def require_free(out: Path) -> None:
    """Raise unless there is nothing, or an empty folder, where the artifact is to be."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{out} is there already; remove it or name another folder.")


def read_pieces(options: ImportOptions) -> WordPieces:
    """The word pieces of the BPE files."""
    with contextlib.redirect_stderr(io.StringIO()):  # subword_nmt prints before it raises
        return artifacts.read_pieces(options.bpe_codes, options.bpe_vocab, options.bpe_threshold)


def read_networks(options: ImportOptions, entries: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, ModelConfig]]:
    """Tensors and configuration of both networks, for a dictionary of so many entries. Raises if they are the same one."""
    files, widths = options.files(), options.widths()
    states = {net: read_state(files[net]) for net in artifacts.NETS}
    configs = {net: read_config(files[net], states[net], entries, options.heads, **widths[net]) for net in artifacts.NETS}
    one, other = states.values()
    if one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one):
        raise CheckpointError(f"{options.synpg} and {options.parse_generator} hold the same network.")
    return states, configs


def write(
    made: Path,
    options: ImportOptions,
    tokens: list[str],
    configs: dict[str, ModelConfig],
    states: dict[str, dict[str, Tensor]],
    prints: dict[str, str],
) -> None:
    """Fill a folder with the artifact's files. prints: sha256 of the files that were read."""
    if options.tagger:
        shutil.copyfile(options.tagger, made / artifacts.TAGGER)
    pipeline = PipelineConfig(options.tokenization, options.bpe_threshold, options.constrained)
    if options.constrained and options.tokenization == "ptb":  # templates are reached by moving the sentence's constituents as well
        pipeline = replace(pipeline, movement=True, relation_weight=RELATION_WEIGHT)
        if options.tagger == TAGGER and PARSER.is_file():
            shutil.copyfile(PARSER, made / artifacts.PARSER)
    artifact_files.save(
        made,
        artifacts.ArtifactConfig(pipeline, configs["parse_generator"], configs["paraphraser"]),
        states,
        tokens,
        options.bpe_codes,
        options.bpe_vocab,
    )
    (made / "README.md").write_text(record(options, prints), encoding="utf-8")
    if options.constrained and (TAGGER.parent / artifacts.DRAFTS).is_file():
        calibration.borrow_drafts(TAGGER.parent, made)


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
    """The share of the first token's probability that falls on syntax tokens."""
    c = net.config
    rows = [(ids + [PAD] * width)[:width] for ids, width in ((bag, c.bag_width), ([SOS, *syntax, EOS], c.syntax_width))]
    with torch.inference_mode():
        cache = net.encode(*(torch.tensor([row]) for row in rows))
        return net.step(torch.tensor([SOS]), cache).softmax(-1)[0, len(SPECIALS) : words_from].sum().item()


def check_roles(nets: dict[str, SynPG], files: dict[str, Path], vocabulary: Vocabulary, pieces: WordPieces) -> list[str]:
    """Check the first token of each network. Raises if the two checkpoints were swapped; returns doubts as sentences.

    Both have the same shapes, but a parse begins with a bracket and a text with a word.
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
    """Copies of the tensors as `dtype`, of the vocabulary only the first `entries`."""
    copies = {name: (t[:entries] if name in PER_ENTRY else t).to(dtype, copy=True) for name, t in state.items()}
    for name, tensor in copies.items():
        if not is_finite(tensor):
            raise CheckpointError(f"{file}: {name} has numbers too large for {dtype}; use --dtype fp32.")
    return copies


def record(options: ImportOptions, prints: dict[str, str]) -> str:
    """The artifact's README: where it comes from."""
    files = options.files()
    rows = "".join(f"| {part.replace('_', ' ')} | {files[part].name} | {prints[part]} |\n" for part in files)
    credit = "\nThe tagger and the parser are not theirs: model_store/demo/README.md of this project credits their data.\n"
    if options.tagger != TAGGER:
        credit = ""
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
