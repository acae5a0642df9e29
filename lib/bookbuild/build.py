"""Execute the chapters that changed, then build the pages from the executed copies.

A digest of all that a chapter's outputs depend on (`inputs`) is stored in its executed copy,
`_build/executed/chapters/`; a chapter runs again when its digest is no longer the same. Everything
else in a page, its Markdown above all, is taken from the source on each build.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nbformat

from bookbuild import inputs, provenance, run
from bookbuild.run import BuildError

STAMP, MADE = "bookbuild", "provenance"  # in the metadata of an executed copy
WIDGET = "application/vnd.jupyter.widget-view+json"


def chapters(root: Path) -> list[Path]:
    """The notebooks of the book, those in folders below `chapters/` too."""
    found = (root / "chapters").rglob("*.ipynb")
    return sorted(p for p in found if not any(part.startswith(".") for part in p.parts))


def bare(notebook):
    """A notebook as it is kept in git: no outputs, no counts, no state of widgets."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            for noise in ("execution", "executionInfo", "outputId"):  # nbclient's and Colab's
                cell.metadata.pop(noise, None)
    notebook.metadata.pop("widgets", None)
    return notebook


def write(notebook, path: Path) -> None:
    """Write a notebook whole or not at all: who is stopped here leaves the old copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    nbformat.write(notebook, part)
    os.replace(part, path)


def read_copy(path: Path):
    """An executed copy, or None where there is none or it cannot be read: it is made again."""
    try:
        return nbformat.read(path, 4)
    except FileNotFoundError:
        return None
    except Exception as error:  # cut short, not JSON, not a notebook
        told = str(error).splitlines()[0][:80]
        print(f"{path.name}: its executed copy is damaged ({told}), so it runs again", flush=True)
        return None


def weave(source, executed):
    """The source's text and settings, with the outputs of the executed copy.

    Widgets stay out: on a page there is no kernel that could move them.
    """
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    code = [cell for cell in source.cells if cell.cell_type == "code"]
    for cell, done in zip(code, ran, strict=True):
        cell.outputs = [out for out in done.outputs if WIDGET not in out.get("data", {})]
        cell.execution_count = done.execution_count
    for key in ("language_info", MADE):
        if key in executed.metadata:
            source.metadata[key] = executed.metadata[key]
    return source


def refresh(root: Path, every: bool = False, jobs: int = 1) -> list[str]:
    """Bring `_build/executed` up to date, `jobs` chapters at a time; returns which chapters ran."""
    book = root / "_build" / "executed"
    files, known = inputs.fingerprints(root), inputs.packages(root)
    failed, pages, used = [], {}, {}

    def done(chapter, source, executed):
        page = book / chapter.relative_to(root)
        pages[page] = weave(source, executed)
        # Written at once: a failure in a later chapter does not cost this one its run.
        write(pages[page], page)

    def run_one(job):
        chapter, source = job
        start = time.monotonic()
        told = f"running {chapter.relative_to(root)}"
        try:
            executed = run.execute(source, chapter, jobs)
        except BuildError as error:
            print(f"{told} FAILED after {time.monotonic() - start:.1f} s\n{error}", flush=True)
            failed.append(chapter.name)
        else:
            executed.metadata[MADE] = provenance.of(root, source)
            print(f"{told} {time.monotonic() - start:.1f} s", flush=True)
            done(chapter, source, executed)

    kept, turns = {}, ([], [])  # what must run: first the chapters that measure
    for chapter in chapters(root):
        source = bare(nbformat.read(chapter, 4))
        executed = read_copy(book / chapter.relative_to(root))
        used[chapter] = inputs.of(source, files, known)
        source.metadata[STAMP] = inputs.digest(source, used[chapter])
        collects = any(inputs.COLLECTS in cell.source for cell in source.cells)
        if every or executed is None or executed.metadata.get(STAMP) != source.metadata[STAMP]:
            turns[collects].append((chapter, source))
        else:
            kept[chapter] = (collects, source, executed)
    for chapter, (collects, source, executed) in kept.items():
        if collects and turns[False]:  # it shows what these are about to measure
            turns[True].append((chapter, source))
        else:
            done(chapter, source, executed)
    for turn in turns:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run_one, turn))
    stale = sorted(turns[False] + turns[True], key=lambda job: job[0])
    ran = [chapter.name for chapter, _ in stale if chapter.name not in failed]

    if failed:
        raise BuildError(f"{len(failed)} of {len(chapters(root))} chapters failed: {failed}")
    now, changed = inputs.fingerprints(root), set()
    for chapter, source in stale:
        changed |= {
            path for path, _ in used[chapter].items() ^ inputs.of(source, now, known).items()
        }
    if changed:
        raise BuildError(f"changed while the chapters ran, so start again: {sorted(changed)}")
    _complete(root, book, pages)
    return ran


def _complete(root: Path, book: Path, pages: dict) -> None:
    """Everything beside the notebooks; what left the source leaves the book too."""
    for path in [p for p in book.rglob("*") if p.is_file() and p not in pages]:
        path.unlink()
    notebooks = shutil.ignore_patterns("*.ipynb", ".*")
    shutil.copytree(root / "chapters", book / "chapters", ignore=notebooks, dirs_exist_ok=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, book)


def build_html(root: Path) -> Path:
    """Build every page anew (a page that Sphinx kept would also keep its warnings to itself)."""
    shutil.rmtree(root / "_build" / "html", ignore_errors=True)
    command = ["jupyter-book", "build", "-n", "-W", "--keep-going", "--all", "-q"]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    command += ["--path-output", str(root), str(root / "_build" / "executed")]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    index = root / "_build" / "html" / "index.html"
    if done.returncode or not index.exists():
        raise BuildError(f"{done.stdout}\nthe pages were not built (see above)")
    for chapter in chapters(root):  # to take home from a page; the pages have the outputs
        sources = index.with_name("_sources") / chapter.relative_to(root)
        sources.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(chapter, sources)
    return index


@contextmanager
def alone(root: Path):
    """Holds the lock of `_build`: a second build waits for the first.  It ends with its process."""
    (root / "_build").mkdir(exist_ok=True)
    with open(root / "_build" / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build is running here, so this one waits for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="run every chapter, changed or not")
    jobs = min(4, os.cpu_count() or 1)  # each may need some gigabytes
    parser.add_argument("--jobs", type=int, default=jobs, help="chapters that run side by side")
    parser.add_argument("--strip", action="store_true", help="only remove outputs from the sources")
    parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = Path.cwd()

    if options.strip:
        for chapter in chapters(root):
            write(bare(nbformat.read(chapter, 4)), chapter)
        return
    try:
        with alone(root):
            ran = refresh(root, options.all, options.jobs)
            index = build_html(root)
    except BuildError as error:
        sys.exit(str(error))
    print(f"{len(ran)} chapters ran, {len(chapters(root)) - len(ran)} were up to date.")
    print(f"Built in {time.time() - options.started:.0f} s. Open {index.relative_to(root)}")


if __name__ == "__main__":
    main()
