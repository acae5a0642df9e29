"""Give the book a version: `make release VERSION=0.2.0`.

The set-up cell of a chapter installs the tag of that version, so that a notebook opened later on
Colab gets the library that it was written for. Commit what this changes, tag the commit
(`git tag v0.2.0`) and publish both.
"""

import re
import sys
from pathlib import Path

import yaml

PLACES = {  # file: the line that holds the version, with a group before and after it
    "pyproject.toml": r'(?m)^(version = ")[^"]+(")',
    "CITATION.cff": r"(?m)^(version: )\S+()",
    "lib/dualmech/__init__.py": r'(?m)^(__version__ = ")[^"]+(")',
}


def number(root: Path, version: str) -> list[Path]:
    """Write the version everywhere; returns what changed.  Raises ValueError if it is none."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"{version!r} is not a version like 0.2.0")
    url = yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"]
    cell = rf"(git\+{re.escape(url)})(?:@v[\d.]+)?(?=[\s\\\"])"
    edits = [(root / name, pattern, rf"\g<1>{version}\g<2>") for name, pattern in PLACES.items()]
    notebooks = sorted((root / "chapters").rglob("*.ipynb"))
    edits += [(path, cell, rf"\g<1>@v{version}") for path in notebooks]
    changed = []
    for path, pattern, new in edits:
        text = path.read_text(encoding="utf-8")
        if (edited := re.sub(pattern, new, text)) != text:
            path.write_text(edited, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    try:
        for path in number(Path.cwd(), *filter(None, sys.argv[1:])):
            print(path.relative_to(Path.cwd()))
    except (ValueError, TypeError) as error:
        sys.exit(f"{error}\nmake release VERSION=0.2.0")
