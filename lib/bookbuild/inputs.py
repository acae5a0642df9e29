"""What a chapter's outputs depend on: its code, the packages it imports, the data, the versions."""

import ast
import hashlib
import json
import re
import sys
from pathlib import Path

SHARED = ("data", "requirements.lock")  # every chapter depends on these
COLLECTS = "record.collect("  # in a chapter that shows what the others measured
READS = {"data/results/": (COLLECTS, "kept("), "data/bench/": ("record.benchmarks(",)}


def fingerprints(root: Path) -> dict[str, str]:
    """{file: hash of its bytes} of all that any chapter may depend on, paths relative to root."""
    files = list((root / "lib").rglob("*"))
    for name in SHARED:
        path = root / name
        files += [path] if path.is_file() else path.rglob("*")
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file() and not _is_litter(path.relative_to(root))
    }


def _is_litter(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def imported(code: str) -> set[str]:
    """The top-level modules that a piece of Python imports, or runs with `python -m`.

    Lines that only IPython understands (%magic, !command) are not parsed; code that does not parse
    at all imports nothing, and fails when it runs.
    """
    plain = re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", code)
    found = set(re.findall(r"-m[\s\"',]+(\w+)", code))
    try:
        nodes = list(ast.walk(ast.parse(plain)))
    except SyntaxError:
        return found
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def packages(root: Path) -> dict[str, set[str]]:
    """{package in lib/: the packages in lib/ that it imports itself}."""
    names = {path.name for path in (root / "lib").iterdir() if path.is_dir()}
    return {
        name: set().union(*(imported(p.read_text()) for p in (root / "lib" / name).rglob("*.py")))
        & names
        for name in names
    }


def needed(code: list[str], known: dict[str, set[str]]) -> set[str]:
    """The packages that these cells import, and those that these import in turn.

    known: from `packages`.
    """
    waiting = set().union(*map(imported, code)) & known.keys()
    found = set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= known[name] - found
    return found


def of(notebook, files: dict[str, str], known: dict[str, set[str]]) -> dict[str, str]:
    """The part of `files` that one chapter depends on.

    The kept results, which chapters write, and benchmarks count only for a chapter that collects
    them or names the file.
    """
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    text = "".join(code)
    used = needed(code, known)

    def counts(path: str) -> bool:
        top, _, rest = path.partition("/")
        if top == "lib":
            return rest.partition("/")[0] in used
        for folder, calls in READS.items():
            if path.startswith(folder):
                return any(call in text for call in calls) or Path(path).name in text
        return True

    return {path: digest for path, digest in files.items() if counts(path)}


def digest(notebook, files: dict[str, str]) -> str:
    """A chapter's code and what it depends on (from `of`), in one hash."""
    code = [(c.source, c.metadata.get("tags")) for c in notebook.cells if c.cell_type == "code"]
    parts = [sys.version_info[:2], files, code, notebook.metadata.get("kernelspec")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
