"""The pipeline behind the four functions of AWS's PyTorch serving toolkit; `code/inference.py` of the tarball, and only there.

The toolkit calls `model_fn` once, then `input_fn`, `predict_fn` and `output_fn` for each request. What is wrong with a request
is an answer here and not an exception: of exceptions the toolkit makes a 500 with a traceback in its body. What it refuses
itself, before calling anything (JSON that is not UTF-8, no body), still gets one.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the model's folder: the package `handler` is in it

import torch  # noqa: E402

from handler import artifacts
from handler.errors import RequestError
from handler.pipeline import CHUNK_ROWS, Pipeline
from handler.wire import request, response

logger = logging.getLogger(__name__)


def model_fn(model_dir: str | Path, context: Any = None) -> Pipeline:
    """The pipeline, on the GPU the worker was given or else on the CPU. Raises ArtifactError."""
    torch.set_num_threads(1)  # the toolkit starts a worker a core
    gpu = context.system_properties.get("gpu_id") if context else None
    pipeline = artifacts.load(Path(model_dir) / "artifact", "cpu" if gpu is None else f"cuda:{gpu}")
    pipeline.warm(CHUNK_ROWS)
    return pipeline


def input_fn(body: str | bytes, content_type: str, context: Any = None) -> request.Envelope | RequestError:
    """A validated Envelope, or the RequestError that answers the body."""
    body = body.encode() if isinstance(body, str) else body  # the toolkit decodes JSON
    # The caller's own Accept: where there is none the toolkit says JSON, and a body of JSON Lines is answered with those.
    headers = context.get_all_request_header(0) if context else {}
    accept = next((value for name, value in headers.items() if name.lower() == "accept" and isinstance(value, str)), None)
    return request.guarded(request.read_body, body, content_type, accept)


def predict_fn(envelope: request.Envelope | RequestError, pipeline: Pipeline, context: Any = None) -> tuple:
    """The envelope and an answer for each of its items, errors in their places."""
    try:
        return pipeline.answer([envelope])[0]
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # its message may quote what a user wrote: log where, not what
        logger.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        raise RuntimeError("internal error") from None


def output_fn(prediction: tuple, accept: str, context: Any = None) -> tuple[str, str]:
    """Body and content type; status and headers by way of the context. `accept` has been settled in `input_fn`."""
    answer = response.build(*prediction)
    if context:
        context.set_response_status(answer.status, answer.phrase, 0)
        for name, value in answer.headers.items():
            context.set_response_header(0, name, value)
    return answer.body, answer.content_type
