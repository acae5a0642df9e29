"""The model in the page: the engine beside PyTorch, the canvas beside the library, the explorables
as a browser shows them."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from live_cases import make

import live
from bookbuild import served
from live import kernel, pack
from live import library as lib
from live.bundle import ASSETS, page_script
from live.plain import forward, positions, residuals
from live.site import document


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """The shipped model with the page's weights: those of its file in float16."""
    return with_page_weights(lib.load("mini", device="cpu"), tmp_path_factory.mktemp("rounded"))


def with_page_weights(vlm, folder):
    shutil.copytree(vlm.path, folder, dirs_exist_ok=True)
    data = pack.weights(vlm)
    (folder / "model.safetensors").write_bytes(data)
    return lib.load(folder, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def cases(rounded):
    return make(rounded, 200)


@pytest.fixture(scope="module")
def other_sizes(tmp_path_factory):
    """A model of the same form in which no size is that of `mini`, with shared keys and values."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(lib.load("mini", device="cpu").path, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()
    told = json.loads((folder / "config.json").read_text())
    told["vision_config"] |= {
        "hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 80, "image_size": 56,
        "num_hidden_layers": 3, "layer_norm_eps": 1e-5,
    }  # fmt: skip
    told["text_config"] |= {
        "hidden_size": 72, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
        "intermediate_size": 104, "num_hidden_layers": 5, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    told["text_config"]["rope_parameters"]["rope_theta"] = 500.0
    told |= {"image_seq_length": 49, "vision_feature_layer": -2}
    torch.manual_seed(1)
    model = LlavaForConditionalGeneration(LlavaConfig(**told))
    for weight in model.parameters():
        weight.data = torch.randn_like(weight) * (0.2 if weight.ndim > 1 else 0.5)
    model.save_pretrained(folder)
    images = json.loads((folder / "processor_config.json").read_text())
    images["image_processor"]["size"] = {"height": 56, "width": 56}
    images["image_processor"] |= {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (folder / "processor_config.json").write_text(json.dumps(images))
    return with_page_weights(lib.load(folder, device="cpu"), tmp_path_factory.mktemp("half"))


# --- the engine, in node and in chromium ---


def in_node(vlm, calls, simd=True):
    """What the lab returns to calls [[name, given], ...], in node."""
    if not shutil.which("node"):
        pytest.skip("no node: the engine was not tried there (chromium tries it, too)")
    request = {"weights": str(vlm.path / "model.safetensors"), "model": pack.model(vlm)}
    request |= {"kit": pack.kit(vlm), "simd": simd, "calls": calls}
    path = vlm.path / "request.json"
    path.write_text(json.dumps(request))
    script = Path(__file__).with_name("live_node.mjs")
    done = subprocess.run(
        ["node", script, ASSETS, path], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["results"]


def asked(cases):
    return [["logits", {key: case[key] for key in ("clean", "edits")}] for case in cases]


def same(cases, found, limit=1e-4):
    """Logits within a limit of PyTorch's, and the same answer, in every case."""
    assert len(found) == len(cases)
    for case, logits in zip(cases, found, strict=True):
        expected = np.array(case["expected"])
        worst = abs(np.array(logits) - expected).max()
        assert worst < limit, f"{case['op']} differs by {worst}: {case['clean']}, {case['edits']}"
        assert np.argmax(logits) == expected.argmax(), case["op"]


def test_the_cases_edit_something(cases):
    """Cases whose edits change nothing would prove nothing."""
    plain = [case for case in cases if case["op"] == "none"]
    spread = np.std([case["expected"] for case in plain], 0).max()
    assert spread > 1  # other questions, other logits
    assert len({case["op"] for case in cases}) == 9
    assert {edit["slot"] for case in cases for edit in case["edits"]} == set(range(9))


def test_engine_equals_pytorch_in_node(rounded, cases):
    same(cases, [r["result"] for r in in_node(rounded, asked(cases))])


def test_engine_without_simd_equals_pytorch(rounded, cases):
    some = cases[:18]
    same(some, [r["result"] for r in in_node(rounded, asked(some), simd=False)])


def test_engine_reads_all_sizes_from_the_configuration(other_sizes):
    some = make(other_sizes, 27, seed=5)
    same(some, [r["result"] for r in in_node(other_sizes, asked(some))])


def test_probe_equals_the_library(rounded):
    trial = lib.trials("squares", rounded.geometry)[7]
    rng = np.random.RandomState(0)
    weights, bias = rng.standard_normal((rounded.d_model, 3)), rng.standard_normal(3)
    items = [
        {"name": item.name, "row": int(box[1]) // rounded.px, "col": int(box[0]) // rounded.px}
        for item, box in zip(trial.stimulus.items, trial.stimulus.boxes, strict=True)
    ]
    given = {"view": {"scene": {"task": "squares", "items": items}}}
    given |= {"weights": weights.tolist(), "bias": bias.tolist()}
    states = rounded.visual([trial.stimulus.image])[0].double()
    expected = (states @ torch.from_numpy(weights) + torch.from_numpy(bias)).softmax(-1)
    found = in_node(rounded, [["probe", given]])[0]["result"]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_wrong_input_is_told(rounded):
    run = {"view": {"scene": {"task": "squares", "items": []}}, "question": "what is this zebra"}
    fine = run | {"question": "what is left".replace("what", "which")}
    copy = {"slot": 9, "op": "copy", "to": [0], "of": [0]}
    given = [["logits", {"clean": run}], ["logits", {"clean": fine, "edits": [copy]}]]
    given.append(["logits", {"clean": fine, "edits": [copy | {"slot": 0, "op": "swop"}]}])
    words, slot, op = (r["error"] for r in in_node(rounded, given))
    assert 'does not know the word "what"' in words
    assert "slot 9 is out of range: 0 .. 8" in slot
    assert 'unknown edit "swop"' in op


def test_rounding_the_weights_keeps_the_answers(rounded):
    """float16 halves the download; on unseen trios no answer may change."""
    whole = lib.load("mini", device="cpu")
    for task in lib.TASKS:
        some = lib.trials(task, whole.geometry, heldout=True)[::12]
        given = [t.stimulus.image for t in some], [t.question for t in some]
        assert rounded.answer(*given) == whole.answer(*given)


def test_other_models_are_refused(rounded):
    vlm = lib.load("mini", device="cpu")
    vlm.path = None
    with pytest.raises(lib.ModelError, match="needs a folder with model.safetensors"):
        live.build("unused", vlm)
    with pytest.raises(ValueError, match="no explorable 'strip'; known: erase-ask"):
        live.embed("strip")


# --- the kernel ---


def test_kernel_is_made_from_its_source():
    pytest.importorskip("wasmtime", reason="pip install wasmtime: mm.wat was not assembled")
    assert (ASSETS / "kernel.js").read_text() == kernel.source(kernel.assembled())


@pytest.mark.parametrize("n, k, m", [(4, 1, 8), (12, 7, 24), (184, 128, 320)])
def test_both_products_equal_numpy(rounded, n, k, m):
    fast, plain = in_node(rounded, [["product", {"n": n, "k": k, "m": m}]])[0]["result"]
    a, b = np.reshape(fast["a"], (n, k)), np.reshape(fast["b"], (k, m))
    for one in (fast, plain):
        np.testing.assert_allclose(np.reshape(one["c"], (n, m)), a @ b, atol=2e-5)


# --- the canvas ---


def scenes(vlm):
    """Every item alone, rows, columns, and items that overlap, with the library's pictures."""
    rng, shape = np.random.RandomState(3), vlm.geometry
    for task in lib.TASKS:
        pool, full = pack.pool(task), task == "squares"
        sets = [[item] for item in pool]
        sets += [[pool[i] for i in rng.permutation(len(pool))[:4]] for _ in range(10)]
        for items in sets:
            cells = [tuple(map(int, rng.randint(0, shape.grid - shape.item + 1, 2))) for _ in items]
            told = [
                {"name": item.name, "row": row, "col": col}
                for item, (row, col) in zip(items, cells, strict=True)
            ]
            yield {"task": task, "items": told}, lib.draw(items, cells, shape, full=full).pixels


def test_canvas_draws_the_library_pixels(rounded):
    told, pixels = zip(*scenes(rounded), strict=True)
    assert len(told) == 7 + 6 + 8 + 30
    found = in_node(rounded, [["draw", {"scene": scene}] for scene in told])
    for scene, expected, result in zip(told, pixels, found, strict=True):
        drawn = np.frombuffer(base64.b64decode(result["result"]), np.uint8)
        assert np.array_equal(drawn, expected.reshape(-1)), scene


def test_regions_are_the_library_regions(rounded):
    trial, grid = lib.trials("squares", rounded.geometry)[0], rounded.grid[0]
    items = [
        {"name": item.name, "row": int(box[1]) // rounded.px, "col": int(box[0]) // rounded.px}
        for item, box in zip(trial.stimulus.items, trial.stimulus.boxes, strict=True)
    ]
    given = {"scene": {"task": "squares", "items": items}}
    found = in_node(rounded, [["regions", given]])[0]["result"]

    def of(region, vertical=False):
        return lib.swap(region, trial.stimulus, grid, vertical)

    for vertical in (False, True):
        first, _, last = found["strips"][vertical]
        assert [*first, *last] == of("strip", vertical).target.tolist()
        assert found["flipped"][vertical] == of("whole", vertical).source.tolist()
    assert [*found["items"][0], *found["items"][2]] == of("object").target.tolist()
    assert found["free"] == of("layout").target.tolist()


# --- in the browser ---


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

    def go(query="", **how):
        made.append(Reader(browser, site.as_uri() + query, **how))
        return made[-1]

    yield go
    for one in made:
        assert one.told == []
        one.page.context.close()


def test_engine_equals_pytorch_in_chromium_from_a_file(reader, cases):
    page = reader().page
    found = page.evaluate(
        "async calls => { const out = []; for (const [name, given] of calls) "
        "out.push([...await dualmechLive.call(name, given)]); return out; }",
        asked(cases),
    )
    same(cases, found)


def test_engine_without_simd_in_chromium(reader, cases):
    some = cases[:9]
    page = reader("?simd=off").page
    found = page.evaluate(
        "async calls => { const out = []; for (const [name, given] of calls) "
        "out.push([...await dualmechLive.call(name, given)]); return out; }",
        asked(some),
    )
    same(some, found)


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


def test_works_over_http(browser, site):
    with served.folder(site.parent) as address:
        one = Reader(browser, f"{address}/index.html")
        one.at("erase-ask").get_by_role("button", name="still green").click()
        assert "tokens are erased" in one.said("erase-ask", "The model says")
        one.page.context.close()
    assert one.told == []


def test_damaged_weights_are_told(browser, site, tmp_path):
    folder = shutil.copytree(site.parent, tmp_path / "damaged")
    piece = next(folder.glob("weights-*-2.js"))
    text = piece.read_text()
    piece.write_text(text.replace(text[1000:1004], "AAAA", 1))
    one = Reader(browser, (folder / "index.html").as_uri())
    one.at("erase-ask").get_by_role("button", name="still green").click()
    assert "model's file is damaged" in one.said("erase-ask", "did not work")
    one.page.context.close()


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
    assert shown == [f"{100 * p[i]:.0f} %" for i in ids]


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
    answer = swapped(rounded, clean, other, lib.swap("strip", clean.stimulus, 12, False), 3)
    assert f"The model says {answer}," in said


def swapped(vlm, clean, other, moved, slot):
    """The answer after a swap at a slot, by plain hooks."""
    theirs = residuals(vlm, other.stimulus, other.question)[slot]
    at = positions(vlm, other.stimulus, other.question)

    def change(resid, mine):
        resid[0, mine[moved.target]] = theirs[0, at[moved.source]]

    logits = forward(vlm, clean.stimulus, clean.question, slot, change)
    return vlm.words[int(np.argmax(logits))]


def test_a_link_keeps_the_state(reader):
    one = reader()
    at = one.at("strip-lab")
    at.get_by_role("radio", name="strips without items").check()
    at.get_by_role("radio", name="below").check()
    said = one.said("strip-lab", "tokens were swapped")
    link = at.get_by_role("link", name="Link to this state").get_attribute("href")
    two = reader(link)
    assert two.said("strip-lab", "tokens were swapped") == said
    assert two.at("strip-lab").get_by_role("radio", name="below").is_checked()
    assert two.at("strip-lab").locator(".gate").is_hidden()
    two.at("strip-lab").get_by_role("button", name="Reset").click()
    assert two.at("strip-lab").get_by_role("radio", name="left of").is_checked()
    assert two.at("strip-lab").locator(".gate").is_visible()


def test_the_gate_hides_the_answer(reader):
    one = reader()
    at = one.at("two-roads")
    assert at.locator(".result").is_hidden()
    at.get_by_role("button", name="neither").click()
    one.said("two-roads", "The model says")
    assert at.locator(".result").is_visible()
    assert "You predicted: neither" in at.locator(".gate").inner_text()


WIDE = """[...document.querySelectorAll(".live-frame *")]
.filter(e => e.getBoundingClientRect().right > 391 && !e.closest(".hidden"))
.map(e => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("name", live.EXPLORABLES)
def test_every_explorable_runs_by_keyboard(reader, name):
    """A prediction with Enter, then a key on a radio button; nothing is wider than a phone."""
    one = reader()
    at = one.at(name)
    at.locator(".choices button").first.focus()
    one.page.keyboard.press("Enter")
    one.said(name, ".")
    at.locator("input[type=radio]:checked").last.focus()
    one.page.keyboard.press("ArrowRight")
    at.locator(".live-frame[data-done]").wait_for(timeout=240_000)
    assert one.page.evaluate(WIDE) == []


def test_still_pictures_stand_in_without_scripts(reader):
    one = reader(java_script_enabled=False)
    assert one.at("erase-ask").locator("img").count() == 1
    assert "scripts" in one.at("erase-ask").inner_text()


def test_show_is_one_frame_with_all_inside(browser, tmp_path):
    page = tmp_path / "notebook.html"
    page.write_text(document(live.show("strip-lab").html))
    one = Reader(browser, page.as_uri())
    inside = one.page.frame_locator("iframe")
    inside.get_by_role("button", name="that of the mirrored picture").click()
    inside.locator(".said", has_text="96 tokens were swapped").wait_for(timeout=60_000)
    assert one.asked == ["notebook.html"] and one.told == []
    one.page.context.close()


def test_scripts_hold_no_address_of_others():
    """No third party: the only address is the name of a drawing standard."""
    assert re.findall(r"https?:[^\"]*", page_script()) == ["http://www.w3.org/2000/svg"]
