"""Does the same mechanism lead after another training run? `python -m bookbuild.seeds OUT`

Trains both objectives from further seeds, with a shorter recipe (no unnamed items in stage 2, no
stage 3), into the folder OUT; a stopped run goes on where it was. Measures them and the shipped
models as chapter 13 does, and writes data/results/seeds.json, which chapters 12 and 13 show.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import dualmech as dm
from dualmech import interventions as I
from dualmech import stimuli as S
from dualmech.train import DOES, Recipe, train

OUT = Path(__file__).parents[2] / "data" / "results" / "seeds.json"
SEEDS = (1,)
SHORT = {"encoder_steps": 700, "lm_steps": 700, "polish": 0, "refine": 0}
FEWEST = 10  # pairs right on both sides that a mean is taken over


def recipes(seeds=SEEDS) -> dict[str, Recipe]:
    """The runs to train, each with the name of its folder."""
    return {
        f"{objective}-{seed}": Recipe(objective=objective, seed=seed, **SHORT)
        for seed in seeds
        for objective in DOES
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


def conflicts(vlm: dm.models.VLM) -> dict[str, dict]:
    """Per direction: accuracy, and what both conflicts of chapter 13 do to the answer, over pairs
    right on both sides.

    A conflict is None where the model does not beat one half or too few pairs are left.
    """
    found = {}
    for direction in S.DIRECTIONS:
        pairs, mirror = mirror_pairs(direction)
        said = I.answers(vlm, [p.clean for p in pairs])
        right = np.array([a == p.clean.answer for a, p in zip(said, pairs, strict=True)])
        good = right & right[mirror]
        row = {"accuracy": dm.metrics.share(right), "strip": None, "own strips": None}
        if row["accuracy"]["low"] > 1 / 2 and good.sum() >= FEWEST:
            for name, own in (("strip", False), ("own strips", True)):
                p = I.region_swap(vlm, pairs, "strip", [0], own=own)[0, good]
                row[name] = {"stays": dm.metrics.mean(p[:, 0]), "flips": dm.metrics.mean(p[:, 1])}
        found[direction] = row
    return found


def run_of(vlm: dm.models.VLM, recipe: dict) -> dict:
    """What a trained model is and what it does."""
    print(vlm.name, vlm.fingerprint, flush=True)
    kept = ("objective", "seed", "encoder_steps", "lm_steps", "polish", "refine")
    return {k: recipe[k] for k in kept} | {
        "weights": vlm.fingerprint,
        "directions": conflicts(vlm),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=recipes(), help="train this run and measure nothing")
    options = parser.parse_args()
    folders = {}
    for name, recipe in recipes().items():
        if options.only in (None, name):
            folders[name] = train(recipe, options.out / name)
    if options.only:
        return
    runs = []
    for name in dm.models.SHIPPED:
        vlm = dm.load(name)
        recipe = json.loads((vlm.path / "training.json").read_text())["recipe"]
        runs.append(run_of(vlm, recipe))
    for name, recipe in recipes().items():
        runs.append(run_of(dm.load(folders[name]), vars(recipe)))
    OUT.write_text(json.dumps(runs, indent=1) + "\n")
    print("wrote", OUT)


if __name__ == "__main__":
    main()
