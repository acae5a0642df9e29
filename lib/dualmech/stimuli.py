"""Images with known layouts, the questions asked about them, and pairs of them (all chapters).

Sources: canvas geometry, item sets and prompts follow the paper's released code (Sec. 3.1 and
Table 4; `data/paper.json` has the details).  Draws come from a seeded `numpy.random.RandomState`,
whose stream is frozen by NumPy's policy, so that a seed gives the same bytes on every machine.
Pairs alone come from a `random.Random`, as the authors' do: seed 0 begins with their tuples.
"""

from __future__ import annotations

import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice, permutations

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


def task_items(task: str, geometry: Geometry = MINI) -> list[drawing.Item]:
    """The items of a task on this canvas.  Raises ValueError for an unknown task."""
    colours = ["orange" if c in geometry.without else c for c in drawing.SQUARE_COLOURS]
    if task == "squares":
        return [drawing.Item("square", c) for c in colours]
    if task == "shapes":
        return [drawing.Item(s, c) for s, c in zip(drawing.SHAPES, colours, strict=True)]
    if task == "objects":
        return [drawing.Item(o) for o in drawing.OBJECTS if o not in geometry.without]
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
    """Every ordered triple x four directions (480, 480, 1344 trials; Pixtral 840 in the last).

    heldout: keep only triples the shipped models never saw (True) or could see (False).
    """
    triples = permutations(task_items(task, geometry), 3)
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


DRAWS = 2000  # tuples that are drawn at most, as in the released build_cf_pairs.py


def last_token_pairs(
    task: str, direction: str, n: int, seed: int = 0, geometry: Geometry = MINI,
    heldout: bool | None = None,
) -> list[Pair]:  # fmt: skip
    """n different pairs for last-token patching (paper Sec. 5.1; released last_token_exp).

    Five distinct items c0..c4, reference c1.  For left and above: clean (c0, c1, c2) and
    counterfactual (c4, c1, c3) with the opposite question, so that its answer is c3.  For
    right and below both images are mirrored.  Targets: "clean" c0, "ordering" c2 (the clean
    image's item at the counterfactual answer's place), "attribute" c3.  The squares have seven
    colours, as the published pairs do.
    """
    return _first(n, _last_token_pairs(task, direction, seed, geometry, heldout), task, heldout)


def swap_pairs(
    task: str, direction: str, n: int | None, seed: int = 0, geometry: Geometry = MINI,
    heldout: bool | None = None,
) -> list[Pair]:  # fmt: skip
    """n different pairs for region swaps (paper Sec. 5.3; released criss_cross_patching).

    The counterfactual shows the same items in mirror order under the same question.
    Targets: "clean" (answer unchanged, c0) and "flipped" (the mirror image's answer, c2).
    n None: each trio of items once, so that no two pairs show the same items.
    """
    return _first(n, _swap_pairs(task, direction, seed, geometry, heldout), task, heldout)


def answered_pairs(
    vlm, kind: str, task: str, direction: str, n: int = 50, seed: int = 0,
    heldout: bool | None = None, answers: Callable | None = None,
) -> list[Pair]:  # fmt: skip
    """Pairs that a model answers right, both images: of all words, the right one comes first.

    kind: "last token" or "swap"; answers(trials) -> words, `vlm.answer` if not given.  Draws until
    n are found, as the released code does, or DRAWS have no more.  Raises ValueError for others.
    """
    if kind not in PAIRS:
        raise ValueError(f"unknown kind of pairs {kind!r}; known: {', '.join(PAIRS)}")
    drawn, found = PAIRS[kind](task, direction, seed, vlm.geometry, heldout), []
    while len(found) < n and (some := list(islice(drawn, 32))):
        asked = [t for p in some for t in (p.clean, p.counterfactual)]
        shown, questions = [t.stimulus.image for t in asked], [t.question for t in asked]
        told = answers(asked) if answers else vlm.answer(shown, questions)
        right = [a == t.answer for a, t in zip(told, asked, strict=True)]
        found += [p for p, *ok in zip(some, right[::2], right[1::2], strict=True) if all(ok)]
    return found[:n]


def _last_token_pairs(task, direction, seed, geometry, heldout) -> Iterator[Pair]:
    pool, turn = task_items(task, geometry), -1 if direction in ("right", "below") else 1
    if task == "squares":
        pool = [drawing.Item("square", c) for c in (*drawing.SQUARE_COLOURS, "orange")]
    for c in _drawn_items(pool, 5, seed, heldout, ((0, 1, 2), (4, 1, 3))):
        clean, other = (c[0], c[1], c[2])[::turn], (c[4], c[1], c[3])[::turn]
        targets = {"clean": c[0].answer, "ordering": c[2].answer, "attribute": c[3].answer}
        asked = trial(clean, direction, task, geometry)
        yield Pair(asked, trial(other, OPPOSITE[direction], task, geometry), targets)


def _swap_pairs(task, direction, seed, geometry, heldout) -> Iterator[Pair]:
    turn = -1 if direction in ("right", "below") else 1
    for c in _drawn_items(task_items(task, geometry), 3, seed, heldout, ((0, 1, 2),)):
        clean, other = (trial(x, direction, task, geometry) for x in (c[::turn], c[::-turn]))
        yield Pair(clean, other, {"clean": clean.answer, "flipped": other.answer})


PAIRS = {"last token": _last_token_pairs, "swap": _swap_pairs}


def _drawn_items(pool, many: int, seed: int, heldout, images) -> Iterator[tuple]:
    """Different tuples of different items, in the order in which the released code draws them, of
    which each image (indices) is held out as asked."""
    rng = random.Random(seed)
    for c in dict.fromkeys(tuple(rng.sample(pool, many)) for _ in range(DRAWS)):
        if heldout is None or all(is_heldout([c[i] for i in image]) == heldout for image in images):
            yield c


def _first(n: int | None, pairs: Iterator[Pair], task: str, heldout) -> list[Pair]:
    if n is None:
        return list({frozenset(p.clean.candidates): p for p in pairs}.values())
    found = list(islice(pairs, n))
    if len(found) == n:
        return found
    raise ValueError(f"fewer than {n} pairs of {task!r} fit heldout={heldout}: {len(found)} do")


def __getattr__(name: str):
    """Names that moved, for one more release: to `drawing` and `scenes`."""
    for room in () if name.startswith("_") else ("drawing", "scenes"):
        found = import_module(f".{room}", __package__)
        if hasattr(found, name):
            told = f"dualmech.stimuli.{name} is now dualmech.{room}.{name}"
            warnings.warn(told, DeprecationWarning, stacklevel=2)
            return getattr(found, name)
    raise AttributeError(f"module 'dualmech.stimuli' has no attribute {name!r}")
