"""The book's visual grammar: images, token grids, arrows, answers, on one canvas (all chapters).

Blue is the clean run, vermilion the run that states come from, black what is said.  Every function
takes the axes of `canvas`, whose units are inches, and returns where the next part can dock.
"""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle

CLEAN, SOURCE, INK, PALE = "#0072B2", "#D55E00", "#1a1a1a", "#e8e8e8"


def canvas(width: float = 5.6, height: float = 2.6):
    """(figure, axes) to draw on, in inches from the lower left corner."""
    fig = plt.figure(figsize=(width, height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return fig, ax


def label(ax, x: float, y: float, words: str, colour: str = INK, size: float = 12, **how):
    """Words centred at a point."""
    how = {"ha": "center", "va": "center", "color": colour, "fontsize": size} | how
    ax.text(x, y, words, **how)


def image(ax, x: float, y: float, pixels: np.ndarray, words: str = "", size: float = 1.1):
    """An image (H, W, 3) with its lower left corner at a point; returns the box (x, y, w, h)."""
    ax.imshow(pixels, extent=(x, x + size, y, y + size), zorder=2, interpolation="nearest")
    look = {"facecolor": "none", "edgecolor": "0.4", "lw": 0.8, "zorder": 4}
    ax.add_patch(Rectangle((x, y), size, size, **look))
    label(ax, x + size / 2, y - 0.16, words)
    return x, y, size, size


def grid(
    ax, x: float, y: float, shape=(12, 12), marks=(), words: str = "", size: float = 1.1,
    pixels: np.ndarray | None = None, above: bool = False,
):  # fmt: skip
    """A token grid, over a pale image if given; marks: (tokens, colour) to fill; words below it.

    Returns a function: raster indices of tokens -> the point in their middle.
    """
    rows, cols = shape
    if pixels is not None:
        ax.imshow(pixels, extent=(x, x + size, y, y + size), alpha=0.45, interpolation="nearest")
    cell = size / max(rows, cols)
    for tokens, colour in marks:
        for row, col in zip(*np.divmod(np.asarray(tokens, int), cols), strict=True):
            spot = (x + col * cell, y + (rows - 1 - row) * cell)
            ax.add_patch(Rectangle(spot, cell, cell, facecolor=colour, alpha=0.55, lw=0))
    look = {"color": "0.55", "lw": 0.4, "zorder": 3}
    for k in range(cols + 1):
        ax.plot([x + k * cell] * 2, [y, y + rows * cell], **look)
    for k in range(rows + 1):
        ax.plot([x, x + cols * cell], [y + k * cell] * 2, **look)
    label(ax, x + cols * cell / 2, y + rows * cell + 0.14 if above else y - 0.16, words)

    def middle(tokens: Iterable[int]) -> tuple[float, float]:
        row, col = np.divmod(np.asarray(list(tokens), int), cols)
        return x + (col.mean() + 0.5) * cell, y + (rows - row.mean() - 0.5) * cell

    return middle


def arrow(ax, start, end, colour: str = INK, bend: float = 0.0, words: str = ""):
    """An arrow between two points; bend: how far it bows, as a share of its length."""
    look = {"arrowstyle": "-|>", "color": colour, "lw": 2, "mutation_scale": 14}
    look |= {"connectionstyle": f"arc3,rad={bend}", "shrinkA": 2, "shrinkB": 2}
    ax.annotate("", xy=end, xytext=start, arrowprops=look, zorder=5)
    if words:
        (x0, y0), (x1, y1) = start, end
        side = 0.16 + abs(bend) * 0.5
        label(ax, (x0 + x1) / 2, (y0 + y1) / 2 + side, words, colour, 11)


def answer(ax, x: float, y: float, word: str, colour: str = INK, wide: float = 0.9):
    """What the model says, in a box whose left end is at a point; returns its right end."""
    look = {"boxstyle": "round,pad=0.02,rounding_size=0.1", "facecolor": "white", "lw": 1.5}
    ax.add_patch(FancyBboxPatch((x, y - 0.17), wide, 0.34, edgecolor=colour, **look))
    label(ax, x + wide / 2, y, f"“{word}”", colour, 12)
    return x + wide, y


def bar(ax, x: float, y: float, share: float, wide: float = 1.1, words: str = ""):
    """A share as a bar from the left, with words over it."""
    ax.add_patch(Rectangle((x, y), wide, 0.16, facecolor=PALE))
    ax.add_patch(Rectangle((x, y), wide * share, 0.16, facecolor=INK))
    label(ax, x, y + 0.29, words, ha="left")


def layers(ax, x: float, y: float, n: int = 8, lit=(), size=(0.9, 1.5), words: str = ""):
    """The language model as a stack of layers, some lit; returns slot -> the point at its left."""
    wide, high = size
    step = high / n
    for k in range(n):
        colour = SOURCE if k in set(lit) else PALE
        corner = (x, y + k * step + 0.02)
        ax.add_patch(Rectangle(corner, wide, step - 0.04, facecolor=colour, lw=0))
    label(ax, x + wide / 2, y - 0.16, words)
    return lambda slot: (x, y + slot * step)
