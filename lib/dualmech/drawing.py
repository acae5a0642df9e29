"""What stands on a canvas: items, their colours and how each is drawn (chapters 1, 2 and 15).

Everything is drawn with integer sizes and plain arithmetic, so that the same item gives the same
bytes on every machine.  The shapes have the geometry of the paper's released drawing code; the
drawings of the objects (`drawings.json`) are this project's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin
from pathlib import Path

import numpy as np

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0),
           "brown": (150, 75, 0), "gray": (128, 128, 128), "orange": (255, 165, 0),
           "purple": (150, 0, 200)}  # fmt: skip
SQUARE_COLOURS = ("red", "green", "blue", "black", "brown", "gray")
SHAPES = ("square", "circle", "triangle", "star", "cross", "heart")
SHAPE_PAIRS = tuple(zip(SHAPES, SQUARE_COLOURS, strict=True))
OBJECTS = ("orange", "apple", "pot", "bell", "hat", "rose", "key", "bomb")
SUPERSAMPLE = 4  # sub-samples per pixel and axis when a sprite's coverage is measured
SHARP = 32  # pixels a side from which a shape's edges are hard, as the paper's are


@dataclass(frozen=True)
class Item:
    """One thing on a canvas: a shape with a colour, or an object (colour None)."""

    shape: str
    colour: str | None = None

    def __post_init__(self):
        kind, known = ("object", OBJECTS) if self.colour is None else ("shape", SHAPES)
        if self.shape not in known:
            raise ValueError(f"unknown {kind} {self.shape!r}; known: {', '.join(known)}")
        if self.colour not in (None, *COLOURS):
            raise ValueError(f"unknown colour {self.colour!r}; known: {', '.join(COLOURS)}")

    @property
    def name(self) -> str:
        """'red square' or 'apple'."""
        return self.shape if self.colour is None else f"{self.colour} {self.shape}"

    @property
    def answer(self) -> str:
        """The word that names it in an answer: the colour, or the object's name."""
        return self.colour or self.shape

    def sprite(self, size: int, full: bool = False) -> np.ndarray:
        """RGBA drawing, float (size, size, 4), read-only: colour 0-255, alpha 0-1.

        full: fill the whole box (the squares of the Squares task).
        """
        return _sprite(self.shape, self.colour, size, full)


# A form tells which points (u, v) of a box from -1 to 1 it covers.


def ellipse(cx, cy, rx, ry):
    """The form of an ellipse: centre and radii."""
    return lambda u, v: ((u - cx) / rx) * ((u - cx) / rx) + ((v - cy) / ry) * ((v - cy) / ry) <= 1


def polygon(*points):
    """The form of a polygon: its corners (u, v) in turn."""

    def inside(u, v):
        out = np.zeros(u.shape, bool)
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            if y0 != y1:
                out ^= ((y0 <= v) != (y1 <= v)) & (u < x0 + (v - y0) * (x1 - x0) / (y1 - y0))
        return out

    return inside


def heart(t):
    """A point of the heart's curve at angle t; the curve fills its box."""
    high = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)  # from -17 to 11.906
    return round(sin(t) ** 3, 6), round(1 - 2 * (high + 17) / 28.906, 6)


ROOT = 3**0.5
FORMS = {
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.8,
    "circle": lambda u, v: u * u + v * v <= 0.81,
    "triangle": lambda u, v: (abs(u) * ROOT <= v + 1) & (v <= ROOT - 1),  # of equal sides
    "star": polygon(*[  # stretched to the width of its box
        (round(r * sin(k * pi / 5) / sin(2 * pi / 5), 6), round(-r * cos(k * pi / 5), 6))
        for k, r in enumerate([1, 0.382] * 5)
    ]),
    "cross": lambda u, v: np.minimum(abs(u), abs(v)) <= 1 / 3,
    "heart": polygon(*[heart(2 * pi * k / 100) for k in range(100)]),
    "full": lambda u, v: np.ones(u.shape, bool),
}  # fmt: skip
PRIMITIVES = {"ellipse": ellipse, "polygon": polygon}
# Each object: layers of (form, colour), back to front.
DRAWINGS = {
    name: [(PRIMITIVES[kind](*args), colour) for kind, args, colour in layers]
    for name, layers in json.loads(Path(__file__).with_name("drawings.json").read_text()).items()
}


def sampled(form, size: int) -> np.ndarray:
    """(size, size) share of each pixel of a box that a form covers."""
    n = size * SUPERSAMPLE
    line = (np.arange(n) * 2 + 1 - n) / n
    v, u = np.meshgrid(line, line, indexing="ij")
    hit = form(u, v).astype(float)
    return hit.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE).mean((1, 3))


@lru_cache(maxsize=4096)
def _sprite(shape: str, colour: str | None, size: int, full: bool) -> np.ndarray:
    if size < 4:
        raise ValueError(f"an item needs at least 4 pixels a side, got {size}")
    hard = colour is not None and size >= SHARP  # smaller ones would lose their form
    layers = [(FORMS["full" if full else shape], COLOURS[colour])] if colour else DRAWINGS[shape]
    rgb, alpha = np.zeros((size, size, 3)), np.zeros((size, size, 1))
    for form, colour in layers:
        cover = sampled(form, size)[..., None]
        cover = np.floor(cover + 0.5) if hard else cover
        total = cover + alpha * (1 - cover)
        mixed = np.array(colour, float) * cover + rgb * (alpha * (1 - cover))
        rgb = np.where(total > 0, mixed / np.maximum(total, 1e-9), 0.0)
        alpha = total
    out = np.concatenate([rgb, alpha], -1)
    out.setflags(write=False)
    return out


def paste(canvas, drawing, left, top):
    """Blend an RGBA drawing into a float canvas, in place; returns its cover."""
    size, (high, wide) = len(drawing), canvas.shape[:2]
    if min(left, top) < 0 or left + size > wide or top + size > high:
        raise ValueError(f"an item of {size} px at ({left}, {top}) leaves the canvas of "
                         f"{wide} x {high} px: move it inside or make it smaller")  # fmt: skip
    spot, alpha = canvas[top : top + size, left : left + size], drawing[..., 3:]
    spot += (drawing[..., :3] - spot) * alpha
    cover = np.zeros((high, wide))
    cover[top : top + size, left : left + size] = alpha[..., 0]
    return cover


def finish(canvas) -> np.ndarray:
    """A float canvas rounded to uint8."""
    return np.clip(np.floor(canvas + 0.5), 0, 255).astype(np.uint8)
