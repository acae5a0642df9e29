"""Which tokens an object, a strip or the background are, and swaps between them (chapters 1 to 15).

A token is its raster index in the token grid: row * columns + column.  Sources: paper
Sec. 5.3; released criss_cross_patching/src/regions.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Grid = int | tuple[int, int]  # (rows, columns), or one number for a square
REGIONS = ("strip", "object", "background", "scattered", "random", "whole", "layout")


def tokens_of(box, px: int, cols: int, share: float = 0.25) -> np.ndarray:
    """Tokens of which a pixel box (left, top, right, bottom) covers at least a share.

    Returns raster indices, sorted.  Raises ValueError if the box covers no token that much.
    """
    box = left, top, right, bottom = tuple(int(v) for v in box)
    row, col = np.arange(top // px, -(-bottom // px)), np.arange(left // px, -(-right // px))
    high = np.minimum(bottom, (row + 1) * px) - np.maximum(top, row * px)
    wide = np.minimum(right, (col + 1) * px) - np.maximum(left, col * px)
    found = (row[:, None] * cols + col)[np.outer(high, wide) >= share * px * px]
    if not len(found):
        raise ValueError(f"box {box} covers no token of {px} px by {share:.0%} or more")
    return found


def owned(stimulus, grid: Grid) -> list[np.ndarray]:
    """The tokens of each item of an image; see `tokens_of`."""
    rows, cols = raster(grid).shape
    return [tokens_of(box, len(stimulus.pixels) // rows, cols) for box in stimulus.boxes]


def strip(place: int, vertical: bool, grid: Grid) -> np.ndarray:
    """All tokens in the band of place 0, 1 or 2: full-height columns, or full-width rows.

    The outer bands have equal width, the middle takes the rest (12 = 4+4+4, 16 = 5+6+5).  Raises
    ValueError for another place, or where the grid is too narrow for three.
    """
    if place not in (0, 1, 2):
        raise ValueError(f"place is 0, 1 or 2, not {place}")
    cells = raster(grid)
    side = len(cells) if vertical else len(cells.T)
    if (outer := side // 3) == 0:
        raise ValueError(f"three strips need 3 tokens side by side, the grid has {side}")
    band = slice(*(0, outer, side - outer, side)[place : place + 2])
    return (cells[band] if vertical else cells[:, band]).reshape(-1)


def raster(grid: Grid) -> np.ndarray:
    """(rows, columns) of raster indices."""
    rows, cols = np.broadcast_to(grid, 2)
    return np.arange(rows * cols).reshape(rows, cols)


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


def swap(region: str, stimulus, grid: Grid, vertical: bool, seed: int = 0) -> Swap:
    """The swap of a region between an image of three items in a row and its mirror order.

    "object": the outer items' own tokens; "strip": their bands; "background": the bands
    without any token that an item covers; "whole": the mirrored image's grid flipped back, so
    that every token stays under the same content; "scattered": as many tokens of it as the two
    strips have, drawn at random (the count-matched control); "random": as many, drawn and paired
    at random, which moves contents, too; "layout": every token that no item covers, each from the
    *same* place of the mirrored image, so that its own place stays right and only what it says of
    the items around it changes.  Raises ValueError for an unknown region.
    """
    if region not in REGIONS:
        raise ValueError(f"unknown region {region!r}; known: {', '.join(REGIONS)}")
    every, own = raster(grid), owned(stimulus, grid)
    free = ~np.isin(every.reshape(-1), np.concatenate([[], *own]))
    if region == "layout":
        return Swap(np.flatnonzero(free), np.flatnonzero(free))
    flipped = np.flip(every, 0 if vertical else 1).reshape(-1)
    if region == "whole":
        return Swap(every.reshape(-1), flipped)
    first, last = (strip(place, vertical, grid) for place in (0, 2))
    if region in ("scattered", "random"):
        rng, n = np.random.RandomState(seed), len(first) + len(last)
        some = rng.permutation(every.size)[:n]
        return Swap(some, rng.permutation(every.size)[:n] if region == "random" else flipped[some])
    if region == "object":
        first, last = own[0], own[2]
    if region == "background":
        both = free[first] & free[last]
        first, last = first[both], last[both]
    return Swap(np.concatenate([first, last]), np.concatenate([last, first]))


def cells(where: str, stimulus, grid: Grid) -> np.ndarray:
    """(tokens,) true for "all" tokens, those under an "object", or those of the "background".

    Raises ValueError for another word, or where an image has no boxes to tell objects by.
    """
    every = raster(grid)
    if where == "all":  # needs no boxes: a photograph may have none
        return np.ones(every.size, bool)
    if where not in ("object", "background"):
        raise ValueError(f"where is 'all', 'object' or 'background', not {where!r}")
    if not len(stimulus.boxes):
        raise ValueError(f"where={where!r} needs boxes, and an image has none")
    return np.isin(every, np.concatenate(owned(stimulus, grid))).reshape(-1) == (where == "object")
