"""What the page needs of a model and of the library, as plain data."""

from __future__ import annotations

import base64
import hashlib
import json
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save

from . import library as lib

KEPT = 100  # scenes of "Turn it up"
PIECE = 1_000_000  # characters of a script that carries a part of the weights


def checkpoint(vlm: lib.VLM) -> Path:
    """The weights' file of a model.  Raises ModelError for one that is not a local checkpoint."""
    if vlm.path is None or not (vlm.path / "model.safetensors").exists():
        raise lib.ModelError(
            f"{vlm.name} cannot run in the page: it needs a folder with model.safetensors of a "
            "small LLaVA, such as that of dualmech.load('mini')"
        )
    return vlm.path / "model.safetensors"


def weights(vlm: lib.VLM) -> bytes:
    """The model's weights as a safetensors file in float16: half the size, and nearly the same
    answers (a test counts them)."""
    tensors = load_file(checkpoint(vlm))
    return save({name: tensor.half() for name, tensor in tensors.items()})


def model(vlm: lib.VLM) -> dict:
    """What the engine needs besides weights: configuration, tokenizer, prompt, pixel scaling."""
    names = ("config", "tokenizer")
    read = {name: json.loads((vlm.path / f"{name}.json").read_text()) for name in names}
    images = vlm.image_processor
    pixels = {"mean": list(images.image_mean), "std": list(images.image_std)}
    return read | {"name": vlm.name, "prompt": vlm.prompt("{question}"), "pixels": pixels}


def pieces(data: bytes) -> list[str]:
    """Bytes as base64 texts, each of a length that stands for whole bytes."""
    size = PIECE // 4 * 3
    return [
        base64.b64encode(data[at : at + size]).decode() for at in range(0, len(data), size)
    ]  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pool(task: str) -> list[lib.Item]:
    """The items of a task; Squares with orange, which counterfactual pairs need."""
    return lib.task_items(task) + [lib.Item("square", "orange")] * (task == "squares")


def kit(vlm: lib.VLM) -> dict:
    """The library's canvas, sprites and questions, and the paper's curves."""
    shape = vlm.geometry
    out = {"grid": shape.grid, "px": shape.px, "item": shape.item, "gap": shape.gap}
    out |= {"layers": vlm.n_layers, "curves": curves()}
    out |= {"sprites": {}, "answers": {}, "questions": {}}
    for task in lib.TASKS:
        items, full = pool(task), task == "squares"
        size = shape.item * shape.px
        out["sprites"][task] = {i.name: _sprite(i.sprite(size, full)) for i in items}
        out["answers"][task] = {i.name: i.answer for i in items}
        noun = "square" if task == "squares" else "shape"
        out["questions"][task] = {
            d: lib.question_for(items[0], d, noun).replace(items[0].name, "{reference}")
            for d in lib.DIRECTIONS
        }
    return out


def _sprite(rgba: np.ndarray) -> dict:
    """A drawing (size, size, 4) as the colours that are in it and which is where, exactly."""
    palette, index = np.unique(rgba.reshape(-1, 4), axis=0, return_inverse=True)
    return {"palette": palette.tolist(), "index": index.reshape(-1).tolist()}


def curves() -> dict:
    """The paper's last-token curves of Qwen2-VL-7B: {direction: {target: [[depth, value], ...]}},
    depth from 0, the first layer's input, to 1, the last layer's output."""
    depth = lib.paper.describe("models")["qwen2-vl-7b"]["layers"]
    named = {"ordering": "P(c2)", "attribute": "P(c3)"}
    return {
        direction: {
            target: [
                [round(e["slot"] / depth, 4), e["value"]]
                for e in lib.paper.published("last_token", quantity=quantity, direction=direction)
            ]
            for target, quantity in named.items()
        }
        for direction in lib.DIRECTIONS
    }


def extras(vlm: lib.VLM) -> dict:
    """What only some explorables need: kept scenes, ordering directions and position probes."""
    return {
        "kept": [_kept(t) for t in kept_scenes(vlm)],
        "directions": directions(vlm),
        "probes": {axis: position_probe(vlm, axis) for axis in ("horizontal", "vertical")},
    }


def kept_scenes(vlm: lib.VLM) -> list[lib.Trial]:
    """Hard scenes in equal parts for each direction; the model has not seen their trios."""
    return lib.scene_trials(KEPT // 4, lib.HARD, seed=12, side=vlm.canvas[0])


def directions(vlm: lib.VLM) -> list[list[float]]:
    """Directions of first and last along both axes, from other hard scenes: four vectors (d)."""
    tune = lib.scene_trials(KEPT // 2, lib.HARD, seed=11, heldout=False, side=vlm.canvas[0])
    return [_rounded(row) for rows in lib.ordering_directions(vlm, tune).values() for row in rows]


def _rounded(row: torch.Tensor) -> list[float]:
    return [round(x, 5) for x in row.tolist()]


def kept_pixels(trial: lib.Trial) -> tuple[np.ndarray, np.ndarray]:
    """A scene in 256 colours: palette uint8 (256, 3) and index uint8 (H, W)."""
    flat = Image.fromarray(trial.stimulus.pixels).quantize(256)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(flat.getpalette(), np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    return palette, np.asarray(flat)


def _kept(trial: lib.Trial) -> dict:
    palette, index = kept_pixels(trial)
    data = base64.b64encode(palette.tobytes() + index.tobytes()).decode()
    told = {"question": trial.question, "answer": trial.answer, "candidates": trial.candidates}
    return told | {"direction": trial.direction, "data": data}


def position_probe(vlm: lib.VLM, axis: str) -> dict:
    """A probe for the place (first, middle, last) of the item that a token belongs to, fitted on
    Squares: {weights (d, 3), bias (3)}."""
    direction = {"horizontal": "left", "vertical": "above"}[axis]
    trios = permutations(lib.task_items("squares"), 3)
    shown = [lib.trial(trio, direction, "squares", vlm.geometry) for trio in trios]
    probe = lib.fit(*lib.item_rows(*lib.probe_data(vlm, shown)), steps=1000, lr=1e-2)
    return {"weights": [_rounded(row) for row in probe.weights], "bias": _rounded(probe.bias)}
