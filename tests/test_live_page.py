"""The explorables as a browser shows them, on a page and in notebooks."""

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from live_cases import asked, same

import live
from bookbuild import served
from bookbuild.site import THEME
from live import library as lib
from live.bundle import ASSETS, page_script
from live.plain import forward, positions, residuals
from live.site import document


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return live.demo(tmp_path_factory.mktemp("demo"))


class Reader:
    """A page, what it asked for, and what its console said."""

    def __init__(self, browser, address, **how):
        self.page = browser.new_context(viewport={"width": 390, "height": 844}, **how).new_page()
        self.asked, self.told = [], []
        self.page.on("request", lambda request: self.asked.append(request.url.split("/")[-1])
                     if not request.url.startswith(("blob:", "data:")) else None)  # fmt: skip
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.goto(address)

    def at(self, name):
        return self.page.locator(f"[data-explorable={name}]")

    def said(self, name, pattern):
        """The sentence of an explorable, once it has some words."""
        self.at(name).locator(".said", has_text=pattern).wait_for(timeout=120_000)
        return self.at(name).locator(".said").inner_text()


@pytest.fixture
def reader(browser, site):
    made = []

    def go(query="", page=None, **how):
        made.append(Reader(browser, page or site.as_uri() + query, **how))
        return made[-1]

    yield go
    for one in made:
        assert one.told == []
        one.page.context.close()


STYLES = THEME / "static" / "book.css", ASSETS / "live.css"
ASK_ALL = """async calls => {
  const out = [];
  for (const [name, given] of calls) out.push([...await dualmechLive.call(name, given)]);
  return out;
}"""
TICKS = """async ([first, second]) => {
  await dualmechLive.call("logits", first);  // the model is there now
  let ticks = 0;
  const timer = setInterval(() => ticks++);
  await dualmechLive.call("logits", second);
  clearInterval(timer);
  return ticks;
}"""


@pytest.mark.parametrize("query, n", [("", 54), ("?simd=off", 9)])  # node has more
def test_engine_equals_pytorch_in_chromium_from_a_file(reader, cases, query, n):
    same(cases[:n], reader(query).page.evaluate(ASK_ALL, asked(cases[:n])))


def test_the_page_does_not_freeze_while_the_model_works(reader, cases):
    """A timer of the page goes on during one answer, which is computed elsewhere."""
    assert reader().page.evaluate(TICKS, [given for _, given in asked(cases[:2])]) > 0


def test_nothing_is_loaded_before_a_touch(reader):
    one = reader()
    one.at("strip-lab").locator(".live-frame").wait_for()
    assert one.asked == ["index.html", "live.js", "model.js"]
    one.page.keyboard.press("Tab")  # to walk past is not to touch
    one.page.mouse.wheel(0, 3000)
    one.page.wait_for_timeout(200)
    assert len(one.asked) == 3
    one.at("strip-lab").get_by_role("button", name="that of the mirrored picture").click()
    one.said("strip-lab", "The model says")
    assert sum(name.startswith("weights-") for name in one.asked) >= 2
    assert not [name for name in one.asked if name.startswith("extras-")]


def test_over_http_the_share_of_the_weights_is_shown_while_they_come(reader, site):
    """The third of their parts waits until the bar was read."""
    with served.folder(site.parent) as address:
        one, held = reader(page=f"{address}/index.html"), []
        one.page.route("**/weights-*-2.js", lambda route: held.append(route))
        one.at("erase-ask").get_by_role("button", name="still green").click()
        bar = one.at("erase-ask").get_by_role("progressbar")
        one.page.wait_for_function("bar => bar.value > 0.2", arg=bar.element_handle())
        assert bar.evaluate("bar => bar.value") < 0.5  # two of seven parts
        assert one.said("erase-ask", "Loading the model")
        held[0].continue_()
        assert "tokens are erased" in one.said("erase-ask", "The model says")
        assert bar.is_hidden()


def test_damaged_weights_are_told(reader, site, tmp_path):
    folder = shutil.copytree(site.parent, tmp_path / "damaged")
    piece = next(folder.glob("weights-*-2.js"))
    text = piece.read_text()
    piece.write_text(text.replace(text[1000:1004], "AAAA", 1))
    one = reader(page=(folder / "index.html").as_uri())
    one.at("erase-ask").get_by_role("button", name="still green").click()
    assert "model's file is damaged" in one.said("erase-ask", "did not work")


def test_bars_are_what_the_model_says(reader, rounded):
    """Erase & ask: the probabilities shown are those that PyTorch finds."""
    one = reader()
    one.at("erase-ask").get_by_role("button", name="everything").click()
    one.said("erase-ask", "144 of 144 tokens are erased")
    shown = one.at("erase-ask").locator(".number").all_inner_texts()[:3]
    blank = lib.draw([], [], rounded.geometry)
    question = one.at("erase-ask").locator(".question").inner_text().removesuffix("…")
    x = rounded.prepare([blank.image], [question])
    with torch.no_grad():
        p = rounded.model(**x).logits[0, -1].softmax(-1)
    ids = rounded.tokenizer.convert_tokens_to_ids(["green", "red", "blue"])
    assert shown == [f"{100 * p[i]:.0f}\u00a0%" for i in ids]


def test_erase_and_ask_by_keyboard(reader):
    one = reader()
    keys = one.page.keyboard
    board = one.at("erase-ask").locator(".cells")
    item = one.at("erase-ask").locator(".item").first
    item.focus()
    keys.press("ArrowDown")
    assert "row 7, column 2" in item.get_attribute("aria-label")
    one.said("erase-ask", "The model says")
    board.focus()
    keys.press("Space")
    one.said("erase-ask", "1 of 144 tokens are erased")
    keys.press("Shift+ArrowRight")
    keys.press("Shift+ArrowDown")
    one.said("erase-ask", "3 of 144 tokens are erased")
    assert "3 tokens erased" in one.at("erase-ask").locator(".picture").get_attribute("aria-label")
    keys.press("Space")
    one.said("erase-ask", "2 of 144 tokens are erased")


def test_erase_and_ask_by_touch(reader):
    one = reader(has_touch=True, is_mobile=True)
    at = one.at("erase-ask")
    at.get_by_role("radio", name="erases tokens").tap()
    at.locator(".board").scroll_into_view_if_needed()
    box = at.locator(".board").bounding_box()
    step = box["width"] / 12
    drag(one.page, [(box["x"] + (k + 0.5) * step, box["y"] + 2.5 * step) for k in (1, 3, 6)])
    assert "6 of 144 tokens are erased" in one.said("erase-ask", "tokens are erased")
    at.get_by_role("radio", name="moves items").tap()
    item = at.locator(".item").first.bounding_box()
    x, y = item["x"] + item["width"] / 2, item["y"] + item["height"] / 2
    drag(one.page, [(x, y), (x, y - step), (x, y - 2 * step)])
    assert "row 4, column 2" in at.locator(".item").first.get_attribute("aria-label")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390


def drag(page, points):
    """A finger that goes down, along the points, and up."""
    session = page.context.new_cdp_session(page)
    for kind, (x, y) in [("touchStart", points[0]), *(("touchMove", p) for p in points[1:])]:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        page.wait_for_timeout(50)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_strip_lab_by_keyboard(reader, rounded):
    """A strip swap as the library has it, chosen with keys alone."""
    one = reader()
    at = one.at("strip-lab")
    at.get_by_role("radio", name="nothing").focus()
    one.page.keyboard.press("ArrowRight")
    assert at.get_by_role("radio", name="both strips").is_checked()
    one.said("strip-lab", "96 tokens were swapped at slot 0")
    at.get_by_role("slider").focus()
    for _ in range(3):
        one.page.keyboard.press("ArrowRight")
    said = one.said("strip-lab", "96 tokens were swapped at slot 3")
    items = tuple(lib.Item("square", c) for c in ("green", "red", "blue"))
    clean, other = (
        lib.trial(trio, "left", "squares", rounded.geometry) for trio in (items, items[::-1])
    )
    moved = lib.swap("strip", clean.stimulus, 12, False)
    theirs = residuals(rounded, other.stimulus, other.question)[3]
    at = positions(rounded, other.stimulus, other.question)

    def change(resid, mine):
        resid[0, mine[moved.target]] = theirs[0, at[moved.source]]

    logits = forward(rounded, clean.stimulus, clean.question, 3, change)
    assert f"The model says {rounded.words[int(np.argmax(logits))]}," in said


WIDE = """[...document.querySelectorAll(".live-frame *")]
.filter(e => e.getBoundingClientRect().right > 391 && !e.closest(".hidden"))
.map(e => e.outerHTML.slice(0, 80))"""
SET = "at => [...at.querySelectorAll('input')].map(e => [e.checked, e.value])"
AT_END = "innerHeight + scrollY > document.documentElement.scrollHeight - 2"


@pytest.mark.parametrize("name", live.EXPLORABLES)
def test_every_explorable_runs_by_keyboard(reader, name):
    """A gate hides the answer until a prediction, with Enter; then a key on a radio button; nothing
    is wider than a phone.  A link leads to this state; a reset, to that before the prediction."""
    one = reader()
    at = one.at(name)
    parts = at.locator(".left, .more:not(:empty)")
    first = [part.screenshot() for part in parts.all()]
    begun = at.evaluate(SET)
    choice = at.locator(".choices button").first
    words = choice.inner_text()
    assert at.locator(".result").is_hidden()
    choice.focus()
    one.page.keyboard.press("Enter")
    one.said(name, ".")
    assert at.locator(".result").is_visible()
    assert f"You predicted: {words}" in at.locator(".gate").inner_text()
    at.locator("input[type=radio]:checked").last.focus()
    one.page.keyboard.press("ArrowRight")
    at.locator(".live-frame[data-done]").wait_for(timeout=240_000)
    assert one.page.evaluate(WIDE) == []
    link = at.get_by_role("link", name="Link to this state").get_attribute("href")
    two = reader(link).at(name)
    two.locator(".live-frame[data-done]").wait_for(timeout=240_000)
    assert two.locator(".said").inner_text() == at.locator(".said").inner_text()
    assert two.evaluate(SET) == at.evaluate(SET) != begun
    assert two.locator(".gate").is_hidden()
    assert abs(two.bounding_box()["y"]) < 9 or two.page.evaluate(AT_END)  # that is what one sees
    at.get_by_role("button", name="Reset").press("Enter")
    for _ in range(50):  # pictures are drawn when the browser gets to it
        again = [part.screenshot() for part in parts.all()]
        if again == first:
            break
        one.page.wait_for_timeout(200)
    assert again == first, "a picture is not as it was"
    assert at.evaluate(SET) == begun and at.locator(".gate .choices").is_visible()
    assert all(scene.is_hidden() for scene in at.locator(".look .board").all())


def test_a_reset_amid_a_long_run_ends_it_in_silence(reader):
    one = reader()
    at = one.at("turn-it-up")
    at.locator(".choices button").first.click()
    at.locator(".dots .mark:not(.open)").first.wait_for(timeout=120_000)  # some scenes are asked
    at.get_by_role("button", name="Reset").click()
    one.page.wait_for_timeout(3000)  # the scene that was being asked has its answer
    assert at.locator(".said").inner_text() == ""
    assert at.locator(".dots .mark:not(.open)").count() == 0
    assert at.locator(".look .board").is_hidden()


def test_still_pictures_stand_in_without_scripts(reader):
    one = reader(java_script_enabled=False)
    for at in map(one.at, live.EXPLORABLES):
        at.locator("img").scroll_into_view_if_needed()  # it loads late
        assert at.locator("img").get_attribute("alt") in at.locator("figcaption").inner_text()
        assert at.locator("img").evaluate("image => image.complete && image.naturalWidth") > 300


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_place_of_the_keyboard_has_the_book_s_accent(reader, theme):
    """On the picture, which is white in the dark, too: the accent of light pages."""
    one = reader()
    one.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    board = one.at("strip-lab").locator(".board").first
    board.locator(".cells").focus()
    line = "marks => [...marks.getContext('2d').getImageData(3, 24, 1, 1).data.slice(0, 3)]"
    assert board.locator(".marks").evaluate(line) == [0x0B, 0x6B, 0x53]


def test_the_book_and_the_explorables_share_no_class():
    """Their styles meet on a page: a class of both would look as the other wants it."""
    classes = re.compile(r"\.([a-z][\w-]*)(?=[^{}]*\{)")
    book, own = (set(classes.findall(path.read_text())) for path in STYLES)
    assert book & own == {"explorable", "live-frame"}


def test_the_explorables_have_the_accents_of_the_book():
    said = re.compile(r"--accent: (#\w+)")
    book, own = (said.findall(path.read_text()) for path in STYLES)
    assert len(set(own)) == 2 and set(own) <= set(book)


# --- in notebooks ---


@pytest.fixture(scope="module")
def shown():
    """What a notebook gets."""
    return live.show("strip-lab")


def answers(frame) -> str:
    """What an explorable says to a click, in a frame that may lie in frames."""
    frame.get_by_role("button", name="that of the mirrored picture").click()
    frame.locator(".said", has_text=re.compile("96 tokens|did not work")).wait_for(timeout=60_000)
    return frame.locator(".said").inner_text()


def test_show_is_one_frame_with_all_inside(reader, tmp_path, shown):
    page = tmp_path / "notebook.html"
    page.write_text(document(shown._repr_html_()))
    one = reader(page=page.as_uri())
    assert "96 tokens were swapped" in answers(one.page.frame_locator("iframe"))
    assert one.asked == ["notebook.html"]


def test_a_chapter_as_a_notebook_says_how_to_show_its_explorable():
    """Where the page has it, a notebook has these words; the page has no trace of them."""
    places = re.compile(r'<div class="explorable" data-explorable="([\w-]+)">(.*?)</div>')
    found = set()
    for path in (Path(__file__).parents[1] / "chapters").rglob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for name, told in places.findall("".join(cell["source"])):
                call = f'import live; live.show("{name}")'
                assert told == f"In a notebook, run <code>{call}</code>", path.name
                found.add(name)
    assert found == set(live.EXPLORABLES)


def test_words_for_notebooks_do_not_stand_on_the_page(site):
    place = live.embed("heat-map").replace("></div>", ">In a notebook</div>")
    page = live.fill(f"<body>{place}</body>", site.parent, ".")
    assert "In a notebook" not in page and "<noscript>" in page


def test_as_text_it_is_its_title(shown):
    """A terminal, and the copy as text in a saved notebook."""
    assert repr(shown) == "Frame(title='Strip lab')"
    assert len(shown.html) < 7e6


COLAB = "allow-scripts allow-same-origin allow-forms allow-popups allow-modals allow-downloads"
INLINE = "style-src 'unsafe-inline'; child-src blob:; script-src 'unsafe-inline'"
OUTPUTS = {  # how an output comes into a notebook's page: its sandbox, the way, and what it may do
    "of another origin": (COLAB, "src", ""),
    "of another origin, by rule": (COLAB, "src", f"{INLINE} 'unsafe-eval'"),
    "of another origin, without WebAssembly": (COLAB, "src", INLINE),
    "sandboxed": ("allow-scripts", "srcdoc", ""),
    "sandboxed, from a blob": ("allow-scripts", "blob", ""),
}
PUT = {
    "src": "frame.src = 'https://output/output'",
    "srcdoc": "frame.srcdoc = await (await fetch('output')).text()",
    "blob": "frame.src = URL.createObjectURL(await (await fetch('output')).blob())",
}


@contextmanager
def output(browser, shown, sandbox, way, policy):
    """The frame that a notebook shows, in a frame for outputs."""
    notebook = (
        f'<!doctype html><iframe sandbox="{sandbox}" width="800" height="1000"></iframe>'
        '<script type="module">const frame = document.querySelector("iframe");'
        f"{PUT[way]}</script>"
    )
    rules = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    pages = {"": notebook, "output": f"<!doctype html>{rules * bool(policy)}{shown.html}"}
    with browser.new_context(viewport={"width": 900, "height": 1100}) as context:
        context.route(
            "https://*/*",
            lambda route: route.fulfill(
                content_type="text/html", body=pages.get(route.request.url.split("/")[-1], "")
            ),
        )
        page = context.new_page()
        page.goto("https://notebook/")
        yield page.frame_locator("iframe").frame_locator("iframe")


@pytest.mark.parametrize("kind", OUTPUTS)
def test_show_works_where_notebooks_put_outputs(browser, shown, kind):
    """Colab: a frame of another origin; others: a sandbox without any, or rules on scripts."""
    with output(browser, shown, *OUTPUTS[kind]) as frame:
        assert "96 tokens were swapped" in answers(frame)


def test_where_workers_are_forbidden_it_says_so(browser, shown):
    with output(browser, shown, "allow-scripts", "srcdoc", "worker-src 'none'") as frame:
        assert "may not start the worker" in answers(frame)


def test_scripts_hold_no_address_of_others():
    """No third party: the only address is the name of a drawing standard."""
    assert re.findall(r"https?:[^\"]*", page_script()) == ["http://www.w3.org/2000/svg"]
