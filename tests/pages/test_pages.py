"""The built pages, as a reader gets them. `make test` builds them first."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from book import CONFIG, NOTEBOOKS, ROOT, SITE, SOURCES, built, name, soup


@cache
def anchors(path: Path) -> set[str]:
    return {tag["id"] for tag in soup(path).find_all(id=True)}


def test_every_source_has_a_page_and_no_page_is_left_over():
    assert (SITE / "index.html").is_file(), "no pages: run `make book` first"
    assert sorted(map(built, SOURCES)) == sorted((SITE / "chapters").rglob("*.html"))


@pytest.fixture(params=SOURCES, ids=name)
def page(request) -> Path:
    return built(request.param)


def test_one_heading_of_the_first_level(page):
    headings = [h.get_text(strip=True) for h in soup(page).article.find_all("h1")]
    assert len(headings) == 1 and headings[0], headings


def test_every_picture_has_words(page):
    for image in soup(page).find_all("img"):
        alt = image.get("alt", "").strip()
        assert alt, f"no alt text: {str(image)[:200]}"
        assert not re.search(r"\.(png|svg|jpe?g|gif|webp)$", alt), f"a file name is no text: {alt}"


def test_every_link_inside_the_book_arrives(page):
    broken = []
    for tag in soup(page).find_all(["a", "img", "link", "script"]):
        target = urlsplit(tag.get("href") or tag.get("src") or "")
        if target.scheme or target.netloc or not (target.path or target.fragment):
            continue
        file = (page.parent / unquote(target.path)).resolve() if target.path else page
        if not file.is_file():
            broken.append(target.geturl())
        elif target.fragment and file.suffix == ".html":
            if unquote(target.fragment) not in anchors(file):
                broken.append(target.geturl())
    assert not broken


def test_no_errors_warnings_or_raw_syntax_are_shown(page):
    text = soup(page).article.get_text()
    assert "Traceback (most recent call last)" not in text
    assert not soup(page).select(".output.traceback, .output.stderr, .system-message")
    # A directive or role that was not understood stays on the page as it was typed.
    assert not re.search(r"\{(cite|ref|numref|figure|note|admonition|exercise)[:}]", text)


def test_no_path_of_the_machine_that_built_it(page):
    text = soup(page).get_text()
    home = re.escape(str(Path.home()))
    assert not re.search(rf"{re.escape(str(ROOT))}|{home}/|site-packages|/ipykernel_|/tmp/", text)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=name)
def test_the_colab_button_opens_the_chapter_s_notebook(source):
    repository = CONFIG["repository"]
    path = repository["url"].removeprefix("https://github.com/")
    wanted = (
        "https://colab.research.google.com/github/"
        f"{path}/blob/{repository['branch']}/chapters/{name(source)}.ipynb"
    )
    links = soup(built(source)).select('a[href*="colab.research.google.com"]')
    assert wanted in {link["href"] for link in links}
