"""Further training runs: what is trained, and that the kept figures are of what ships."""

import json
from dataclasses import asdict

import pytest

import dualmech
from dualmech import stimuli as S
from organism import Recipe, seeds
from vlms._paths import data_dir
from vlms.loading import SHIPPED

DATA = data_dir()


def test_runs_differ_from_each_other_in_the_objective_and_from_the_full_ones_in_length():
    full, layout, local = (asdict(recipe) for recipe in seeds.recipes(2).values())
    assert list(seeds.recipes(2)) == ["layout-0", "layout-2-short", "local-2-short"]
    assert {key for key in layout if layout[key] != local[key]} == {"objective"}
    assert {key for key in layout if layout[key] != full[key]} == {"seed", *seeds.SHORT}
    twin = json.loads((DATA / "mini-local" / "training.json").read_text())["recipe"]
    twin = asdict(Recipe(**twin))  # a setting that is newer than the model has its default
    assert {key for key in full if full[key] != twin[key]} == {"objective"}


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
    runs = json.loads((DATA / "results" / "seeds.json").read_text())
    shipped = [dualmech.load(name, device="cpu").fingerprint for name in SHIPPED]
    assert shipped == [r["weights"] for r in runs[:2]]
    trained = [asdict(recipe) for recipe in seeds.recipes().values()]
    further = runs[2:]
    assert [[r[key] for key in seeds.FACTS] for r in further] == [
        [t[key] for key in seeds.FACTS] for t in trained
    ]
    assert len({(r["objective"], r["name"]) for r in runs}) == len(runs)
    for one in (row for r in runs for row in r["directions"].values()):
        assert (one["strip"] is None) == (one["own strips"] is None)
