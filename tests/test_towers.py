"""What each objective's tower spread: the kept rows, and how they come into their file."""

import json

import pytest
import torch

import organism as T
from organism import measure as M
from organism import towers
from organism.__main__ import main
from vlms._paths import data_dir

KEPT = json.loads((data_dir() / "results" / "towers.json").read_text())
WHAT = ("place, object tokens", "place, own third's background",
        "first item's colour, far background", "first item's: one of the three named",
        "last item's colour, far background", "last item's: one of the three named",
        "which three colours, background")  # fmt: skip


def test_the_kept_towers_have_every_row_on_both_axes_and_are_in_order():
    assert [one["name"] for one in KEPT][:4] == list(towers.LESSONS)[:4]
    assert len({(one["name"], one["seed"]) for one in KEPT}) == len(KEPT)
    for tower in KEPT:
        assert set(tower) == {"name", "lesson", "seed", "rows"} and tower["lesson"]
        rows = {(r["what"], r["where"]): r for r in tower["rows"]}
        assert len(rows) == len(tower["rows"])
        for axis in ("horizontal", "vertical"):
            for r in (rows[what, axis] for what in WHAT):
                assert set(r) == {"what", "where", "value", "low", "high", "n"}
                assert 0 <= r["low"] <= r["value"] <= r["high"] <= 1 and r["n"] == 144
            for item in ("first", "last"):  # who names the right one names one of the three
                right = rows[f"{item} item's colour, far background", axis]["value"]
                assert right <= rows[f"{item} item's: one of the three named", axis]["value"]


def measured(path, value, wrap=lambda rows: rows):
    row = {"part": "h", "what": "place", "where": "vertical", "wanted": "", "met": None}
    row |= {"value": value, "low": 0, "high": 1, "n": 9}
    path.write_text(json.dumps(wrap([row])))
    return path


def test_towers_are_added_replaced_and_ordered(tmp_path):
    first, second = (measured(tmp_path / f"{k}.json", k / 4) for k in (1, 2))
    by_name = measured(tmp_path / "3.json", 3 / 4, wrap=lambda rows: {"run": rows})
    found = towers.towers([f"new kind={first}", f"caption={second}=1", f"local={by_name}"])
    assert [(one["name"], one["seed"]) for one in found] == [
        ("local", 0), ("caption", 1), ("new kind", 0),
    ]  # fmt: skip
    assert found[0]["rows"] == [{"what": "place", "where": "vertical", "value": 3 / 4, "low": 0,
                                 "high": 1, "n": 9}]  # fmt: skip
    assert found[1]["lesson"] == towers.LESSONS["caption"] and not found[2]["lesson"]
    again = towers.towers([f"local={first}", f"caption={first}"], found)
    assert [one["rows"][0]["value"] for one in again] == [1 / 4, 1 / 4, 2 / 4, 1 / 4]
    assert [one["seed"] for one in again] == [0, 0, 1, 0]


def test_a_spec_or_a_file_that_says_nothing_is_refused(tmp_path):
    for spec in ("layout", "=a.json", "layout=", "layout=a.json=one"):
        with pytest.raises(ValueError, match=r"is not NAME=WHERE\[=SEED\], such as"):
            towers.towers([spec])
    two = measured(tmp_path / "two.json", 0, wrap=lambda rows: {"a": rows, "b": rows})
    with pytest.raises(ValueError, match="two.json has no rows of one tower"):
        towers.towers([f"layout={two}"])


def test_a_tower_is_measured_from_its_file_and_from_its_first_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(M, "spread", lambda states_of: [
        {"part": "h", "what": "sum", "where": "", "low": 0, "high": 0, "n": 1,
         "value": float(states_of(M.rows_of_squares(False, True)[:1]).sum())}])  # fmt: skip
    model = T.build_model(len(T.build_processor().tokenizer), 3)
    T.trainer.keep(model.model.vision_tower, tmp_path / "encoder.safetensors")
    kept, random, other = towers.towers(
        [f"kept={tmp_path}/encoder.safetensors", "random=random=3", "other=random=4"]
    )
    assert kept["rows"] == random["rows"] != other["rows"]
    pixels = torch.from_numpy(M.rows_of_squares(False, True)[0].pixels)[None]
    vision = model.model.vision_tower
    with torch.no_grad():
        x = vision.encoder(inputs_embeds=vision.embeddings(T.normalise(pixels)))
    assert kept["rows"][0]["value"] == pytest.approx(float(x.last_hidden_state.sum()), rel=1e-5)


def test_the_command_adds_to_the_file_or_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(towers, "data_dir", lambda: tmp_path)
    (tmp_path / "results").mkdir()
    for k, name in enumerate(("caption", "layout")):
        assert main(["towers", f"{name}={measured(tmp_path / f'{k}.json', 0)}"]) == 0
    kept = json.loads((tmp_path / "results" / "towers.json").read_text())
    assert [one["name"] for one in kept] == ["layout", "caption"]
    assert main(["towers", "layout"]) == 2
    assert "is not NAME=WHERE[=SEED]" in capsys.readouterr().err
