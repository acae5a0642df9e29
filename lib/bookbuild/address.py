"""Say where the book lives: `make address URL=https://github.com/owner/name`.

The address of the repository is `repository: url` in `_config.yml`, that of the pages
`html: baseurl`. Colab buttons, set-up cells, README, CITATION and pyproject name one of the two;
this changes all at once.
"""

import re
import sys
from pathlib import Path

import yaml

FILES = ("_config.yml", "README.md", "CITATION.cff", "pyproject.toml")
GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")


def pages_of(url: str) -> str:
    """Where GitHub shows the pages of a repository, by its default."""
    owner, name = GITHUB.fullmatch(url).groups()
    home = f"https://{owner.lower()}.github.io/"
    return home if name.lower() == f"{owner.lower()}.github.io" else f"{home}{name}/"


def move(root: Path, url: str, pages: str | None = None) -> list[Path]:
    """Write the new address of the repository, and of its pages, everywhere; returns what changed.

    Raises ValueError if `url` is none of a GitHub repository, from where alone Colab opens a
    notebook by its address, or `pages` none of a site.
    """
    found = GITHUB.fullmatch(url)
    if not found:
        raise ValueError(f"{url!r} is not an address like https://github.com/owner/name")
    pages = (pages or pages_of(url)).rstrip("/") + "/"
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?/[\w./~-]*", pages):
        raise ValueError(f"{pages!r} is not an address like https://owner.github.io/name/")
    config = yaml.safe_load((root / "_config.yml").read_text())
    old = config["repository"]["url"].removeprefix("https://github.com/")
    here = config["html"]["baseurl"]
    where = re.compile(
        rf"(github\.com/|colab\.research\.google\.com/github/){re.escape(old)}(?![\w-])"
    )
    changed = []
    for path in [root / name for name in FILES] + sorted((root / "chapters").rglob("*.*")):
        if path.suffix not in {".yml", ".md", ".cff", ".toml", ".ipynb"}:
            continue
        text = path.read_text(encoding="utf-8")
        new = where.sub(rf"\g<1>{'/'.join(found.groups())}", text).replace(here, pages)
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    try:
        for changed in move(Path.cwd(), *filter(None, sys.argv[1:])):
            print(changed.relative_to(Path.cwd()))
    except (ValueError, TypeError) as error:
        sys.exit(f"{error}\nmake address URL=https://github.com/owner/name [PAGES=https://...]")
