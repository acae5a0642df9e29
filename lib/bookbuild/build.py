"""Execute the chapters that changed, then build the pages from the executed copies.

A chapter's outputs depend on its code cells, on the library, on the data and on the locked
versions. A digest of all four is stored in the executed copy, `_build/executed/chapters/*.ipynb`;
a chapter runs again when its digest is no longer the same. Everything else in a page, its Markdown
above all, is taken from the source on each build.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

INPUTS = ("lib/dualmech", "data", "requirements.lock")
CELL_LIMIT = 900  # seconds
STAMP = "bookbuild"
COLLECTS = "record.collect("  # in a chapter that shows what the others measured


class BuildError(Exception):
    """A message for the person at the terminal."""


def chapters(root: Path) -> list[Path]:
    return sorted((root / "chapters").glob("*.ipynb"))


def bare(notebook):
    """A notebook as it is kept in git: no outputs, no counts, no state of widgets."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            for noise in ("execution", "executionInfo", "outputId"):  # nbclient's and Colab's
                cell.metadata.pop(noise, None)
    notebook.metadata.pop("widgets", None)
    return notebook


def fingerprints(root: Path) -> dict[str, str]:
    """Each file that any chapter may depend on, with the hash of its bytes."""
    files = []
    for name in INPUTS:
        path = root / name
        files += [path] if path.is_file() else path.rglob("*")
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file() and not _is_litter(path.relative_to(root))
    }


def _is_litter(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def digest(notebook, shared: dict[str, str]) -> str:
    """What a chapter's outputs depend on, in one hash.

    The kept results, which chapters write, and benchmarks count only for a chapter that collects
    them or names the file.
    """
    text = "".join(c.source for c in notebook.cells)
    for folder, call in (("data/results/", COLLECTS), ("data/bench/", "record.benchmarks(")):
        if call not in text:
            kept = [k for k in shared if k.startswith(folder) and Path(k).name not in text]
            shared = {k: v for k, v in shared.items() if k not in kept}
    code = [(c.source, c.metadata.get("tags")) for c in notebook.cells if c.cell_type == "code"]
    parts = [sys.version_info[:2], shared, code, notebook.metadata.get("kernelspec")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def weave(source, executed):
    """The source's text and settings, with the outputs of the executed copy."""
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    code = [cell for cell in source.cells if cell.cell_type == "code"]
    for cell, done in zip(code, ran, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    for key in ("language_info", "widgets"):
        if key in executed.metadata:
            source.metadata[key] = executed.metadata[key]
    return source


def execute(source, chapter: Path, threads: int | None = None):
    """Run one notebook from top to bottom through nbmake, away from the sources."""
    with tempfile.TemporaryDirectory() as folder:
        # The whole folder travels, so that a chapter can open the files that lie beside it.
        copy = shutil.copytree(chapter.parent, Path(folder) / "chapters") / chapter.name
        nbformat.write(source, copy)
        command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "-q", "--no-header"]
        command += [f"--nbmake-timeout={CELL_LIMIT}", "-p", "no:cacheprovider", str(copy)]
        # A chapter runs on what ships with the book, so a call to the model hub is an error.
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        for name in ("results", "cache"):
            environment.setdefault(f"DUALMECH_{name.upper()}", str(Path.cwd() / "_build" / name))
        run = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
        if run.returncode:
            raise BuildError(run.stdout + run.stderr)
        return nbformat.read(copy, 4)


def refresh(root: Path, every: bool = False, jobs: int = 1) -> list[str]:
    """Bring `_build/executed` up to date, `jobs` chapters at a time; returns which chapters ran."""
    book = root / "_build" / "executed"
    shared = fingerprints(root)
    threads = max(1, os.cpu_count() // jobs) if jobs > 1 else None
    failed, pages = [], {}

    def done(chapter, source, executed):
        pages[chapter.name] = weave(source, executed)
        # Written at once: a failure in a later chapter does not cost this one its run.
        (book / "chapters").mkdir(parents=True, exist_ok=True)
        nbformat.write(pages[chapter.name], book / "chapters" / chapter.name)

    def run(job):
        chapter, source = job
        start = time.monotonic()
        told = f"running {chapter.relative_to(root)}"
        try:
            executed = execute(source, chapter, threads)
        except BuildError as error:
            print(f"{told} FAILED after {time.monotonic() - start:.1f} s\n{error}", flush=True)
            failed.append(chapter.name)
        else:
            print(f"{told} {time.monotonic() - start:.1f} s", flush=True)
            done(chapter, source, executed)

    kept, turns = {}, ([], [])  # what must run: first the chapters that measure
    for chapter in chapters(root):
        source = bare(nbformat.read(chapter, 4))
        copy = book / "chapters" / chapter.name
        executed = nbformat.read(copy, 4) if copy.exists() else None
        source.metadata[STAMP] = digest(source, shared)
        collects = any(COLLECTS in cell.source for cell in source.cells)
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
            list(pool.map(run, turn))
    stale = sorted(turns[False] + turns[True], key=lambda job: job[0])
    ran = [chapter.name for chapter, _ in stale if chapter.name not in failed]

    if failed:
        raise BuildError(f"{len(failed)} of {len(chapters(root))} chapters failed: {failed}")
    changed = {name for name, _ in shared.items() ^ fingerprints(root).items()}
    if changed:
        raise BuildError(f"changed while the chapters ran, so start again: {sorted(changed)}")

    shutil.rmtree(book)  # pages and pictures that left the source must leave the book too
    shutil.copytree(
        root / "chapters", book / "chapters", ignore=shutil.ignore_patterns("*.ipynb", ".*")
    )
    for name, notebook in pages.items():
        nbformat.write(notebook, book / "chapters" / name)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, book)
    return ran


def build_html(root: Path) -> Path:
    """Build every page anew (a page that Sphinx kept would also keep its warnings to itself)."""
    shutil.rmtree(root / "_build" / "html", ignore_errors=True)
    command = ["jupyter-book", "build", "-n", "-W", "--keep-going", "--all", "-q"]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    command += ["--path-output", str(root), str(root / "_build" / "executed")]
    run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    index = root / "_build" / "html" / "index.html"
    if run.returncode or not index.exists():
        raise BuildError(f"{run.stdout}\nthe pages were not built (see above)")
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="run every chapter, changed or not")
    jobs = min(4, os.cpu_count())  # each may need some gigabytes
    parser.add_argument("--jobs", type=int, default=jobs, help="chapters that run side by side")
    parser.add_argument("--strip", action="store_true", help="only remove outputs from the sources")
    parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = Path.cwd()

    if options.strip:
        for chapter in chapters(root):
            nbformat.write(bare(nbformat.read(chapter, 4)), chapter)
        return
    try:
        ran = refresh(root, options.all, options.jobs)
        index = build_html(root)
    except BuildError as error:
        sys.exit(str(error))
    print(f"{len(ran)} chapters ran, {len(chapters(root)) - len(ran)} were up to date.")
    print(f"Built in {time.time() - options.started:.0f} s. Open {index.relative_to(root)}")


if __name__ == "__main__":
    main()
