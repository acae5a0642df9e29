"""What the book's theme makes of a page, on a toy page with one of each."""

import base64
import io

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from bookbuild import build, site

URL = "https://github.com/some/where"
CONFIG = f"""\
title: A toy book
only_build_toc_files: true
repository: {{url: "{URL}", branch: main}}
launch_buttons: {{colab_url: "https://colab.research.google.com"}}
execute: {{execute_notebooks: "off"}}
html: {{baseurl: "https://some.example/toy/"}}
sphinx:
  recursive_update: true
  extra_extensions: [bookbuild.site]
  config: {{html_theme: book, html_copy_source: false, nb_render_markdown_format: myst}}
"""
MADE = {
    "commit": "c0ffee" + "0" * 34,
    "changed": False,
    "weights": {"mini": "ab" * 32},
    "device": "A <CPU>",
    "versions": {"Python": "3.11.2"},
    "date": "2026-01-02",
}


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(the toy page, the folder that it lies in)."""
    root = tmp_path_factory.mktemp("toy")
    cell, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    picture = base64.b64encode(png(np.zeros((30, 40, 3), np.uint8))).decode()
    shown = f'<figure><img alt="black" width="80" src="data:image/png;base64,{picture}"></figure>'
    folded = [
        cell("# @title Draws the curves.\nx = 1\nx + 1", metadata={"tags": ["hide-input"]}),
        cell("y = 2", metadata={"tags": ["hide-input"]}),
        cell("z", metadata={"tags": ["hide-output"]}),
    ]
    folded[2].outputs = [nbformat.v4.new_output("stream", text="printed")]
    html = cell("show()")
    html.outputs = [nbformat.v4.new_output("display_data", {"text/html": shown * 2})]
    words = text("# Toy\n\nThe <first> words.\n\n| | head |\n|---|---|\n| a | b |")
    notebook = nbformat.v4.new_notebook(cells=[words, *folded, html])
    notebook.metadata |= {"provenance": MADE, "language_info": {"name": "python"}}
    for folder in (root / "chapters", root / "_build/executed/chapters"):
        build.write(notebook, folder / "a.ipynb")
    (root / "_build/executed/_config.yml").write_text(CONFIG)
    (root / "_build/executed/_toc.yml").write_text("format: jb-book\nroot: chapters/a\n")
    path = build.build_html(root).with_name("chapters") / "a.html"
    return BeautifulSoup(path.read_text(), "html.parser"), path.parent


def test_the_title_of_a_folded_cell_stands_on_its_fold_and_not_in_its_code(page):
    titled, plain, output = page[0].select("details.fold")
    assert titled.select_one(".opens").get_text() == "Show the code: draws the curves"
    assert titled.select_one(".closes").get_text() == "Hide the code: draws the curves"
    assert titled.select_one("pre").get_text() == "x = 1\nx + 1\n"
    assert plain.select_one(".opens").get_text() == "Show the code"
    assert output.select_one(".opens").get_text() == "Show the output"
    assert "printed" in output.get_text()


def test_an_embedded_picture_becomes_one_file_with_its_place_kept(page):
    soup, folder = page
    first, second = soup.article.find_all("img")
    assert first["src"] == second["src"] and not first["src"].startswith("data:")
    assert (first["width"], first["height"], first["loading"]) == ("80", "60", "lazy")
    assert first["alt"] == "black"
    with Image.open(folder / first["src"]) as image:
        assert image.size == (40, 30) and image.convert("RGB").getpixel((5, 5)) == (0, 0, 0)


def test_an_empty_head_of_a_column_is_no_head_and_tables_scroll_in_a_box(page):
    table = page[0].article.table
    assert table.parent["class"] == ["wide"]
    assert [cell.name for cell in table.thead.find_all(["td", "th"])] == ["td", "th"]


def test_a_page_says_what_it_is_and_where_its_numbers_come_from(page):
    """Letter by letter; tests/pages/test_site.py sees the rest on every page of the book."""
    head = page[0].head
    assert head.select_one("meta[name=description]")["content"] == "The <first> words."
    assert [tag["src"] for tag in head.select("script[src]")] == ["../_static/book.js"]
    made = page[0].select_one("section.made")
    text = " ".join(made.get_text().split())
    assert "ran on 2026-01-02 at commit c0ffee0000, on A <CPU>, with Python 3.11.2." in text
    assert made.select_one("code[title]")["title"] == "ab" * 32
    assert f"{URL}/tree/{MADE['commit']}" in {a["href"] for a in made.select("a")}
    colab = "https://colab.research.google.com/github/some/where/blob/main/chapters/a.ipynb"
    assert made.select("a")[-1]["href"] == colab


def test_a_picture_of_many_colours_is_small_and_looks_the_same():
    few = np.zeros((50, 60, 3), np.uint8)
    few[:, 30:] = (200, 100, 50)
    kind, data = site.smaller(png(few))
    assert kind == "png" and (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == few).all()
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(noise).resize((500, 400)))  # as many as a photograph
    kind, data = site.smaller(png(smooth))
    assert kind == "webp" and len(data) < len(png(smooth)) / 3
    seen = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)
    assert np.abs(seen - smooth).mean() < 12
