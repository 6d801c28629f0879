"""The pipeline behind the four functions of AWS's PyTorch serving toolkit. It is only in the tarball, as `code/inference.py`.

The toolkit calls `model_fn` once, then `input_fn`, `predict_fn` and `output_fn` for each request. A bad request gets an answer here
and no exception, because the toolkit turns an exception into a 500 with a traceback in its body. A request that the toolkit itself
refuses before calling these functions (JSON that is not UTF-8, no body) still gets such a 500.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the model's folder, which contains the package `handler`

import torch  # noqa: E402

from handler import artifacts
from handler.errors import RequestError
from handler.pipeline import CHUNK_ROWS, Pipeline
from handler.wire import request, response

logger = logging.getLogger(__name__)


def model_fn(model_dir: str | Path, context: Any = None) -> Pipeline:
    """Load the pipeline, onto the worker's GPU if it was given one, else onto the CPU. Raises ArtifactError."""
    torch.set_num_threads(1)  # the toolkit starts one worker for each core
    gpu = context.system_properties.get("gpu_id") if context else None
    pipeline = artifacts.load(Path(model_dir) / "artifact", "cpu" if gpu is None else f"cuda:{gpu}")
    pipeline.warm(CHUNK_ROWS)
    return pipeline


def input_fn(body: str | bytes, content_type: str, context: Any = None) -> request.Envelope | RequestError:
    """Turn a body into a validated Envelope, or into the RequestError that answers it."""
    body = body.encode() if isinstance(body, str) else body  # the toolkit decodes JSON
    # The caller's own Accept header. Without one the toolkit passes JSON, but JSON Lines must be answered with JSON Lines.
    headers = context.get_all_request_header(0) if context else {}
    accept = next((value for name, value in headers.items() if name.lower() == "accept" and isinstance(value, str)), None)
    return request.guarded(request.read_body, body, content_type, accept)


def predict_fn(envelope: request.Envelope | RequestError, pipeline: Pipeline, context: Any = None) -> tuple:
    """The envelope with an answer for each of its items, errors in their places."""
    try:
        return pipeline.answer([envelope])[0]
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # its message may quote a user's text: log where it happened, not what it says
        logger.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        raise RuntimeError("internal error") from None


def output_fn(prediction: tuple, accept: str, context: Any = None) -> tuple[str, str]:
    """Body and content type; status and headers go through the context. `input_fn` has already dealt with `accept`."""
    answer = response.build(*prediction)
    if context:
        context.set_response_status(answer.status, answer.phrase, 0)
        for name, value in answer.headers.items():
            context.set_response_header(0, name, value)
    return answer.body, answer.content_type
