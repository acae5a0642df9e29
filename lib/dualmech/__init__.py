"""Helpers for the book on spatial reasoning in vision-language models.

import dualmech as dm
vlm = dm.load("mini")
vlm.answer([image], ["The object to the left of the key is a(n) "])

Each room knows only those above it: drawing, stimuli, scenes, regions; machine, families, models,
checks; store, edits; metrics, probes, figures; paper, record, report.  The first line of
each says what it holds and which chapters use it.
"""

from importlib import import_module

__version__ = "0.1.0"
_MODULES = ("checks", "drawing", "edits", "families", "figures", "identity", "loading", "machine",
            "metrics", "model", "paper", "probes", "record", "regions", "report", "runs",
            "scenes", "stimuli", "store")  # fmt: skip
_NAMES = {"check_model": "checks", "load": "loading"}


def __getattr__(name: str):
    """Import submodules on first use: `import dualmech` itself stays instant."""
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module 'dualmech' has no attribute {name!r}")


def __dir__():
    return [*_MODULES, *_NAMES]
