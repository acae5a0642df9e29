"""What the checks say of a folder of notebooks, as a CSV: `python -m exercises FOLDER > told.csv`.

A row is a notebook, a column an exercise; "trouble" says which cell raised first, or why a notebook
did not run.  Each runs here, in a kernel of its own: grade what you would open and run yourself.
"""

import csv
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from . import NAME, checks

SECONDS = 300  # for one cell


def is_solution(cell) -> bool:
    """Whether a cell is a folded solution of the book's, which would answer for its reader."""
    return cell.source.startswith("# @title A solution of")


def grade(path: Path, seconds: int = SECONDS) -> dict[str, str]:
    """{"notebook": its name, exercise: the verdict on its last try, "trouble": see above}.

    Whatever happens in a notebook, the next one has its turn: this raises nothing.
    """
    cells, told, trouble = [], {"notebook": path.name}, ""
    try:
        notebook = nbformat.read(path, 4)
        notebook.cells = cells = [c for c in notebook.cells if not is_solution(c)]
        for cell in cells:
            if cell.cell_type == "code":
                cell.outputs = []  # what it said on another machine does not count
        place = {"metadata": {"path": str(path.parent)}}
        how = {"kernel_name": "python3", "allow_errors": True, "timeout": seconds}
        NotebookClient(notebook, resources=place, **how).execute()
    except Exception as error:  # it is none, its kernel died, a cell has no end
        trouble = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        told |= output.get("metadata", {}).get(NAME, {})
        if output.output_type == "error":
            trouble = trouble or f"{output.ename}: {output.evalue}"
    return told | {"trouble": trouble}


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    rows = []
    for path in sorted(Path(sys.argv[1]).rglob("*.ipynb")):
        print(path, file=sys.stderr)
        rows.append(grade(path))
    asked = [number for number in checks() if any(number in row for row in rows)]
    table = csv.DictWriter(sys.stdout, ["notebook", *asked, "trouble"], restval="")
    table.writeheader()
    table.writerows(rows)
