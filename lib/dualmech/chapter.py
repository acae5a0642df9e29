"""What the folded cells of a chapter call: kept results; conclusions held to what is measured."""

from __future__ import annotations

import numpy as np

from vlms.loading import SHIPPED

from . import record
from .figures import say


def kept(model: str, experiment: str) -> dict | None:
    """The values of a model's kept result, {name: {"value", "low", "high", "n"}}; None without one.

    The result of this machine, if there is one, else that which ships with the book.
    """
    for one in record.collect(refused=[]):
        if (one["provenance"]["model"], one["experiment"]) == (model, experiment):
            return one["values"]
    return None


def pooled(values: dict, *names: str) -> float:
    """The mean of several kept values, such as those of the four directions; of what could be
    measured (`record.write` leaves out what could not), and nan where nothing could."""
    some = [values[name]["value"] for name in names if name in values]
    return float(np.mean(some)) if some else float("nan")


def answer(values: dict | None, model: str, sentence) -> None:
    """Show the first screen's answer: sentence(values), or what to do where none are kept."""
    none = f"No result of `{model}` is kept yet: run the chapter, and its proof, to get one."
    say(none if values is None else sentence(values))


def conclude(model: str, checks: dict[str, bool], told: str) -> None:
    """Hold the sentence above to what was measured; checks: its parts, and whether each is true.

    It speaks of the first shipped model: there, raises AssertionError that names the parts that are
    false.  For another model, shows what was found there instead.
    """
    failed = [part for part, ok in checks.items() if not ok]
    if model == SHIPPED[0]:
        assert not failed, f"no longer true of {model}: {'; '.join(failed)} ({told})"
    else:
        say(f"*`{model}`, measured just now:* {told}")
