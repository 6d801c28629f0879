"""The model behind the four functions of AWS's PyTorch serving toolkit. It is only in the tarball, as `code/inference.py`.

The toolkit calls `model_fn` once, then `input_fn`, `predict_fn` and `output_fn` for each request, one request at a time. A bad request
gets an answer here and no exception, because the toolkit turns an exception into a 500 with a traceback in its body. A request that the
toolkit itself refuses before calling these functions (JSON that is not UTF-8, no body) still gets such a 500.

A body that would take longer than the container gives it is refused with the estimate, as by the server. What is not done in time gets
an error in its place, and the rest its answers; otherwise the container would end the worker, and the caller would get nothing.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the model's folder, which contains the package `handler`

import torch  # noqa: E402

from handler import paraphraser
from handler.scheduling import Budget, Scheduler
from handler.wire.response import Response

logger = logging.getLogger(__name__)

TIMEOUTS = "SAGEMAKER_TS_RESPONSE_TIMEOUT", "SAGEMAKER_MODEL_SERVER_TIMEOUT"  # of AWS's container in s; the first wins
SECONDS, MARGIN = 60, 10  # what the container gives a request where neither is set; of it, for the last chunk and the way back


def budget(environment: Mapping[str, str]) -> Budget:
    """The time for a body, from the container's environment variables."""
    seconds = next((int(environment[name]) for name in TIMEOUTS if name in environment), SECONDS)
    deadline = max(1, seconds - MARGIN)
    return Budget(deadline=deadline, body_seconds=max(1, deadline // 2))


def model_fn(model_dir: str | Path, context: Any = None) -> Scheduler:
    """Load the model, onto the worker's GPU if it was given one, else onto the CPU, and measure it. Raises ArtifactError."""
    gpu = context.system_properties.get("gpu_id") if context else None
    device = "cpu" if gpu is None else f"cuda:{gpu}"
    model = paraphraser.load(Path(model_dir) / "artifact", device, threads=1)  # the toolkit starts one worker for each core
    return model.scheduler(budget(os.environ))


def input_fn(body: str | bytes, content_type: str, context: Any = None) -> tuple[bytes, str, str | None]:
    """The body with its Content-Type and Accept. It is read by `predict_fn`, which knows the model and its limits."""
    body = body.encode() if isinstance(body, str) else body  # the toolkit decodes JSON
    # The caller's own Accept header. Without one the toolkit passes JSON, but JSON Lines must be answered with JSON Lines.
    headers = context.get_all_request_header(0) if context else {}
    accept = next((value for name, value in headers.items() if name.lower() == "accept" and isinstance(value, str)), None)
    return body, content_type, accept


def predict_fn(body: tuple[bytes, str, str | None], scheduler: Scheduler, context: Any = None) -> Response:
    """The response to a body, errors in their places."""
    try:
        return scheduler.respond(*body)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # its message may quote a user's text: log where it happened, not what it says
        logger.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        raise RuntimeError("internal error") from None


def output_fn(answer: Response, accept: str, context: Any = None) -> tuple[str, str]:
    """Body and content type; status and headers go through the context. `input_fn` has already dealt with `accept`."""
    if context:
        context.set_response_status(answer.status, answer.phrase, 0)
        for name, value in answer.headers.items():
            context.set_response_header(0, name, value)
    return answer.body, answer.content_type
