"""Write and read a measured result together with where it came from."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import reprlib
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from . import __version__
from ._paths import data_dir
from .paper import published

VERDICTS = ("replicates", "partly", "does not")
OPEN = "open"  # of a claim that is not recorded
AUTHORS = ("paper", "book")  # whose claim it is
CHAPTERS = {  # each experiment, and the chapter that runs it
    "behaviour": "01-the-binding-problem",
    "controls": "03-interventions-and-controls",
    "last_token": "04-what-the-last-token-knows",
    "object_relations": "05-relations-on-object-tokens",
    "probes": "06-reading-position",
    "strips": "07-swapping-strips",
    "removal": "08-which-mechanism-leads",
    "absolute_relative": "09-absolute-or-relative",
    "amplification": "10-turning-up-the-signal",
    "natural_images": "11-natural-images",
    "stress": "12-stress-tests",
    "encoder_objective": "13-what-makes-the-encoder-lead",
}
EXPERIMENTS = (*CHAPTERS, "report")  # `python -m dualmech report --save`: rows, no claims


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


def save(path: Path | str, experiment: str, values, source: dict, claims=()) -> Path:
    """Write {"experiment", "provenance", "values", "claims"} as JSON; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"experiment": experiment, "provenance": source, "values": values}
    record |= {"claims": list(claims)} if claims else {}
    path.write_text(json.dumps(record, indent=1, default=_number_of) + "\n")
    return path


def _number_of(x):
    """A NumPy number as Python's: a long run must not be lost over it."""
    if isinstance(x, np.generic):
        return x.item()
    raise TypeError(f"a result holds numbers, texts, lists and objects, not {type(x).__name__}")


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


def results_dir() -> Path:
    """Where this machine's results go: $DUALMECH_RESULTS, or `results` in the working folder."""
    return Path(os.environ.get("DUALMECH_RESULTS", "results"))


def record(vlm, experiment: str, values: dict, claims=(), seconds: float = 0.0, **more) -> dict:
    """Write an experiment's result to results_dir()/<model>/<experiment>.json and return it.

    values: {name: {"value", "low", "high", "n"}} as `metrics.share` and `metrics.mean` give them;
    claims: from `claim`; more: what else belongs to the provenance (seed, alpha, ...).  A value
    that is nan was not measured: it is left out, also of the claims that name it.  A claim that is
    open is left out, too.  The result is `check`ed after it is written, so that a mistake does not
    cost a long run its numbers.
    """
    lost = {name for name, stats in values.items() if _unmeasured(stats)}
    values = {name: stats for name, stats in values.items() if name not in lost}
    claims = [c for c in claims if c["verdict"] != OPEN]
    claims = [c | {"measured": [m for m in c["measured"] if m not in lost]} for c in claims]
    source = provenance(vlm, seconds, **more)
    path = results_dir() / place({"experiment": experiment, "provenance": source})
    return read(save(path, experiment, values, source, claims))


def _unmeasured(stats) -> bool:
    value = stats.get("value") if isinstance(stats, dict) else None
    return isinstance(value, float) and math.isnan(value)


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


def _text(x) -> bool:
    return isinstance(x, str) and bool(x.strip())


def _number(x) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and -math.inf < x < math.inf


def _count(x) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x > 0


def _hash(x) -> bool:
    return isinstance(x, str) and bool(re.fullmatch("[0-9a-f]{16}", x))


def _date(x) -> bool:
    try:
        return date.fromisoformat(x).isoformat() == x  # not 20260131, which it also reads
    except (TypeError, ValueError):
        return False


DTYPES = ("float64", "float32", "bfloat16", "float16")
WORDS = (_text, "a text")
SOURCE = {  # what `provenance` writes: a test and its words
    "model": (_text, "the name of a model"),
    "weights": (_hash, "16 hex digits"),
    "dualmech": WORDS,
    "torch": WORDS,
    "transformers": WORDS,
    "device": WORDS,
    "precision": (lambda x: x in DTYPES, f"one of {', '.join(DTYPES)}"),
    "seconds": (lambda x: _number(x) and x >= 0, "a number of seconds"),
    "date": (_date, "a date such as 2026-01-31"),
}
SOURCE_IF_KNOWN = {
    "revision": (_text, "a commit of the hub"),
    "quantised": (_text, "the name of a method"),
}
STATS = {key: (_number, "a finite number") for key in ("value", "low", "high")}
STATS |= {"n": (_count, "a positive integer")}
CLAIM = {
    "claim": (_text, "a sentence"),
    "by": (lambda x: x in AUTHORS, f"one of {', '.join(AUTHORS)}"),
    "checks": (
        lambda x: isinstance(x, dict) and x and all(isinstance(ok, bool) for ok in x.values()),
        "an object with at least one check, each true or false",
    ),
    "paper": (lambda x: isinstance(x, list), "a list of ids of data/paper.json"),
    "measured": (lambda x: isinstance(x, list), "a list of names in values"),
    "verdict": (lambda x: x in VERDICTS, f"one of {', '.join(VERDICTS)}"),
}


def check(record, file: Path | str = "the record") -> None:
    """Raise ValueError, one line that names the file and the place, unless this is a result.

    Every value must be finite: an interval exists for every n that `metrics.share` (n >= 1) and
    `metrics.mean` (n >= 2) accept, and what could not be measured has no place in a result.
    """

    def refuse(where: str, wanted: str, found):
        raise ValueError(f"{file}: {where} must be {wanted}, not {reprlib.repr(found)}")

    def fields(where: str, box, wanted: dict, optional: dict | None = None):
        if not isinstance(box, dict):
            refuse(where, "an object", box)
        for name, (test, words) in (wanted | (optional or {})).items():
            at = f"{where}.{name}" if where else name
            if name in box and not test(box[name]):
                refuse(at, words, box[name])
            if name not in box and name in wanted:
                raise ValueError(f"{file}: {at} is missing; it must be {words}")

    if not isinstance(record, dict):
        refuse("the result", "an object", record)
    filled = (lambda x: isinstance(x, dict) and x, "an object that is not empty")
    known = {
        "experiment": (lambda x: x in EXPERIMENTS, f"one of {', '.join(EXPERIMENTS)}"),
        "provenance": filled,
        "values": filled,
    }
    fields("", record, known, {"claims": (lambda x: isinstance(x, list), "a list")})
    if unknown := set(record) - {*known, "claims"}:
        raise ValueError(f"{file}: {min(unknown)!r} is no part of a result")
    fields("provenance", record["provenance"], SOURCE, SOURCE_IF_KNOWN)

    values = record["values"]
    named = {f"values[{name!r}]": stats for name, stats in values.items()}
    if record["experiment"] == "report":
        fields("values", values, {"rows": (lambda x: isinstance(x, list) and x, "a list of rows")})
        named = {f"values.rows[{k}]": row for k, row in enumerate(values["rows"])}
    for where, stats in named.items():
        fields(where, stats, STATS)
        low, value, high = (stats[key] for key in ("low", "value", "high"))
        if not low - 1e-9 <= value <= high + 1e-9:  # a mean is rounded
            refuse(where, "low <= value <= high", [low, value, high])

    ids = {entry["id"] for entry in published()} if record.get("claims") else set()
    for k, one in enumerate(record.get("claims", [])):
        where = f"claims[{k}]"
        fields(where, one, CLAIM)
        for key, some, words in (("paper", ids, "an id of data/paper.json"),
                                 ("measured", values, "a name in values")):  # fmt: skip
            for i, name in enumerate(one[key]):
                if not isinstance(name, str) or name not in some:
                    refuse(f"{where}.{key}[{i}]", words, name)
        verdict = claim(one["claim"], one["checks"])["verdict"]
        if one["verdict"] != verdict:
            refuse(f"{where}.verdict", f"{verdict!r}, which follows from its checks",
                   one["verdict"])  # fmt: skip


class timer:
    """`with timer() as t: ...` then `t.seconds`."""

    def __enter__(self):
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began
