"""The built pages and their sources, for the tests beside this file."""

from functools import cache
from pathlib import Path

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
SOURCES = sorted(p for kind in ("ipynb", "md") for p in (ROOT / "chapters").rglob(f"*.{kind}"))
NOTEBOOKS = [path for path in SOURCES if path.suffix == ".ipynb"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
START = yaml.safe_load((ROOT / "_toc.yml").read_text())["root"].removeprefix("chapters/")


def name(source: Path) -> str:
    """How a page is called here: 07-swapping-strips, deeper/07-strips."""
    return source.relative_to(ROOT / "chapters").with_suffix("").as_posix()


def built(source: Path) -> Path:
    return SITE / "chapters" / f"{name(source)}.html"


@cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
