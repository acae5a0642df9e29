"""What each objective's vision tower spread over its tokens, in one file for chapter 13:
`python -m organism towers NAME=WHERE[=SEED] ...`

WHERE: a JSON file that `measure --parts h --save` wrote; or else a checkpoint folder, a run's
folder, a tower's .safetensors file, or "random" for the weights that training starts from, which is
measured now (about a minute each).  NAME: a key of LESSONS, if the page is to say what it was told.
"""

from __future__ import annotations

import json
from pathlib import Path

from vlms._paths import data_dir

from .measure import save, tower_of, tower_spread
from .model import build_model, build_processor

LESSONS = {  # what a loss asked of a tower, in the order in which the page shows them
    "untrained": "nothing",
    "content labels": "what is under each token",
    "local": "what is under each token, for longer",
    "layout": "what is under each token, its row and column; from a random quarter, the layout",
    "caption": "what is under each token; then captions that tell the order",
    "caption, quarter": "the same; captions written from a random quarter of the tokens",
    "caption, longer": "as in `local`; then captions written from a random quarter of the tokens",
    "caption, both ways": "the same, 1,400 steps; half of the captions begin at the other end",
}
NUMBERS = ("value", "low", "high", "n")


def rows_of(where: str, seed: int) -> list[dict]:
    """Rows of `spread`, read or measured, without what `report` needs of them.

    Raises ValueError for a JSON file without rows of one tower, and where there is no tower.
    """
    if where.endswith(".json"):
        found = json.loads(Path(where).read_text())
        if isinstance(found, dict):  # rows by the name of a folder, as `measure --save` writes them
            found = next(iter(found.values())) if len(found) == 1 else []
        found = [r for r in found if r["part"] == "h"]
        if not found:
            raise ValueError(
                f"{where} has no rows of one tower: write them with "
                "`python -m organism measure FOLDER --parts h --save FILE`"
            )
    else:
        random = build_model(len(build_processor().tokenizer), seed).model.vision_tower.eval()
        tower = random if where == "random" else tower_of(Path(where))
        found = tower_spread(tower)
    return [{k: r[k] for k in ("what", "where", *NUMBERS)} for r in found]


def towers(specs: list[str], kept: list[dict] = ()) -> list[dict]:
    """Rows by tower, [{"name", "lesson", "seed", "rows"}]; those of `kept` stay, unless named anew.

    Raises ValueError for a spec that is no NAME=WHERE[=SEED].
    """
    found = {(one["name"], one["seed"]): one for one in kept}
    for spec in specs:
        name, where, seed = (*spec.split("="), "0")[:3] if "=" in spec else (spec, "", "")
        if not (name and where and seed.isdigit()):
            raise ValueError(f"{spec!r} is not NAME=WHERE[=SEED], such as layout=data/mini")
        lesson = LESSONS.get(name, "")
        found[name, int(seed)] = {"name": name, "lesson": lesson, "seed": int(seed),
                                  "rows": rows_of(where, int(seed))}  # fmt: skip
    order = [*LESSONS, *(name for name, _ in found)]
    return sorted(found.values(), key=lambda one: (order.index(one["name"]), one["seed"]))


def main(specs: list[str]) -> int:
    """Add towers to data/results/towers.json, or put them in the place of those of their name."""
    path = data_dir() / "results" / "towers.json"
    save(path, towers(specs, json.loads(path.read_text()) if path.exists() else []))
    print("wrote", path)
    return 0
