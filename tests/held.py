"""What the page "What holds" tells: the tests count what they try, and the count is kept."""

import json
import os

from vlms._paths import data_dir

KEPT = data_dir() / "held.json"


def held(part: str, what: str, times: int, happened: str) -> None:
    """Compare a row of the page with what was just tried (with DUALMECH_HELD=keep: keep it)."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    now = {"times": times, "happened": happened}
    if os.environ.get("DUALMECH_HELD") == "keep":
        kept.setdefault(part, {})[what] = now
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    assert kept.get(part, {}).get(what) == now, (
        f"the page tells something else of {what!r}: run this test with DUALMECH_HELD=keep"
    )
