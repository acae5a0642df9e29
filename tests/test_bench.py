"""The benchmark's ways agree, and what it wrote is whole."""

import json
from pathlib import Path

import pytest

import dualmech
from bookbuild import bench
from dualmech import edits, stimuli

KEPT = sorted((Path(__file__).parents[1] / "data" / "bench").glob("*.json"))


@pytest.fixture(scope="module")
def mini():
    """The shipped model's first two layers: every way to run them takes a third of the time."""
    vlm = dualmech.load("mini", device="cpu")
    vlm.language_model.layers = vlm.language_model.layers[:2]
    vlm.model.config.text_config.num_hidden_layers = 2
    return vlm


def test_every_way_gives_the_same_answers(mini):
    rows, floors = bench.compare(mini, 2, 1)
    assert len(rows) == 6 * len(bench.EXPERIMENTS)
    for row in rows:
        assert row["difference"] < 1e-5, row
    assert [row["experiment"] for row in floors] == list(bench.EXPERIMENTS)


@pytest.mark.parametrize(("layers", "grid"), [(1, None), (None, 6)])
def test_another_size_of_the_model_runs(mini, layers, grid):
    other = bench.resized(mini, layers, grid)
    assert (other.n_layers, other.grid[0]) == (layers or 2, grid or 12)
    pairs = stimuli.swap_pairs("squares", "left", 1, geometry=other.geometry)
    assert edits.sweep(other, pairs, edits.swap("strip")).p.shape == (other.n_slots, 1, 2)
    assert mini.grid == (12, 12) and mini.n_layers == 2


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_ships_is_whole(path):
    found = json.loads(path.read_text())
    ways = {(row["experiment"], row["way"]) for row in found["rows"]}
    assert ways == {(name, way) for name in bench.EXPERIMENTS for way in "abcdef"}
    assert max(row["difference"] for row in found["rows"]) < 1e-4
    assert {"cpu", "cores", "torch", "date"} <= set(found["machine"])
    assert [row["what"] for row in found["memory"][1:]] == list(bench.EXPERIMENTS)
    for points in found["scaling"].values():
        assert [p["at"] for p in points] == sorted(p["at"] for p in points)
