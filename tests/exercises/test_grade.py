"""The checks over a folder of notebooks: every notebook has its row, whatever happens in it."""

import csv
import io
import os
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from exercises.__main__ import grade

ASK = 'import exercises\nexercises.check("7.4", {})'


def written(folder, name, *sources):
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    nbformat.write(notebook, folder / f"{name}.ipynb")


def test_a_folder_becomes_a_table_and_no_notebook_stops_another(tmp_path):
    written(tmp_path, "a-raises", ASK.format('"a"'), "1 / 0", ASK.format('"c"'))
    written(tmp_path, "b-dies", ASK.format('"b"'), "import os\nos._exit(1)", ASK.format('"c"'))
    (tmp_path / "c-is-none.ipynb").write_text("{")
    solution = "# @title A solution of 7.4, and what it shows\n" + ASK.format('"c"')
    written(tmp_path, "d-has-not-begun", ASK.format("..."), solution)
    run = subprocess.run(
        [sys.executable, "-m", "exercises", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    raises, dies, none, begun = csv.DictReader(io.StringIO(run.stdout))
    assert raises == {
        "notebook": "a-raises.ipynb",
        "7.4": "right",  # the last try counts
        "trouble": "ZeroDivisionError: division by zero",
    }
    assert dies["7.4"].startswith("not right: half as many") and "died" in dies["trouble"].lower()
    assert none["7.4"] == "" and none["trouble"]
    assert begun["7.4"].startswith("not done yet") and not begun["trouble"]


def test_what_a_notebook_said_elsewhere_does_not_count(tmp_path):
    said = new_output("display_data", metadata={"exercises": {"7.4": "right"}})
    cell = new_code_cell("import time\ntime.sleep(99)", outputs=[said])
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "kept.ipynb")
    told = grade(tmp_path / "kept.ipynb", seconds=2)
    assert "7.4" not in told and "Timeout" in told["trouble"]
