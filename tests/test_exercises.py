"""The folded solutions of the chapters, for the tests in `exercises`; and a number that is none."""

import re
from pathlib import Path

import nbformat
import pytest

import exercises

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


def solutions() -> dict[str, str]:
    """The code of every folded solution, by the number of its exercise."""
    found = {}
    for path in CHAPTERS:
        for cell in nbformat.read(path, 4).cells:
            title = re.match(r"# @title A solution of (\d+\.\d+)", cell.source)
            if cell.cell_type == "code" and title:
                found[title[1]] = cell.source
    return found


def answers(wrong: dict[str, dict], right: dict[str, list]) -> tuple:
    """Two tests: each wrong answer, {number: {what it is told: answer}}, is told so; each right
    one, {number: [answer, ...]}, is right."""

    @pytest.mark.parametrize(("number", "told"), [(n, told) for n in wrong for told in wrong[n]])
    def test_a_wrong_answer_is_told(number, told):
        assert told in exercises.verdict(number, wrong[number][told])

    @pytest.mark.parametrize("number", right)
    def test_a_right_answer_is_taken(number):
        assert [exercises.verdict(number, answer) for answer in right[number]] == (
            ["right"] * len(right[number])
        )

    return test_a_wrong_answer_is_told, test_a_right_answer_is_taken


def test_an_unknown_number_is_named():
    with pytest.raises(ValueError, match="no exercise '99.1'"):
        exercises.verdict("99.1", None)
