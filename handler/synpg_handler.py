"""The archive's entry point: passes TorchServe's calls on to the pipeline. One class; no tensors, no JSON, no decoding.

TorchServe imports this file as a top-level module and uses the only class defined in it.
"""

import dataclasses
import logging
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes
from ts.torch_handler.base_handler import BaseHandler

from handler import artifacts
from handler.errors import RequestError
from handler.pipeline import Stage
from handler.wire import request, response

logger = logging.getLogger(__name__)


class SynPGHandler(BaseHandler):
    """Serves one SynPG artifact. `preprocess`, `inference` and `postprocess` take and return plain values."""

    def initialize(self, context: Any) -> None:
        """Load the artifact once, onto the worker's GPU if it was given one, else onto the CPU. Raises ArtifactError."""
        properties = context.system_properties
        options = (context.model_yaml_config or {}).get("handler", {})
        self.limits = request.Limits(**{name: options[name] for name in request.Limits.__annotations__ if name in options})
        self.chunk_rows = int(options.get("chunk_rows", 32))
        gpu = properties.get("gpu_id")
        if gpu is not None and not torch.cuda.is_available():
            raise RuntimeError(f"the worker was given GPU {gpu}, but this torch ({torch.__version__}) finds none")
        self.device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        torch.set_num_threads(int(options.get("threads", 1)) or len(os.sched_getaffinity(0)))
        torch.set_float32_matmul_precision("highest")  # importing BaseHandler may have lowered it
        self.pipeline = artifacts.load(Path(properties["model_dir"]) / "artifact", self.device, options.get("precision", "auto"))
        self.limits = dataclasses.replace(self.limits, candidates=self.pipeline.config.candidates)
        self.pipeline.warm(self.chunk_rows)
        self.inference([request.read_body(request.EXAMPLE, None, None)])  # the first caller should not pay for warm-up
        self.initialized = True

    def handle(self, data: list[dict], context: Any) -> list[str]:
        """Answer a batch of HTTP requests, each with a result and a status of its own."""
        bodies = [
            (item.get("body"), self.header(context, i, "content-type"), self.header(context, i, "accept")) for i, item in enumerate(data)
        ]
        began = time.perf_counter()
        stages: list[Stage] = []
        try:
            envelopes = self.preprocess(bodies)
            read = time.perf_counter()
            results = self.inference(envelopes, stages.append)
            done = time.perf_counter()
            answers = self.postprocess(results)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # its message may quote a user's text: log where it happened, not what it says
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s\n%s", type(error).__name__, frames)
            raise RuntimeError("internal error") from None
        for i, answer in enumerate(answers):
            context.set_response_status(answer.status, answer.phrase, i)
            context.set_response_content_type(i, answer.content_type)
            for name, value in answer.headers.items():
                context.set_response_header(i, name, value)
        self.measure(context.metrics, {"read": read - began, "write": time.perf_counter() - done}, stages, answers)
        return [answer.body for answer in answers]

    @staticmethod
    def measure(metrics: Any, seconds: dict[str, float], stages: list[Stage], answers: list[response.Response]) -> None:
        """Report a batch to TorchServe under the names of `metrics.yaml`. `metrics` is None where nothing collects them."""
        if metrics is None:
            return

        def add(name: str, value: float, kind: MetricTypes = MetricTypes.COUNTER, **dimensions: str) -> None:
            unit = "Seconds" if kind is MetricTypes.HISTOGRAM else "Count"
            metrics.add_metric(name, value, unit, dimensions=[Dimension(*item) for item in dimensions.items()], metric_type=kind)

        for name, value in (*seconds.items(), *((stage.name, stage.seconds) for stage in stages)):
            add("synpg_stage_seconds", round(value, 6), MetricTypes.HISTOGRAM, Stage=name)
        for stage in stages:
            add("synpg_chunks", 1, Stage=stage.name)
            add("synpg_rows", stage.rows, Stage=stage.name)
            add("synpg_tokens", stage.tokens, Stage=stage.name)
        add("synpg_batches", 1)
        add("synpg_requests", len(answers))
        add("synpg_refused_requests", sum(answer.status >= 400 for answer in answers))
        add("synpg_truncated_requests", sum(response.ATTRIBUTES in answer.headers for answer in answers))

    @staticmethod
    def header(context: Any, i: int, name: str) -> str | None:
        """A request header by its lower-case name. TorchServe keeps the case that the client wrote."""
        headers = context.get_all_request_header(i)
        return next((value for key, value in headers.items() if key.lower() == name and isinstance(value, str)), None)

    def preprocess(self, bodies: list[tuple]) -> list[request.Envelope | RequestError]:
        """Turn each (body, Content-Type, Accept) into a validated Envelope, or into the RequestError that answers it."""
        return [request.guarded(request.read_body, *body, self.limits) for body in bodies]

    def inference(
        self, envelopes: list[request.Envelope | RequestError], observe: Callable[[Stage], None] = lambda stage: None
    ) -> list[tuple]:
        """Run the rows of all envelopes as one batch. Returns each envelope with its answers, errors in their places.

        `observe` is called for every stage that ran.
        """
        return self.pipeline.answer(envelopes, self.chunk_rows, observe)

    def postprocess(self, results: list[tuple]) -> list[response.Response]:
        """Build one Response for each envelope."""
        return [response.build(envelope, answers) for envelope, answers in results]
