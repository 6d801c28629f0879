"""An artifact of the published shape, made on the fly: random networks that say something of realistic length.

Speed hangs on shapes and on the number of steps, and random networks never say <eos> when a trained one would. So the
weights are random except the output layer's, which are solved for: under teacher forcing the benchmark's sentences have
some 250 decoder states, fewer than a state has dimensions, and so there is an output layer under which greedy decoding
gives exactly the parse and the sentence wanted, <eos> at its end. Every engine decodes the same tokens, as many as a
trained network would, and whatever an engine does with likely tokens it does here too.

The word pieces are the commonest of the shipped model, as many as the published 31,414 entries.
"""

import json
import shutil
from pathlib import Path

import torch

from handler import artifacts
from handler.language import trees
from handler.language.vocabulary import Vocabulary
from handler.model.network import EOS, PAD, SOS, ModelConfig, SynPG
from handler.planning import PipelineConfig
from scripts.bench import workload
from scripts.common import artifact_files
from scripts.training.recording import record

VOCABULARY = 31_414
SHAPE = dict(d_model=300, n_heads=6, d_feedforward=2048, n_encoder_layers=6, n_decoder_layers=6, bag_width=40, attend_pads=True, tie="none")
TINY = dict(SHAPE, d_model=96, d_feedforward=64, n_encoder_layers=1, n_decoder_layers=1)  # to check that everything runs
Example = tuple[list[int], list[int], list[int]]  # bag, syntax, answer
SEEDS = 8  # tried at most
CONFIDENCE = 12.0  # logit of the wanted token, nats over the others


def make(folder: Path, words: Path, shape: dict | None = None, vocabulary: int = VOCABULARY, sentences=workload.SENTENCES) -> Path:
    """Write the artifact; `words`: an artifact whose word pieces are taken. vocabulary: how many entries; 0: as many as that has.

    Of random networks some are upset by int8: a token becomes another one, and the parse never ends. Whether one is depends on the
    processor's last bits, so seeds are tried until both precisions write the sentences. Raises ValueError if none does.
    """
    for seed in range(SEEDS):
        write(folder, words, SHAPE if shape is None else shape, vocabulary, sentences, seed)
        if says(folder, sentences, "fp32") and says(folder, sentences, "int8"):
            return folder
    raise ValueError(f"none of {SEEDS} seeds makes networks that write the sentences in fp32 and in int8")


def says(folder: Path, sentences, precision: str) -> bool:
    """Whether greedy decoding gives all sentences and their parses."""
    pipeline = artifacts.load(folder, precision=precision, drafts=False)
    bodies = [workload.body(*pair) for pair in sentences]
    wanted = workload.known_answers(pipeline, sentences)[1]
    return [(ids.parse, ids.text) for ids in workload.answered(pipeline, bodies)] == [(ids.parse, ids.text) for ids in wanted]


def write(folder: Path, words: Path, shape: dict, vocabulary: int, sentences, seed: int) -> None:
    """One artifact with networks drawn with this seed."""
    tokens = json.loads((words / "vocab.json").read_text(encoding="utf-8"))
    tokens = [*tokens, *(f"filler{i}" for i in range(vocabulary - len(tokens)))][: vocabulary or None]
    threshold = artifacts.read_config(words / "config.json").pipeline.bpe_threshold
    config = artifacts.ArtifactConfig(
        PipelineConfig(tokenization="ptb", bpe_threshold=threshold, constrained=True),
        ModelConfig(vocab_size=len(tokens), syntax_width=102, max_steps=161, **shape),
        ModelConfig(vocab_size=len(tokens), syntax_width=162, max_steps=41, **shape),
    )
    pieces, entries = artifacts.read_pieces(words / "bpe.codes", words / "bpe.vocab.txt", threshold), Vocabulary(tokens)
    examples: dict[str, list] = {"parse_generator": [], "paraphraser": []}
    for sentence, tree in sentences:
        root = trees.read_tree(tree)
        parse = [entries.syntax_ids[token] for token in trees.syntax_tokens(root)]
        template = [entries.syntax_ids[token] for token in trees.syntax_tokens(trees.template_of(root))]
        text = [entries.ids[piece] for piece in pieces.split(sentence.split(" "))]
        examples["parse_generator"].append(([entries.syntax_ids[tag] for tag in trees.tags(root)], [SOS, *template, EOS], [*parse, EOS]))
        examples["paraphraser"].append((text, [SOS, *parse, EOS], [*text, EOS]))
    generator = torch.Generator().manual_seed(seed)
    nets = {}
    for name in artifacts.NETS:
        nets[name] = net = SynPG(getattr(config, name)).eval().requires_grad_(False)
        net.reset_parameters(generator)
        enliven(net)
        teach(net, examples[name])
    artifact_files.save(
        folder, config, {name: net.state_dict() for name, net in nets.items()}, tokens, words / "bpe.codes", words / "bpe.vocab.txt"
    )
    if (words / artifacts.DRAFTS).is_file():  # of real parses, like those imposed here
        shutil.copyfile(words / artifacts.DRAFTS, folder / artifacts.DRAFTS)
    ranges = {name: calibrate(nets[name], examples[name]) for name in artifacts.NETS}
    artifact_files.write_json(folder / artifacts.RANGES, ranges)
    artifact_files.write_manifest(folder)


@torch.no_grad()
def enliven(net: SynPG) -> None:
    """Sharper attention and weaker feed-forward blocks than at the start of training: states then tell their prefix and
    their request apart well enough that the output layer solved for has small weights, and int8 does not upset it."""
    for name, p in net.named_parameters():
        if name.endswith("in_proj_weight"):
            p[: -net.config.d_model].mul_(4.0)  # queries and keys
            p[-net.config.d_model :].mul_(0.5)
        elif name.endswith("out_proj.weight"):
            p.mul_(0.5)
        elif name.endswith(("linear1.weight", "linear2.weight")):
            p.mul_(0.3)
        elif name == "embedding_encoder.weight":
            p.mul_(3.0)


def padded(c: ModelConfig, bag: list[int], tree: list[int]) -> list[torch.Tensor]:
    return [torch.tensor([ids + [PAD] * (width * c.attend_pads - len(ids))]) for ids, width in ((bag, c.bag_width), (tree, c.syntax_width))]


@torch.no_grad()
def calibrate(net: SynPG, examples: list[Example]) -> dict:
    """The bounds of each layer's input for int8, over the very sentences that will be decoded: enough for the clock."""
    ranges = record(net)
    for bag, tree, answer in examples:
        net.logits(net(*padded(net.config, bag, tree), torch.tensor([[SOS, *answer[:-1]]])), None)
    return ranges


@torch.no_grad()
def teach(net: SynPG, examples: list[Example]) -> None:
    """Solve the output layer so that each (bag, syntax) is answered with its answer, greedily."""
    c, states, wanted = net.config, [], []
    for bag, tree, answer in examples:
        states.append(net(*padded(c, bag, tree), torch.tensor([[SOS, *answer[:-1]]]))[0])  # (T, E)
        wanted += answer
    x = torch.cat(states).double()  # (N, E), N states in all
    if len(x) > c.d_model:
        raise ValueError(f"{len(x)} states of {c.d_model} dimensions: an output layer cannot be solved for; fewer sentences")
    used = sorted(set(wanted))
    target = torch.zeros(len(x), len(used), dtype=torch.double)
    target[range(len(x)), [used.index(token) for token in wanted]] = CONFIDENCE
    # Ridge: the least weights that do, which rounding then disturbs least.
    gram = x @ x.T
    ridge = 1e-4 * gram.diagonal().mean()
    weights = x.T @ torch.linalg.solve(gram + ridge * torch.eye(len(x), dtype=torch.double), target)  # (E, used)
    net.linear.weight.mul_(0.1)
    net.linear.weight[used] = weights.T.float()
