"""The pages in a browser: on a phone and a desk, light and dark, on paper, with the network off."""

import gzip
import io
import re
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from book import CONFIG, SOURCES, START, built, name
from pypdf import PdfReader

from bookbuild import form

PHONE, DESK, PAPER = (360, 740), (1280, 900), (665, 940)  # CSS pixels; A4 within its margins
GATES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
SCREENS, START_SCREENS = 10, 4
WORDS, CODE_SHARE = 1700, 0.2  # of a chapter; code that is open
FIRST_VIEW = 700_000  # bytes, compressed
BY_NAME = {name(source): source for source in SOURCES}
KINDS = START, "01-the-binding-problem", "07-swapping-strips", "scoreboard", "teaching", "glossary"
some_pages = pytest.mark.parametrize("source", [BY_NAME[kind] for kind in KINDS], ids=name)

WIDER = """width => [...document.body.querySelectorAll('*')]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > width + .5 + scrollX
      && !e.closest('pre, .wide'))
  .map(e => e.outerHTML.slice(0, 120))"""
CUT = """() => [...document.querySelectorAll('pre, .wide')]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map(e => e.textContent.slice(0, 120))"""
COLOURS = """() => [document.body, ...document.querySelectorAll('article, .live-frame')]
  .map(e => getComputedStyle(e)).map(s => [s.color, s.backgroundColor])"""
CONTRASTS = """() => {  // the contrasts of code with its box
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
  const rgb = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const pairs = [...document.querySelectorAll('.highlight pre, .highlight pre span')].map(e =>
    getComputedStyle(e).color + '|' + getComputedStyle(e.closest('pre')).backgroundColor);
  return Object.fromEntries([...new Set(pairs)].map(pair => {
    const [a, b] = pair.split('|').map(c => c === 'rgba(0, 0, 0, 0)'
      ? getComputedStyle(document.body).backgroundColor : c).map(c => light(rgb(c))).sort();
    return [pair, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  }));
}"""
PLAIN = """() => document.querySelectorAll('.highlight pre')
  .forEach(e => e.textContent = e.textContent)"""  # thousands of words, whose colours CONTRASTS has
OPEN_ALL = "() => document.querySelectorAll('details').forEach(d => d.open = true)"


class Visit:
    """One page, opened from its file with the network off, and all that was seen there."""

    def __init__(self, browser, source):
        with opened(browser, source, PHONE) as (page, self.said, self.asked):
            self.form = form.measure(page)
            page.evaluate(OPEN_ALL)
            self.wide = page.evaluate("document.documentElement.scrollWidth")
            self.wider = page.evaluate(WIDER, PHONE[0])
            self.code = []
            for theme in ("light", "dark"):
                page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
                self.code.append(page.evaluate(CONTRASTS))
            page.emulate_media(media="print")
            page.set_viewport_size(sides(PAPER))
            self.cut, self.colours = page.evaluate(CUT), page.evaluate(COLOURS)
            page.emulate_media(media="screen")
            page.set_viewport_size(sides(PHONE))
            page.evaluate("document.documentElement.dataset.theme = 'light'")
            self.faults = axe(page)


def sides(size: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("width", "height"), size, strict=True))


@contextmanager
def opened(browser, source, size=DESK, **how):
    """A page from its file with the network off: (tab, what it says, what it asks for)."""
    with browser.new_context(viewport=sides(size), offline=True, **how) as context:
        tab = context.new_page()
        said, asked = watch(tab)
        tab.goto(built(source).as_uri())
        yield tab, said, asked


def watch(page) -> tuple[list[str], list[str]]:
    """What a page will say on the console, and what it will ask for."""
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return said, asked


def axe(page) -> list[str]:
    page.evaluate(PLAIN)
    options = {"runOnly": GATES, "resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{v['id']}: {node['html'][:150]}" for v in found for node in v["nodes"]]


@pytest.fixture(scope="module", params=SOURCES, ids=name)
def visited(request, browser):
    """(name of the page, Visit)."""
    return name(request.param), Visit(browser, request.param)


def test_the_page_is_silent_and_asks_nobody(visited):
    _, visit = visited
    assert not visit.said
    assert visit.asked and all(url.startswith(("file:", "data:")) for url in visit.asked)


def test_nothing_is_wider_than_a_phone_with_the_folds_open(visited):
    _, visit = visited
    assert visit.wide <= PHONE[0] and not visit.wider, visit.wider


def test_anyone_can_use_the_page(visited):
    _, visit = visited
    assert not visit.faults
    for code in visit.code:  # light, dark
        assert all(contrast >= 4.5 for contrast in code.values()), code


def test_on_paper_no_line_is_cut_and_the_dark_page_is_light(visited):
    _, visit = visited
    assert not visit.cut
    body, article, *explorables = visit.colours  # of text, and of what is behind it
    assert body == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert article == ["rgb(0, 0, 0)", "rgba(0, 0, 0, 0)"]
    assert all(colours == ["rgb(27, 31, 36)", "rgb(255, 255, 255)"] for colours in explorables)


def test_a_chapter_is_short(visited):
    page, visit = visited
    if page.startswith("deeper/"):
        pytest.skip("the proof may be as long as it has to be")
    screens, most = visit.form["screens"], START_SCREENS if page == START else SCREENS
    assert screens <= most
    if page[:2].isdigit() or page == "pencil":  # what is read from top to bottom
        assert visit.form["words"] <= WORDS
        assert visit.form["code"] <= CODE_SHARE


def test_no_output_is_a_bare_value(visited):
    _, visit = visited
    assert visit.form["raw"] == []


@some_pages
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_anyone_can_use_the_page_in_any_form(browser, source, theme, size):
    """Folds are shut here, and open in a visit."""
    with opened(browser, source, size, color_scheme=theme) as (tab, _, _):
        assert not axe(tab)


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_served_the_page_is_silent_and_its_first_view_is_light(browser, server, source):
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        tab = context.new_page()
        said, asked = watch(tab)
        tab.route(lambda url: not url.startswith(server), lambda route: route.abort())
        sizes = {}
        tab.on(
            "requestfinished",
            lambda r: sizes.update({r.url: len(gzip.compress(r.response().body()))}),
        )
        tab.goto(f"{server}/chapters/{name(source)}.html", wait_until="networkidle")
    assert not said
    assert all(url.startswith((server, "data:")) for url in asked)
    assert sum(sizes.values()) <= FIRST_VIEW, sizes


@some_pages
def test_a_printed_page_says_what_it_is_of(browser, source):
    with opened(browser, source) as (tab, _, _):
        sheets = PdfReader(io.BytesIO(tab.pdf(format="A4", prefer_css_page_size=True))).pages
    number = name(source)[:2]
    for sheet in sheets:
        text = " ".join(sheet.extract_text().split())
        assert CONFIG["title"] in text and "CC BY 4.0" in text
        if number.isdigit() and name(source) != START:
            assert f"chapter {int(number)} " in text


def test_the_search_finds_a_word_from_a_file(browser):
    with opened(browser, SOURCES[0]) as (tab, said, _):
        tab.fill("header input[name=q]", "binding")
        tab.press("header input[name=q]", "Enter")
        tab.wait_for_selector("#search-results li a")
        assert "binding" in tab.inner_text("#search-results").lower()
        assert not axe(tab)
    assert not said


def test_the_switch_turns_the_page_dark_and_the_next_page_too(browser, server):
    with browser.new_context(color_scheme="light") as context:
        tab = context.new_page()
        tab.goto(f"{server}/chapters/{START}.html")
        paper = "getComputedStyle(document.body).backgroundColor"
        assert tab.evaluate(paper) == "rgb(255, 255, 255)"
        tab.click("button.theme")
        assert tab.get_attribute("button.theme", "aria-label") == "Light"
        dark = tab.evaluate(paper)
        tab.goto(f"{server}/chapters/glossary.html")
        assert tab.evaluate(paper) == dark != "rgb(255, 255, 255)"


def test_by_keyboard_the_contents_open_on_a_phone(browser):
    with opened(browser, SOURCES[0], PHONE) as (tab, _, _):
        assert not tab.is_visible("nav#contents")
        tab.focus("button.menu")
        tab.keyboard.press("Enter")
        assert tab.is_visible("nav#contents a >> text=Glossary")
        assert not axe(tab)
        tab.keyboard.press("Escape")
        assert not tab.is_visible("nav#contents")


def test_folded_code_opens_and_says_so(browser):
    """The words on a fold change with it, and the code behind it is a reader's to copy."""
    source = next(s for s in SOURCES if s.suffix == ".ipynb" and '"hide-input"' in s.read_text())
    with opened(browser, source) as (tab, _, _):
        fold = tab.locator("details.fold").first
        assert not fold.locator("pre").is_visible()
        assert fold.locator("summary").inner_text().startswith("Show the code")
        fold.locator("summary").click()
        assert fold.locator("pre").is_visible()
        assert fold.locator("summary").inner_text().startswith("Hide the code")


PLACED = [
    (source, found)
    for source in SOURCES
    for found in re.findall(r'data-explorable=\\?"([\w-]+)', source.read_text())
]


def test_each_explorable_stands_where_its_idea_is_told():
    """Chapters by their numbers; 0 is the start page."""
    assert sorted((int(name(source)[:2]), explorable) for source, explorable in PLACED) == [
        (0, "erase-ask"), (1, "erase-ask"), (4, "layer-scrubber"), (6, "heat-map"),
        (7, "strip-lab"), (8, "two-roads"), (10, "turn-it-up"),
    ]  # fmt: skip


every_explorable = pytest.mark.parametrize(
    ("source", "explorable"), PLACED, ids=lambda value: value if isinstance(value, str) else ""
)


@every_explorable
def test_on_a_phone_nothing_jumps_when_an_explorable_is_drawn(browser, source, explorable):
    """It is about as high before its script has come."""
    high = []
    for pattern in ("**/live.js", "no such script"):
        with browser.new_context(viewport={"width": 390, "height": 844}) as context:
            context.route(pattern, lambda route: route.abort())
            tab = context.new_page()
            tab.goto(built(source).as_uri())
            drawn = " .live-frame" * (len(high) == 1)
            tab.wait_for_selector(f"[data-explorable={explorable}]{drawn}")
            high.append(tab.locator(f"[data-explorable={explorable}]").bounding_box()["height"])
    assert high[0] == pytest.approx(high[1], abs=40)


@every_explorable
def test_an_explorable_answers_a_finger_on_its_page(browser, source, explorable):
    """On a phone, from a file, with the network off: a prediction, a choice, and back again.

    By keyboard alone: tests/test_live_page.py.
    """
    phone = {"has_touch": True, "is_mobile": True}
    with opened(browser, source, (390, 844), **phone) as (tab, said, asked):
        at = tab.locator(f"[data-explorable={explorable}]")
        at.locator(".choices button").first.tap()
        at.locator(".live-frame[data-done]").wait_for(timeout=120_000)
        first = at.locator(".said").inner_text()
        assert first and at.locator(".result").is_visible()
        assert not axe(tab)  # bars, tables and curves are there now
        group = at.locator("fieldset", has=tab.locator("input[type=radio]:visible")).last
        group.locator("input[type=radio]:not(:checked)").first.tap()
        at.locator(".live-frame[data-done]").wait_for(timeout=120_000)
        at.get_by_role("button", name="Reset").tap()
        assert at.locator(".gate").is_visible() and not at.locator(".result").is_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert not said and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
