"""Images with known layouts, the questions asked about them, and pairs of them (all chapters).

Sources: canvas geometry, item sets and prompts follow the paper's released code (Sec. 3.1 and
Table 4; `data/paper.json` has the details).  Draws come from a seeded `numpy.random.RandomState`,
whose stream is frozen by NumPy's policy, so that a seed gives the same bytes on every machine.
"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import combinations, islice, permutations

import numpy as np
from PIL import Image

from vlms.canvas import GEOMETRIES, MINI, Geometry  # noqa: F401 (chapters look here)

from . import drawing

DIRECTIONS = ("left", "right", "above", "below")
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
PHRASES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
TASKS = ("squares", "shapes", "objects")


@dataclass(frozen=True)
class Stimulus:
    """An image and what is on it.

    pixels: uint8 (H, W, 3); items: in drawing order; boxes: int (n, 4) as left, top,
    right, bottom in pixels; cover: float (n, H, W), visible share of each pixel an item covers
    (None in trials: only training needs it, and on a large canvas it is most of the memory).
    """

    pixels: np.ndarray
    items: tuple[drawing.Item, ...]
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


def draw(items, cells, geometry: Geometry = MINI, full: bool = False, background=None) -> Stimulus:
    """Draw items on a canvas, each with its top-left corner on a token of the grid.

    items: n `drawing.Item`; cells: (row, column) per item, in tokens; full: items fill their boxes;
    background: float (H, W, 3), a white square if not given.  Raises ValueError for repeated items,
    unequal lengths or an item that leaves the canvas.
    """
    if len(items) != len(cells):
        raise ValueError(f"{len(items)} items but {len(cells)} cells")
    if len(set(items)) != len(items):
        raise ValueError(f"items repeat: {', '.join(i.name for i in items)}")
    shape, size = (geometry.side, geometry.side, 3), geometry.item * geometry.px
    canvas = np.full(shape, 255.0) if background is None else background.astype(float)
    corners = np.array(cells, int).reshape(-1, 2)[:, ::-1] * geometry.px
    each = zip(items, corners, strict=True)
    cover = [drawing.paste(canvas, item.sprite(size, full), *corner) for item, corner in each]
    cover = np.array(cover).reshape(-1, *canvas.shape[:2])
    boxes = np.concatenate([corners, corners + size], 1)
    return Stimulus(drawing.finish(canvas), tuple(items), boxes, cover)


def row_of(items, vertical: bool = False, geometry: Geometry = MINI, full=False) -> Stimulus:
    """Items in a centred row (or column), first to last from left (or top)."""
    return draw(items, geometry.cells(vertical, len(items)), geometry, full)


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


def task_items(task: str) -> list[drawing.Item]:
    """The items of a task.  Raises ValueError for an unknown task."""
    if task == "squares":
        return [drawing.Item("square", c) for c in drawing.SQUARE_COLOURS]
    if task == "shapes":
        return [drawing.Item(s, c) for s, c in drawing.SHAPE_PAIRS]
    if task == "objects":
        return [drawing.Item(o) for o in drawing.OBJECTS]
    raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")


def question_for(reference: drawing.Item, direction: str, noun: str = "shape") -> str:
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


def pairwise_question(subject, other, vertical: bool, swap: bool = False) -> str:
    """The two-option question about two items; swap: options in reverse order."""
    options = DIRECTIONS[2:] if vertical else DIRECTIONS[:2]
    first, second = (PHRASES[word] for word in (options[::-1] if swap else options))
    return two_option_question(subject.name, other.name, first, second)


def trial(items, direction: str, task: str, geometry: Geometry = MINI) -> Trial:
    """Three items in a row or column and the question about the middle one."""
    if len(items) != 3:
        raise ValueError(f"a trial has three items, got {len(items)}")
    stimulus = row_of(items, direction in ("above", "below"), geometry, full=task == "squares")
    question = question_for(items[1], direction, "square" if task == "squares" else "shape")
    answer = items[0] if direction in ("left", "above") else items[2]
    return Trial(replace(stimulus, cover=None), question, answer.answer, direction, task)


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
    division of the canvas), if boxes are given.
    """
    triple = "triple " + "-".join(sorted(item.answer for item in items))
    found = [triple] if len(items) == 3 and _drawn(triple, 0.3) else []
    for item in items:
        if item.shape != "square" and (item.shape, item.colour) in drawing.SHAPE_PAIRS:
            found.append(f"pair {item.colour}-{item.shape}")
    if boxes is not None:
        for item, (left, top, right, bottom) in zip(items, boxes, strict=True):
            col, row = (left + right) * 2 // side, (top + bottom) * 2 // side
            place = f"place {item.answer}-{row}-{col}"
            if _drawn(place, 0.1):
                found.append(place)
    return found


def is_heldout(items) -> bool:
    """True if the items form a combination (triple or pair) that training never shows."""
    return bool(heldout_combinations(items))


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
    turn, out = -1 if direction in ("right", "below") else 1, []
    for c in _drawn_items(task, 5, n, seed, heldout, ((0, 1, 2), (4, 1, 3))):
        clean, other = (c[0], c[1], c[2])[::turn], (c[4], c[1], c[3])[::turn]
        targets = {"clean": c[0].answer, "ordering": c[2].answer, "attribute": c[3].answer}
        asked = trial(clean, direction, task, geometry)
        out.append(Pair(asked, trial(other, OPPOSITE[direction], task, geometry), targets))
    return out


def swap_pairs(
    task: str, direction: str, n: int | None, seed: int = 0, geometry: Geometry = MINI,
    heldout: bool | None = None,
) -> list[Pair]:  # fmt: skip
    """Pairs for region swaps (paper Sec. 5.3; released criss_cross_patching/src/data.py).

    The counterfactual shows the items in mirror order under the same question.  Seven colours,
    drawn with repeats (published: six, without).  Targets: "clean" c0, "flipped" c2, the mirror's.
    n: how many are drawn; None: each trio of items once, so that no two pairs show the same items.
    """
    out = []
    for c in _drawn_items(task, 3, n, seed, heldout, ((0, 1, 2),)):
        clean, other = (trial(x, direction, task, geometry) for x in (c, c[::-1]))
        out.append(Pair(clean, other, {"clean": clean.answer, "flipped": other.answer}))
    return out


def _drawn_items(task: str, many: int, n: int | None, seed: int, heldout, images) -> list[tuple]:
    """n draws of distinct items, of which each image (indices) is held out as asked; n None: each
    set of items once, in a random order."""
    rng, items = np.random.RandomState(seed), task_items(task)
    items += [drawing.Item("square", "orange")] if task == "squares" else []

    def fits(c):
        return heldout is None or all(is_heldout([c[i] for i in x]) == heldout for x in images)

    if n is None:
        every = [tuple(c[i] for i in rng.permutation(many)) for c in combinations(items, many)]
        return [every[i] for i in rng.permutation(len(every)) if fits(every[i])]
    draws = (tuple(items[i] for i in rng.permutation(len(items))[:many]) for _ in range(1000 * n))
    if len(out := list(islice(filter(fits, draws), n))) < n:
        raise ValueError(f"fewer than {n} pairs of {task!r} fit heldout={heldout}")
    return out


def __getattr__(name: str):
    """Names that moved, for one more release: to `drawing` and `scenes`."""
    for room in () if name.startswith("_") else ("drawing", "scenes"):
        found = import_module(f".{room}", __package__)
        if hasattr(found, name):
            told = f"dualmech.stimuli.{name} is now dualmech.{room}.{name}"
            warnings.warn(told, DeprecationWarning, stacklevel=2)
            return getattr(found, name)
    raise AttributeError(f"module 'dualmech.stimuli' has no attribute {name!r}")
