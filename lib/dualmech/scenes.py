"""Naturalistic scenes: objects on textured ground, with clutter and shadows (chapters 1, 10, 12).

The drawings are this project's own; noise and light are plain arithmetic without a libm call, so
that a seed gives the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .drawing import OBJECTS, Item, finish, paste
from .stimuli import DIRECTIONS, MINI, Stimulus, Trial, heldout_combinations, question_for

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
        pairs = {"size": self.size, "spacing": self.spacing, "gap": self.gap}
        scaled = {k: p and tuple(round(scale * x) for x in p) for k, p in pairs.items()}
        return replace(self, jitter=round(scale * self.jitter), **scaled)


EASY = SceneStyle()
HARD = SceneStyle(  # the places are hard, not the objects: neighbours about two tokens apart
    layout="line", spacing=(20, 26), gap=(16, 20), texture=35.0, contrast=(0.9, 1.0),
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
    y, x = np.ogrid[: len(canvas), : len(canvas)]
    dx, dy = (x + 0.5 - centre[0]) / radius, (y + 0.5 - centre[1]) / (radius * 0.6)
    hit = (dx * dx + dy * dy <= 1) if rng.random_sample() < 0.5 else (abs(dx) + abs(dy) <= 1)
    canvas[hit] += (60 + 120 * rng.random_sample(3) - canvas[hit]) * 0.9
    return 0.9 * hit


def _places(rng, n: int, style: SceneStyle, sizes, side: int) -> np.ndarray | None:
    """(n, 2) integer left-top corners, or None if this draw does not fit."""
    layout, most = style.layout, int(max(sizes))
    if layout in ("any", "line"):
        layout = ("row", "column", "free")[rng.randint(3 if layout == "any" else 2)]
    low, high = style.spacing
    if layout == "free":
        centres = rng.randint(0, side, (n, 2))
        gap = abs(centres[:, None] - centres[None]).max(-1) + side * np.eye(n, dtype=int)
        if gap.min() < low:
            return None
    else:
        along = np.concatenate([[0], np.cumsum(rng.randint(low, high + 1, n - 1))])
        room = side - along[-1] - most
        if room < 1 or 2 * most > side:
            return None
        along = along + rng.randint(0, room + 1) + most // 2
        middle = rng.randint(most, side - most + 1)
        if style.gap is None:
            across = middle + rng.randint(-style.jitter, style.jitter + 1, n)
        else:  # a second, narrow order, unrelated to the first
            steps = rng.randint(style.gap[0], style.gap[1] + 1, n - 1)
            narrow = np.concatenate([[0], np.cumsum(steps)])
            across = middle + rng.permutation(narrow - narrow[-1] // 2)
        centres = np.stack((along, across) if layout == "row" else (across, along), 1)
    corners = centres - np.array(sizes)[:, None] // 2
    fits = (corners >= 0).all() and (corners + np.array(sizes)[:, None] <= side).all()
    return corners if fits else None


def scene(
    rng: np.random.RandomState, style: SceneStyle = EASY, items: tuple[Item, ...] | None = None,
    side: int = MINI.side, white: bool = False, full: bool = False, keep=None, tries: int = 1000,
) -> Stimulus:  # fmt: skip
    """Draw one naturalistic scene (or, with white=True, plain items at free places).

    items: drawn from OBJECTS if not given; keep(items, boxes): redraw places until it is
    true.  Raises ValueError if the items do not fit.
    """
    if items is None:
        if not 1 <= style.items <= len(OBJECTS):
            raise ValueError(f"a scene has 1 to {len(OBJECTS)} objects, not {style.items}")
        items = tuple(Item(OBJECTS[i]) for i in rng.permutation(len(OBJECTS))[: style.items])
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
        drawing = item.sprite(int(size), full)
        if not white:
            down, across = (min(at + round(2 * scale), side - size) for at in (top, left))
            dark = canvas[down : down + size, across : across + size]
            dark *= 1 - style.shadow * drawing[..., 3:]
            drawing = drawing.copy()
            drawing[..., :3] = drawing[..., :3] * share + mean * (1 - share)
        now = paste(canvas, drawing, int(left), int(top))
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
    return Stimulus(finish(canvas), tuple(items), boxes, np.stack(cover))


def reference_of(stimulus: Stimulus, vertical: bool, margin: float = 0) -> list[int]:
    """Indices of the items from first to last along an axis; [] if two are closer than margin."""
    along = stimulus.centres[:, 1 if vertical else 0]
    order = [int(i) for i in np.argsort(along, kind="stable")]
    steps = np.diff(along[order])
    return order if len(steps) == 0 or steps.min() >= max(margin, 1) else []


def scene_trials(
    n: int, style: SceneStyle = EASY, seed: int = 0, heldout: bool | None = True,
    side: int = MINI.side,
) -> list[Trial]:  # fmt: skip
    """n questions per direction about naturalistic scenes of three objects.

    The reference is the middle item along the asked axis.  heldout: True keeps scenes with a
    triple and a place that training never shows; None keeps all.
    """
    if style.items != 3:
        raise ValueError(f"scene trials have three items, not {style.items}")
    rng, out = np.random.RandomState(seed), []
    margin = (style.gap or style.spacing)[0] / 2 * side / MINI.side
    for direction in DIRECTIONS:
        vertical, goal = direction in ("above", "below"), len(out) + n
        axis = "column" if vertical == (style.gap is None) else "row"
        while len(out) < goal:
            free = style.layout == "free" or (style.layout == "any" and rng.random_sample() < 0.4)
            s = scene(rng, replace(style, layout="free" if free else axis), side=side)
            order = reference_of(s, vertical, margin)
            unseen = {c.split()[0] for c in heldout_combinations(s.items, s.boxes, side)}
            wanted = heldout is None or (unseen >= {"triple", "place"} if heldout else not unseen)
            if order and wanted:
                s = Stimulus(s.pixels, tuple(s.items[i] for i in order), s.boxes[order], None)
                answer = s.items[0 if direction in ("left", "above") else 2].answer
                question = question_for(s.items[1], direction)
                out.append(Trial(s, question, answer, direction, "scenes"))
    return out
