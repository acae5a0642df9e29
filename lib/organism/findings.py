"""What was found of the paper's three claims, a row for each model (start page, scoreboard).

`data/claims.json` says each claim in plain words, which kept values test it, and what was taught.
"""

import json
import re
from itertools import zip_longest

import numpy as np

from dualmech.paper import describe, published, value
from vlms._paths import data_dir
from vlms.loading import SHIPPED

WORDS = {"replicates": "supported", "partly": "in part", "does not": "contradicted",
         "open": "cannot tell"}  # fmt: skip
UNTOLD = "not known"  # what a model was taught that others trained


def claims() -> list[dict]:
    """The three claims, in the paper's order."""
    return json.loads((data_dir() / "claims.json").read_text(encoding="utf-8"))


def rows(claim: dict, records: list[dict]) -> list[dict]:
    """{"model", "verdict", "value", "control", "taught"} of each model with a result; records: from
    `record.collect`.  The paper's models come first, then the records', then further training runs.

    value (with n) and control are in words, with a 95 % interval: that of the mean over directions,
    as wide as if all of them erred to the same side.
    """
    told = [_published(claim, model, *ids) for model, ids in claim["published"].items()]
    for r in records:
        if r["experiment"] == claim["experiment"]:
            checks = [c["checks"].values() for c in r.get("claims", []) if c["by"] == "paper"]
            some = ([s for name, s in r["values"].items() if re.fullmatch(claim[key], name)]
                    for key in ("value", "control"))  # fmt: skip
            told.append(_row(claim, r["provenance"]["model"], sum(map(list, checks), []), *some))
    if claim["experiment"] == "strips":
        told += _seeds(claim, {row["model"] for row in told})
    return told


def _published(claim, model, *ids) -> dict:
    entries = [{"value": value(id), "n": published(id=id)[0]["n"]} for id in ids]
    row = _row(claim, describe("models")[model]["name"], [], entries, [])
    if beyond := claim["random"].get(model):  # not of equal size, in the paper
        row["control"] = format(value(beyond[0]) - value(beyond[1]), claim["format"])
    return row | {"verdict": "published", "taught": UNTOLD}


def _seeds(claim, known) -> list[dict]:
    """Rows of the runs that no record is of: strips of the mirror image against the own strips."""
    runs, told = json.loads((data_dir() / "results" / "seeds.json").read_text()), []
    twin = {run["objective"]: name for run, name in zip(runs, SHIPPED, strict=False)}
    for run, name in zip_longest(runs, SHIPPED):  # the shipped models come first
        name = name or f"{run['objective']}, {run['name']}"
        shown = [d for d in run["directions"].values() if d["strip"]]
        swap, own = ([d[kind]["flips"] for d in shown] for kind in ("strip", "own strips"))
        row = _row(claim, name, [s["low"] > 1 / 2 for s in swap], swap, own)
        row["control"] += " (own strips)" * bool(own)
        lesson = twin.get(run["objective"], run["objective"])
        told.append(row | {"taught": claim["taught"].get(lesson, UNTOLD)})
    return [row for row in told if row["model"] not in known]


def _row(claim, model, checks, some, control) -> dict:
    right = sum(checks)
    verdict = "in part" if 0 < right < len(checks) else "supported" if right else "contradicted"
    n = f", n = {sum(s['n'] for s in some)}" * bool(some)
    return {"model": model, "verdict": verdict if checks else WORDS["open"],
            "value": _pooled(some, claim["format"]) + n,
            "control": _pooled(control, claim["format"]),
            "taught": claim["taught"].get(model, UNTOLD)}  # fmt: skip


def _pooled(some, how: str) -> str:
    if not some:
        return "none"
    keys = [key for key in ("value", "low", "high") if key in some[0]]
    value, *ends = (format(np.mean([s[key] for s in some]), how) for key in keys)
    return value + f" [{', '.join(ends)}]" * bool(ends)
