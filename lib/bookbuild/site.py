"""The pages of the book: the Sphinx extension and theme that make them (`theme/`).

No page asks anyone but the book for anything, and each reads without scripts. Pictures become
files of their own, small and with their size; folds say what they hold; tables scroll in a box.
"""

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from urllib.parse import urljoin

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from PIL import Image
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator

from bookbuild import explorables

THEME = Path(__file__).parent / "theme"
SEARCH = (  # Sphinx's own scripts, on the page that searches, in its order
    "_static/documentation_options.js",
    "_static/doctools.js",
    "_static/sphinx_highlight.js",
    "_static/language_data.js",
    "_static/searchtools.js",
    "searchindex.js",
)
TITLE = re.compile(r"#\s*@title\s+(.*)")  # Colab shows it above a cell that is folded there
THEBE = re.compile(r'<script type="text/x-thebe-config">.*?</script>\s*<script>.*?</script>', re.S)
PARTS = ("image", "encoder", "visual tokens", "language model", "answer")  # as data flows
STUDIED = {  # the parts that a chapter and its proof look into: drawn lit above its title
    1: "visual tokens", 2: "all", 3: "visual tokens, language model",
    4: "language model, answer", 5: "language model", 6: "encoder, visual tokens",
    7: "visual tokens", 8: "encoder, language model", 9: "visual tokens, language model",
    10: "visual tokens", 11: "image", 12: "all", 13: "encoder", 14: "all",
    15: "encoder, language model",
}  # fmt: skip
LARGEST = 100_000  # bytes of a picture
DESCRIPTION = 200  # characters


def setup(app):
    app.add_html_theme("book", str(THEME))
    app.set_translator("html", Translator)
    app.add_node(
        HideCodeCellNode, override=True, html=(Translator.open_fold, Translator.close_fold)
    )
    app.add_post_transform(Folds)
    app.connect("html-page-context", fill_page, priority=900)
    app.connect("build-finished", map_of_the_site)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# --- folds and tables --------------------------------------------------------------------


class Folds(SphinxPostTransform):
    """The title of a folded cell becomes the words on its fold."""

    default_priority = 250  # after the folds are made
    formats = ("html",)

    def run(self, **options):
        for fold in self.document.findall(HideCodeCellNode):
            fold["what"] = "output" if "below-input" in fold["classes"] else "code"
            code = next(fold.findall(nodes.literal_block), None)
            first, _, rest = code.astext().partition("\n") if code else ("", "", "")
            if title := TITLE.match(first):
                fold["what"] += f": {title[1][0].lower()}{title[1][1:].rstrip('.')}"
                code.children = [nodes.Text(rest)]
                code.rawsource = rest


class Translator(HTML5Translator):
    """Sphinx's pages, with tables in a box of their own and folds that a reader understands."""

    def open_fold(self, node):
        what = html.escape(node["what"])
        self.body.append(
            f'<details class="fold"><summary><span class="opens">Show the {what}</span>'
            f'<span class="closes">Hide the {what}</span></summary>\n'
        )

    def close_fold(self, node):
        self.body.append("</details>\n")

    def visit_citation(self, node):
        super().visit_citation(node)  # its role is deprecated, and no list takes it as an item
        self.body[-1] = self.body[-1].replace("doc-biblioentry", "listitem")

    def visit_table(self, node):
        self.body.append('<div class="wide">')
        super().visit_table(node)

    def depart_table(self, node):
        super().depart_table(node)
        self.body.append("</div>\n")

    def visit_entry(self, node):
        super().visit_entry(node)
        if not node.astext().strip() and self.body[-1].startswith("<th"):
            self.body[-1] = self.body[-1].replace("<th", "<td", 1)  # nothing heads this column
            self.context[-1] = self.context[-1].replace("</th", "</td")


# --- one page ----------------------------------------------------------------------------


def fill_page(app, pagename, templatename, context, doctree):
    """What the templates need, and what the page must not load."""
    source = Path(app.srcdir) / f"{pagename}.ipynb"
    options = app.config.html_theme_options
    contents = context["toctree"](titles_only=True, maxdepth=1, includehidden=True, collapse=False)
    context["contents"] = contents.replace(' role="heading"', "")  # a heading without a level
    context["headings"] = context.get("toc") if doctree else None
    context["chapter"] = chapter_number(app, pagename)
    number = f", chapter {context['chapter']}" if context["chapter"] else ""
    context["parts"] = parts_of(pagename)
    context["footline"] = f"{app.config.html_title}{number} · CC BY 4.0"  # on each sheet of paper
    context["description"] = describe(doctree) if doctree else None
    context["card"] = urljoin(app.config.html_baseurl, "_static/card.png")
    if source.exists():
        context["made"] = json.loads(source.read_text())["metadata"].get("provenance")
        context["colab"] = colab(options, pagename)
    context["search_scripts"] = SEARCH if pagename == "search" else ()
    context["scripts"] = ["_static/book.js"]
    if "body" in context:
        body = THEBE.sub("", context["body"])  # Jupyter Book's; it would load from a third party
        body = pictures(app, body, context["pathto"])
        if explorables.MARK in body:
            body = explorables.fill(body, Path(app.outdir), context["pathto"]("_static/live", 1))
            context["scripts"].append(explorables.SCRIPT)
        context["body"] = body
    body = context.get("body", "")
    wanted = [name for css in context["css_files"] if (name := css.filename) and wants(name, body)]
    context["css_files"] = [css for css in context["css_files"] if css.filename in wanted]


def wants(stylesheet: str, body: str) -> bool:
    """Whether a page needs it: the book's own always, sphinx-design's where something uses it."""
    return "book.css" in stylesheet or ("sphinx-design" in stylesheet and 'class="sd-' in body)


def chapter_number(app, pagename: str) -> str:
    number = app.env.toc_secnumbers.get(pagename, {}).get("")
    return ".".join(map(str, number or ()))


def parts_of(pagename: str) -> list[tuple[str, bool]]:
    """The parts of the model, and whether the page looks into them; [] where it is no chapter."""
    number = re.match(r"chapters/(?:deeper/)?(\d\d)-", pagename)
    studied = STUDIED.get(int(number[1])) if number else None
    return [(part, studied == "all" or part in studied) for part in PARTS] if studied else []


def describe(doctree) -> str:
    """The first sentences of a page, for those who have not opened it."""
    words = next((" ".join(p.astext().split()) for p in doctree.findall(nodes.paragraph)), "")
    if len(words) <= DESCRIPTION:
        return words
    return words[:DESCRIPTION].rpartition(" ")[0] + " …"


def colab(options: dict, pagename: str) -> str:
    path = options["repository_url"].removeprefix("https://github.com/")
    launch = options["launch_buttons"]["colab_url"]
    return f"{launch}/github/{path}/blob/{options['repository_branch']}/{pagename}.ipynb"


def map_of_the_site(app, error):
    """sitemap.xml: the address of every page of the book, for search engines."""
    if error or not app.config.html_baseurl:
        return
    pages = (app.builder.get_target_uri(name) for name in sorted(app.env.found_docs))
    lines = [f"<url><loc>{urljoin(app.config.html_baseurl, page)}</loc></url>" for page in pages]
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    head += '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    Path(app.outdir, "sitemap.xml").write_text(head + "\n".join(lines) + "\n</urlset>\n")


# --- pictures ----------------------------------------------------------------------------


def pictures(app, body: str, pathto) -> str:
    """Every picture of a page as a small file in `_images`, loaded late, with width and height."""

    def place(found: re.Match) -> str:
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', found[0]))
        picture = original(app, attributes.get("src", ""))
        if picture is None:
            return found[0]
        name, (wide, high) = keep(picture, Path(app.outdir))
        shown = float(attributes.get("width", wide))
        attributes |= {"src": pathto(f"_images/{name}", 1), "width": f"{shown:.0f}"}
        attributes |= {"height": f"{shown * high / wide:.0f}", "loading": "lazy"}
        return "<img " + " ".join(f'{key}="{value}"' for key, value in attributes.items()) + ">"

    return re.sub(r"<img\b[^>]*>", place, body)


def original(app, src: str) -> bytes | None:
    """The bytes behind an <img>: embedded in the page, or a file of the book; None for others."""
    if src.startswith("data:image/") and ";base64," in src:
        return base64.b64decode(src.partition(";base64,")[2])
    for path, name in app.builder.images.items():
        if name == Path(src).name and not path.endswith((".svg", ".gif")):
            del app.builder.images[path]  # else Sphinx stores it, too
            return (Path(app.srcdir) / path).read_bytes()
    return None


def keep(picture: bytes, site: Path) -> tuple[str, tuple[int, int]]:
    """Store a picture with at most 256 colours, or as WebP where that is still large.

    Returns its name in `_images` and its size in pixels.  What was made once is kept beside the
    pages, in `_build/images`.
    """
    known = hashlib.sha256(picture).hexdigest()[:16]
    folder = site.parent / "images"
    folder.mkdir(exist_ok=True)
    small = next(folder.glob(f"{known}.*"), None)
    if small is None:
        kind, data = smaller(picture)
        small = folder / f"{known}.{kind}"
        small.write_bytes(data)
    (site / "_images").mkdir(exist_ok=True)
    (site / "_images" / small.name).write_bytes(small.read_bytes())
    with Image.open(small) as image:
        return small.name, image.size


def smaller(picture: bytes) -> tuple[str, bytes]:
    """("png" or "webp", bytes) of a picture: 256 colours, or WebP where those are too large."""
    image = Image.open(io.BytesIO(picture)).convert("RGBA")
    if image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
    how = Image.Quantize.FASTOCTREE if image.mode == "RGBA" else Image.Quantize.MEDIANCUT
    data = _saved(image.quantize(256, how, dither=Image.Dither.NONE), "png", optimize=True)
    if len(data) <= LARGEST:
        return "png", data
    return "webp", _saved(image, "webp", quality=82, method=6)


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
