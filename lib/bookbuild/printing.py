"""The book on paper: every page in the order of the contents, one PDF.

`make print` writes `_build/book.pdf`. What is folded stays folded; links between the pages stay
links.
"""

import io
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NullObject

from bookbuild import browser

TITLE = """() => {
  const title = document.querySelector('article h1').cloneNode(true);
  title.querySelectorAll('.headerlink').forEach(link => link.remove());
  return title.textContent.trim();
}"""


def order(node) -> list[str]:
    """The files of a table of contents (the parsed `_toc.yml`), as a reader turns them."""
    own = [node[key] for key in ("root", "file") if key in node]
    below = [child for key in ("parts", "chapters", "sections") for child in node.get(key, ())]
    return own + [name for child in below for name in order(child)]


def print_book(root: Path, chromium) -> Path:
    """Print the built pages of `root` with an open browser; returns the path of the PDF."""
    site, book, starts = root / "_build" / "html", PdfWriter(), {}
    toc, config = (
        yaml.safe_load((root / name).read_text()) for name in ("_toc.yml", "_config.yml")
    )
    tab = chromium.new_context(offline=True).new_page()
    for name in order(toc):
        page = site / f"{name}.html"
        starts[page] = len(book.pages)
        tab.goto(page.as_uri())
        tab.add_style_tag(content=f"html {{ counter-reset: page {len(book.pages)} }}")
        tab.evaluate("() => document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        tab.evaluate("() => Promise.all([...document.images].map(i => i.decode()))")
        sheets = PdfReader(io.BytesIO(tab.pdf(format="A4", prefer_css_page_size=True)))
        book.append(sheets, outline_item=tab.evaluate(TITLE), import_outline=False)
    turn_links_inward(book, starts)
    book.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    path = site.with_name("book.pdf")
    book.write(path)
    return path


def turn_links_inward(book: PdfWriter, starts: dict[Path, int]) -> None:
    """Let links to pages of the site go to their sheets in the PDF.

    starts: the number of the first sheet of each page.
    """
    for sheet in book.pages:
        for note in sheet.get("/Annots", ()):
            note = note.get_object()
            target = urlsplit(str(note.get("/A", {}).get("/URI", "")))
            first = starts.get(Path(unquote(target.path)))
            if target.scheme == "file" and first is not None:
                to = [book.pages[first].indirect_reference, NameObject("/XYZ"), *[NullObject()] * 3]
                kind = {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): ArrayObject(to)}
                note[NameObject("/A")] = DictionaryObject(kind)


if __name__ == "__main__":
    try:
        with browser.opened() as chromium:
            print(f"Printed {print_book(Path.cwd(), chromium).relative_to(Path.cwd())}")
    except FileNotFoundError as error:
        sys.exit(str(error))
