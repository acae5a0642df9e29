"""A measured result with where it came from, and what it says of a claim (chapters 1 to 13).

`data/result.schema.json` says what a file holds.
"""

from __future__ import annotations

import json
import os
import platform
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from vlms._paths import data_dir

from . import __version__
from .paper import published

VERDICTS = ("replicates", "partly", "does not")
OPEN = "open"  # of a claim that is not recorded
AUTHORS = ("paper", "book")  # whose claim it is


def provenance(vlm, seconds: float, **more) -> dict:
    """Model and its hash, versions, device, precision, seconds and date of a measurement.

    Also the hub commit ("revision") and the quantisation ("quantised"), if the model has them.
    """
    import torch
    import transformers

    on_gpu = vlm.device.type == "cuda"
    device = torch.cuda.get_device_name(vlm.device) if on_gpu else platform.machine()
    known = {"revision": vlm.revision, "quantised": vlm.quantised}
    facts = {
        "model": vlm.name,
        "weights": vlm.fingerprint,
        "dualmech": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": f"{vlm.device.type} ({device}, {torch.get_num_threads()} threads)",
        "precision": str(vlm.model.dtype).removeprefix("torch."),
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
    }
    return facts | {name: fact for name, fact in known.items() if fact} | more


def claim(
    sentence: str, checks: dict[str, bool | None], paper=(), measured=(), by: str = "paper"
) -> dict:
    """What the paper, or the book, says, held against what was measured.

    checks: each part of the sentence, and whether it is true here, or None where the numbers cannot
    decide.  The verdict is "replicates" if all are true, "does not" if none is, else "partly"; it
    is "open" where the undecided ones, which are not kept, could change it.  paper: ids of
    `paper.value`; measured: names of the values that the checks read; by: whose claim it is, one of
    `AUTHORS`.  Raises ValueError if there is no check, or for another author.
    """
    if not checks:
        raise ValueError(f"no check for the claim {sentence!r}: it cannot be judged")
    if by not in AUTHORS:
        raise ValueError(f"a claim is by one of {', '.join(AUTHORS)}, not {by!r}")
    known = {name: bool(ok) for name, ok in checks.items() if ok is not None}
    right = sum(known.values())
    verdict = VERDICTS[0 if right == len(known) else 1 if right else 2]
    if len(known) < len(checks) and verdict != "partly":
        verdict = OPEN
    return {"claim": sentence, "by": by, "verdict": verdict, "checks": known,
            "paper": list(paper), "measured": list(measured)}  # fmt: skip


def write(vlm, experiment: str, values: dict, claims=(), seconds: float = 0.0, **more) -> dict:
    """Write an experiment's result to results_dir()/<model>/<experiment>.json and return it.

    values: {name: {"value", "low", "high", "n"}} as `metrics.share` and `metrics.mean` give them;
    claims: from `claim`; more: what else belongs to the provenance (seed, alpha, ...).  A value
    that is nan was not measured: it is left out, also of the claims that name it.  A claim that is
    open is left out, too.  The result is `check`ed after it is written, so that a mistake does not
    cost a long run its numbers.
    """
    lost = {name for name, stats in values.items() if _is_nan(stats)}
    values = {name: stats for name, stats in values.items() if name not in lost}
    claims = [c for c in claims if c["verdict"] != OPEN]
    claims = [c | {"measured": [m for m in c["measured"] if m not in lost]} for c in claims]
    source = provenance(vlm, seconds, **more)
    path = results_dir() / place({"experiment": experiment, "provenance": source})
    return read(save(path, experiment, values, source, claims))


def _is_nan(stats) -> bool:
    return isinstance(stats, dict) and stats.get("value") != stats.get("value")


def save(path: Path | str, experiment: str, values, source: dict, claims=()) -> Path:
    """Write a result as JSON, NumPy's numbers as Python's; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"experiment": experiment, "provenance": source, "values": values}
    record |= {"claims": list(claims)} if claims else {}
    path.write_text(json.dumps(record, indent=1, default=np.generic.item) + "\n")
    return path


class timer:
    """`with timer() as t: ...` then `t.seconds`."""

    def __enter__(self):
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began


def results_dir() -> Path:
    """Where this machine's results go: $DUALMECH_RESULTS, or `results` in the working folder."""
    return Path(os.environ.get("DUALMECH_RESULTS", "results"))


def place(record: dict) -> Path:
    """Where a result belongs, below a folder of results: <model>/<experiment>.json."""
    folder = record["provenance"]["model"].replace("/", "--")
    return Path(folder) / f"{record['experiment']}.json"


def collect(*folders, refused: list[str] | None = None) -> list[dict]:
    """Every record below the folders (the shipped ones, then this machine's, if not given).

    A record of the same model and experiment in a later folder replaces the earlier one.  Raises
    ValueError for a file that `check` does not accept; or, given the list `refused`, leaves the
    file out and appends the message.
    """
    found = {}
    for folder in folders or (data_dir() / "results", results_dir()):
        for path in sorted(Path(folder).glob("*/*.json")):
            try:
                one = read(path)
            except ValueError as error:
                if refused is None:
                    raise
                refused.append(str(error))
            else:
                found[one["provenance"]["model"], one["experiment"]] = one
    return list(found.values())


def benchmarks() -> list[dict]:
    """What `make bench` measured on each kind of device, as it is kept in data/bench."""
    return [json.loads(path.read_text()) for path in sorted((data_dir() / "bench").glob("*.json"))]


def read(path: Path | str) -> dict:
    """Read a result.  Raises ValueError that names the file if it is missing or malformed."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the result {path}: {error}") from None
    check(record, path)
    return record


@lru_cache(maxsize=1)
def _schema() -> Draft202012Validator:
    text = (data_dir() / "result.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text), format_checker=FormatChecker(["date"]))


def check(record, file: Path | str = "the record") -> None:
    """Raise ValueError, one line that names the file and the place, unless this is a result.

    Besides the schema: every interval holds its value, every verdict follows from its checks, and a
    claim names published ids and values of the file.
    """

    def refuse(where: str, why: str):
        raise ValueError(" ".join(f"{file}: {where}: {why}".split()))

    if error := best_match(_schema().iter_errors(record)):
        message = error.message if len(error.message) < 300 else f"{error.message[:300]} ..."
        refuse(error.json_path, message)
    if not record["provenance"]["seconds"] >= 0:  # nan, of which a schema knows nothing
        refuse("$.provenance.seconds", "not a number")
    values = record["values"]
    rows = values["rows"] if record["experiment"] == "report" else values
    for name in range(len(rows)) if isinstance(rows, list) else rows:
        low, value, high = (rows[name][key] for key in ("low", "value", "high"))
        if not low - 1e-9 <= value <= high + 1e-9:  # a mean is rounded
            refuse(f"$.values[{name!r}]", f"not low <= value <= high: {[low, value, high]}")
    known = {entry["id"] for entry in published()}
    for k, one in enumerate(record.get("claims", [])):
        follows = claim(one["claim"], one["checks"])["verdict"]
        if one["verdict"] != follows:
            refuse(f"$.claims[{k}].verdict", f"from its checks follows {follows!r}")
        for key, some in (("paper", known), ("measured", values)):
            if strange := [name for name in one[key] if name not in some]:
                refuse(f"$.claims[{k}].{key}", f"there is no {strange[0]!r}")
