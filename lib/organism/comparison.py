"""Compare training runs: `python -m organism compare NAME=FOLDER[=NOTE] ...`

Measures each checkpoint with `dualmech.report` and writes data/results/recipes.json, which
chapter 15 shows: one row per setting or figure, one column per run.  The runs of former recipes
are in the repository's history (`git show REVISION:data/mini/model.safetensors`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import dualmech as dm
from vlms._paths import data_dir

SETTINGS = {
    "objective": "encoder's objective",
    "unnamed": "share of unnamed colours",
    "shuffled": "share of shuffled batches",
    "tiled": "share of tiled samples",
    "lm_steps": "steps of stage 2",
    "polish": "then steps with unnamed colours",
    "refine": "steps of stage 3",
    "seed": "seed",
}
FIGURES = {  # what is shown: (part of the report, start of the row's name, over directions)
    "Squares, lowest direction": ("a", "squares accuracy", min),
    "Squares, all directions": ("a", "squares accuracy", np.mean),
    "Shapes, lowest direction": ("a", "shapes accuracy", min),
    "Objects, lowest direction": ("a", "objects accuracy", min),
    "hard scenes": ("c", "hard scenes", np.mean),
    "last token: ordering at its peak": ("e", "ordering target", np.mean),
    "flipped by strips, slot 0": ("f", "flipped by a swap: strip", np.mean),
    "flipped by random tokens, slot 0": ("g", "flipped by a swap: random", np.mean),
    "flipped by objects, slot 0": ("g", "flipped by a swap: object", np.mean),
    "Squares, ordering removed": ("i", "squares accuracy", np.mean),
    "object swap, ordering removed, at its peak": ("i", "flipped by object swap", np.mean),
}


def figure(rows: list[dict], part: str, start: str, over) -> str:
    """A figure over the directions; a peak with the slots where it lies."""
    found = [r for r in rows if r["part"] == part and r["what"].startswith(start)]
    found = [r for r in found if r["part"] != "f" or r["slot"] == 0]
    if not found:
        raise ValueError(f"the report has no row {part} {start!r}")
    text = f"{over([r['value'] for r in found]):.2f}"
    slots = sorted({r["slot"] for r in found if "slot" in r and part in "ei"})
    return text + (f" (slots {', '.join(map(str, slots))})" if slots else "")


def hard_scenes(vlm) -> dict:
    """Accuracy on hard scenes, without the naming of objects."""
    trials = dm.scenes.scene_trials(75, dm.scenes.HARD, seed=12)
    right = [a == t.answer for a, t in zip(dm.edits.answers(vlm, trials), trials, strict=True)]
    return {"part": "c", "what": "hard scenes", "value": float(np.mean(right))}


def compare(runs: dict[str, tuple[Path, str]]) -> list[dict]:
    """Rows {"": what, name: value, ...}; runs: {name: (folder, what stage 2 asks)}."""
    columns = {}
    for name, (folder, note) in runs.items():
        vlm = dm.load(folder)
        recipe = json.loads((folder / "training.json").read_text())["recipe"]
        print(name, vlm.fingerprint, flush=True)
        rows = dm.report.report(vlm, "aefi", pairs=20) + [hard_scenes(vlm)]
        column = {"stage 2 asks for": note}
        column |= {words: str(recipe.get(key, 0)) for key, words in SETTINGS.items()}
        column |= {what: figure(rows, *how) for what, how in FIGURES.items()}
        columns[name] = column | {"weights": vlm.fingerprint}
    first = next(iter(columns.values()))
    return [{"": what} | {name: c[what] for name, c in columns.items()} for what in first]


def main(runs: list[str]) -> int:
    """Compare the runs NAME=FOLDER[=NOTE] and write data/results/recipes.json."""
    parts = [one.split("=") for one in runs]
    table = compare({name: (Path(folder), *(more or [""])) for name, folder, *more in parts})
    path = data_dir() / "results" / "recipes.json"
    path.write_text(json.dumps(table, indent=1) + "\n")
    print("wrote", path)
    return 0
