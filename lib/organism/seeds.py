"""Does the same mechanism lead after another training run? `python -m organism seeds OUT`

Trains into the folder OUT the recipe of `mini` from two other seeds, a model whose encoder is told
the order by labels, and the objectives that end at labels from another seed, with a shorter recipe
(no unnamed items in stage 2, no stage 3); a stopped run goes on where it was. Measures them and the
shipped models as chapter 13 does, adds the whole report of those of full length, and writes
data/results/seeds.json, which chapters 13 and 15 show.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import dualmech as dm
from dualmech import edits as E
from dualmech import stimuli as S
from dualmech.report import report
from vlms._paths import data_dir

from .measure import removal_pooled, tower_spread
from .recipe import Recipe
from .trainer import train

SHORT = {"encoder_steps": 700, "lm_steps": 700, "polish": 0, "refine": 0}
FACTS = ("objective", "seed", *SHORT)  # what is told of a recipe
FEWEST = 10  # couples of pairs, right on both sides, that a mean is taken over


def recipes() -> dict[str, Recipe]:
    """The runs to train, each with the name of its folder."""
    return {
        "caption-1": Recipe.of("caption", 1),
        "caption-2": Recipe.of("caption", 2),
        "layout-0": Recipe.of("layout"),
        "layout-1-short": Recipe("layout", 1, **SHORT),
        "local-1-short": Recipe("local", 1, **SHORT),
    }


def mirror_pairs(direction: str) -> tuple[list[S.Pair], list[int]]:
    """A pair for each held-out question of Squares, and where its counterfactual is in the list."""
    some = [t for t in S.trials("squares", heldout=True) if t.direction == direction]
    stands = {tuple(t.candidates): k for k, t in enumerate(some)}
    mirror = [stands[tuple(t.candidates[::-1])] for t in some]
    pairs = [
        S.Pair(t, some[m], {"clean": t.answer, "flipped": some[m].answer})
        for t, m in zip(some, mirror, strict=True)
    ]
    return pairs, mirror


def conflicts(vlm: dm.model.VLM) -> dict[str, dict]:
    """Per direction: accuracy, and what both conflicts of chapter 13 do to the answer, over couples
    (a pair and its mirror image) right on both sides.

    A conflict is None where the model does not beat one half in a direction and in its opposite
    (one that ignores the word of direction beats it in one of them), or too few couples are left.
    """
    asked = {direction: mirror_pairs(direction) for direction in S.DIRECTIONS}
    right, found = {}, {}
    for direction, (pairs, _) in asked.items():
        said = E.answers(vlm, [p.clean for p in pairs])
        right[direction] = np.array([a == p.clean.answer for a, p in zip(said, pairs, strict=True)])
        found[direction] = {"accuracy": dm.metrics.share(right[direction])}
    beats = {direction: row["accuracy"]["low"] > 1 / 2 for direction, row in found.items()}
    for direction, (pairs, mirror) in asked.items():
        mirror = np.array(mirror)
        once = np.arange(len(mirror)) < mirror  # the first pair of each couple
        good = right[direction] & right[direction][mirror] & once
        solved = beats[direction] and beats[S.OPPOSITE[direction]] and good.sum() >= FEWEST
        for name, source in (("strip", None), ("own strips", [p.clean for p in pairs])):
            found[direction][name] = None
            if solved:
                p = E.sweep(vlm, pairs, E.swap("strip"), [0], source=source).p[0]
                p = ((p + p[mirror]) / 2)[good]
                row = {"stays": dm.metrics.mean(p[:, 0]), "flips": dm.metrics.mean(p[:, 1])}
                found[direction][name] = row
    return found


def run_of(vlm: dm.model.VLM, recipe: dict) -> dict:
    """What a trained model is and what it does; of one of full length, its whole report, too."""
    print(vlm.name, vlm.fingerprint, flush=True)
    short = all(recipe[key] == steps for key, steps in SHORT.items())
    name = f"seed {recipe['seed']}" + (", short" if short else "")
    facts = {key: recipe[key] for key in FACTS}
    run = {"name": name, **facts, "weights": vlm.fingerprint, "directions": conflicts(vlm)}
    return run if short else run | {"report": whole_report(vlm)}


def whole_report(vlm: dm.model.VLM) -> list[dict]:
    """Rows of `report`; accuracy after removal, tasks pooled; and what the encoder spread."""
    return [*report(vlm), *removal_pooled(vlm), *tower_spread(vlm.model.model.vision_tower)]


def main(out: Path, only: str | None = None) -> int:
    """Train what is missing below `out`, measure all and write data/results/seeds.json."""
    if only not in (None, *recipes()):
        raise ValueError(f"no run {only!r}; there are: {', '.join(recipes())}")
    folders = {
        name: train(recipe, out / name)
        for name, recipe in recipes().items()
        if only in (None, name)
    }
    if only:
        return 0
    runs = []
    for name in dm.loading.SHIPPED:
        vlm = dm.load(name)
        recipe = json.loads((vlm.path / "training.json").read_text())["recipe"]
        runs.append(run_of(vlm, recipe))
    for name, recipe in recipes().items():
        runs.append(run_of(dm.load(folders[name]), vars(recipe)))
    path = data_dir() / "results" / "seeds.json"
    path.write_text(json.dumps(runs, indent=1) + "\n")
    print("wrote", path)
    return 0
