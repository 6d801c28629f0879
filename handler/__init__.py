"""SynPG, a syntactically controlled paraphraser, as a TorchServe model archive.

    from handler import load
    load("model_store/demo").paraphrase("it rains .", template="command")

Data flows one way: request, plan, parse, text, response. Importing the package imports nothing else.
`handler/README.md` says what lives where.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handler.paraphraser import Paraphraser, load

__version__ = "0.5.0"
__all__ = ["Paraphraser", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("handler.paraphraser"), name)
