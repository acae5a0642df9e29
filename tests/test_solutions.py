"""The folded solutions of exercises, in the place of their stubs, pass the checks beside them."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CHAPTERS = Path(__file__).parents[1] / "chapters"


@pytest.mark.parametrize(("name", "count"), [("02-anatomy-of-a-vlm", 4)])
def test_solutions_are_right(tmp_path, name, count):
    notebook = nbformat.read(CHAPTERS / f"{name}.ipynb", 4)
    told = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    solutions = re.findall(r"```python\n(def (\w+)\(.*?\n)(?:\n\n.*?)?```", told, re.DOTALL)
    for cell in notebook.cells:
        for source, function in solutions:
            stub = re.compile(rf"def {function}\(.*?\n(?=\n|\Z)", re.DOTALL)
            if cell.cell_type == "code":
                cell.source = stub.sub(lambda _, source=source: source, cell.source, count=1)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute(
        env=os.environ | {"DUALMECH_RESULTS": str(tmp_path), "DUALMECH_CACHE": str(tmp_path)}
    )
    outputs = [out for c in notebook.cells if c.cell_type == "code" for out in c.outputs]
    lines = "".join(out.get("text", "") for out in outputs).splitlines()
    assert lines.count("Right.") == count == len(solutions), lines
