"""Training images and the labels of stage 1; none shows a held-out combination."""

from __future__ import annotations

import numpy as np

from dualmech.drawing import COLOURS, OBJECTS, SHAPES, Item
from dualmech.scenes import SceneStyle, reference_of, scene
from dualmech.stimuli import Stimulus, heldout_combinations, row_of

from .items import UNNAMED, TrainingItem, shaded
from .model import GRID, PX

QUERIES = ("left-most", "right-most", "middle of the row", "top-most", "bottom-most",
           "middle of the column")  # fmt: skip
KINDS = ("none", *SHAPES, *OBJECTS)
TINTS = ("none", *COLOURS)


def heldout(items, boxes=None) -> list[str]:
    """`heldout_combinations`; an unnamed colour is part of none."""
    return [found for found in heldout_combinations(items, boxes) if UNNAMED not in found]


def training_stimulus(
    rng: np.random.RandomState, unnamed: float = 0.0, outlined: float | None = None
) -> Stimulus:
    """One training image: squares, shapes, objects or a scene; no held-out combination.

    unnamed: share of the coloured items with an unnamed colour, and with an unnamed shape (or, for
    the latter, outlined: see `shaded`).
    """
    while True:
        kind = ("squares", "shapes", "objects", "scenes")[
            int(np.searchsorted([0.25, 0.5, 0.7], rng.random_sample(), side="right"))
        ]
        n = 3 if rng.random_sample() < 0.75 else 2
        tints = [list(COLOURS)[i] for i in rng.permutation(len(COLOURS))[:n]]
        if kind == "squares":
            items = tuple(TrainingItem("square", c) for c in tints)
        elif kind == "shapes":
            shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))[:n]]
            items = tuple(TrainingItem(s, c) for s, c in zip(shapes, tints, strict=True))
        else:
            items = tuple(TrainingItem(OBJECTS[i]) for i in rng.permutation(len(OBJECTS))[:n])
        if heldout(items):
            continue
        if items[0].colour is not None:
            items = tuple(shaded(item, rng, unnamed, outlined) for item in items)
        full, plain = kind == "squares", kind != "scenes"
        if plain and rng.random_sample() < 0.4:
            out = row_of(items, vertical=rng.random_sample() < 0.5, full=full)
            if not heldout(out.items, out.boxes):
                return out
        else:
            crowded = rng.random_sample() < 0.3
            style = SceneStyle(
                size=(10, 13) if crowded else (13, 20),
                spacing=(11, 17) if crowded else (18, 36),
                layout="line" if crowded else "any",
                texture=20 + 50 * rng.random_sample(),
                contrast=(0.7, 1.0),
                clutter=(0, 8),
                noise=9 * rng.random_sample(),
            )
            white = plain and rng.random_sample() < 0.8
            allowed = lambda items, boxes: not heldout(items, boxes)  # noqa: E731
            try:
                return scene(rng, style, items, white=white, full=full, keep=allowed, tries=200)
            except ValueError:  # no place fits these items: draw others
                continue


def labels_of(item: Item) -> tuple[int, int]:
    """Class of KINDS and of TINTS of an item; -1 for what has no name."""
    kind = -1 if item.shape == UNNAMED else KINDS.index(item.shape)
    return kind, -1 if item.colour == UNNAMED else TINTS.index(item.colour or "none")


def token_labels(s: Stimulus) -> np.ndarray:
    """(2, grid, grid) class of KINDS and TINTS under each token; -1 where it is a sliver or
    has no name."""
    cover = s.cover.reshape(-1, GRID, PX, GRID, PX).mean((2, 4))
    best, share = cover.argmax(0), cover.max(0)
    labels = np.array([labels_of(item) for item in s.items]).T[:, best]
    out = np.where(share >= 0.25, labels, 0)
    return np.where((share > 0.02) & (share < 0.25), -1, out)


def layout_labels(s: Stimulus) -> np.ndarray:
    """(6, 2) class of KINDS and TINTS that each of QUERIES asks for; -1 where undefined or
    without a name."""
    out = np.full((6, 2), -1)
    for vertical in (False, True):
        order = reference_of(s, vertical, 6)
        if not order:
            continue
        picks = [order[0], order[-1]] + ([order[1]] if len(order) == 3 else [])
        for k, i in enumerate(picks):
            out[3 * vertical + k] = labels_of(s.items[i])
    return out
