"""Stand-ins in the format of the public files, drawn: for a run without the photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from dualmech.drawing import OBJECTS, Item
from dualmech.scenes import EASY, SceneStyle, scene_trials
from dualmech.stimuli import MINI, OPPOSITE, PHRASES, draw

from .files import COCO, SUBSETS


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=95, subsampling=0)


def drawn_whatsup(folder: Path | str, references: tuple[str, ...] = ("pot", "hat")) -> None:
    """Draw a stand-in for What'sUp A: each object on the left and on the right of a reference."""
    folder, entries = Path(folder), []
    wall, floor = np.full((MINI.side, MINI.side, 3), 225.0), np.array((170.0, 140.0, 110.0))
    wall[MINI.side // 2 :] = floor
    wall *= 1 - 0.15 * np.linspace(0, 1, MINI.side)[:, None]  # light falls from one side
    cells = MINI.cells(False)
    for other in references:
        for thing in [name for name in OBJECTS if name != other]:
            for place, relation in ((0, "left"), (2, "right")):
                name = f"{thing}_{relation}_of_{other}.jpeg"
                at = [cells[place], cells[1]]
                drawn = draw([Item(thing), Item(other)], at, background=wall)
                _save(drawn.pixels, folder / SUBSETS["A"][1] / name)
                captions = [f"A {thing} to the {word} of a {other}"
                            for word in (relation, OPPOSITE[relation])]  # fmt: skip
                path = f"data/{SUBSETS['A'][1]}/{name}"
                entries.append({"image_path": path, "caption_options": captions})
    (folder / SUBSETS["A"][0]).write_text(json.dumps(entries))


def drawn_coco(
    folder: Path | str, n: int, style: SceneStyle = EASY, seed: int = 0, heldout: bool = True
) -> None:
    """Draw a stand-in for COCO-spatial: n questions about naturalistic scenes, with boxes.

    Each scene shows three objects, and the question is about two of them; every relation is the
    answer equally often (n is rounded up to a multiple of four).  heldout: see
    `scenes.scene_trials`.
    """
    folder, rng = Path(folder), np.random.RandomState(seed)
    entries, annotations = [], []
    for number, t in enumerate(scene_trials(-(-n // 4), style, seed, heldout)):
        low, high = sorted(rng.permutation(3)[:2].tolist())  # items are in the asked order
        pair = (low, high) if t.direction in ("left", "above") else (high, low)
        names = [t.stimulus.items[i].name for i in pair]
        entries.append([number, *(f"A photo of a {names[0]} {PHRASES[word]} a {names[1]}"
                                  for word in (t.direction, OPPOSITE[t.direction]))])  # fmt: skip
        boxes = t.stimulus.boxes.tolist()
        for item, (left, top, right, bottom) in zip(t.stimulus.items, boxes, strict=True):
            annotations.append({"image_id": number, "category_id": OBJECTS.index(item.name),
                                "bbox": [left, top, right - left, bottom - top]})  # fmt: skip
        _save(t.stimulus.pixels, folder / COCO[1] / f"{number:012d}.jpg")
    (folder / COCO[0]).write_text(json.dumps(entries))
    told = {"categories": [{"id": k, "name": name} for k, name in enumerate(OBJECTS)],
            "annotations": annotations}  # fmt: skip
    (folder / COCO[2]).parent.mkdir(exist_ok=True)
    (folder / COCO[2]).write_text(json.dumps(told))
