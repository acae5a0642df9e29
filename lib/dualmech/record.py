"""A measured result with where it came from, and what it says of a claim (chapters 1 to 13).

`data/result.schema.json` says what a file holds.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import best_match

from vlms import identity
from vlms._paths import data_dir
from vlms.loading import SHIPPED

from . import __version__
from .metrics import wilson
from .paper import published

VERDICTS = ("replicates", "partly", "does not")
OPEN = "open"  # of a claim that is not recorded
AUTHORS = ("paper", "book")  # whose claim it is
LARGEST = 2**20  # bytes of a file
OWN = (*SHIPPED, "layout")  # models of this project; the weights of the last do not ship
timer = identity.timer
HUB = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
# Values that are no probabilities, even where those of the shipped models lie between 0 and 1.
OTHER = "alpha|auc|band|change|cosine|effect|fade|follow|gain|gap|map|minus|move|over|point|turned"


def provenance(vlm, seconds: float, **more) -> dict:
    """Where a measurement comes from: `identity.facts` of the model, seconds, date, and more."""
    now = {"seconds": round(seconds, 1), "date": datetime.now(UTC).date().isoformat()}
    return identity.facts(vlm) | {"dualmech": __version__} | now | more


def claim(
    sentence: str, checks: dict[str, bool | None], paper=(), measured=(), by: str = "paper"
) -> dict:
    """What the paper, or the book, says, held against what was measured.

    checks: each part of the sentence, and whether it is true here, or None where the numbers cannot
    decide.  The verdict is "replicates" if all are true, "does not" if none is, else "partly", or
    "open" where the undecided ones, which are not kept, could change it.  paper: ids of
    `paper.value`; measured: names of values; by: one of `AUTHORS`.  Raises ValueError if not.
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
    claims: from `claim`; more: of the provenance (seed, alpha, ...).  Values that are nan are left
    out, also of claims, and claims that are open.  It is `check`ed once written: no number is lost.
    """
    lost = {k for k, s in values.items() if isinstance(s, dict) and (v := s.get("value")) != v}
    values = {name: stats for name, stats in values.items() if name not in lost}
    claims = [c for c in claims if c["verdict"] != OPEN]
    claims = [c | {"measured": [m for m in c["measured"] if m not in lost]} for c in claims]
    source = provenance(vlm, seconds, **more)
    path = results_dir() / place({"experiment": experiment, "provenance": source})
    return read(save(path, experiment, values, source, claims))


def save(path: Path | str, experiment: str, values, source: dict, claims=()) -> Path:
    """Write a result as JSON, NumPy's numbers as Python's; returns the path."""
    path = Path(path)
    record = {"experiment": experiment, "provenance": source, "values": values}
    record |= {"claims": list(claims)} if claims else {}
    text = json.dumps(record, indent=1, default=np.generic.item) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise ValueError(f"cannot write {path} ({error.strerror}): see `results_dir`") from None
    return path


def results_dir() -> Path:
    """Where this machine's results go: $DUALMECH_RESULTS, or `results` in the working folder."""
    return Path(os.environ.get("DUALMECH_RESULTS", "results"))


def place(record: dict) -> Path:
    """Where a result belongs, below a folder of results: <model>/<experiment>.json."""
    folder = record["provenance"]["model"].replace("/", "--")[-200:]
    return Path(folder) / f"{record['experiment']}.json"


def collect(*folders, refused: list[str] | None = None) -> list[dict]:
    """Every record below the folders (the shipped ones, then this machine's, if not given).

    One of the same model and experiment in a later folder replaces the earlier.  Raises ValueError
    for what `check` refuses, or `check_sent` where it would ship; or appends it to `refused`.
    """
    found, ships = {}, data_dir() / "results"
    for folder in map(Path, folders or (ships, results_dir())):
        for path in sorted(folder.glob("*/*.json")):
            try:
                one = read(path)
                if folder == ships:
                    check_sent(one, path)
                    if path != folder / place(one):
                        _refuse(path, "$", f"it belongs in {place(one)}")
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
        if not Path(path).is_file() or Path(path).stat().st_size > LARGEST:
            raise ValueError(f"it is no file of at most {LARGEST:,} bytes")
        record = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_told_once)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the result {path}: {error}") from None
    check(record, path)
    return record


def _told_once(pairs: list) -> dict:
    """A JSON object.  Raises ValueError where a name stands there twice: readers would differ."""
    for name, times in Counter(name for name, _ in pairs).items():
        if times > 1:
            raise ValueError(f"{name[:80]!r} stands {times} times in one place: say it once")
    return dict(pairs)


@lru_cache(maxsize=1)
def _schema():
    text = (data_dir() / "result.schema.json").read_text(encoding="utf-8")
    types = Draft202012Validator.TYPE_CHECKER
    finite = types.redefine("number", lambda _, x: types.is_type(x, "number") and abs(x) < np.inf)
    checker = validators.extend(Draft202012Validator, type_checker=finite)
    return checker(json.loads(text), format_checker=FormatChecker(["date"]))


def _refuse(file, where: str, why: str):
    why = f"{why[:60]} ... {why[-230:]}" if len(why) > 300 else why
    told = f"{file}: {where[:150]}: {why}"
    raise ValueError(" ".join("".join(c if c.isprintable() else " " for c in told).split()))


def check(record, file: Path | str = "the record") -> None:
    """Raise ValueError, one line that names the file and the place, unless this is a result.

    Besides the schema: every interval holds its value, the date has been, every verdict follows
    from its checks, and a claim names published ids and values of the file.
    """
    try:
        if error := best_match(_schema().iter_errors(record)):
            what = f"{str(error.instance)[:80]!r} holds what no result needs: use plain words"
            _refuse(file, error.json_path, what if error.validator == "not" else error.message)
    except RecursionError:
        _refuse(file, "$", "it is nested deeper than any result")
    source, values = record["provenance"], record["values"]
    if source["date"] > f"{datetime.now(UTC) + timedelta(1):%F}":  # it is tomorrow somewhere
        _refuse(file, "$.provenance.date", f"{source['date']} has not been")
    rows = values["rows"] if record["experiment"] == "report" else values
    for name in range(len(rows)) if isinstance(rows, list) else rows:
        low, value, high = (rows[name][key] for key in ("low", "value", "high"))
        if not low - 1e-9 <= value <= high + 1e-9:  # a mean is rounded
            _refuse(file, f"$.values[{name!r}]", f"not low <= value <= high: {[low, value, high]}")
    known = {entry["id"] for entry in published()}
    for k, one in enumerate(record.get("claims", [])):
        follows = claim(one["claim"], one["checks"])["verdict"]
        if one["verdict"] != follows:
            _refuse(file, f"$.claims[{k}].verdict", f"from its checks follows {follows!r}")
        for key, some in (("paper", known), ("measured", values)):
            if strange := [name for name in one[key] if name not in some]:
                _refuse(file, f"$.claims[{k}].{key}", f"there is no {strange[0]!r}")


def check_sent(record: dict, file: Path | str) -> None:
    """Raise ValueError unless a `check`ed record may stand in data/results.

    Its model is a hub id; an own model's name, weights and kept numbers come together; what is
    a share or a probability in the shipped result of this experiment is one here, too.
    """
    model, weights = (record["provenance"][key] for key in ("model", "weights"))
    kept = _kept()
    owners = {one["provenance"]["weights"]: name for (name, _), one in kept.items()}
    if model in OWN or weights in owners:
        known = kept.get((model, record["experiment"]), {"values": None})
        if owners.get(weights) != model or record["values"] != known["values"]:
            _refuse(file, "$.provenance", "an own model's name, hash and numbers go together")
    elif not re.fullmatch(HUB, model, re.ASCII):
        _refuse(file, "provenance.model is a folder", "use a hub id, which others can load")
    shares, bounded = _kinds(record["experiment"])
    for name, s in record["values"].items():
        kind = re.sub(r"\d+", "0", name)
        if kind in shares and not _is_share(s):
            _refuse(file, f"$.values[{name!r}]", f"no share of {s['n']} with its interval")
        if kind in bounded and not 0 <= s["low"] <= s["high"] <= 1:
            _refuse(file, f"$.values[{name!r}]", "a probability lies between 0 and 1")


@lru_cache(maxsize=1)
def _kept() -> dict[tuple[str, str], dict]:
    """The results of this project's own models that ship with the book."""
    paths = [p for m in OWN for p in (data_dir() / "results" / m).glob("*.json")]
    return {(p.parent.name, p.stem): json.loads(p.read_text()) for p in paths}


@lru_cache
def _kinds(experiment: str) -> tuple[set[str], set[str]]:
    """Names, without their numbers, of the shipped shares, and of the shipped probabilities."""
    some = [(re.sub(r"\d+", "0", name), s) for (_, e), one in _kept().items()
            if e == experiment != "report" for name, s in one["values"].items()]  # fmt: skip
    no_share = {name for name, s in some if not _is_share(s)}
    free = {name for name, s in some if re.search(OTHER, name) or s["low"] < 0 or s["high"] > 1}
    return tuple({name for name, _ in some} - less for less in (no_share, free))


def _is_share(s: dict) -> bool:
    hits = min(max(round(s["value"] * s["n"]), 0), s["n"])
    wanted = (hits / s["n"], *wilson(hits, s["n"]))
    return all(abs(s[k] - x) < 1e-4 for k, x in zip(("value", "low", "high"), wanted, strict=True))
