"""The folded solutions of the exercises, as the last build ran them: each is right."""

import nbformat
from book import NOTEBOOKS, ROOT

import exercises

TITLE = "# @title A solution of "


def test_every_folded_solution_asks_its_check_and_is_right():
    solved, told = set(), {}
    for source in NOTEBOOKS:
        executed = ROOT / "_build" / "executed" / source.relative_to(ROOT)
        for cell in nbformat.read(executed, 4).cells:
            if cell.source.startswith(TITLE):
                solved.add(cell.source.removeprefix(TITLE).split(",")[0].split("\n")[0])
                for output in cell.outputs:
                    told |= output.get("metadata", {}).get(exercises.NAME, {})
    assert told and set(told.values()) == {"right"}, told
    assert solved <= told.keys()
