"""The published figures of the paper, from `data/paper.json` (all chapters).

A published number has an id (`table1.squares.qwen2-vl-7b.v2`), the model, task and direction it
belongs to, where it was read (`source`, `version`, `where`) and how exactly (`tolerance`, `n`).
A published layer k is this book's slot k + 1. `describe` gives the rest of the file: the paper,
its models, and what the sources mean.
"""

import copy
import difflib
import functools
import json

from vlms._paths import data_dir

from .metrics import wilson


@functools.lru_cache(maxsize=1)
def _read():
    return json.loads((data_dir() / "paper.json").read_text(encoding="utf-8"))


def describe(section: str) -> dict:
    """One other section of the file, as a dict: "paper", "models", "tasks" or "sources"."""
    others = [name for name in _read() if name != "results"]
    if section not in others:
        raise LookupError(f"no section {section!r}; there are: {', '.join(others)}")
    return copy.deepcopy(_read()[section])


def published(experiment: str | None = None, **filters) -> list[dict]:
    """The published results of one experiment, as a list of dicts in the order of the file.

    Filters are equalities on the fields of an entry, for example
    `published("last_token", quantity="P(c2)", direction="left")`; `layer=None` asks for entries
    that have no layer. An unknown field, or a word that no entry has in that field, is a
    LookupError; a known combination that nobody published is an empty list. An entry has either
    "value", which is None where the number is not known, or "range", its two ends.
    """
    results = _read()["results"]
    if experiment is not None:
        filters = {"experiment": experiment, **filters}
    for field, wanted in filters.items():
        known = [r[field] for r in results if field in r]
        if not known:
            raise LookupError(
                f"no field {field!r}; {_near(field, {k for r in results for k in r})}"
            )
        if isinstance(wanted, str) and wanted not in known:
            raise LookupError(f"no result has {field}={wanted!r}; {_near(wanted, known)}")
    return [copy.deepcopy(r) for r in results if all(r.get(f) == w for f, w in filters.items())]


def value(id: str) -> float:
    """The published number with this id.

    Raises LookupError for an unknown id, ValueError where it holds a range or an unknown number.
    """
    (found,) = published(id=id)
    if found.get("value") is None:
        held = f"the range {found['range']}" if "range" in found else "no number"
        raise ValueError(f"{id!r} holds {held}, not one number. {found['note']}".strip())
    return float(found["value"])


def share(id: str) -> dict:
    """{"value", "n", "low", "high"} of the published share with this id: the number as printed, and
    the Wilson interval of the nearest count of its n.

    Raises LookupError for an unknown id, ValueError where the number or its n is not known.
    """
    printed = value(id)
    (found,) = published(id=id)
    if not found.get("n"):
        raise ValueError(f"{id!r} has no n, so it has no interval")
    low, high = wilson(round(printed * found["n"]), found["n"])
    return {"value": printed, "n": found["n"], "low": low, "high": high}


def _near(word, known, most: int = 6) -> str:
    """The known words that resemble `word`, else the first ones, in half a sentence."""
    known = sorted({str(k) for k in known})
    close = difflib.get_close_matches(str(word), known, most)
    return f"nearest: {', '.join(close)}" if close else f"there are: {', '.join(known[:20])} ..."
