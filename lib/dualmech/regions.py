"""Which token positions an object, a strip or the background are, and swaps between them
(chapters 1 to 3 and 5 to 15).

A token is its raster index in the token grid: row * columns + column.  Sources: paper
Sec. 5.3; released criss_cross_patching/src/regions.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REGIONS = ("strip", "object", "background", "random", "whole", "layout")


def tokens_of(box, px: int, cols: int, share: float = 0.25) -> np.ndarray:
    """Tokens of which a pixel box (left, top, right, bottom) covers at least a share.

    Returns raster indices, sorted.  Raises ValueError if the box covers no token that much.
    """
    left, top, right, bottom = (int(v) for v in box)
    row, col = np.arange(top // px, -(-bottom // px)), np.arange(left // px, -(-right // px))
    high = np.minimum(bottom, (row + 1) * px) - np.maximum(top, row * px)
    wide = np.minimum(right, (col + 1) * px) - np.maximum(left, col * px)
    found = (row[:, None] * cols + col)[np.outer(high, wide) >= share * px * px]
    if not len(found):
        box = (left, top, right, bottom)
        raise ValueError(f"box {box} covers no token of {px} px by {share:.0%} or more")
    return found


def strip(place: int, vertical: bool, grid: int) -> np.ndarray:
    """All tokens in the band of place 0, 1 or 2: full-height columns, or full-width rows.

    The outer bands have equal width, the middle takes the rest (12 = 4+4+4, 16 = 5+6+5).
    """
    if place not in (0, 1, 2):
        raise ValueError(f"place is 0, 1 or 2, not {place}")
    outer = grid // 3
    edges = (0, outer, grid - outer, grid)
    cells = np.arange(grid * grid).reshape(grid, grid)
    band = slice(edges[place], edges[place + 1])
    return (cells[band] if vertical else cells[:, band]).reshape(-1)


@dataclass(frozen=True)
class Swap:
    """Write the counterfactual's states at `source` over the clean run's states at `target`."""

    target: np.ndarray
    source: np.ndarray

    def __post_init__(self):
        if len(self.target) != len(self.source):
            raise ValueError(f"{len(self.target)} targets but {len(self.source)} sources")
        if len(set(self.target.tolist())) != len(self.target):
            raise ValueError("a token is written twice")


def swap(region: str, stimulus, grid: int, vertical: bool, seed: int = 0) -> Swap:
    """The swap of a region between an image of three items in a row and its mirror order.

    "object": the outer items' own tokens; "strip": their bands; "background": the bands
    without any token that an item covers; "random": as many tokens as the two strips, drawn
    from the whole grid and paired at random (the count-matched control); "whole": the
    mirrored image's grid flipped back, so that every token stays under the same content;
    "layout": every token that no item covers, each from the *same* place of the mirrored image,
    so that its own place stays right and only what it says of the items around it changes.
    Raises ValueError for an unknown region.
    """
    if region not in REGIONS:
        raise ValueError(f"unknown region {region!r}; known: {', '.join(REGIONS)}")
    px, cells = len(stimulus.pixels) // grid, np.arange(grid * grid)
    owned = [tokens_of(box, px, grid) for box in stimulus.boxes]
    first, last = strip(0, vertical, grid), strip(2, vertical, grid)
    if region == "random":
        rng, n = np.random.RandomState(seed), len(first) + len(last)
        return Swap(rng.permutation(grid * grid)[:n], rng.permutation(grid * grid)[:n])
    if region == "layout":
        free = np.setdiff1d(cells, np.concatenate(owned))
        return Swap(free, free)
    if region == "whole":
        return Swap(cells, np.flip(cells.reshape(grid, grid), 0 if vertical else 1).reshape(-1))
    if region == "object":
        first, last = owned[0], owned[2]
    if region == "background":
        covered = np.isin(first, np.concatenate(owned)) | np.isin(last, np.concatenate(owned))
        first, last = first[~covered], last[~covered]
    return Swap(np.concatenate([first, last]), np.concatenate([last, first]))


def cells(where: str, stimulus, grid: tuple[int, int]) -> np.ndarray:
    """(tokens,) true for "all" tokens, those under an "object", or those of the "background".

    Raises ValueError for another word, or where an image has no boxes to tell objects by.
    """
    count = grid[0] * grid[1]
    if where == "all":  # needs no boxes: a photograph may have none
        return np.ones(count, bool)
    if where not in ("object", "background"):
        raise ValueError(f"where is 'all', 'object' or 'background', not {where!r}")
    if not len(stimulus.boxes):
        raise ValueError(f"where={where!r} needs boxes, and an image has none")
    px = len(stimulus.pixels) // grid[0]
    owned = np.concatenate([tokens_of(box, px, grid[1]) for box in stimulus.boxes])
    return np.isin(np.arange(count), owned) == (where == "object")
