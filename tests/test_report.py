"""The table of what a model can do, on a canvas of another size than the shipped model's."""

import pytest

import dualmech
from bookbuild import tiny
from dualmech import report


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The shipped model's weights in another family's classes, on a canvas twice as wide."""
    folder = tiny.save_trained(tmp_path_factory.mktemp("report") / "elsewhere")
    return dualmech.load(folder, device="cpu")


def test_the_canvas_is_another(elsewhere):
    """`make elsewhere` runs every chapter on this model."""
    assert elsewhere.family.name == "LLaVA-OneVision"
    assert (elsewhere.grid, elsewhere.px) == ((12, 12), 16)
    assert elsewhere.geometry == dualmech.stimuli.Geometry(12, 16, 2, 2)


def test_position_probes_are_judged_per_image(elsewhere):
    rows = report.report(elsewhere, "h")
    assert [r["where"] for r in rows] == ["rows", "rows", "columns", "columns"]
    images = len([t for t in dualmech.stimuli.trials("squares", heldout=True)
                  if t.direction == "left"])  # fmt: skip
    for row in rows:
        assert row["n"] == images and row["met"], row


def test_swaps_are_drawn_on_the_models_own_canvas(elsewhere):
    rows = report.report(elsewhere, "f", pairs=2)
    strips = {r["where"]: r for r in rows if r["part"] == "f" and r["slot"] == 0}
    assert set(strips) == set(dualmech.stimuli.DIRECTIONS)
    assert all(r["n"] == 2 and r["value"] > 0.5 for r in strips.values())


def test_tasks_can_be_left_out(elsewhere):
    rows = report.report(elsewhere, "d", tasks=["squares"])
    assert [r["what"] for r in rows] == ["squares, blank image"]


def test_a_part_that_does_not_exist_is_refused(elsewhere):
    with pytest.raises(ValueError, match=r"unknown parts \['z'\]; known: a, b"):
        report.report(elsewhere, "az")
