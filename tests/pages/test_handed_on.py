"""What is handed on instead of the site: the archive and the book on paper."""

import hashlib
import zipfile

import pytest
import yaml
from book import CONFIG, ROOT, SITE, SOURCES, START, soup
from pypdf import PdfReader
from pypdf.generic import IndirectObject

from bookbuild import archive, printing


def test_the_archive_opens_from_a_folder_with_the_network_off(browser, tmp_path):
    path = archive.pack(ROOT)
    digest, _, named = path.with_suffix(".zip.sha256").read_text().partition("  ")
    assert named == f"{path.name}\n"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    again = archive.pack(ROOT).read_bytes()
    assert hashlib.sha256(again).hexdigest() == digest, "the same pages, the same archive"
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        packed.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    there = {p.relative_to(SITE).as_posix() for p in SITE.rglob("*") if p.is_file()}
    assert here == there - {".buildinfo"}
    with browser.new_context(offline=True) as context:
        tab, said = context.new_page(), []
        tab.on("console", lambda message: said.append(message.text))
        tab.goto((folder / "index.html").as_uri())
        tab.wait_for_selector("article h1")
        assert tab.url.endswith(f"chapters/{START}.html")
        tab.locator(".explorable .choices button").first.click()  # the model is in the archive
        tab.locator(".said", has_text="The model says").wait_for(timeout=60_000)
        tab.click("a.next")
        tab.wait_for_selector("article h1")
    assert not said


@pytest.fixture(scope="module")
def paper(browser):
    return PdfReader(printing.print_book(ROOT, browser))


def test_every_page_is_in_the_pdf_in_the_order_of_the_contents(paper):
    names = printing.order(yaml.safe_load((ROOT / "_toc.yml").read_text()))
    titles = [soup(SITE / f"{page}.html").article.h1.get_text() for page in names]
    wanted = ["".join(title.removesuffix("¶").split()) for title in titles]
    found = ["".join(entry.title.split()) for entry in paper.outline]
    assert found == wanted
    starts = [paper.get_destination_page_number(entry) for entry in paper.outline]
    assert starts == sorted(set(starts)) and starts[0] == 0


def test_sheets_have_their_number_the_title_and_the_licence(paper):
    for number, sheet in list(enumerate(paper.pages, 1))[::15]:  # reading one takes a while
        text = "".join(sheet.extract_text().split())
        assert f"{number}{''.join(CONFIG['title'].split())}" in text  # the foot of the sheet
        assert "CCBY4.0" in text
    assert paper.metadata.title == CONFIG["title"]


def test_links_between_pages_stay_inside_the_pdf(paper):
    inside = 0
    for sheet in paper.pages:
        for note in sheet.get("/Annots", ()):
            action = note.get_object().get("/A", {})
            assert not str(action.get("/URI", "")).startswith("file:///"), action
            if action.get("/S") == "/GoTo":
                assert isinstance(action["/D"].get_object()[0], IndirectObject)
                inside += 1
    assert inside > len(SOURCES)
