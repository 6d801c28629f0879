"""This project's engines: names and what `handler.artifacts.load` is told for each. The one place to add one."""

import inspect
import os

import yaml

from handler import artifacts
from scripts.common.paths import ROOT

SETTINGS = ROOT / "handler" / "model-config.yaml"

# name -> options of `artifacts.load`; those with an option that this version's `load` does not know are left out.
VARIANTS = {
    "fp32": {"precision": "fp32", "drafts": False},
    "int8": {"precision": "int8", "drafts": False},
    "int8 with drafts": {"precision": "int8", "drafts": True},
}
DRAFTING = {name for name, options in VARIANTS.items() if options["drafts"]}  # a decoder step of these is the others'
PLAIN = "fp32"  # what the others' tokens are compared with


def known() -> dict[str, dict]:
    """The variants that this version's `artifacts.load` can make. One that has no options yet makes fp32 alone."""
    options = set(inspect.signature(artifacts.load).parameters)
    if "precision" not in options:
        return {PLAIN: {}}
    found = {}
    for name, wanted in VARIANTS.items():
        missing = wanted.keys() - options
        if all(not wanted[option] for option in missing):  # what is not there cannot be switched on
            found[name] = {option: value for option, value in wanted.items() if option in options}
    return found


def served() -> tuple[dict, int]:
    """What the worker does: options of `artifacts.load` from `model-config.yaml`, and its threads."""
    settings = yaml.safe_load(SETTINGS.read_text(encoding="utf-8")).get("handler", {})
    options = set(inspect.signature(artifacts.load).parameters) - {"folder", "device"}
    threads = int(settings.get("threads", 1)) or len(os.sched_getaffinity(0))
    return {name: value for name, value in settings.items() if name in options}, threads
