"""Run chapters on a reader's model: does any cell depend on the shipped one's class or place?

    python tests/replay_elsewhere.py chapters/04-*.ipynb ...    # `make elsewhere` runs all

The model has the weights of `mini` in LLaVA-OneVision's classes, on a canvas twice as wide (see
`tiny.save_trained`).  It is in bfloat16 and on a device that refuses what a GPU refuses (see
`pretend_gpu`), as a large model of a reader is.  Of a chapter only the MODEL line is changed.
Chapters that are about the shipped models run on these, in float32 on that device.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from bookbuild import tiny

# about the shipped models, or models of their own
OWN = ("02", "13", "14-a-new-family", "15", "scoreboard")


def replay(chapter: Path, model: Path | None) -> None:
    """Execute a chapter with another MODEL, if any, in an empty folder.

    Raises CellExecutionError.
    """
    notebook, changed = nbformat.read(chapter, 4), 0
    precision = "bfloat16" if model else "float32"
    place = f"import sys; sys.path.append({str(Path(__file__).parent)!r})"
    device = f"{place}; import pretend_gpu; pretend_gpu.install({precision!r})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(device))
    for cell in notebook.cells:
        if cell.cell_type == "code" and model:
            cell.source, n = re.subn(
                r'^MODEL = "mini"', f'MODEL = "{model}"', cell.source, flags=re.M
            )
            changed += n
    if model and changed != 1:
        raise ValueError(f"{chapter} sets MODEL {changed} times")
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where)
        client.execute(env=os.environ | {"DUALMECH_RESULTS": folder, "DUALMECH_CACHE": folder})


if __name__ == "__main__":
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        model = tiny.save_trained(Path(folder) / "elsewhere")
        for name in sys.argv[1:]:
            own = Path(name).name.startswith(OWN)
            began, said = time.perf_counter(), "ok"
            try:
                replay(Path(name), None if own else model)
            except (CellExecutionError, DeadKernelError) as error:
                failed, said = failed + 1, f"FAILED\n{error}"
            print(f"{name} {time.perf_counter() - began:.0f} s {said}", flush=True)
    sys.exit(1 if failed else 0)
