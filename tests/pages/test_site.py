"""The files of the site: how large, how described, and whom they name."""

import hashlib
import re

import pytest
from book import CONFIG, NOTEBOOKS, ROOT, SITE, SOURCES, built, name, soup
from PIL import Image

HTML, IMAGE, ALL = 800_000, 100_000, 20_000_000  # bytes
WEIGHTS = "_static/live/weights-*"  # of the model that runs in the pages
BASE = CONFIG["html"]["baseurl"]
SHIPPED = {hashlib.sha256(p.read_bytes()).hexdigest() for p in ROOT.glob("data/*/*.safetensors")}

every_page = pytest.mark.parametrize("source", SOURCES, ids=name)
every_notebook = pytest.mark.parametrize("source", NOTEBOOKS, ids=name)


@every_page
def test_a_page_is_not_large(source):
    assert built(source).stat().st_size <= HTML


@every_page
def test_pictures_are_files_that_load_late_and_keep_their_place(source):
    for image in soup(built(source)).article.find_all("img"):
        if image.find_parent("noscript"):  # of an explorable, where no script moves the text
            continue
        assert image["loading"] == "lazy", image
        with Image.open(built(source).parent / image["src"]) as file:
            wide, high = (int(image[side]) for side in ("width", "height"))
            assert high == pytest.approx(wide * file.height / file.width, abs=1)


def test_pictures_are_small_and_stored_once():
    seen = {}
    for path in SITE.rglob("*.*"):
        if path.suffix in {".png", ".jpg", ".webp"}:
            assert path.stat().st_size <= IMAGE, path
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest not in seen, f"{path} is {seen[digest]} again"
            seen[digest] = path
    assert not [p for p in (SITE / "_sources").rglob("*.ipynb") if "image/png" in p.read_text()]


def test_the_site_is_small_and_carries_no_maps_for_debuggers():
    files = [path for path in SITE.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".map"]
    weights = set(SITE.glob(WEIGHTS))
    size = sum(path.stat().st_size for path in files if path not in weights)
    assert size <= ALL, f"{size / 1e6:.1f} MB"


@every_page
def test_a_page_names_each_script_once_and_none_that_asks_a_third_party(source):
    scripts = [tag["src"] for tag in soup(built(source)).select("script[src]")]
    assert len(scripts) == len(set(scripts)) and not any("//" in address for address in scripts)
    assert "thebe" not in str(soup(built(source)))


@every_page
def test_a_page_says_what_it_is_to_who_has_not_opened_it(source):
    head = soup(built(source)).head
    assert 20 < len(head.select_one('meta[name="description"]')["content"]) <= 210
    address = f"{BASE}chapters/{name(source)}.html"
    assert head.select_one("link[rel=canonical]")["href"] == address
    assert head.select_one('meta[property="og:url"]')["content"] == address
    card = head.select_one('meta[property="og:image"]')["content"]
    with Image.open(SITE / card.removeprefix(BASE)) as image:
        assert image.size == (1200, 630)
    assert (built(source).parent / head.select_one("link[rel=icon]")["href"]).is_file()


def test_descriptions_differ():
    said = [soup(built(s)).head.select_one('meta[name="description"]')["content"] for s in SOURCES]
    assert len(said) == len(set(said))


def test_the_map_of_the_site_names_every_page():
    named = re.findall(r"<loc>(.*?)</loc>", (SITE / "sitemap.xml").read_text())
    assert sorted(named) == sorted(f"{BASE}chapters/{name(source)}.html" for source in SOURCES)


@every_notebook
def test_a_page_says_where_its_numbers_come_from(source):
    made = soup(built(source)).select_one("section.made")
    assert made.select_one("h2#provenance")
    text = " ".join(made.get_text().split())
    assert re.search(r"ran on \d{4}-\d\d-\d\d at commit [0-9a-f]{10}", text)
    assert re.search(r"on \w.*, with Python 3\.\d+\.\d+, torch \d", text)
    assert "How to reproduce this page" in text and "make book" in text
    hashes = [code["title"] for code in made.select("code[title]")]
    assert hashes and set(hashes) <= SHIPPED


@every_notebook
def test_a_page_gives_its_notebook_without_outputs(source):
    link = soup(built(source)).select_one(".made a[download]")["href"]
    assert (built(source).parent / link).read_bytes() == source.read_bytes()
