"""The model in the pages: its scripts, made once for each model and code, and where they go."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from bookbuild import inputs

MARK = 'data-explorable="'  # in a page that has one
SCRIPT = "_static/live/live.js"


def fill(body: str, site: Path, address: str) -> str:
    """A page's HTML with what its explorables show where scripts are off.

    The scripts go to the site with the first such page.  address: of their folder, seen from the
    page.
    """
    import live  # and with it PyTorch: only for a book that has an explorable

    made = folder(Path.cwd())
    target = (site / SCRIPT).parent
    if not target.exists():
        shutil.copytree(made, target)
    return live.fill(body, made, address)


def folder(root: Path) -> Path:
    """The folder with the scripts, pictures and weights, below `_build/live`."""
    packages = inputs.needed(["import live"], inputs.packages(root))
    parts = ("data/mini/", *(f"lib/{name}/" for name in packages))
    files = {k: v for k, v in inputs.fingerprints(root).items() if k.startswith(parts)}
    name = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    made = root / "_build" / "live" / name
    if not made.exists():
        import live

        shutil.rmtree(made.parent, ignore_errors=True)  # of another model or code
        made.parent.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as part:
            live.build(Path(part) / name)
            os.replace(Path(part) / name, made)
    return made
