"""Write and read a measured result together with where it came from."""

from __future__ import annotations

import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

from . import __version__
from ._paths import data_dir

VERDICTS = ("replicates", "partly", "does not")


def provenance(vlm, seconds: float, **more) -> dict:
    """Model and its hash, versions, device, precision, seconds and date of a measurement."""
    import torch
    import transformers

    device = torch.cuda.get_device_name(0) if vlm.device.type == "cuda" else platform.machine()
    return {
        "model": vlm.name,
        "weights": vlm.fingerprint,
        "dualmech": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": f"{vlm.device.type} ({device}, {torch.get_num_threads()} threads)",
        "precision": str(vlm.model.dtype).removeprefix("torch."),
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
    } | more


def save(path: Path | str, experiment: str, values, source: dict, claims=()) -> Path:
    """Write {"experiment", "provenance", "values", "claims"} as JSON; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"experiment": experiment, "provenance": source, "values": values}
    record |= {"claims": list(claims)} if claims else {}
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def claim(sentence: str, checks: dict[str, bool], paper=(), measured=()) -> dict:
    """What the paper (or the book) says, held against what was measured.

    checks: each part of the sentence, and whether it is true here; the verdict is "replicates" if
    all are, "does not" if none is, else "partly".  paper: ids of `paper.value`; measured: names
    of the values that the checks read.  Raises ValueError if there is no check.
    """
    if not checks:
        raise ValueError(f"no check for the claim {sentence!r}: it cannot be judged")
    checks = {name: bool(ok) for name, ok in checks.items()}
    right = sum(checks.values())
    verdict = VERDICTS[0 if right == len(checks) else 1 if right else 2]
    return {"claim": sentence, "verdict": verdict, "checks": checks, "paper": list(paper),
            "measured": list(measured)}  # fmt: skip


def results_dir() -> Path:
    """Where this machine's results go: $DUALMECH_RESULTS, or `results` in the working folder."""
    return Path(os.environ.get("DUALMECH_RESULTS", "results"))


def record(vlm, experiment: str, values: dict, claims=(), seconds: float = 0.0, **more) -> dict:
    """Write an experiment's result to results_dir()/<model>/<experiment>.json and return it.

    values: {name: {"value", "low", "high", "n"}} as `metrics.share` and `metrics.mean` give them;
    claims: from `claim`; more: what else belongs to the provenance (seed, alpha, ...).  Raises
    ValueError if a claim reads a value that is not there.
    """
    for one in claims:
        lost = [name for name in one["measured"] if name not in values]
        if lost:
            raise ValueError(f"the claim {one['claim']!r} reads {lost}, which was not measured")
    source = provenance(vlm, seconds, **more)
    path = results_dir() / vlm.name.replace("/", "--") / f"{experiment}.json"
    save(path, experiment, values, source, list(claims))
    return read(path)


def collect(*folders) -> list[dict]:
    """Every record below the folders (the shipped ones, then this machine's, if not given).

    A record of the same model and experiment in a later folder replaces the earlier one.
    """
    found = {}
    for folder in folders or (data_dir() / "results", results_dir()):
        for path in sorted(Path(folder).glob("*/*.json")):
            one = read(path)
            found[one["provenance"]["model"], one["experiment"]] = one
    return list(found.values())


def read(path: Path | str) -> dict:
    """Read a result.  Raises ValueError that names the file if it is missing or malformed."""
    try:
        record = json.loads(Path(path).read_text())
        missing = {"experiment", "provenance", "values"} - set(record)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"cannot read the result {path}: {error}") from None
    if missing:
        raise ValueError(f"the result {path} lacks {', '.join(sorted(missing))}")
    return record


class timer:
    """`with timer() as t: ...` then `t.seconds`."""

    def __enter__(self):
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began
