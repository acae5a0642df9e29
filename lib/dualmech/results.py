"""Write and read a measured result together with where it came from."""

from __future__ import annotations

import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

from . import __version__


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


def save(path: Path | str, experiment: str, values: dict, source: dict) -> Path:
    """Write {"experiment", "values", "provenance"} as JSON; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"experiment": experiment, "provenance": source, "values": values}
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


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
