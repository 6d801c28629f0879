"""When a model counts as ready: what TorchServe's management API says of its workers."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerStates:
    """The workers of one model."""

    total: int
    loaded: frozenset[int]  # process ids of the workers that have loaded the model

    @property
    def ready(self) -> bool:
        """Whether there are workers and every one has loaded the model. /ping does not tell: it says 200 while a model loads."""
        return self.total > 0 and len(self.loaded) == self.total


def read_workers(status: int, body: str | bytes) -> WorkerStates:
    """The workers in an answer of `GET /models/NAME`; none unless its status is 200. Raises ValueError if it makes no sense."""
    if status != 200:
        return WorkerStates(0, frozenset())
    try:
        workers = json.loads(body)[0]["workers"]
        return WorkerStates(len(workers), frozenset(worker["pid"] for worker in workers if worker["status"] == "READY"))
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a description of a model: {error}") from None
