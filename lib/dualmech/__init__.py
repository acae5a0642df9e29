"""Experiments on how a vision-language model knows what is left of what: what a chapter imports.

import dualmech as dm
vlm = dm.load("mini")
vlm.answer([image], ["The object to the left of the key is a(n) "])

Each room knows only those above it: drawing, stimuli, scenes, regions; metrics, probes, figures;
diagrams; store, edits; paper, record, chapter, report.  The first line of each says what it holds
and which chapters use it.  What a model itself is (loading, running and checking it) is in the
package `vlms`, below.
"""

from importlib import import_module

__version__ = "0.2.0"
_MODULES = ("chapter", "diagrams", "drawing", "edits", "figures", "metrics", "paper", "probes",
            "record", "regions", "report", "scenes", "stimuli", "store")  # fmt: skip
_BELOW = ("checks", "families", "loading", "machine", "model", "pictures", "runs")  # of `vlms`
_NAMES = {"check_model": "vlms.checks", "load": "vlms.loading"}


def __getattr__(name: str):
    """Import modules on first use: `import dualmech` itself stays instant."""
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _BELOW:
        return import_module(f"vlms.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'dualmech' has no attribute {name!r}")


def __dir__():
    return [*_MODULES, *_NAMES]
