"""The chapters as they are kept in git, before anything is built."""

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml

from bookbuild.printing import order

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").rglob("*.ipynb"))
each_chapter = pytest.mark.parametrize(
    "path", CHAPTERS, ids=lambda path: path.relative_to(ROOT / "chapters").as_posix()
)
read = cache(lambda path: nbformat.read(path, 4))


def code_cells(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_every_chapter_is_in_the_table_of_contents_and_every_entry_exists():
    files = [*CHAPTERS, *(ROOT / "chapters").rglob("*.md")]
    names = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in files)
    assert names == sorted(order(yaml.safe_load((ROOT / "_toc.yml").read_text())))


@each_chapter
def test_no_outputs_and_no_traces_of_a_run(path):
    for number, cell in enumerate(code_cells(path)):
        assert not cell.outputs and cell.execution_count is None, (
            f"code cell {number} of {path.name} holds a run: `make strip` removes it"
        )
    told = read(path).metadata
    assert "widgets" not in told
    assert told.kernelspec.name == "python3", "Colab and `make` have only this kernel"


# A share, a decimal or a percentage is measured, and nobody may type it: it would go stale unseen.
MEASURED = re.compile(r"(?<![\w.-])\d*\.\d+(?![\w.])|\b\d+(?:\.\d+)? ?%")
ALLOWED = {"95 %"}  # the level of every interval


def typed_numbers(text: str) -> list[str]:
    text = re.sub(r"(?m)^(?:### |\*\*)\d+\.\d+ |arXiv[: ][\d.]+", "", text)  # exercises, papers
    return [n for n in MEASURED.findall(text) if n not in ALLOWED]


def words_in_code(source: str) -> str:
    """The sentences of a code cell, such as captions, without what is computed into them."""
    tree = ast.parse(re.sub(r"(?m)^(\s*)%pip.*", r"\1pass", source))
    specs = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue) and node.format_spec
        for part in ast.walk(node.format_spec)
    }
    constants = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in specs]
    return "\n".join(n.value for n in constants if isinstance(n.value, str) and " " in n.value)


def test_a_typed_number_is_found():
    for text in ("accuracy of 0.97", "about .8 of them", "in 40 % of cases", "40% fixed", "12.5 %"):
        assert typed_numbers(text), text
    for text in ("a 95 % interval", "half, 1/2", "arXiv 2603.22278", "slot 0", "torch 2.13.0"):
        assert not typed_numbers(text), text
    assert typed_numbers(words_in_code("say(f'{x:.2f} is near 0.75')")) == ["0.75"]
    assert not typed_numbers(words_in_code("y = 0.75\nsay(f'{y:.3f} is near {0.5 * y:6.1%}')"))


@each_chapter
def test_a_folded_cell_is_folded_everywhere(path):
    """On the page, in JupyterLab, and on Colab, whose form shows the title."""
    for cell in code_cells(path):
        folded = bool({"hide-input", "hide-cell"} & set(cell.metadata.get("tags", [])))
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        form = cell.metadata.get("cellView") == "form" and cell.source.startswith("# @title ")
        assert folded == hidden == form, cell.source[:80]


def test_no_line_of_code_is_wider_than_a_page():
    for path in (ROOT / "chapters").glob("*.ipynb"):
        lines = "\n".join(cell.source for cell in code_cells(path)).splitlines()
        assert not [line for line in lines if len(line) > 72 and "%pip" not in line], path.name


@each_chapter
def test_no_number_is_typed_into_the_text(path):
    for cell in read(path).cells:
        text = cell.source
        if cell.cell_type == "markdown":  # what a solution computes is code
            text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
        else:
            text = words_in_code(text)
        assert not typed_numbers(text), f"{path.name} has {typed_numbers(text)} typed in:\n{text}"


def test_one_address_of_the_repository():
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    owner_and_name = repository["url"].removeprefix("https://github.com/")
    others = (ROOT / name for name in ("README.md", "CITATION.cff", "pyproject.toml"))
    texts = {path.name: path.read_text() for path in [*CHAPTERS, *others]}
    # An address of this book is one that installs it, opens it on Colab or names its code.
    pattern = (
        r"(?:git\+https://github\.com/|colab\.research\.google\.com/github/"
        r"|Repository = \"https://github\.com/|repository-code: https://github\.com/)([\w.-]+/[\w-]+)"
    )
    found = {name: set(re.findall(pattern, text)) for name, text in texts.items()}
    assert found["CITATION.cff"] == found["pyproject.toml"] == {owner_and_name}
    assert set().union(*found.values()) == {owner_and_name}
    start = f"{owner_and_name}/blob/{repository['branch']}/chapters/00-start-here.ipynb"
    assert f"https://colab.research.google.com/github/{start}" in texts["README.md"]
