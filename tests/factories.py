"""Building blocks of the tests: a toy vocabulary and BPE, tiny artifacts, requests."""

import functools
import json
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from handler import artifacts
from handler.decoding import processors
from handler.decoding.loop import LogitsProcessor, Step, decode
from handler.decoding.plain import PlainNetwork
from handler.decoding.proposers import TextDrafts
from handler.decoding.rules import ParseRules, TextRules
from handler.decoding.sampling import Decoded
from handler.gpu.constraints import ParseConstraint, TextConstraint
from handler.language import word_classes
from handler.language.trees import SYNTAX_TOKENS
from handler.language.vocabulary import SPECIALS, Vocabulary
from handler.model.network import EOS, SynPG
from handler.planning import PipelineConfig
from scripts.common import artifact_files
from scripts.serving.server import EXAMPLE
from tests.reference import random_net, tiny_config

CODES = "#version: 0.2\nt h\nth e</w>\ni n\nin g</w>\nr a\nra in\ni s</w>\ni t</w>\n"
PIECES = [
    "the",
    "is",
    "it",
    "rain@@",
    "ing",
    ".",
    ",",
    "?",
    "'",
    '"',
    "é",
    "é@@",
    *string.ascii_lowercase,
    *(letter + "@@" for letter in string.ascii_lowercase),
    "th@@",
    "in@@",
    "ra@@",
]
TOKENS = [*SPECIALS, *(f"<{token}>" for token in SYNTAX_TOKENS), *PIECES]
WRITTEN = TOKENS.index("n")  # where `written` is given: `n` to `z` and most beginnings of words are only copied

PICNIC = EXAMPLE
RAIN = {
    "sent": "It is raining.",
    "synt": "(ROOT (S (NP (PRP It)) (VP (VBZ is) (VP (VBG raining))) (. .)))",
    "tmpl": "(ROOT (S (VP ) (. )))",
}


@functools.cache
def vocabulary() -> Vocabulary:
    return Vocabulary(TOKENS)


def tiny_artifact(
    folder: Path,
    constrained: bool = True,
    attend_pads: bool = False,
    tokenization: str = "ptb",
    tie: str = "none",
    seed: int = 0,
    tag_weight: float = 0.0,
    order_bonus: float = 0.0,
    copy_odds: float = 0.0,
    generation_vocab_size: int | None = None,
    candidates: int = 1,
    movement: bool = False,
    word_weight: float = 0.0,
) -> Path:
    """A complete artifact of two random networks of a few thousand weights; with a tag weight, and a random lexicon."""
    source = folder.with_name(folder.name + "-source")
    source.mkdir(parents=True)
    (source / "bpe.codes").write_text(CODES, encoding="utf-8")
    (source / "bpe.vocab.txt").write_text("".join(f"{piece} 100\n" for piece in PIECES), encoding="utf-8")
    shape = dict(attend_pads=attend_pads, tie=tie, bag_width=60)
    config = artifacts.ArtifactConfig(
        PipelineConfig(
            tokenization=tokenization,
            bpe_threshold=50,
            constrained=constrained,
            tag_weight=tag_weight,
            order_bonus=order_bonus,
            copy_odds=copy_odds,
            candidates=candidates,
            movement=movement,
            word_weight=word_weight,
            relation_weight=4.0 if movement else 0.0,
        ),
        tiny_config(vocab_size=len(SPECIALS) + len(SYNTAX_TOKENS), syntax_width=41, max_steps=60, **shape),
        tiny_config(vocab_size=len(TOKENS), syntax_width=64, max_steps=12, generation_vocab_size=generation_vocab_size, **shape),
    )
    nets = {"parse_generator": random_net(config.parse_generator, seed), "paraphraser": random_net(config.paraphraser, seed + 1)}
    artifact_files.save(
        folder, config, {name: net.state_dict() for name, net in nets.items()}, TOKENS, source / "bpe.codes", source / "bpe.vocab.txt"
    )
    if tag_weight:
        artifact_files.save_lexicon(folder / artifacts.LEXICON, random_counts(seed)[:, :generation_vocab_size])
        artifact_files.write_manifest(folder)
    return folder


def random_counts(seed: int = 0) -> np.ndarray:
    """Of tags and words, for a lexicon: most words were never seen, most of the others had a tag or two."""
    return np.random.default_rng(seed).poisson(0.1, (len(word_classes.ROWS), len(TOKENS))).astype(np.uint16) * 7


def body(value) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


class Ruled:
    """Processors with the interface of a GPU's constraints: tensors in and out, rows that can be dropped."""

    def __init__(self, processors: Sequence[LogitsProcessor], rows: int, drafts: TextDrafts | None = None):
        self.processors, self.rows, self.drafts = processors, list(range(rows)), drafts

    def process(self, scores: torch.Tensor) -> torch.Tensor:
        step = Step(scores.numpy(), self.rows)
        for processor in self.processors:
            processor.process(step)
        return torch.from_numpy(step.scores)

    def accept(self, tokens: torch.Tensor) -> None:
        for row, token in zip(self.rows, tokens.tolist()):
            for processor in self.processors if token != EOS else ():
                processor.accept(row, token)

    def select_rows(self, rows: torch.Tensor) -> None:
        self.rows = [self.rows[i] for i in rows.tolist()]

    def propose(self, row: int, length: int) -> list[int]:
        return self.drafts.propose(row, length)


def parse_processors(grammar, templates, max_steps) -> Ruled:
    rows = processors.parse_rows(ParseRules(grammar, templates, max_steps))
    return Ruled([processors.TreeGrammar(grammar, rows)], len(rows))


def text_processors(grammar, sentences, max_steps, *settings, **more) -> Ruled:
    rules = TextRules(grammar, sentences, max_steps, *settings, **more)
    rows = processors.text_rows(rules)
    drafts = TextDrafts(rows, rules.alignment.lexicon.common) if rules.alignment else None
    return Ruled(processors.text_processors(rules, rows), len(rows), drafts)


def parse_constraint(grammar, templates, max_steps) -> ParseConstraint:
    return ParseConstraint(ParseRules(grammar, templates, max_steps), torch.device("cpu"))


def text_constraint(grammar, sentences, max_steps, *settings, **more) -> TextConstraint:
    return TextConstraint(TextRules(grammar, sentences, max_steps, *settings, **more), torch.device("cpu"))


def generate(net, bag, syntax, options, stream, processors=(), proposer=None, scored=True) -> list[Decoded]:
    """`decode` of tensors, by a plain network or an engine."""
    net = PlainNetwork(net) if isinstance(net, SynPG) else net
    return decode(net, bag.numpy(), syntax.numpy(), options, stream, processors, proposer, scored)
