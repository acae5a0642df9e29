"""The lab for a class: `make teach` makes the students' version and the teacher's of one source.

Both are in `_build/teach`.  A cell's tag says whose it is: a "stub" is a student's; a "solution"
and what is for a "teacher" (common mistakes) are the teacher's, who also gets what they print.
All other cells are everybody's.
"""

import copy
import re
import sys
from pathlib import Path

import nbformat
import yaml

from bookbuild import build, run

LAB = "lab-90"
WITHOUT = {"student": {"solution", "teacher"}, "teacher": {"stub"}}  # tags of cells left out
FOLD = re.compile(r":::\{dropdown\} (.+?)\n(.*?)\n:::(?=\n|$)", re.DOTALL)
DETAILS = r"<details><summary>\1</summary>\n\n\2\n\n</details>"
LINK = re.compile(r"\]\((?!\w+:)([\w/-]+)\.(?:ipynb|md)(#[\w-]+)?\)")


def version(notebook, whose: str, pages: str):
    """A copy of the source with the cells of one side, as any notebook program shows it.

    whose: "student" or "teacher"; pages: the address of the folder that has the book's pages.
    """
    made = build.bare(copy.deepcopy(notebook))
    made.cells = [c for c in made.cells if not WITHOUT[whose] & set(c.metadata.get("tags", ()))]
    for cell in made.cells:
        if cell.cell_type == "markdown":  # what only Jupyter Book understands
            cell.source = FOLD.sub(DETAILS, cell.source)
            cell.source = LINK.sub(rf"]({pages}\1.html\2)", cell.source)
        elif "solution" in cell.metadata.get("tags", ()):  # a teacher reads it without a click
            cell.metadata.pop("jupyter", None)
            cell.metadata.pop("cellView", None)
    if whose == "teacher":
        made.cells[0].source = made.cells[0].source.replace("\n", " (for teachers)\n", 1)
    return made


def make(root: Path) -> list[Path]:
    """Write both versions, the teacher's with its outputs; returns their paths.

    Raises BuildError if a cell of the teacher's fails.
    """
    source = root / "chapters" / f"{LAB}.ipynb"
    pages = yaml.safe_load((root / "_config.yml").read_text())["html"]["baseurl"] + "chapters/"
    made = {whose: version(nbformat.read(source, 4), whose, pages) for whose in WITHOUT}
    made["teacher"] = run.execute(made["teacher"], source)
    paths = {whose: root / "_build" / "teach" / f"{LAB}-{whose}.ipynb" for whose in WITHOUT}
    for whose, path in paths.items():
        build.write(made[whose], path)
    return list(paths.values())


if __name__ == "__main__":
    try:
        for path in make(Path.cwd()):
            print(f"Wrote {path.relative_to(Path.cwd())}")
    except run.BuildError as error:
        sys.exit(str(error))
