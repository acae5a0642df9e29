"""What the folded cells of a chapter call."""

import json
import math

import pytest

from dualmech import chapter, record
from vlms._paths import data_dir

THREE = {f"strips, {d}": {"value": v} for d, v in {"left": 0.5, "right": 1.0, "above": 0.9}.items()}


@pytest.fixture
def shown(monkeypatch):
    """The Markdown that reaches the page."""
    found = []
    monkeypatch.setattr("IPython.display.display", lambda one: found.append(one.data))
    return found


def test_the_mean_is_over_what_could_be_measured():
    assert chapter.pooled(THREE, "strips, left", "strips, right") == 0.75
    assert chapter.pooled(THREE, "strips, left", "strips, right", "strips, below") == 0.75
    assert math.isnan(chapter.pooled(THREE, "strips, below"))


def test_the_result_of_this_machine_comes_before_the_book_s(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))
    shipped = json.loads((data_dir() / "results" / "mini" / "strips.json").read_text())
    assert chapter.kept("mini", "strips") == shipped["values"]
    assert chapter.kept("owner/None-Such", "strips") is None
    own = shipped | {"values": {"strips, left": shipped["values"]["strips, left"]}, "claims": []}
    path = tmp_path / record.place(own)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(own))
    assert chapter.kept("mini", "strips") == own["values"]


def test_the_first_screen_says_what_is_known_or_what_to_do(shown):
    chapter.answer({"a": 1}, "mini", lambda values: f"It is {values['a']}.")
    chapter.answer(None, "owner/None-Such", lambda values: values["a"])
    assert shown == [
        "It is 1.",
        "No result of `owner/None-Such` is kept yet: run the chapter, and its proof, to get one.",
    ]


def test_a_conclusion_is_asserted_of_the_shipped_model_alone(shown):
    checks = {"strips flip": True, "squares do not": False, "random tokens do": False}
    told = "^no longer true of mini: squares do not; random tokens do \\(strips 0.97\\)$"
    with pytest.raises(AssertionError, match=told):
        chapter.conclude("mini", checks, "strips 0.97")
    chapter.conclude("mini", {"strips flip": True}, "strips 0.97")
    assert shown == []
    chapter.conclude("owner/None-Such", checks, "strips 0.97")
    assert shown == ["*`owner/None-Such`, measured just now:* strips 0.97"]
