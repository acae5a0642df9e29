"""Still pictures that stand in for the explorables where scripts are off, each with its words."""

from __future__ import annotations

import io

import matplotlib.colors
import matplotlib.patches
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from . import library as lib
from . import pack, plain

BLUE, ORANGE, GREEN = "#0072b2", "#b25000", "#007a5a"
NAMES = ("green", "red", "blue")  # of the squares that an explorable begins with
PAIRS = 5


def all_stills(vlm: lib.VLM, extras: dict) -> dict[str, tuple[bytes, str]]:
    """{name of the explorable: (PNG, what it shows in words)}; extras: `pack.extras(vlm)`."""
    made = {
        "erase-ask": erase, "layer-scrubber": scrubber, "strip-lab": strip_lab,
        "two-roads": two_roads, "turn-it-up": turn_up, "heat-map": heat_map,
    }  # fmt: skip
    out = {}
    for name, make in made.items():
        fig, words = make(vlm, extras)
        out[name] = _png(fig), words
    return out


def trial(vlm: lib.VLM, names=NAMES, direction: str = "left") -> lib.Trial:
    items = tuple(lib.Item("square", name) for name in names)
    return lib.trial(items, direction, "squares", vlm.geometry)


def probabilities(vlm: lib.VLM, asked: lib.Trial, words, *edit, **how) -> list[float]:
    """Probabilities of words as answers; edit: a slot and a change, as in `plain.forward`."""
    logits = plain.forward(vlm, asked.stimulus, asked.question, *edit, **how)
    p = torch.tensor(logits).softmax(-1)
    return [p[i].item() for i in vlm.tokenizer.convert_tokens_to_ids(list(words))]


def erase(vlm: lib.VLM, _extras):
    asked, blank = trial(vlm), lib.draw([], [], vlm.geometry)
    tokens = lib.swap("object", asked.stimulus, vlm.grid, False).target
    tokens = tokens[: len(tokens) // 2]  # of the first square
    empty = plain.residuals(vlm, blank, asked.question)[0]

    def change(resid, at):
        resid[0, at[tokens]] = empty[0, at[tokens]]

    fig, before, after = _before_and_after(vlm, asked, tokens, change)
    return fig, (
        f"A row of a {', a '.join(f'{n} square' for n in NAMES)}, and the question: "
        f"{asked.question}… The tokens of the green square are erased. The probability of green "
        f"is {after[0]:.2f}; before, it was {before[0]:.2f}."
    )


def strip_lab(vlm: lib.VLM, _extras):
    asked, mirror = trial(vlm), trial(vlm, NAMES[::-1])
    moved = lib.swap("strip", asked.stimulus, vlm.grid, False)
    theirs = plain.residuals(vlm, mirror.stimulus, mirror.question)[0]

    def change(resid, at):
        resid[0, at[moved.target]] = theirs[0, at[moved.source]]

    fig, before, after = _before_and_after(vlm, asked, moved.target, change)
    return fig, (
        f"The left and the right strip of a picture's tokens are taken from the mirrored picture. "
        f"{asked.question}… The probability of blue, the mirrored answer, is {after[2]:.2f}; "
        f"before, it was {before[2]:.2f}."
    )


def scrubber(vlm: lib.VLM, _extras):
    rng, pool, slots = np.random.RandomState(0), pack.pool("squares"), range(vlm.n_slots)
    found = np.zeros((vlm.n_slots, 3))
    for _ in range(PAIRS):
        c = [pool[i].answer for i in rng.permutation(len(pool))[:5]]
        clean, other = trial(vlm, c[:3]), trial(vlm, (c[4], c[1], c[3]), "right")
        states = plain.residuals(vlm, other.stimulus, other.question)
        for slot in slots:

            def change(resid, _at, state=states[slot]):
                resid[0, -1] = state[0, -1]

            words = (c[0], c[2], c[3])
            found[slot] += np.array(probabilities(vlm, clean, words, slot, change)) / PAIRS
    fig = Figure(figsize=(5.8, 3), layout="constrained")
    ax = fig.subplots()
    for k, (name, colour) in enumerate((("unchanged", BLUE), ("place", ORANGE), ("colour", GREEN))):
        ax.plot(slots, found[:, k], "os^"[k] + "-", color=colour, label=name)
    for target, name, colour in (("ordering", "place", ORANGE), ("attribute", "colour", GREEN)):
        depth, value = zip(*pack.curves()["left"][target], strict=True)
        ax.plot(np.array(depth) * vlm.n_layers, value, ":", color=colour, label=f"{name}, paper")
    ax.set(xlabel="slot (paper: Qwen2-VL-7B, its depth on this axis)", ylabel="mean probability")
    fig.legend(loc="outside upper center", ncols=5, columnspacing=1, handlelength=1.6)
    peak = int(found[:, 1].argmax())
    return fig, (
        "The last token's state copied from another run, slot by slot: the place leads at slot "
        f"{peak} with {found[peak, 1]:.2f}; at the last slot the colour has {found[-1, 2]:.2f}. "
        f"Mean of {PAIRS} pairs."
    )


def two_roads(vlm: lib.VLM, _extras):
    asked, mirror = trial(vlm), trial(vlm, NAMES[::-1])
    grid, every = vlm.grid[0], np.arange(vlm.grid[0] ** 2)
    turned = lib.swap("whole", asked.stimulus, grid, False).source
    own, theirs = vlm.visual([asked.stimulus.image, mirror.stimulus.image])
    states = {"this order": own, "no order": lib.ordering_removed(vlm, [asked])[0]}
    states["mirrored order"] = theirs[turned]
    shuffle = np.random.RandomState(0).permutation(every)
    places = {"in place": every, "shuffled": shuffle, "mirrored": turned}
    rows = []
    for visual in states.values():
        p = [probabilities(vlm, asked, NAMES, visual=visual[order]) for order in places.values()]
        rows.append([f"{NAMES[int(np.argmax(one))]} {max(one):.2f}" for one in p])
    fig = Figure(figsize=(5.8, 2.1), layout="constrained")
    ax = fig.subplots()
    ax.axis("off")
    ax.set_title("rows: what the encoder tells of; columns: how the tokens stand", fontsize=10)
    table = ax.table(rows, rowLabels=list(states), colLabels=list(places), loc="center")
    table.scale(1, 1.8)
    told = "; ".join(
        f"{encoder}: {', '.join(f'{p} {x}' for p, x in zip(places, row, strict=True))}"
        for encoder, row in zip(states, rows, strict=True)
    )
    return fig, f"What the model answers to: {asked.question}… By what the encoder tells, {told}."


def turn_up(vlm: lib.VLM, extras: dict, alpha: float = 4.0):
    directions = torch.tensor(extras["directions"])
    counts = {"the order": [0, 0], "noise of equal size": [0, 0]}
    scenes = pack.kept_scenes(vlm)[::2]
    for asked in scenes:
        right = vlm.tokenizer.convert_tokens_to_ids(asked.answer)

        def says(change=None, asked=asked, right=right):
            logits = plain.forward(vlm, asked.stimulus, asked.question, 0, change)
            return int(np.argmax(logits)) == right

        def louder(resid, at, noise=False):
            before = resid[0, at]
            after = lib.amplified(before, directions, alpha)
            resid[0, at] = lib.matched_null(before, after) if noise else after

        was = says()
        for name, noise in zip(counts, (False, True), strict=True):
            now = says(lambda resid, at, noise=noise: louder(resid, at, noise))
            counts[name][0] += now and not was
            counts[name][1] += was and not now
    fig = Figure(figsize=(5.8, 2.2), layout="constrained")
    ax = fig.subplots()
    for k, (repaired, broken) in enumerate(counts.values()):
        two = ((0.2, repaired, GREEN, "repaired"), (-0.2, broken, ORANGE, "broken"))
        for offset, n, colour, word in two:
            ax.barh(1 - k + offset, n, 0.36, color=colour)
            ax.text(n + 0.1, 1 - k + offset, f"{word} {n}", va="center")
    ax.set_yticks([1, 0], list(counts))
    ax.set(xlabel=f"of {len(scenes)} scenes, alpha {alpha:g}")
    ax.margins(x=0.25)
    told = "; ".join(f"{name}: {a} repaired, {b} broken" for name, (a, b) in counts.items())
    return fig, f"Turned up by {alpha:g} in {len(scenes)} scenes: {told}."


def heat_map(vlm: lib.VLM, extras: dict):
    probe = extras["probes"]["horizontal"]
    middle = (vlm.grid[0] - vlm.geometry.item) // 2
    one = lib.draw([lib.Item("square", "green")], [(middle, 1)], vlm.geometry, full=True)
    states = vlm.visual([one.image])[0]
    read = (states @ torch.tensor(probe["weights"]) + torch.tensor(probe["bias"])).argmax(-1)
    read = read.reshape(vlm.grid).numpy()
    fig = Figure(figsize=(3.6, 3.6), layout="constrained")
    ax = fig.subplots()
    colours = matplotlib.colors.ListedColormap(["#56b4e9", "#bbbbbb", "#ffa24d"])
    ax.imshow(read, cmap=colours, vmin=0, vmax=2)
    for (row, col), k in np.ndenumerate(read):
        ax.text(col, row, "LMR"[k], ha="center", va="center")
    box = (0.5, middle - 0.5), vlm.geometry.item, vlm.geometry.item
    ax.add_patch(matplotlib.patches.Rectangle(*box, fill=False, lw=3))
    ax.axis("off")
    left, mid, right = np.bincount(read.reshape(-1), minlength=3)
    return fig, (
        "A green square at the left (framed), and what a probe for place reads at every token: "
        f"left at {left}, middle at {mid}, right at {right}."
    )


# --- parts ---


def _before_and_after(vlm: lib.VLM, asked: lib.Trial, marked, change):
    """(figure, probabilities of NAMES before and after a change at slot 0): the picture with its
    marked tokens, beside the bars."""
    before = probabilities(vlm, asked, NAMES)
    after = probabilities(vlm, asked, NAMES, 0, change)
    fig = Figure(figsize=(5.8, 2.6), layout="constrained")
    left, right = fig.subplots(1, 2)
    _picture(left, vlm, asked.stimulus, marked)
    _bars(right, NAMES, before, after)
    return fig, before, after


def _picture(ax, vlm: lib.VLM, stimulus, marked) -> None:
    ax.imshow(stimulus.pixels)
    for token in marked:
        row, col = divmod(int(token), vlm.grid[1])
        corner = (col * vlm.px - 0.5, row * vlm.px - 0.5)
        look = {"facecolor": (1, 1, 1, 0.75), "edgecolor": "#444", "hatch": "////", "lw": 0}
        ax.add_patch(matplotlib.patches.Rectangle(corner, vlm.px, vlm.px, **look))
    ax.set(xticks=[], yticks=[])


def _bars(ax, words, before, after) -> None:
    ax.barh(range(len(words)), after, color=BLUE, label="now")
    ax.plot(before, range(len(words)), "k|", ms=22, mew=2.5, label="before")
    ax.set_yticks(range(len(words)), words)
    ax.invert_yaxis()
    ax.set(xlabel="probability", xlim=(0, 1.02))
    ax.legend(loc="center right")


def _png(fig: Figure) -> bytes:
    """A small PNG, of 256 colours."""
    drawn, out = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=120)
    Image.open(drawn).convert("RGB").quantize(256).save(out, "png", optimize=True)
    return out.getvalue()
