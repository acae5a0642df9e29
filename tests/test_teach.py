"""The two versions of the lab: nothing of a solution for students, everything for teachers."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from bookbuild import teach

ROOT = Path(__file__).parents[1]
SOURCE = nbformat.read(ROOT / "chapters" / f"{teach.LAB}.ipynb", 4)
PAGES = "https://example.org/pages/"
NUMBERS = sorted(set(re.findall(r'exercises\.check\("(lab\.\d)"', str(SOURCE))))


def tagged(tag):
    return [cell.source for cell in SOURCE.cells if tag in cell.metadata.get("tags", ())]


def text(cells):
    return "\n".join(cell.source for cell in cells)


def outputs(notebook):
    return [out for cell in notebook.cells for out in cell.get("outputs", ())]


def verdicts(notebook):
    told = [out.metadata.get("exercises", {}) for out in outputs(notebook)]
    return {number: verdict for one in told for number, verdict in one.items()}


@pytest.fixture
def student():
    return teach.version(SOURCE, "student", PAGES)


def test_a_student_gets_no_line_of_a_solution_and_no_word_for_teachers(student):
    given = text(student.cells)
    everybody = text(
        c for c in SOURCE.cells if not {"solution", "teacher"} & set(c.metadata.get("tags", ()))
    )
    for source in tagged("solution") + tagged("teacher"):
        own = [line for line in source.splitlines() if line.strip() and line not in everybody]
        assert own and not any(line in given for line in own)
    assert "solution" not in given.lower() and "teacher" not in given.lower()
    assert len(tagged("solution")) == len(tagged("stub")) == len(NUMBERS) == 4


def test_a_student_s_runs_whole_and_nothing_is_done_yet(student, tmp_path):
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(student, timeout=600, kernel_name="python3", resources=place).execute()
    told = verdicts(student)
    assert sorted(told) == NUMBERS
    assert all(one.startswith("not done yet") for one in told.values())


def test_folds_and_links_work_in_any_notebook_program(student):
    given = text(student.cells)
    assert ":::" not in given and given.count("<details>") == given.count("</details>") == 4
    assert f"]({PAGES}07-swapping-strips.html)" in given
    assert f"]({PAGES}glossary.html#visual-token)" in given
    assert not re.search(r"\]\((?!https://)", given)


def test_make_teach_writes_both_and_the_teacher_s_is_right_throughout():
    paths = {path.stem: nbformat.read(path, 4) for path in teach.make(ROOT)}
    teacher, given = paths[f"{teach.LAB}-teacher"], paths[f"{teach.LAB}-student"]
    assert verdicts(teacher) == dict.fromkeys(NUMBERS, "right")
    assert not outputs(given)
    for cell in teacher.cells:
        if "solution" in cell.metadata.get("tags", ()):
            assert len(cell.outputs) > 1, "what the students are to see after the check"
            assert "jupyter" not in cell.metadata
    for source in tagged("teacher"):
        assert source.splitlines()[1] in text(teacher.cells)
