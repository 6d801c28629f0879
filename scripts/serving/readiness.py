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


def read_versions(status: int, body: str | bytes) -> dict[str, WorkerStates]:
    """The workers of each version in an answer of `GET /models/NAME/all`; none unless its status is 200.

    Raises ValueError if it makes no sense.
    """
    if status != 200:
        return {}
    try:
        return {told["modelVersion"]: _states(told["workers"]) for told in json.loads(body)}
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a description of a model: {error}") from None


def read_workers(status: int, body: str | bytes) -> WorkerStates:
    """The workers in an answer of `GET /models/NAME`; none unless its status is 200. Raises ValueError if it makes no sense."""
    if status != 200:
        return WorkerStates(0, frozenset())
    try:
        return _states(json.loads(body)[0]["workers"])
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a description of a model: {error}") from None


def _states(workers: list[dict]) -> WorkerStates:
    return WorkerStates(len(workers), frozenset(worker["pid"] for worker in workers if worker["status"] == "READY"))
