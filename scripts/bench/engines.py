"""What is compared, behind one interface; each runs in a process of its own (`workers.py`).

steps(net, ids, batch, count) -> Steps     one network, `batch` equal rows, `count` tokens imposed
requests(bodies, ids)         -> Run       whole requests, together
memory()                      -> float     MB, the most held so far
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from handler import artifacts, weights
from handler.model.network import PAD, SOS, SynPG
from scripts.bench import ctranslate, reference, workload
from scripts.bench.timing import StepClock, Steps
from scripts.bench.workers import peak_memory
from scripts.bench.workload import Ids

CHUNK_ROWS = 32  # rows that any engine decodes together


@dataclass(frozen=True)
class Run:
    """Some requests done together."""

    seconds: float
    plan: float  # seconds of that spent on words and trees
    stages: dict[str, float]  # "parse", "text": seconds
    tokens: dict[str, int]  # the same: tokens generated, <eos> included


def inputs(net: str, ids: Ids) -> tuple[list[int], list[int]]:
    """What the network reads of a request: bag, syntax."""
    return (ids.tags, ids.template) if net == "parse_generator" else (ids.pieces, [SOS, *ids.parse])


def answer(net: str, ids: Ids) -> list[int]:
    """What the network answers to a request."""
    return ids.parse if net == "parse_generator" else ids.text


def together(net: SynPG, pairs: list[tuple[list[int], list[int]]]) -> list[np.ndarray]:
    """(bag, syntax) of some rows as the network takes them, (B, A) and (B, S)."""
    c = net.config
    widths = (c.bag_width, c.syntax_width) if c.attend_pads else [max(len(pair[i]) for pair in pairs) for i in (0, 1)]
    return [np.array([pair[i] + [PAD] * (width - len(pair[i])) for pair in pairs]) for i, width in enumerate(widths)]


class Ours:
    """This project's engine, through its public interface."""

    def __init__(self, folder: Path, options: dict, threads: int):
        torch.set_num_threads(threads)
        self.paraphraser = artifacts.load(folder, **options)
        self.paraphraser.shares_texts = False  # the rows of a batch are a few sentences again and again
        for name in artifacts.NETS:
            self.paraphraser.backend(name).net.shares = False

    def describe(self) -> str:
        """What `artifacts.load` made of options left to it."""
        backend = self.paraphraser.text_generator
        return backend.precision + (" with drafts" if getattr(backend, "drafts", False) else "")

    def answered(self, bodies: list[dict]) -> list[Ids]:
        return workload.answered(self.paraphraser, bodies)

    def steps(self, name: str, ids: Ids, batch: int, count: int) -> Steps:
        net = self.paraphraser.backend(name).net
        rows = together(net, [inputs(name, ids)] * batch)
        clock = StepClock()
        cache, tokens = net.encode(*rows), np.full((batch, 1), SOS)
        for done in range(count):
            tokens = net.verify(tokens, cache, [done] * batch).argmax(-1)
            clock.tick()
        return clock.steps()

    @torch.inference_mode()
    def encode(self, name: str, ids: list[Ids]) -> float:
        """Seconds to encode some requests together, without a step."""
        net = self.paraphraser.backend(name).net
        rows = together(net, [inputs(name, each) for each in ids])
        began = time.perf_counter()
        net.encode(*rows)
        return time.perf_counter() - began

    def requests(self, bodies: list[dict], ids: list[Ids]) -> Run:
        stages, tokens = {"parse": 0.0, "text": 0.0}, {"parse": 0, "text": 0}

        def observe(stage) -> None:
            if stage.name in stages:
                stages[stage.name] += stage.seconds
                tokens[stage.name] += stage.tokens

        began = time.perf_counter()
        rows = workload.rows(self.paraphraser, bodies)
        planned = time.perf_counter()
        self.paraphraser.run(rows, CHUNK_ROWS, observe)
        return Run(time.perf_counter() - began, planned - began, stages, tokens)

    def memory(self) -> float:
        return peak_memory()

    def texts(self, bodies: list[dict], chunk_rows: int) -> list[str]:
        return [done.text for done in self.paraphraser.run(workload.rows(self.paraphraser, bodies), chunk_rows)]

    def fitting(self, sentences) -> tuple[list[dict], list[Ids]]:
        """Of (sentence, parse) pairs those that fit the networks: requests to rebuild them, and ids with the right answers."""
        return workload.known_answers(self.paraphraser, sentences)

    @torch.inference_mode()
    def predicted(self, name: str, ids: list[Ids]) -> list[list[int]]:
        """The likeliest token at each place of each right answer, given what comes before it there."""
        net, found = self.paraphraser.backend(name).net, []
        for chunk in (ids[i : i + CHUNK_ROWS] for i in range(0, len(ids), CHUNK_ROWS)):
            answers = [answer(name, each) for each in chunk]
            cache, last = net.encode(*together(net, [inputs(name, each) for each in chunk])), max(map(len, answers))
            fed = np.array([[SOS, *ids, *[PAD] * (last - len(ids))] for ids in answers])  # (B, T + 1)
            steps = [net.verify(fed[:, t : t + 1], cache, [t] * len(chunk)).argmax(-1)[:, 0].tolist() for t in range(last)]
            found += [list(column)[: len(ids)] for column, ids in zip(zip(*steps), answers)]
        return found


class Published:
    """The published way (`reference.py`), one request after the other, always to the step limit."""

    def __init__(self, folder: Path, threads: int):
        torch.set_num_threads(threads)
        self.nets = {name: reference.PlainTransformer(net) for name, net in plain_nets(folder).items()}

    def requests(self, bodies: list[dict], ids: list[Ids]) -> Run:
        stages, tokens, began = {"parse": 0.0, "text": 0.0}, {"parse": 0, "text": 0}, time.perf_counter()
        for each in ids:
            for stage, name in zip(stages, artifacts.NETS):
                net, start = self.nets[name], time.perf_counter()
                net.greedy(*inputs(name, each), steps=net.config.max_steps)
                stages[stage] += time.perf_counter() - start
                tokens[stage] += net.config.max_steps
        return Run(time.perf_counter() - began, 0.0, stages, tokens)

    def memory(self) -> float:
        return peak_memory()


class Rival:
    """CTranslate2 with the same weights (`ctranslate.py`).

    It has no part in words and trees, and its encoder's missing mask changes what it says; so it is given this
    project's parse between the networks, and each chunk of rows the mean number of tokens that they really have.
    """

    def __init__(self, folder: Path, converted: Path, compute_type: str, threads: int):
        vocabulary = artifacts.read_vocabulary(folder / "vocab.json").tokens
        config = artifacts.read_config(folder / "config.json")
        self.nets = {
            name: ctranslate.Translator(converted / name, getattr(config, name), vocabulary, compute_type, threads)
            for name in artifacts.NETS
        }
        whole = converted / "parse_generator_whole"
        if whole.is_dir():
            self.nets["parse_generator_whole"] = ctranslate.Translator(whole, config.parse_generator, vocabulary, compute_type, threads)

    def steps(self, name: str, ids: Ids, batch: int, count: int) -> Steps:
        net = self.nets[name]
        return net.steps([net.source(*inputs(name.removesuffix("_whole"), ids))] * batch, count)

    def requests(self, bodies: list[dict], ids: list[Ids]) -> Run:
        stages, tokens, began = {"parse": 0.0, "text": 0.0}, {"parse": 0, "text": 0}, time.perf_counter()
        for chunk in (ids[i : i + CHUNK_ROWS] for i in range(0, len(ids), CHUNK_ROWS)):
            for stage, name in zip(stages, artifacts.NETS):
                net, start = self.nets[name], time.perf_counter()
                # It does not count <eos>, which it would have to generate too.
                count = round(sum(len(getattr(each, stage)) for each in chunk) / len(chunk))
                made = net.greedy([net.source(*inputs(name, each)) for each in chunk], count, count)
                stages[stage] += time.perf_counter() - start
                tokens[stage] += sum(map(len, made))
        return Run(time.perf_counter() - began, 0.0, stages, tokens)

    def memory(self) -> float:
        return peak_memory()


def plain_nets(folder: Path) -> dict[str, SynPG]:
    """The networks of an artifact as `handler/model.py` has them, weights in fp32."""
    config = artifacts.verify(folder)
    return {name: weights.load_net(folder / f"{name}.safetensors", getattr(config, name), torch.device("cpu")) for name in artifacts.NETS}


def convert(folder: Path, converted: Path) -> None:
    """Both networks of an artifact for `Rival`; a parse generator with words in its vocabulary twice, without and with."""
    vocabulary, nets = artifacts.read_vocabulary(folder / "vocab.json"), plain_nets(folder)
    generator, syntax = nets["parse_generator"], max(vocabulary.syntax_ids.values()) + 1
    ctranslate.convert(generator, vocabulary.tokens, converted / "parse_generator", syntax)
    if generator.config.vocab_size > syntax:
        ctranslate.convert(generator, vocabulary.tokens, converted / "parse_generator_whole")
    ctranslate.convert(nets["paraphraser"], vocabulary.tokens, converted / "paraphraser")
