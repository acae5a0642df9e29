"""Images with known layouts, the questions asked about them, and counterfactual pairs.

Everything is drawn with integer sizes and plain arithmetic from a seeded
``numpy.random.RandomState`` (whose stream is frozen by NumPy's policy), so that a seed
gives the same bytes on every machine.

Sources: canvas geometry, item sets and prompts follow the paper's released code
(Sec. 3.1 and Table 4; ``data/paper.json`` has the details).  The drawings of the objects
and the naturalistic scenes are this project's own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import permutations
from math import cos, pi, sin

import numpy as np
from PIL import Image

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "brown": (150, 75, 0),
    "gray": (128, 128, 128),
    "orange": (255, 165, 0),
    "purple": (150, 0, 200),
}
SQUARE_COLOURS = ("red", "green", "blue", "black", "brown", "gray")
SHAPES = ("square", "circle", "triangle", "star", "cross", "heart")
SHAPE_PAIRS = tuple(zip(SHAPES, SQUARE_COLOURS, strict=True))
OBJECTS = ("orange", "apple", "pot", "bell", "hat", "rose", "key", "bomb")
DIRECTIONS = ("left", "right", "above", "below")
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
PHRASES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
TASKS = ("squares", "shapes", "objects")
UNNAMED = "unnamed"  # colour or shape of an item that no word of the book describes
BLENDS = {"union": np.maximum, "overlap": np.minimum, "difference": lambda a, b: abs(a - b)}
SUPERSAMPLE = 4  # sub-samples per pixel and axis when a sprite's coverage is measured


# --- canvases ------------------------------------------------------------------------


@dataclass(frozen=True)
class Geometry:
    """A square canvas aligned to a square token grid (paper Sec. 3.1, Table 4).

    grid: tokens per side; px: pixels per token side; item, gap: sizes in tokens.
    Raises ValueError if three items do not fit.
    """

    grid: int
    px: int
    item: int
    gap: int

    def __post_init__(self):
        if min(self.grid, self.px, self.item) < 1 or self.gap < 0:
            raise ValueError(f"grid, px and item must be positive and gap >= 0: {self}")
        if self.item * 3 + self.gap * 2 > self.grid:
            raise ValueError(
                f"a grid of {self.grid} tokens is too small for three items of {self.item} "
                f"with gaps of {self.gap}: at least {self.item * 3 + self.gap * 2} are needed"
            )

    @property
    def side(self) -> int:
        """Canvas side in pixels."""
        return self.grid * self.px

    def cells(self, vertical: bool, n: int = 3) -> list[tuple[int, int]]:
        """(row, column) of the top-left token of each of n items, first to last."""
        span = n * self.item + (n - 1) * self.gap
        if span > self.grid:
            raise ValueError(f"{n} items need {span} tokens, the grid has {self.grid}")
        first = (self.grid - span) // 2
        cross = (self.grid - self.item) // 2
        along = [first + i * (self.item + self.gap) for i in range(n)]
        return [(a, cross) if vertical else (cross, a) for a in along]


GEOMETRIES = {
    "mini": Geometry(12, 8, 2, 2),
    "qwen2-vl": Geometry(12, 28, 2, 2),
    "gemma3": Geometry(16, 56, 3, 3),
    "pixtral": Geometry(15, 16, 2, 2),
}
MINI = GEOMETRIES["mini"]


@dataclass(frozen=True)
class Item:
    """One thing on a canvas: a shape with a colour, or an object (colour None).

    rgb: shade to draw it in (its colour's own if not given); with it the colour may be
    "unnamed".  A shape that is "unnamed" has a blend, (shape, shape, one of BLENDS), or an outline,
    the seed of a random polygon.
    """

    shape: str
    colour: str | None = None
    rgb: tuple[int, int, int] | None = None
    blend: tuple[str, str, str] | None = None
    outline: int | None = None

    def __post_init__(self):
        drawn = (self.blend is not None) + (self.outline is not None)
        if drawn != (self.shape == UNNAMED):
            raise ValueError(
                "an unnamed shape, and no other, needs a blend of two shapes or a random outline"
            )
        if self.colour == UNNAMED and self.rgb is None:
            raise ValueError("an unnamed colour needs an rgb triple")
        if self.colour is None and self.rgb is not None:
            raise ValueError(f"the {self.shape} is drawn in its own colours; leave rgb out")
        if self.colour is None and self.shape not in OBJECTS:
            raise ValueError(f"unknown object {self.shape!r}; known: {', '.join(OBJECTS)}")
        if self.colour is not None and self.shape not in (*SHAPES, UNNAMED):
            raise ValueError(f"unknown shape {self.shape!r}; known: {', '.join(SHAPES)}")
        if self.colour is not None and self.colour not in (*COLOURS, UNNAMED):
            raise ValueError(f"unknown colour {self.colour!r}; known: {', '.join(COLOURS)}")

    @property
    def name(self) -> str:
        """'red square' or 'apple'; 'red shape' for a random outline in a named colour."""
        if self.colour is None:
            return self.shape
        coloured = self.outline is not None and self.colour != UNNAMED
        return f"{self.colour} {'shape' if coloured else self.shape}"

    @property
    def answer(self) -> str:
        """The word that names it in an answer: the colour, or the object's name."""
        return self.colour or self.shape


@dataclass(frozen=True)
class Stimulus:
    """An image and what is on it.

    pixels: uint8 (H, W, 3); items: in drawing order; boxes: int (n, 4) as left, top,
    right, bottom in pixels; cover: float (n, H, W), visible share of each pixel an item covers
    (None in trials: only training needs it, and on a large canvas it is most of the memory).
    """

    pixels: np.ndarray
    items: tuple[Item, ...]
    boxes: np.ndarray
    cover: np.ndarray | None

    @property
    def image(self) -> Image.Image:
        """The picture as a PIL image."""
        return Image.fromarray(self.pixels)

    @property
    def centres(self) -> np.ndarray:
        """(n, 2) x, y of the boxes' centres in pixels."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2


# --- drawing -------------------------------------------------------------------------

STAR = [
    (round(r * sin(k * pi / 5), 6), round(-r * cos(k * pi / 5), 6))
    for k, r in enumerate([1, 0.382] * 5)
]
GREEN, BROWN, DARK = (40, 140, 50), (110, 70, 30), (30, 30, 35)
# Each object: layers of (primitive, numbers in a box from -1 to 1, colour), back to front.
DRAWINGS = {
    "orange": [("ellipse", (0, 0.1, 0.88, 0.86), (245, 140, 20)),
               ("ellipse", (-0.3, -0.2, 0.25, 0.2), (255, 190, 90)),
               ("polygon", ((0, -0.75), (0.6, -1), (0.45, -0.6)), GREEN)],
    "apple": [("ellipse", (-0.35, 0.2, 0.55, 0.75), (205, 20, 40)),
              ("ellipse", (0.35, 0.2, 0.55, 0.75), (205, 20, 40)),
              ("polygon", ((-0.08, -0.4), (0.05, -1), (0.25, -0.95), (0.1, -0.4)), BROWN),
              ("ellipse", (0.5, -0.75, 0.35, 0.18), GREEN)],
    "pot": [("polygon", ((-0.7, -0.3), (0.7, -0.3), (0.6, 0.95), (-0.6, 0.95)), (60, 110, 170)),
            ("polygon", ((-0.8, -0.5), (0.8, -0.5), (0.8, -0.25), (-0.8, -0.25)), (35, 70, 120)),
            ("polygon", ((-1, 0), (-0.6, 0), (-0.6, 0.25), (-1, 0.25)), DARK),
            ("polygon", ((0.6, 0), (1, 0), (1, 0.25), (0.6, 0.25)), DARK),
            ("ellipse", (0, -0.7, 0.22, 0.2), DARK)],
    "bell": [("polygon", ((-0.25, -0.8), (0.25, -0.8), (0.5, 0.2), (0.95, 0.6), (-0.95, 0.6),
                          (-0.5, 0.2)), (235, 190, 40)),
             ("ellipse", (0, -0.65, 0.42, 0.3), (235, 190, 40)),
             ("ellipse", (0, 0.75, 0.22, 0.22), (140, 90, 10))],
    "hat": [("polygon", ((-0.55, -0.9), (0.55, -0.9), (0.5, 0.6), (-0.5, 0.6)), (95, 45, 140)),
            ("polygon", ((-0.53, 0.15), (0.53, 0.15), (0.5, 0.5), (-0.5, 0.5)), (235, 220, 245)),
            ("ellipse", (0, 0.65, 1, 0.25), (95, 45, 140))],
    "rose": [("polygon", ((-0.08, 0), (0.1, 0), (0.1, 1), (-0.08, 1)), GREEN),
             ("polygon", ((0.05, 0.75), (0.7, 0.3), (0.55, 0.75)), GREEN),
             ("ellipse", (0, -0.35, 0.65, 0.62), (245, 110, 160)),
             ("ellipse", (0.05, -0.35, 0.38, 0.34), (190, 30, 95)),
             ("ellipse", (0.1, -0.4, 0.16, 0.14), (245, 150, 185))],
    "key": [("ellipse", (-0.5, 0, 0.5, 0.55), (120, 175, 185)),
            ("polygon", ((0, -0.16), (1, -0.16), (1, 0.16), (0, 0.16)), (120, 175, 185)),
            ("polygon", ((0.5, 0.1), (0.68, 0.1), (0.68, 0.6), (0.5, 0.6)), (120, 175, 185)),
            ("polygon", ((0.82, 0.1), (1, 0.1), (1, 0.6), (0.82, 0.6)), (120, 175, 185)),
            ("ellipse", (-0.5, 0, 0.22, 0.25), (25, 75, 85))],
    "bomb": [("ellipse", (-0.1, 0.25, 0.75, 0.72), DARK),
             ("polygon", ((0.25, -0.35), (0.5, -0.6), (0.7, -0.4), (0.45, -0.15)), DARK),
             ("polygon", ((0.5, -0.5), (0.75, -0.85), (0.85, -0.75), (0.62, -0.4)), BROWN),
             ("ellipse", (0.8, -0.8, 0.2, 0.2), (255, 120, 0)),
             ("ellipse", (-0.35, 0.0, 0.18, 0.15), (150, 150, 160))],
}  # fmt: skip


def _inside_polygon(u, v, points):
    inside = np.zeros(u.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 != y1:
            crosses = ((y0 <= v) != (y1 <= v)) & (u < x0 + (v - y0) * (x1 - x0) / (y1 - y0))
            inside ^= crosses
    return inside


def _inside(kind, u, v, args=()):
    if kind == "ellipse":
        cx, cy, rx, ry = args
        return ((u - cx) / rx) * ((u - cx) / rx) + ((v - cy) / ry) * ((v - cy) / ry) <= 1
    if kind == "polygon":
        return _inside_polygon(u, v, list(args))
    if kind == "full":
        return np.ones(u.shape, bool)
    if kind == "square":
        return np.maximum(abs(u), abs(v)) <= 0.8
    if kind == "circle":
        return u * u + v * v <= 0.81
    if kind == "triangle":
        return abs(u) * 2 <= v + 1
    if kind == "star":
        return _inside_polygon(u, v, STAR)
    if kind == "cross":
        return np.minimum(abs(u), abs(v)) <= 1 / 3
    x, y = 1.2 * u, 0.25 - 1.2 * v  # heart: (x^2 + y^2 - 1)^3 <= x^2 y^3
    r = x * x + y * y - 1
    return r * r * r <= x * x * y * y * y


def sprite(item: Item, size: int, full: bool = False) -> np.ndarray:
    """RGBA drawing of an item, float (size, size, 4): colour 0-255, alpha 0-1.

    full: fill the whole box (the squares of the Squares task).
    """
    if size < 4:
        raise ValueError(f"an item needs at least 4 pixels a side, got {size}")
    if item.rgb is None and item.shape != UNNAMED:
        return _drawing(item, size, full)
    if item.outline is not None:
        out, corners = np.zeros((size, size, 4)), random_polygon(item.outline)
        out[..., 3] = _sampled(lambda u, v: _inside_polygon(u, v, corners), size)
    else:
        first, second, how = item.blend or (item.shape, item.shape, "union")
        out = _drawing(Item(first, "black"), size, full and item.blend is None).copy()
        if item.blend is not None:
            other = _drawing(Item(second, "black"), size, False)
            out[..., 3] = BLENDS[how](out[..., 3], other[..., 3])
    out[..., :3] = COLOURS[item.colour] if item.rgb is None else item.rgb
    return out


def random_polygon(seed: int) -> list[tuple[float, float]]:
    """Corners around the centre of a box from -1 to 1: four to ten at random distances, or those of
    three, four or six spikes of unlike lengths (five would be a star)."""
    rng = np.random.RandomState(seed)
    if rng.random_sample() < 0.6:
        n = rng.randint(4, 11)
        radius = rng.uniform(0.2, 1, n)
    else:
        n = 2 * (3, 4, 6)[rng.randint(3)]
        radius = rng.uniform(np.resize([0.6, 0.15], n), np.resize([1, 0.6], n))
    turn = (np.arange(n) + 0.35 * (2 * rng.random_sample(n) - 1)) / n + rng.random_sample()
    corners = np.stack([radius * np.sin(2 * pi * turn), radius * np.cos(2 * pi * turn)], 1)
    corners /= abs(corners).max(0)
    corners *= np.where(rng.random_sample(2) < 0.3, rng.uniform(0.4, 1, 2), 1)  # narrow, or flat
    return [(x, y) for x, y in corners.round(6).tolist()]  # as STAR: the same on every machine


def _sampled(inside, size: int) -> np.ndarray:
    """(size, size) share of each pixel of a box that inside(u, v) covers; u, v from -1 to 1."""
    n = size * SUPERSAMPLE
    line = (np.arange(n) * 2 + 1 - n) / n
    v, u = np.meshgrid(line, line, indexing="ij")
    hit = inside(u, v).astype(float)
    return hit.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE).mean((1, 3))


@lru_cache(maxsize=4096)
def _drawing(item: Item, size: int, full: bool) -> np.ndarray:
    """The sprite of an item in its own colours, read-only."""
    if item.colour is not None:
        kind = "full" if full else item.shape
        layers = [(kind, (), COLOURS[item.colour])]
    else:
        layers = DRAWINGS[item.shape]
    rgb, alpha = np.zeros((size, size, 3)), np.zeros((size, size, 1))
    for kind, args, colour in layers:
        cover = _sampled(partial(_inside, kind, args=args), size)[..., None]
        total = cover + alpha * (1 - cover)
        mixed = np.array(colour, float) * cover + rgb * (alpha * (1 - cover))
        rgb = np.where(total > 0, mixed / np.maximum(total, 1e-9), 0.0)
        alpha = total
    out = np.concatenate([rgb, alpha], -1)
    out.setflags(write=False)
    return out


def _paste(canvas, drawing, left, top):
    """Blend an RGBA drawing into a float canvas (H, W, 3), in place; returns its cover."""
    size_h, size_w = drawing.shape[:2]
    height, width = canvas.shape[:2]
    if left < 0 or top < 0 or left + size_w > width or top + size_h > height:
        raise ValueError(
            f"an item at ({left}, {top}) of {size_w} x {size_h} px leaves the canvas of "
            f"{width} x {height} px; move it inside or make it smaller"
        )
    spot = canvas[top : top + size_h, left : left + size_w]
    alpha = drawing[..., 3:]
    spot += (drawing[..., :3] - spot) * alpha
    cover = np.zeros((height, width))
    cover[top : top + size_h, left : left + size_w] = alpha[..., 0]
    return cover


def _finish(canvas) -> np.ndarray:
    return np.clip(np.floor(canvas + 0.5), 0, 255).astype(np.uint8)


def draw(
    items: list[Item] | tuple[Item, ...],
    cells: list[tuple[int, int]],
    geometry: Geometry = MINI,
    full: bool = False,
    background: np.ndarray | None = None,
) -> Stimulus:
    """Draw items on a canvas, each with its top-left corner on a token of the grid.

    cells: (row, column) per item, in tokens; background: float (side, side, 3), white if
    not given.  Raises ValueError for repeated items, unequal lengths or an item that
    leaves the canvas.
    """
    if len(items) != len(cells):
        raise ValueError(f"{len(items)} items but {len(cells)} cells")
    if len(set(items)) != len(items):
        raise ValueError(f"items repeat: {', '.join(i.name for i in items)}")
    side, size = geometry.side, geometry.item * geometry.px
    canvas = np.full((side, side, 3), 255.0) if background is None else background.astype(float)
    boxes, cover = [], []
    for item, (row, col) in zip(items, cells, strict=True):
        left, top = col * geometry.px, row * geometry.px
        cover.append(_paste(canvas, sprite(item, size, full), left, top))
        boxes.append((left, top, left + size, top + size))
    empty = np.zeros((0, side, side))
    return Stimulus(
        _finish(canvas),
        tuple(items),
        np.array(boxes, int).reshape(-1, 4),
        np.stack(cover) if cover else empty,
    )


def row_of(
    items: list[Item] | tuple[Item, ...],
    vertical: bool = False,
    geometry: Geometry = MINI,
    full: bool = False,
) -> Stimulus:
    """Items in a centred row (or column), first to last from left (or top)."""
    return draw(items, geometry.cells(vertical, len(items)), geometry, full)


# --- tasks ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One question about one image, with the answer and the items by place (0, 1, 2)."""

    stimulus: Stimulus
    question: str
    answer: str
    direction: str
    task: str

    @property
    def candidates(self) -> list[str]:
        """The answers of the items by place: first, reference, last."""
        return [item.answer for item in self.stimulus.items]


def task_items(task: str) -> list[Item]:
    """The items of a task.  Raises ValueError for an unknown task."""
    if task == "squares":
        return [Item("square", c) for c in SQUARE_COLOURS]
    if task == "shapes":
        return [Item(s, c) for s, c in SHAPE_PAIRS]
    if task == "objects":
        return [Item(o) for o in OBJECTS]
    raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")


def question_for(reference: Item, direction: str, noun: str = "shape") -> str:
    """The paper's prompt for "what is {direction} the reference" (trailing space kept).

    noun: "square" in the Squares task, "shape" in Shapes; objects need none.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"unknown direction {direction!r}; known: {', '.join(DIRECTIONS)}")
    where = PHRASES[direction]
    if reference.colour is None:
        return f"The object {where} the {reference.name} is a(n) "
    return f"The color of the {noun} {where} the {reference.name} is "


def two_option_question(subject: str, other: str, first: str, second: str) -> str:
    """The question of the COCO-spatial protocol; first and second: phrases, as in PHRASES."""
    if first.endswith(" of") and second.endswith(" of"):
        first = first.removesuffix(" of")
    return f"Is the {subject} {first} or {second} the {other}? Answer with one word."


def trial(items: tuple[Item, ...], direction: str, task: str, geometry: Geometry = MINI) -> Trial:
    """Three items in a row or column and the question about the middle one."""
    if len(items) != 3:
        raise ValueError(f"a trial has three items, got {len(items)}")
    vertical = direction in ("above", "below")
    stimulus = row_of(items, vertical, geometry, full=task == "squares")
    stimulus = replace(stimulus, cover=None)
    question = question_for(items[1], direction, "square" if task == "squares" else "shape")
    answer = items[0] if direction in ("left", "above") else items[2]
    return Trial(stimulus, question, answer.answer, direction, task)


def trials(task: str, geometry: Geometry = MINI, heldout: bool | None = None) -> list[Trial]:
    """Every ordered triple x four directions (480, 480, 1344 trials; paper Sec. 3.1).

    heldout: keep only triples the shipped models never saw (True) or could see (False).
    """
    triples = permutations(task_items(task), 3)
    kept = [t for t in triples if heldout is None or is_heldout(t) == heldout]
    return [trial(t, d, task, geometry) for d in DIRECTIONS for t in kept]


# --- what the shipped models never saw ------------------------------------------------


def _drawn(key: str, share: float) -> bool:
    """A fixed pseudo-random draw for a name, the same on every machine."""
    return zlib.crc32(key.encode()) % 1000 < share * 1000


def heldout_combinations(items, boxes=None, side: int = MINI.side) -> list[str]:
    """The combinations in an image that training never shows, as readable strings.

    Held out are: 30 % of the unordered triples of answers (colours or objects); the five
    non-square pairs of the Shapes task; and 10 % of the places of each item (cells of a 4 x 4
    division of the canvas), if boxes are given.  An unnamed colour is part of none.
    """
    found = []
    names = sorted(item.answer for item in items)
    if len(names) == 3 and UNNAMED not in names and _drawn("triple " + "-".join(names), 0.3):
        found.append("triple " + "-".join(names))
    for item in items:
        if item.shape != "square" and (item.shape, item.colour) in SHAPE_PAIRS:
            found.append(f"pair {item.colour}-{item.shape}")
    if boxes is not None:
        for item, (left, top, right, bottom) in zip(items, boxes, strict=True):
            col, row = (left + right) * 2 // side, (top + bottom) * 2 // side
            place = f"place {item.answer}-{row}-{col}"
            if item.answer != UNNAMED and _drawn(place, 0.1):
                found.append(place)
    return found


def is_heldout(items) -> bool:
    """True if the items form a combination (triple or pair) that training never shows."""
    return bool(heldout_combinations(items))


# --- naturalistic scenes --------------------------------------------------------------


LAYOUTS = ("row", "column", "free", "line", "any")


@dataclass(frozen=True)
class SceneStyle:
    """How hard a naturalistic scene is.  Ranges are (low, high), sizes in pixels.

    layout: "row", "column", "free", "line" (row or column) or "any"; spacing: distance between
    neighbouring centres along the layout's axis; gap: distance between neighbouring centres
    along the *other* axis, if that is the one to ask about (a row whose items differ a little
    in height, in an order of its own); texture, light, shadow, noise: strengths, 0 for none;
    contrast: share of an item's own colour that is kept; clutter: number of unnamed blobs
    behind the items; occlusion: chance that a blob covers part of an item.
    """

    items: int = 3
    layout: str = "any"
    size: tuple[int, int] = (14, 20)
    spacing: tuple[int, int] = (22, 32)
    gap: tuple[int, int] | None = None
    jitter: int = 6
    texture: float = 40.0
    light: float = 0.25
    shadow: float = 0.35
    contrast: tuple[float, float] = (0.8, 1.0)
    clutter: tuple[int, int] = (0, 3)
    occlusion: float = 0.1
    noise: float = 5.0

    def __post_init__(self):
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r}; known: {', '.join(LAYOUTS)}")
        for name in ("size", "spacing", "contrast", "clutter"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is (low, high), not {(low, high)}")

    def at(self, scale: float) -> SceneStyle:
        """The same scene with every length times `scale`."""
        longer = {
            name: tuple(round(scale * x) for x in value)
            for name in ("size", "spacing", "gap")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, jitter=round(scale * self.jitter), **longer)


EASY = SceneStyle()
HARD = SceneStyle(  # the places are hard, not the objects: gaps below one visual token
    layout="line", spacing=(20, 26), gap=(2, 4), texture=35.0, contrast=(0.9, 1.0),
    clutter=(2, 5), occlusion=0.0, noise=4.0,
)  # fmt: skip


def _texture(rng, side: int, strength: float) -> np.ndarray:
    """Smooth random colour field: two octaves of bilinear value noise around a base colour."""
    canvas = np.zeros((side, side, 3)) + 110 + 110 * rng.random_sample(3)
    for cells, weight in ((3, 1.0), (11, 0.6)):
        knots = rng.random_sample((cells + 1, cells + 1, 3)) - 0.5
        at = np.arange(side) * cells / side
        i = at.astype(int)
        f = (at - i)[:, None]
        rows = knots[i] * (1 - f[..., None]) + knots[i + 1] * f[..., None]
        canvas += strength * weight * (rows[:, i] * (1 - f) + rows[:, i + 1] * f)
    return canvas


def _blob(rng, canvas, centre, radius):
    """A muted, unnamed ellipse or lozenge, in place; returns its cover (H, W)."""
    side = len(canvas)
    low = np.maximum(np.floor(np.array(centre) - radius).astype(int), 0)
    high = np.minimum(np.ceil(np.array(centre) + radius).astype(int) + 1, side)
    y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
    dx, dy = (x + 0.5 - centre[0]) / radius, (y + 0.5 - centre[1]) / (radius * 0.6)
    hit = (dx * dx + dy * dy <= 1) if rng.random_sample() < 0.5 else (abs(dx) + abs(dy) <= 1)
    spot = canvas[low[1] : high[1], low[0] : high[0]]
    spot += (60 + 120 * rng.random_sample(3) - spot) * (0.9 * hit[..., None])
    cover = np.zeros((side, side))
    cover[low[1] : high[1], low[0] : high[0]] = 0.9 * hit
    return cover


def _places(rng, n: int, style: SceneStyle, sizes, side: int) -> np.ndarray | None:
    """(n, 2) integer left-top corners, or None if this draw does not fit."""
    layout = style.layout
    if layout in ("any", "line"):
        layout = ("row", "column", "free")[rng.randint(3 if layout == "any" else 2)]
    low, high = style.spacing
    if layout == "free":
        centres = rng.randint(0, side, (n, 2))
        gap = abs(centres[:, None] - centres[None]).max(-1) + side * np.eye(n, dtype=int)
        if gap.min() < low:
            return None
    else:
        steps = rng.randint(low, high + 1, n - 1)
        along = np.concatenate([[0], np.cumsum(steps)])
        room = side - along[-1] - int(max(sizes))
        if room < 1 or 2 * max(sizes) > side:
            return None
        along = along + rng.randint(0, room + 1) + int(max(sizes)) // 2
        middle = rng.randint(max(sizes), side - max(sizes) + 1)
        if style.gap is None:
            across = middle + rng.randint(-style.jitter, style.jitter + 1, n)
        else:  # a second, narrow order, unrelated to the first
            steps = rng.randint(style.gap[0], style.gap[1] + 1, n - 1)
            narrow = np.concatenate([[0], np.cumsum(steps)])
            across = middle + rng.permutation(narrow - narrow[-1] // 2)
        pair = (along, across) if layout == "row" else (across, along)
        centres = np.stack(pair, 1)
    corners = centres - np.array(sizes)[:, None] // 2
    fits = (corners >= 0).all() and (corners + np.array(sizes)[:, None] <= side).all()
    return corners if fits else None


def scene(
    rng: np.random.RandomState,
    style: SceneStyle = EASY,
    items: tuple[Item, ...] | None = None,
    side: int = MINI.side,
    white: bool = False,
    full: bool = False,
    keep=None,
    tries: int = 1000,
) -> Stimulus:
    """Draw one naturalistic scene (or, with white=True, plain items at free places).

    items: drawn from OBJECTS if not given; keep(items, boxes): redraw places until it is
    true.  Raises ValueError if the items do not fit.
    """
    if items is None:
        if not 1 <= style.items <= len(OBJECTS):
            raise ValueError(f"a scene has 1 to {len(OBJECTS)} objects, not {style.items}")
        picks = rng.permutation(len(OBJECTS))[: style.items]
        items = tuple(Item(OBJECTS[i]) for i in picks)
    if len(set(items)) != len(items):
        raise ValueError(f"items repeat: {', '.join(i.name for i in items)}")
    scale = side / MINI.side  # a style's lengths are those of a small canvas
    style = style.at(scale)
    for _ in range(tries):
        sizes = rng.randint(style.size[0], style.size[1] + 1, len(items))
        corners = _places(rng, len(items), style, sizes, side)
        if corners is None:
            continue
        boxes = np.concatenate([corners, corners + sizes[:, None]], 1).astype(int)
        if keep is None or keep(items, boxes):
            break
    else:
        raise ValueError(
            f"{len(items)} items of {style.size} px with spacing {style.spacing} do not fit on "
            f"{side} x {side} px; lower size or spacing"
        )
    canvas = np.full((side, side, 3), 255.0) if white else _texture(rng, side, style.texture)
    if not white:
        for _ in range(rng.randint(style.clutter[0], style.clutter[1] + 1)):
            _blob(rng, canvas, rng.randint(0, side, 2), rng.randint(3, 7) * scale)
    low, high = style.contrast
    share, mean = low + (high - low) * rng.random_sample(), canvas[::8, ::8].mean((0, 1))
    cover = []
    for item, size, (left, top) in zip(items, sizes, corners, strict=True):
        drawing = sprite(item, int(size), full)
        if not white:
            down, across = (min(at + round(2 * scale), side - size) for at in (top, left))
            dark = canvas[down : down + size, across : across + size]
            dark *= 1 - style.shadow * drawing[..., 3:]
            drawing = drawing.copy()
            drawing[..., :3] = drawing[..., :3] * share + mean * (1 - share)
        now = _paste(canvas, drawing, int(left), int(top))
        cover = [c * (1 - now) for c in cover] + [now]
    if not white:
        if rng.random_sample() < style.occlusion:
            which = rng.randint(len(items))
            centre = corners[which] + sizes[which] * rng.random_sample(2)
            over = _blob(rng, canvas, centre, 0.3 * sizes[which])
            cover = [c * (1 - over) for c in cover]
        slope = style.light * (2 * rng.random_sample(3) - 1)
        line = (np.arange(side) + 0.5) / side - 0.5
        canvas *= (1 + slope[0] * line[:, None] + slope[1] * line + 0.5 * slope[2])[..., None]
        # the sum of two uniforms (standard deviation 0.41): noise without a libm call
        canvas += style.noise * 2.45 * (rng.random_sample((2, side, side, 3)).sum(0) - 1)
    return Stimulus(_finish(canvas), tuple(items), boxes, np.stack(cover))


def reference_of(stimulus: Stimulus, vertical: bool, margin: float = 0) -> list[int]:
    """Indices of the items from first to last along an axis; [] if two are closer than margin."""
    along = stimulus.centres[:, 1 if vertical else 0]
    order = [int(i) for i in np.argsort(along, kind="stable")]
    steps = np.diff(along[order])
    return order if len(steps) == 0 or steps.min() >= max(margin, 1) else []


def scene_trials(
    n: int,
    style: SceneStyle = EASY,
    seed: int = 0,
    heldout: bool | None = True,
    side: int = MINI.side,
) -> list[Trial]:
    """n questions per direction about naturalistic scenes of three objects.

    The reference is the middle item along the asked axis.  heldout: True keeps scenes with a
    triple and a place that training never shows; None keeps all.
    """
    if style.items != 3:
        raise ValueError(f"scene trials have three items, not {style.items}")
    rng, out = np.random.RandomState(seed), []
    for direction in DIRECTIONS:
        vertical = direction in ("above", "below")
        axis = "column" if vertical == (style.gap is None) else "row"
        kept = 0
        while kept < n:
            free = style.layout == "free" or (style.layout == "any" and rng.random_sample() < 0.4)
            s = scene(rng, replace(style, layout="free" if free else axis), side=side)
            margin = (style.gap or style.spacing)[0] / 2 * side / MINI.side
            order = reference_of(s, vertical, margin)
            kinds = {c.split()[0] for c in heldout_combinations(s.items, s.boxes, len(s.pixels))}
            if not order or (heldout is True and not {"triple", "place"} <= kinds):
                continue
            if heldout is False and kinds:
                continue
            s = Stimulus(s.pixels, tuple(s.items[i] for i in order), s.boxes[order], None)
            answer = s.items[0] if direction in ("left", "above") else s.items[2]
            out.append(Trial(s, question_for(s.items[1], direction), answer.answer, direction,
                             "scenes"))  # fmt: skip
            kept += 1
    return out


# --- counterfactual pairs --------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A clean trial, its counterfactual, and the target answers of an intervention."""

    clean: Trial
    counterfactual: Trial
    targets: dict[str, str]


def last_token_pairs(
    task: str, direction: str, n: int, seed: int = 0, geometry: Geometry = MINI,
    heldout: bool | None = None,
) -> list[Pair]:  # fmt: skip
    """Pairs for last-token patching (paper Sec. 5.1; released last_token_exp/src/data.py).

    Five distinct items c0..c4, reference c1.  For left and above: clean (c0, c1, c2) and
    counterfactual (c4, c1, c3) with the opposite question, so that its answer is c3.  For
    right and below both images are mirrored.  Targets: "clean" c0, "ordering" c2 (the clean
    image's item at the counterfactual answer's place), "attribute" c3.
    """
    rng, items, out = np.random.RandomState(seed), _pool(task), []
    for _ in range(1000 * n):
        if len(out) == n:
            return out
        c = [items[i] for i in rng.permutation(len(items))[:5]]
        clean, other = (c[0], c[1], c[2]), (c[4], c[1], c[3])
        if heldout is not None and not (is_heldout(clean) == is_heldout(other) == heldout):
            continue
        if direction in ("right", "below"):
            clean, other = clean[::-1], other[::-1]
        out.append(Pair(
            trial(clean, direction, task, geometry),
            trial(other, OPPOSITE[direction], task, geometry),
            {"clean": c[0].answer, "ordering": c[2].answer, "attribute": c[3].answer},
        ))  # fmt: skip
    raise ValueError(f"fewer than {n} pairs of {task!r} fit heldout={heldout}")


def swap_pairs(
    task: str, direction: str, n: int, seed: int = 0, geometry: Geometry = MINI,
    heldout: bool | None = None,
) -> list[Pair]:  # fmt: skip
    """Pairs for region swaps (paper Sec. 5.3; released criss_cross_patching/src/data.py).

    The counterfactual shows the same items in mirror order under the same question.
    Targets: "clean" (answer unchanged, c0) and "flipped" (the mirror image's answer, c2).
    """
    rng, items, out = np.random.RandomState(seed), _pool(task), []
    for _ in range(1000 * n):
        if len(out) == n:
            return out
        c = tuple(items[i] for i in rng.permutation(len(items))[:3])
        if heldout is not None and is_heldout(c) != heldout:
            continue
        clean, other = (trial(x, direction, task, geometry) for x in (c, c[::-1]))
        out.append(Pair(clean, other, {"clean": clean.answer, "flipped": other.answer}))
    raise ValueError(f"fewer than {n} pairs of {task!r} fit heldout={heldout}")


def _pool(task: str) -> list[Item]:
    """Items to draw pairs from: the task's own, with orange added to the squares."""
    extra = [Item("square", "orange")] if task == "squares" else []
    return task_items(task) + extra
