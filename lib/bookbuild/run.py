"""Run one chapter in a kernel of its own, watched over, away from the sources."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from bookbuild import watch

CELL_LIMIT = 900  # seconds


class BuildError(Exception):
    """A message for the person at the terminal."""


def settings(jobs: int) -> dict[str, str]:
    """The environment of a kernel, of which `jobs` run side by side."""
    given = {
        "HF_HUB_OFFLINE": "1",  # a chapter runs on what ships: a call to the model hub is an error
        # Bars are for who watches; on a page they would be widgets that nobody can move.
        "TQDM_DISABLE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave their core to the other kernels
        "PYTHONFAULTHANDLER": "1",  # a kernel that is given up says where its threads stand
    }
    if jobs > 1:
        given["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    return given


def execute(source, chapter: Path, jobs: int = 1):
    """Run one notebook from top to bottom through nbmake; returns it with its outputs.

    jobs: how many chapters run side by side.  Where the kernel goes idle with a cell pending, the
    chapter runs once more, and this says so.  Raises BuildError with the cell that failed.
    """
    for last in (False, True):
        done, said = _once(source, chapter, jobs)
        if done is not None:
            return done
        if last or watch.IDLE not in said:
            raise BuildError(said)
        reason = next(line for line in said.splitlines() if watch.IDLE in line)
        print(f"{chapter.name}: {reason.strip()}: the chapter runs once more\n{said}", flush=True)


def _once(source, chapter: Path, jobs: int):
    """(the executed notebook, "") or (None, what went wrong)."""
    with tempfile.TemporaryDirectory() as folder:
        # The whole folder travels, so that a chapter can open the files that lie beside it.
        copy = shutil.copytree(chapter.parent, Path(folder) / "chapters") / chapter.name
        nbformat.write(source, copy)
        command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "-q", "--no-header"]
        command += [f"--nbmake-timeout={CELL_LIMIT}", "-p", "bookbuild.watch"]
        # without hypothesis, which Python 3.11.7 cannot always import while a failure is told
        command += ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(copy)]
        environment = os.environ | settings(jobs)
        for name in ("results", "cache"):
            environment.setdefault(f"DUALMECH_{name.upper()}", str(Path.cwd() / "_build" / name))
        name = f"{chapter.parent.name}/{chapter.name}"
        terminal = os.dup(1)  # for `watch`, which has no other way past what is captured
        environment |= {"BOOKBUILD_TERMINAL": str(terminal), "BOOKBUILD_CHAPTER": name}
        run = subprocess.run(
            command, cwd=folder, env=environment, text=True, capture_output=True,
            pass_fds=[terminal],
        )  # fmt: skip
        os.close(terminal)
        if run.returncode:
            return None, run.stdout + run.stderr
        return nbformat.read(copy, 4), ""
