"""SynPG in Python, without a server.

    from handler import load
    model = load("model_store/demo")
    print(model.paraphrase("We will have a picnic if it is sunny.", template="clause_first"))

A request means here what it means to the server: the same checks, defaults, seeds and texts (`wire/openapi.yaml`).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from handler import artifacts
from handler.errors import RequestError
from handler.language.tokenizer import tokenize
from handler.language.trees import Tree
from handler.pipeline import Pipeline
from handler.wire import request, response
from handler.wire.answer import Answer


def load(artifact: str | Path, device: str = "cpu", precision: str = "auto", threads: int | None = None) -> "Paraphraser":
    """Load a model.

    artifact: the folder, such as `model_store/demo`. device: `cpu`, `cuda` or `cuda:1`. precision: `auto`, or one by name as in
    `model-config.yaml`. threads: how many the CPU computes with, for the whole process; None leaves it as it is.
    Raises ArtifactError if a file is missing, damaged or does not fit.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return Paraphraser(artifacts.load(artifact, device, precision))


class Paraphraser:
    """A loaded model. Several threads may share one."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline

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
        }
        [answer] = self.answer([fields])
        if isinstance(answer, RequestError):
            raise answer
        return answer

    def answer(self, requests: Iterable[dict]) -> list[Any]:
        """Answer many requests, decoded together. Returns for each what `paraphrase` returns, or the RequestError in its place.

        requests: dicts with the fields of the wire contract, `sent` and the others.
        """
        items = [request.guarded(request.read_request, fields) for fields in requests]
        envelope = request.Envelope(items, request.JSON, single=False)
        [(_, answers)] = self.pipeline.answer([envelope])
        return [
            answer if isinstance(answer, RequestError) else _answers(response.answer_value(item, answer))
            for item, answer in zip(items, answers)
        ]

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
