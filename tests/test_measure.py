"""The measuring of encoders and checkpoints, and plans of runs."""

import json
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import dualmech
import organism as T
from dualmech import stimuli as S
from dualmech.drawing import SQUARE_COLOURS
from organism import grid as G
from organism import measure as M

CAPTION = T.toy(T.Recipe.of("caption"))


def colours(s):
    """(3, 6): which colour the first, second and third square has."""
    return torch.eye(6)[[SQUARE_COLOURS.index(i.colour) for i in s.items]]


def written(s, everywhere):
    """States (144, ...) that say one thing on every token, and on an object's what it is, too."""
    out = torch.zeros(144, len(everywhere) + 9)
    out[:, : len(everywhere)] = everywhere
    for place, box in enumerate(s.boxes):
        tokens = M.tokens_of(box, 8, 12, share=0.5)
        out[tokens, len(everywhere) + place] = 1
        out[tokens, len(everywhere) + 3 :] = colours(s)[place]
    return out


one_row_each = cache(partial(M.rows_of_squares, draws=1))  # of each trio; three are slow


@pytest.mark.parametrize("ordered", [True, False])
def test_spread_tells_the_order_from_a_bag_of_items(ordered, monkeypatch):
    monkeypatch.setattr(M, "rows_of_squares", one_row_each)

    def states_of(some):
        told = [colours(s).flatten() if ordered else colours(s).sum(0) for s in some]
        return torch.stack([written(s, t) for s, t in zip(some, told, strict=True)])

    found = {(r["what"], r["where"]): r for r in M.spread(states_of)}
    for axis in ("horizontal", "vertical"):
        rows = {what: r for (what, where), r in found.items() if where == axis}
        assert all(r["part"] == "h" and r["n"] == 48 for r in rows.values())
        value = {what: r["value"] for what, r in rows.items()}
        assert value["place, object tokens"] == value["own colour, object tokens"] == 1
        # tokens that say nothing of their place are all read alike
        assert value["place, own third's background"] == pytest.approx(1 / 3, abs=0.1)
        assert value["which three colours, background"] == 1
        for item in ("first", "last"):
            named = value[f"{item} item's: one of the three named"]
            read = value[f"{item} item's colour, far background"]
            assert read == pytest.approx(1 if ordered else named / 3, abs=0.01 if ordered else 1e-5)
            assert named > 0.9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A toy run whose stage 2 was stopped after two steps."""
    out = tmp_path_factory.mktemp("run") / "toy"
    out.mkdir()
    (out / "recipe.json").write_text(json.dumps(vars(CAPTION)))
    for name in ("encoder", "caption"):
        stage = T.Trainer(CAPTION, name, out, "cpu", compiled=False)
        stage.run()
        T.trainer.keep(stage.model.model.vision_tower, out / f"{name}.safetensors")
    stage = T.Trainer(CAPTION, "lm", out, "cpu", compiled=False)
    for step, batch in enumerate(T.Stream(CAPTION, "lm", 0, 2)):
        stage.step(batch, step)
    stage.save(2)
    return out, stage.model


def test_a_run_amid_stage_two_is_written_out_and_measured(run, monkeypatch):
    trials, (out, model) = S.trials, run
    monkeypatch.setattr(S, "TASKS", ("squares", "shapes"))
    # as many of one direction as of another
    monkeypatch.setattr(S, "trials", lambda *how, **more: trials(*how, **more)[::6])
    rows = M.measure(out, "i", pairs=2)
    vlm = dualmech.load(out / "lm-2", device="cpu")
    for a, b in zip(vlm.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
    pooled = {r["where"]: r for r in rows if r["what"] == "ordering removed, all tasks, held out"}
    asked = sum(len(S.trials(task, heldout=True)) for task in S.TASKS)
    assert pooled["all"]["n"] == asked and pooled["left"]["n"] == asked // 4
    right = np.mean([pooled[d]["value"] for d in S.DIRECTIONS])
    assert right == pytest.approx(pooled["all"]["value"])
    shown = next(r for r in rows if r["what"] == "ordering removed, all tasks, shown")
    assert shown["n"] == len(S.trials("squares", heldout=False)) // 4
    assert not S.trials("shapes", heldout=False)


def test_the_tower_of_a_run_is_the_one_that_its_checkpoint_has(run):
    out, model = run
    some = [t.stimulus for t in S.trials("squares")[:3]]
    pixels = T.normalise(torch.from_numpy(np.stack([s.pixels for s in some])))
    want = torch.stack([*model.model.get_image_features(pixels).pooler_output])
    states = M.tower_states(M.tower_of(out), some)
    assert states.shape == (3, 144, 128)
    folder = T.snapshot(out)
    assert_close(M.tower_states(M.tower_of(folder), some), states, rtol=0, atol=0)
    read = model.model.multi_modal_projector(states)
    assert_close(want.view_as(read), read, rtol=0, atol=1e-5)
    (out / "caption.safetensors").rename(out / "away")
    assert_close(M.tower_states(M.tower_of(out), some), states, rtol=0, atol=0)
    (out / "away").rename(out / "caption.safetensors")
    with pytest.raises(ValueError, match="holds neither a checkpoint nor a run's tower"):
        M.tower_of(out.parent)


def test_columns_put_the_rows_of_checkpoints_side_by_side():
    row = {"part": "f", "what": "flipped", "where": "left", "low": 0.1, "high": 0.3, "n": 9}
    text = M.columns({"a": [row | {"value": 0.2, "slot": 0}],
                      "b": [row | {"value": 0.4, "slot": 7}]})  # fmt: skip
    head, first, second = text.splitlines()
    assert head.split() == ["a", "b"]
    assert first.split() == ["f", "flipped", "left", "[slot", "0]", "0.20", "[0.10,0.30]"]
    assert second.split() == ["f", "flipped", "left", "[slot", "7]", "0.40", "[0.10,0.30]"]


# --- plans ---------------------------------------------------------------------------

PLAN = {
    "base": {"objective": "caption", "seed": 3},
    "none": {"tower_of": "base", "tiled": 0, "lm_steps": 700},
    "other": {},
}


def test_the_recipes_of_a_plan():
    found = G.recipes(PLAN)
    base = T.Recipe.of("caption", 3)
    assert found == {
        "base": base, "none": replace(base, tiled=0, lm_steps=700), "other": T.Recipe(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        (r"run 'a' sets \['tile'\]; known: objective, seed", {"a": {"tile": 0.1}}),
        ("'b' takes the tower of 'a', which is not above it", {"b": {"tower_of": "a"}, "a": {}}),
        (r"'b' takes over a tower and cannot set \['seen'\]",
         {"a": {"objective": "caption"}, "b": {"tower_of": "a", "seen": 0.5}}),
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense(words, plan):
    with pytest.raises(ValueError, match=words):
        G.recipes(plan)


def test_a_plan_is_run_resumed_and_measured(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({
        "base": {"objective": "caption"}, "none": {"tower_of": "base", "tiled": 0},
    }))  # fmt: skip
    out = tmp_path / "runs"
    text = G.grid(plan, out, jobs=2, parts="e", small=True)
    assert text.splitlines()[0].split() == ["base", "none"]
    found = json.loads((out / "table.json").read_text())
    assert {name: len(rows) for name, rows in found.items()} == {"base": 8, "none": 8}
    towers = [(out / name / "caption.safetensors").read_bytes() for name in found]
    assert towers[0] == towers[1]
    assert json.loads((out / "none" / "recipe.json").read_text())["tiled"] == 0
    before = (out / "none" / "lm.jsonl").read_text()
    (out / "none" / "measured.json").unlink()
    assert G.grid(plan, out, parts="e", small=True) == text
    assert (out / "none" / "lm.jsonl").read_text() == before, "trained once"
