"""The folded solutions of the exercises, as the last build ran them: each is right."""

import nbformat
import pytest
from book import NOTEBOOKS, ROOT, name

import exercises

TITLE = "# @title A solution of "


@pytest.fixture(scope="module")
def told():
    """{exercise: what the check said to its folded solution}, over all notebooks."""
    found = {}
    for source in NOTEBOOKS:
        executed = ROOT / "_build" / "executed" / source.relative_to(ROOT)
        for cell in nbformat.read(executed, 4).cells:
            if cell.source.startswith(TITLE):
                for output in cell.outputs:
                    found |= output.get("metadata", {}).get(exercises.NAME, {})
    return found


def test_every_folded_solution_is_right(told):
    assert told and set(told.values()) == {"right"}, told


@pytest.mark.parametrize("source", NOTEBOOKS, ids=name)
def test_every_solution_asks_its_check(source, told):
    for cell in nbformat.read(source, 4).cells:
        if cell.source.startswith(TITLE):
            assert cell.source.removeprefix(TITLE).split(",")[0].split("\n")[0] in told
