"""Exercises that answer: `check("7.1", my_function)` says right, not done yet, or what is wrong.

Each chapter's checks are in a module of its own (`ch07`), those of the lab in `lab`.  A check looks
at what your function does to a small example whose states are known: it needs no model, no time and
no network.  `python -m exercises FOLDER` asks the checks of a folder of notebooks.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module

from IPython.display import Markdown, display

HELP = ("__main__", "examples")  # modules without checks
MODULES = [module.name for module in pkgutil.iter_modules(__path__) if module.name not in HELP]


class Wrong(Exception):
    """What is wrong with an answer, in a way that helps."""


class NotDone(Exception):
    """The stub is still there."""


NAME = "exercises"  # of the metadata of what `check` shows
_CHECKS: dict[str, Callable] = {}


def exercise(number: str) -> Callable:
    """Registers a check: a function of the answer that raises `Wrong` with a message, or passes."""

    def register(check: Callable) -> Callable:
        if number in _CHECKS:
            raise ValueError(f"exercise {number} has two checks")
        _CHECKS[number] = check
        return check

    return register


def choose(number: str, right: str, wrong: dict[str, str]) -> None:
    """Registers an exercise that a letter answers; wrong: what is wrong with each other letter."""

    @exercise(number)
    def check(answer):
        if answer is ...:
            raise NotDone("put a letter in quotes in the place of the dots")
        letters = sorted({right, *wrong})
        require(answer in letters, f"{answer!r} is none of {', '.join(letters)}")
        require(answer == right, wrong.get(answer, ""))


def checks() -> dict[str, Callable]:
    """Every exercise's check, by its number."""
    for module in MODULES:
        import_module(f".{module}", __name__)
    return dict(_CHECKS)


def verdict(number: str, answer) -> str:
    """ "right", or what is wrong or missing, in a sentence.

    Raises ValueError for a number that no exercise has.
    """
    known = checks()
    if number not in known:
        raise ValueError(f"no exercise {number!r}; there are {', '.join(known)}")
    try:
        known[number](answer)
    except NotDone as told:
        return f"not done yet: {told}"
    except Wrong as told:
        return f"not right: {told}"
    except NotImplementedError:
        return "not done yet: your function raises NotImplementedError"
    except Exception as error:  # the reader's function failed, not the book
        return f"not right: it raises {type(error).__name__}: {error}"
    return "right"


def check(number: str, answer) -> None:
    """Show what `verdict` says.  Never raises for a wrong answer: the notebook runs whole."""
    told = verdict(number, answer)
    mark = "✓" if told == "right" else "…" if told.startswith("not done") else "✗"
    # The metadata are for who reads the notebook by machine, as `python -m exercises` does.
    display(Markdown(f"**{mark} {number}** {told}"), metadata={NAME: {number: told}})


def done(value, call: str):
    """The value of a call, unless it is None or `...`, which a stub returns."""
    if value is None or value is ...:
        raise NotDone(f"{call} returned {value}")
    return value


def require(ok: bool, told: str) -> None:
    """Raises `Wrong` with these words unless ok."""
    if not ok:
        raise Wrong(told)
