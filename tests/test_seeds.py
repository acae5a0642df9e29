"""Further training runs: what is trained, and that the kept figures are of what ships."""

import json
from dataclasses import asdict

import pytest

import dualmech
from bookbuild import seeds
from dualmech import stimuli as S


def test_runs_differ_in_seed_and_objective_alone():
    runs = seeds.recipes((1, 2))
    assert list(runs) == ["layout-1", "local-1", "layout-2", "local-2"]
    told = [asdict(recipe) for recipe in runs.values()]
    differ = {key for one in told for key in one if one[key] != told[0][key]}
    assert differ == {"seed", "objective"}


@pytest.mark.parametrize("direction", S.DIRECTIONS)
def test_each_question_is_paired_with_its_mirror_image(direction):
    pairs, mirror = seeds.mirror_pairs(direction)
    for k, pair in enumerate(pairs):
        assert pair.counterfactual is pairs[mirror[k]].clean and mirror[mirror[k]] == k
        assert pair.counterfactual.candidates == pair.clean.candidates[::-1]
        assert pair.clean.question == pair.counterfactual.question
        assert pair.targets == {"clean": pair.clean.answer,
                                "flipped": pair.counterfactual.answer}  # fmt: skip
        assert S.is_heldout(pair.clean.stimulus.items)


def test_the_kept_figures_hold_both_shipped_models_and_further_runs():
    runs = json.loads(seeds.OUT.read_text())
    shipped = {dualmech.load(name, device="cpu").fingerprint for name in dualmech.models.SHIPPED}
    assert shipped == {r["weights"] for r in runs if r["seed"] == 0}
    assert {(r["objective"], r["seed"]) for r in runs if r["seed"]} == {
        (recipe.objective, recipe.seed) for recipe in seeds.recipes().values()
    }
    for one in (row for r in runs for row in r["directions"].values()):
        assert (one["strip"] is None) == (one["own strips"] is None)
