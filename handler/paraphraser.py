"""SynPG in Python, without a server.

    from handler import load
    model = load("model_store/demo")
    print(model.paraphrase("We will have a picnic if it is sunny.", template="clause_first"))

A request means here what it means to the server: the same checks, defaults, seeds and texts (`wire/openapi.yaml`). There is one
way from requests to answers, the steps of a `Scheduler`. `paraphrase`, `answer` and `respond` take all steps of one job; the entry
points for TorchServe and for AWS's toolkit load the model by `load` and call the `scheduler` of it.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from handler import artifacts
from handler.errors import RequestError
from handler.language.tokenizer import tokenize
from handler.language.trees import Tree
from handler.pipeline import Pipeline
from handler.scheduling import Budget, Scheduler
from handler.wire.answer import Answer
from handler.wire.request import CATALOGUE, JSON, Limits, OpenBody
from handler.wire.response import Response

ENOUGH = 1 << 40  # of seconds, bytes or rows: no limit
UNBOUNDED = Budget(
    chunk_seconds=ENOUGH, body_seconds=ENOUGH, deadline=ENOUGH, waiting_seconds=ENOUGH, held_bytes=ENOUGH, long_bodies=ENOUGH
)


def load(
    artifact: str | Path, device: str = "cpu", precision: str = "auto", threads: int | None = None, limits: Limits = Limits()
) -> "Paraphraser":
    """Load a model.

    artifact: the folder, such as `model_store/demo`. device: `cpu`, `cuda` or `cuda:1`. precision: `auto`, or one by name as in
    `model-config.yaml`. threads: how many the CPU computes with, for the whole process; None leaves it as it is. limits: what a
    request may ask for, and an HTTP body as a whole.
    Raises ArtifactError if a file is missing, damaged or does not fit.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return Paraphraser(artifacts.load(artifact, device, precision), limits)


class Paraphraser:
    """A loaded model. Several threads may share one."""

    def __init__(self, pipeline: Pipeline, limits: Limits = Limits()):
        self.pipeline = pipeline
        self.templates = {**CATALOGUE, **pipeline.config.templates}  # the named ones: name -> template in brackets
        self.limits = replace(limits, candidates=pipeline.config.candidates, templates=self.templates)

    def paraphrase(
        self,
        sentence: str,
        template: str | list[str] | None = None,
        *,
        like: str | list[str] | None = None,
        parse: str | list[str] | None = None,
        synt: str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        num_paraphrases: int | None = None,
        candidates: int | None = None,
        details: bool = False,
        tokenized: bool = False,
    ) -> Any:
        """Paraphrase one sentence. The arguments are the fields of a request; `template` is `tmpl`.

        Returns a string for one target and one sample, a list of strings for several, and a dict from the name of a template to a string or
        list without any target. With `details` there is an `Answer` in the place of each string. Raises RequestError, whose `field`
        and `reason` say what is wrong.
        """
        fields = {
            "sent": sentence,
            "tmpl": template,
            "like": like,
            "parse": parse,
            "synt": synt,
            "temperature": temperature,
            "seed": seed,
            "num_paraphrases": num_paraphrases,
            "candidates": candidates,
            "details": details,
            "tokenized": tokenized,
        }
        [answer] = self.answer([fields])
        if isinstance(answer, RequestError):
            raise answer
        return answer

    def answer(self, requests: Iterable[dict]) -> list[Any]:
        """Answer many requests, decoded together. Returns for each what `paraphrase` returns, or the RequestError in its place.

        requests: dicts with the fields of the wire contract, `sent` and the others.
        """
        scheduler = self._unbounded()
        job = scheduler.add("", 0, OpenBody(list(requests), JSON, single=False, lines=False))
        while job.answer is None:
            scheduler.step({})
        return [value if isinstance(value, RequestError) else _answers(value) for value in job.values]

    def respond(self, body: bytes | None, content_type: str | None = None, accept: str | None = None) -> Response:
        """The response to the body of an HTTP request, as a server gives it that has time and memory for any body."""
        return self._unbounded().respond(body, content_type, accept)

    def scheduler(self, budget: Budget = Budget()) -> Scheduler:
        """What answers HTTP requests in turns and within a budget. It knows how fast this machine is, and the model is warm."""
        self.pipeline.warm(budget.chunk_rows)
        scheduler = Scheduler(self.pipeline, self.limits, budget)
        scheduler.calibrate()  # warms up, too: the first caller should not pay for it
        return scheduler

    def _unbounded(self) -> Scheduler:
        return Scheduler(self.pipeline, replace(self.limits, max_body_bytes=ENOUGH, max_body_rows=ENOUGH), UNBOUNDED)

    def parse(self, sentence: str) -> Tree:
        """The constituency parse of a sentence, by the model's parser. Raises RequestError if the model has none."""
        if self.pipeline.planner.parser is None:
            raise RequestError("this model has no parser")
        return self.pipeline.planner.parser.parse(tokenize(sentence))


def _answers(value: Any) -> Any:
    """A JSON value of answers with an Answer for each object of details."""
    if isinstance(value, dict):
        return Answer(value) if "paraphrase" in value else {name: _answers(inner) for name, inner in value.items()}
    return [_answers(inner) for inner in value] if isinstance(value, list) else value
