"""The checks over a folder of notebooks: every notebook has its row, whatever happens in it."""

import csv
import io
import os
import runpy
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from exercises.__main__ import grade

ASK = 'import exercises\nexercises.check("{}", {})'
SOLUTION = "# @title A solution of {}, and what it shows\n" + ASK
# What `check` shows, without the packages that it loads.
SAID = 'display("", metadata={"exercises": {"7.4": "not right"}})'


def written(folder, name, *sources, outputs=()):
    cells = [new_code_cell(source, outputs=list(outputs)) for source in sources]
    nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")


def test_a_folder_becomes_a_table_and_no_notebook_stops_another(tmp_path, monkeypatch, capsys):
    asks = ASK.format("7.4", '"a"'), "1 / 0", ASK.format("7.4", '"c"')
    begun = ASK.format("6.4", "..."), SOLUTION.format("6.4", "6.4", '"b"')
    written(tmp_path, "a-raises", *asks, *begun)
    written(tmp_path, "b-dies", SAID, "import os\nos._exit(1)", SAID.replace("not ", ""))
    (tmp_path / "c-is-none.ipynb").write_text("{")
    written(tmp_path, "d-is-fine", SAID)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(sys, "argv", ["exercises", str(tmp_path)])
    monkeypatch.delitem(sys.modules, "exercises.__main__")  # it runs as a command, anew
    runpy.run_module("exercises", run_name="__main__")
    raises, dies, none, fine = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert raises["notebook"] == "a-raises.ipynb"
    assert raises["7.4"] == "right"  # the last try counts
    assert raises["6.4"].startswith("not done yet")  # a folded solution does not count
    assert raises["trouble"] == "ZeroDivisionError: division by zero"
    assert dies["7.4"] == "not right" and "died" in dies["trouble"].lower()
    assert none["7.4"] == "" and none["trouble"]
    assert fine["7.4"] == "not right" and not fine["trouble"]


def test_what_a_notebook_said_elsewhere_does_not_count(tmp_path):
    said = new_output("display_data", metadata={"exercises": {"7.4": "right"}})
    written(tmp_path, "kept", "import time\ntime.sleep(99)", outputs=[said])
    told = grade(tmp_path / "kept.ipynb", seconds=2)
    assert "7.4" not in told and "Timeout" in told["trouble"]
