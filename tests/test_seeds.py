"""Further training runs: what is trained, and that the kept figures are of what ships."""

import json
from dataclasses import asdict

import pytest

import dualmech
from dualmech import stimuli as S
from organism import Recipe, grid, seeds
from vlms._paths import data_dir
from vlms.loading import SHIPPED

DATA = data_dir()


def test_runs_differ_from_each_other_in_one_thing_at_a_time():
    runs = {name: asdict(recipe) for name, recipe in seeds.recipes().items()}
    for name in SHIPPED:  # a setting that is newer than the model has its default
        told = json.loads((DATA / name / "training.json").read_text())["recipe"]
        runs[name] = asdict(Recipe(**told))

    def differ(one, other):
        return {key for key in runs[one] if runs[one][key] != runs[other][key]}

    assert differ("caption-1", "mini") == differ("caption-2", "mini") == {"seed"}
    assert differ("caption-1", "caption-2") == {"seed"}
    assert differ("layout-0", "mini-local") == {"objective"}
    assert differ("layout-1-short", "local-1-short") == {"objective"}
    assert differ("layout-1-short", "layout-0") == {"seed", *seeds.SHORT}


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


def test_a_run_of_full_length_has_its_whole_report():
    runs = json.loads((DATA / "results" / "seeds.json").read_text())
    for run in runs:
        assert ("report" in run) == ("short" not in run["name"])
        rows = {(r["what"], r["where"]): r for r in run.get("report", [])}
        assert not rows or {r["part"] for r in rows.values()} == set("abcdefghij")
        for d in S.DIRECTIONS if rows else ():  # the same questions, asked twice
            assert rows["squares accuracy", d]["value"] == run["directions"][d]["accuracy"]["value"]


@pytest.mark.parametrize("path", sorted((DATA / "plans").glob("*.json")), ids=lambda p: p.stem)
def test_a_plan_that_ships_changes_one_thing_a_run(path):
    plan = json.loads(path.read_text())
    runs = {name: asdict(recipe) for name, recipe in grid.recipes(plan).items()}
    length = {"lm_steps", "polish", "refine"}  # what every run of a plan but a whole one cuts
    full = asdict(Recipe.of("caption"))
    for name, run in runs.items():
        changed = {key for key in run if run[key] != full[key]} - length
        assert changed == set(plan[name]) - length - {"objective", "tower_of"} and len(changed) < 2
        assert run["lm_steps"] == (0 if path.stem == "towers" else full["lm_steps"])
    assert len({json.dumps(run) for run in runs.values()}) == len(runs)
