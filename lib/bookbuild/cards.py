"""The page "All exercises", made from the cards in the chapters: `make exercises`.

A card is the first line of an exercise, `**7.1 Half the vote** · 10 minutes · medium · *write an
edit* · ...`: number, title, minutes, difficulty, what it trains.
"""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import yaml

from bookbuild.printing import order

LEVELS = ("easy", "medium", "harder")
CARD = re.compile(
    rf"\*\*(\w+\.\d+) ([^*]+)\*\* · (\d+) minutes · (?:({'|'.join(LEVELS)}) · )?\*([^*]+)\* ·"
)
HEAD = """# All exercises

**Which exercise trains what, and how long does it take?** Each is in the flow of its chapter: a
stub with its shapes, a check that answers, a hint and a folded solution. The check looks at what
your function does to a small example. It says *right*, or what is wrong in a way that helps, or
*not done yet*: a notebook runs whole, also with the stubs in it.

If you teach: [three plans](teaching.md), and how the checks read a whole folder of notebooks.
"""


class Card(NamedTuple):
    number: str
    title: str
    minutes: str
    level: str
    trains: str


def cards(notebook) -> list[Card]:
    """The cards of a notebook, in its order."""
    text = [" ".join(c.source.split()) for c in notebook.cells if c.cell_type == "markdown"]
    return [Card(*(part or "" for part in found)) for found in CARD.findall("\n".join(text))]


def page(chapters: Path) -> str:
    """The whole page, a table for each notebook that has a card, in the order of the contents."""
    parts = [HEAD]
    for name in order(yaml.safe_load((chapters.parent / "_toc.yml").read_text())):
        path = (chapters.parent / name).with_suffix(".ipynb")
        if not path.exists() or not (found := cards(notebook := nbformat.read(path, 4))):
            continue
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        chapter = f"Chapter {int(path.name[:2])}" if path.name[0].isdigit() else "Its page"
        minutes = sum(int(card.minutes) for card in found)
        parts.append(f"## {title}\n\n[{chapter}]({path.name}), {minutes} minutes in all.\n")
        lines = ["| exercise | minutes | difficulty | trains |", "|---|---|---|---|"]
        lines += [f"| {c.number} {c.title} | {c.minutes} | {c.level} | {c.trains} |" for c in found]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    folder = Path.cwd() / "chapters"
    (folder / "exercises.md").write_text(page(folder), encoding="utf-8")
    print("Wrote chapters/exercises.md")
