"""How long one answer takes in the page, beside plain JavaScript and PyTorch; one core each."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from . import library as lib
from .site import demo

REPEATS = 30
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
# Fresh pictures, so that nothing kept helps; then one run that goes on from its middle slot.
IN_PAGE = """
async ({ scenes, question, slot }) => {
  const { call } = dualmechLive;
  const ask = (scene, edits) => call("ask", { clean: { view: { scene }, question }, edits });
  const full = [], suffix = [], edit = [{ slot, op: "copy", to: [0], of: [1] }];
  for (const scene of scenes) full.push((await ask(scene, [])).ms);
  for (const _ of scenes) suffix.push((await ask(scenes.at(-1), edit)).ms);
  return { full, suffix };
}
"""


def measure(vlm: lib.VLM, repeats: int = REPEATS) -> dict[str, dict[str, float]]:
    """Milliseconds of a full answer, from picture to word, and of the way from the middle slot:
    {where: {"full", "suffix"}}.  The least of all repeats, as others may use the machine, too.
    Raises RuntimeError where there is no chromium."""
    rng, shape = np.random.RandomState(0), vlm.geometry
    cells = rng.randint(0, shape.grid - shape.item + 1, (repeats + 5, 2)).tolist()
    green = lib.Item("square", "green")
    question, slot = lib.question_for(green, "left", "square"), vlm.n_layers // 2
    pictures = [lib.draw([green], [tuple(cell)], shape, full=True).image for cell in cells]
    scenes = [
        {"task": "squares", "items": [{"name": green.name, "row": row, "col": col}], "number": k}
        for k, (row, col) in enumerate(cells)
    ]
    given = {"scenes": scenes, "question": question, "slot": slot}
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        page = demo(folder, vlm).as_uri()
        out["page, WebAssembly SIMD"] = _in_chromium(page, given)
        out["page, plain JavaScript"] = _in_chromium(page + "?simd=off", given)
    out["PyTorch, one thread"] = _in_torch(vlm, pictures, question, slot)
    return {where: {k: min(v) for k, v in t.items()} for where, t in out.items()}


def _in_chromium(address: str, given: dict) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    if not (found := shutil.which("chromium")):
        raise RuntimeError("no chromium to measure in: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=FLAGS.split())
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function("window.dualmechLive")
        return page.evaluate(IN_PAGE, given)


@torch.no_grad()
def _in_torch(vlm: lib.VLM, pictures, question: str, slot: int) -> dict[str, list[float]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    decoder, head = vlm.model.get_decoder(), vlm.model.get_output_embeddings()
    x = vlm.prepare(pictures[:1], [question])
    resid = torch.randn(1, x["input_ids"].shape[1], vlm.d_model)
    places = torch.arange(resid.shape[1])[None]

    def suffix(_):
        state, turned = resid, decoder.rotary_emb(resid, places)
        for layer in decoder.layers[slot:]:
            state = layer(state, position_embeddings=turned)
            state = state[0] if isinstance(state, tuple) else state
        return head(decoder.norm(state[:, -1:]))

    def full(picture):
        return vlm.model(**vlm.prepare([picture], [question]), logits_to_keep=1)

    try:
        return {"full": _times(full, pictures), "suffix": _times(suffix, pictures)}
    finally:
        torch.set_num_threads(threads)


def _times(run: Callable, given: list) -> list[float]:
    """Milliseconds of run(one) for each one given."""
    out = []
    for one in given:
        began = time.perf_counter()
        run(one)
        out.append(1000 * (time.perf_counter() - began))
    return out


def table(found: dict[str, dict[str, float]]) -> str:
    """The measured times as text."""
    lines = [f"{'ms, least of 30':28}{'full answer':>12}{'from the middle slot':>22}"]
    lines += [f"{where:28}{t['full']:12.1f}{t['suffix']:22.1f}" for where, t in found.items()]
    return "\n".join(lines)
