"""Helpers for the book on spatial reasoning in vision-language models.

import dualmech as dm
vlm = dm.load("mini")
vlm.answer([image], ["The object to the left of the key is a(n) "])
"""

from importlib import import_module

__version__ = "0.1.0"
_MODULES = ("checks", "datasets", "edits", "families", "figures", "identity", "loading", "machine",
            "metrics", "model", "paper", "pictures", "probes", "regions", "report", "results",
            "runs", "stimuli", "store", "train", "widgets")  # fmt: skip


def __getattr__(name: str):
    """Import submodules on first use: `import dualmech` itself stays instant."""
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name == "check_model":
        return import_module(".checks", __name__).check_model
    if name == "load":
        return import_module(".loading", __name__).load
    raise AttributeError(f"module 'dualmech' has no attribute {name!r}")


def __dir__():
    return [*_MODULES, "check_model", "load"]
