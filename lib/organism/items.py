"""Items that only training shows: shades, colours and shapes without a name, random outlines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin

import numpy as np

from dualmech.drawing import COLOURS, FORMS, SHAPE_PAIRS, SHAPES, Item, polygon, sampled

UNNAMED = "unnamed"  # colour or shape of an item that no word of the book describes
BLENDS = {"union": np.maximum, "overlap": np.minimum, "difference": lambda a, b: abs(a - b)}
ALIKE = 0.6  # overlap with a held-out shape that an outline in its colour must not reach


@dataclass(frozen=True)
class TrainingItem(Item):
    """An item in a shade, which may have no word for its colour or its shape.

    rgb: shade to draw it in (its colour's own if not given); with it the colour may be
    "unnamed".  A shape that is "unnamed" has a blend, (shape, shape, one of BLENDS), or an outline,
    the seed of a random polygon.
    """

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
        shape = "square" if self.shape == UNNAMED and self.colour is not None else self.shape
        Item(shape, "red" if self.colour == UNNAMED else self.colour)  # what has a name is known

    @property
    def name(self) -> str:
        """'red square' or 'apple'; 'red shape' for a random outline in a named colour."""
        if self.outline is not None and self.colour != UNNAMED:
            return f"{self.colour} shape"
        return super().name

    def sprite(self, size: int, full: bool = False) -> np.ndarray:
        """RGBA drawing, float (size, size, 4), as `Item.sprite`."""
        if self.rgb is None and self.shape != UNNAMED:
            return super().sprite(size, full)
        out = np.empty((size, size, 4))
        out[..., :3] = COLOURS[self.colour] if self.rgb is None else self.rgb
        if self.outline is not None:
            out[..., 3] = sampled(polygon(*random_polygon(self.outline)), size)
        elif self.blend is not None:
            first, second = (Item(s, "black").sprite(size)[..., 3] for s in self.blend[:2])
            out[..., 3] = BLENDS[self.blend[2]](first, second)
        else:
            out[..., 3] = Item(self.shape, "black").sprite(size, full)[..., 3]
        return out


def random_polygon(seed: int) -> list[tuple[float, float]]:
    """Corners (u, v) around the centre of a box from -1 to 1: four to ten at random distances, or
    those of three, four or six spikes of unlike lengths (five would be a star)."""
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
    return [(x, y) for x, y in corners.round(6).tolist()]  # rounded: the same on every machine


@lru_cache
def turned(shape: str, size: int) -> np.ndarray:
    """(24, size, size) covers of a named shape, turned by multiples of 15 degrees."""
    out = []
    for c, s in ((cos(k * pi / 12), sin(k * pi / 12)) for k in range(24)):
        form = lambda u, v, c=c, s=s: FORMS[shape](c * u - s * v, s * u + c * v)  # noqa: E731
        out.append(sampled(form, size))
    return np.stack(out)


def likeness(item: Item, shape: str, size: int = 16) -> float:
    """Overlap over union of an item and a named shape in the same box, at the best of 24 angles.

    A shape that is stretched counts as another one.
    """
    ours, theirs = item.sprite(size)[..., 3], turned(shape, size)
    both, either = np.minimum(ours, theirs), np.maximum(ours, theirs)
    return float((both.sum((1, 2)) / either.sum((1, 2))).max())


def shaded(
    item: Item, rng: np.random.RandomState, unnamed: float, outlined: float | None = None
) -> TrainingItem:
    """A coloured item in a shade of its colour, or (a share `unnamed` each) in a colour or of
    a shape without a name; never near the shape's or the colour's held-out partner.

    outlined: if given (stage 3), this share gets a random outline, and none a blend.
    """
    near = 30  # shades of a colour, in steps of 255 per channel
    kind = rng.random_sample()
    if kind < unnamed:
        kept = [COLOURS[c] for s, c in SHAPE_PAIRS if s == item.shape != "square"]
        while True:
            rgb = rng.randint(0, 256, 3)
            if all(abs(rgb - np.array(c)).max() > near for c in kept):
                return TrainingItem(item.shape, UNNAMED, tuple(rgb.tolist()))
    shade = np.clip(np.array(COLOURS[item.colour]) + rng.randint(-near, near + 1, 3), 0, 255)
    shade = tuple(shade.tolist())
    if outlined is not None and kind < unnamed + outlined:
        partners = [shape for shape, colour in SHAPE_PAIRS if colour == item.colour]
        while True:
            drawn = TrainingItem(UNNAMED, item.colour, shade, outline=int(rng.randint(2**31 - 1)))
            if all(likeness(drawn, shape) < ALIKE for shape in partners):
                return drawn
    if outlined is None and kind < 2 * unnamed:
        shapes = [s for s in SHAPES if (s, item.colour) not in SHAPE_PAIRS]
        first, second = (shapes[i] for i in rng.permutation(len(shapes))[:2])
        how = list(BLENDS)[rng.randint(len(BLENDS))]
        return TrainingItem(UNNAMED, item.colour, shade, (first, second, how))
    return TrainingItem(item.shape, item.colour, shade)
