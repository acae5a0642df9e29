"""Several trainings from one plan, resumed where they stopped, measured, in one table.

A plan is a JSON file that names runs, each with what it changes of its objective's recipe:

    {"caption-0": {"objective": "caption"},
     "tiled-0": {"tower_of": "caption-0", "tiled": 0, "lm_steps": 700, "polish": 0, "refine": 0}}

"tower_of": another run of the plan, whose tower is taken over and whose settings are the ones to
change, so that only the later stages differ.  For towers alone, set "lm_steps", "polish" and
"refine" to 0 and measure part h.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path

from .measure import columns, measure, save
from .recipe import Recipe, toy
from .trainer import train

TOWER = ("objective", "seed", "encoder_steps", "read_only", "encoder_batch", "caption_steps",
         "captions", "seen", "backwards", "unnamed", "lr")  # fmt: skip


def recipes(plan: dict[str, dict]) -> dict[str, Recipe]:
    """The recipe of each run.

    Raises ValueError for a setting or a run that does not exist, and for a run that takes over a
    tower and would have trained another one.
    """
    known, found = [f.name for f in fields(Recipe)], {}
    for name, changes in plan.items():
        changes = dict(changes)
        base = changes.pop("tower_of", None)
        if unknown := set(changes) - set(known):
            raise ValueError(f"run {name!r} sets {sorted(unknown)}; known: {', '.join(known)}")
        if base is None:
            recipe = Recipe.of(changes.pop("objective", "layout"), changes.pop("seed", 0))
        elif base not in found:
            raise ValueError(f"run {name!r} takes the tower of {base!r}, which is not above it")
        elif other := set(changes) & set(TOWER):
            raise ValueError(f"run {name!r} takes over a tower and cannot set {sorted(other)}")
        else:
            recipe = found[base]
        found[name] = replace(recipe, **changes)
    return found


def run_one(recipe: Recipe, out: Path, tower: Path | None, parts: str, small: bool) -> list[dict]:
    """Train what is missing of a run and measure it; rows as in `measure`."""
    measured = out / "measured.json"
    if measured.exists():
        return json.loads(measured.read_text())
    out.mkdir(parents=True, exist_ok=True)
    for name in recipe.towers if tower else ():
        shutil.copyfile(tower / f"{name}.safetensors", out / f"{name}.safetensors")
        shutil.copyfile(tower / f"{name}.jsonl", out / f"{name}.jsonl")
    rows = measure(train(recipe, out, compiled=not small), parts, pairs=2 if small else 40)
    save(measured, rows)
    return rows


def grid(plan: Path, out: Path, jobs: int = 1, parts: str = "ahefi", small: bool = False) -> str:
    """Run a plan into out/<run>/ and write out/table.json; returns the table as text.

    jobs: runs at a time, one thread each; small: a few steps, to see that it runs.
    """
    runs = json.loads(plan.read_text())
    todo = {name: toy(r) if small else r for name, r in recipes(runs).items()}
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # of the processes below
    tower = {name: out / run["tower_of"] if "tower_of" in run else None
             for name, run in runs.items()}  # fmt: skip
    found: dict[str, list[dict]] = {}

    def ready(name):
        last = f"{todo[name].towers[-1]}.safetensors"
        return name not in found and (tower[name] is None or (tower[name] / last).exists())

    while len(found) < len(todo):  # those whose tower is there, side by side
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            results = {name: pool.submit(run_one, recipe, out / name, tower[name], parts, small)
                       for name, recipe in todo.items() if ready(name)}  # fmt: skip
            found |= {name: result.result() for name, result in results.items()}
    found = {name: found[name] for name in todo}
    (out / "table.json").write_text(json.dumps(found, indent=1) + "\n")
    return columns(found)
