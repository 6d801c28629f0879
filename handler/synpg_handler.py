"""The archive's entry point: passes TorchServe's calls on to the model's scheduler. One class; no tensors, no JSON, no decoding.

TorchServe imports this file as a top-level module and uses the only class defined in it.
"""

import gc
import json
import logging
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ts.torch_handler.base_handler import BaseHandler

from handler import paraphraser, scheduling
from handler.metrics import Metrics
from handler.pipeline import Stage
from handler.wire import request, response

logger = logging.getLogger(__name__)
GARBAGE = 700, 10, 10  # Python's own thresholds, which `sitecustomize.py` raises while the worker starts


class SynPGHandler(BaseHandler):
    """Serves one SynPG artifact."""

    def initialize(self, context: Any) -> None:
        """Load the artifact once, onto the worker's GPU if it was given one, else onto the CPU. Raises ArtifactError, and RuntimeError for
        settings that cannot work."""
        properties = context.system_properties
        # of several models in one container each brings its own settings; what follows from the time-out there is in the environment
        options = (context.model_yaml_config or {}).get("handler", {}) | json.loads(os.environ.get("SYNPG_HANDLER", "{}"))
        limits = request.Limits(**{name: options[name] for name in request.Limits.__annotations__ if name in options})
        budget = scheduling.Budget(**{name: options[name] for name in scheduling.Budget.__annotations__ if name in options})
        # TorchServe asks again and again for what is not answered yet, and brings along what has come meanwhile
        settings = context.model_yaml_config or {}
        self.continuous = bool(settings.get("continuousBatching"))
        if self.continuous and settings.get("maxWorkers", 1) != 1:
            raise RuntimeError(
                "model-config.yaml: continuousBatching needs maxWorkers 1, because an idle worker of the same queue would stop the others; "
                "for several workers use `python -m scripts.container serve`, which gives each a queue"
            )
        gpu = properties.get("gpu_id")
        if gpu is not None and not torch.cuda.is_available():
            raise RuntimeError(f"the worker was given GPU {gpu}, but this torch ({torch.__version__}) finds none")
        self.device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        threads = int(options.get("threads", 1)) or len(os.sched_getaffinity(0))
        torch.set_float32_matmul_precision("highest")  # importing BaseHandler may have lowered it
        folder = Path(properties["model_dir"]) / "artifact"
        self.model = paraphraser.load(folder, str(self.device), options.get("precision", "auto"), threads, limits)
        self.scheduler = self.model.scheduler(budget)
        self.metrics = None  # where nothing collects them
        if context.metrics is not None:
            self.metrics = Metrics(context.metrics)
            self.metrics.start()
        gc.freeze()  # what is there now stays
        gc.set_threshold(*GARBAGE)
        self.initialized = True

    def handle(self, data: list[dict], context: Any) -> list[str]:
        """Answer those of a batch of HTTP requests that are done after the next chunk, each with a result and a status of its own.

        With continuous batching the others leave the context's request ids: TorchServe then has no answer to them and sends them
        again, with those that have come meanwhile. Without it, everything is answered.
        """
        names = dict(context.request_ids)
        bodies = {
            names[i]: (item.get("body"), self.header(context, i, "content-type"), self.header(context, i, "accept"))
            for i, item in enumerate(data)
        }
        began = time.perf_counter()
        stages: list[Stage] = []
        try:
            done = self.advance(bodies, stages.append)
        except (MemoryError, torch.OutOfMemoryError):
            self.scheduler.clear()
            raise
        except Exception as error:  # its message may quote a user's text: log where it happened, not what it says
            self.scheduler.clear()
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s\n%s", type(error).__name__, frames)
            raise RuntimeError("internal error") from None
        for i, name in names.items():
            if name in done:
                self.respond(context, i, done[name])
            else:
                del context.request_ids[i]
        other = time.perf_counter() - began - sum(stage.seconds for stage in stages)
        if self.metrics is not None:
            self.metrics.add(other, stages, done.values())
        return [done[name].body if name in done else "" for name in names.values()]

    def advance(self, bodies: dict[str, tuple], observe: Callable[[Stage], None]) -> dict[str, response.Response]:
        """Take in new requests, drop those that TorchServe no longer asks for, and run a chunk: the responses that are then ready.

        bodies: (body, Content-Type, Accept) of each request, by its id.
        """
        self.scheduler.keep_only(bodies)
        for name, (body, *_) in bodies.items():
            if name not in self.scheduler.jobs:
                self.scheduler.add(name, len(body or b""))
        done = self.scheduler.step(bodies, observe)
        while not self.continuous and len(done) < len(bodies):
            done |= self.scheduler.step(bodies, observe)
        return done

    @staticmethod
    def respond(context: Any, i: int, answer: response.Response) -> None:
        """Tell TorchServe the status and the headers of a response."""
        context.set_response_status(answer.status, answer.phrase, i)
        context.set_response_content_type(i, answer.content_type)
        for name, value in answer.headers.items():
            context.set_response_header(i, name, value)

    @staticmethod
    def header(context: Any, i: int, name: str) -> str | None:
        """A request header by its lower-case name. TorchServe keeps the case that the client wrote."""
        headers = context.get_all_request_header(i)
        return next((value for key, value in headers.items() if key.lower() == name and isinstance(value, str)), None)
