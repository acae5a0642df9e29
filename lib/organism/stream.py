"""Batches of training data, each by its number, and how pixels reach the tower."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from .captions import caption, encoded
from .dialogues import dialogue, pack
from .images import layout_labels, token_labels, training_stimulus
from .model import GRID, build_processor
from .recipe import STAGES, Recipe


class Stream(IterableDataset):
    """Batches by number: batch k of a seed is the same wherever a run starts."""

    def __init__(self, recipe: Recipe, stage: str, start: int, steps: int):
        self.recipe, self.stage, self.start, self.steps = recipe, stage, start, steps
        self.batch = recipe.encoder_batch if stage == "encoder" else recipe.lm_batch
        self.tokenizer = None if stage == "encoder" else build_processor().tokenizer

    def __iter__(self):
        for step in range(self.start, self.steps):
            yield self.make(step)

    def make(self, step: int) -> dict[str, Tensor]:
        recipe = self.recipe
        key = [recipe.seed, step, STAGES[self.stage]]
        rng = np.random.RandomState(key)
        shares = (recipe.unnamed,)
        if self.stage == "refine":
            shares = (recipe.recoloured, recipe.outlined)
        elif self.stage == "lm" and step < recipe.lm_steps:
            shares = (0.0,)
        drawn = [training_stimulus(rng, *shares) for _ in range(self.batch)]
        out = {"pixels": np.stack([s.pixels for s in drawn])}
        if self.stage == "encoder":
            out["tokens"] = np.stack([token_labels(s) for s in drawn])
            out["layout"] = np.stack([layout_labels(s) for s in drawn])
        elif self.stage == "caption":
            talk = random.Random(str(key))
            told = [[caption(s, talk, recipe.backwards) for _ in range(recipe.captions)]
                    for s in drawn]  # fmt: skip
            out["ids"] = np.array([encoded(captions, self.tokenizer) for captions in told])
        else:
            talk = random.Random(str(key))
            packed = [pack(dialogue(s, talk, recipe.natural), self.tokenizer, talk) for s in drawn]
            for name, rows in zip(("ids", "target", "place", "segment"),
                                  zip(*packed, strict=True), strict=True):  # fmt: skip
                out[name] = np.array(rows)
        return {k: torch.from_numpy(v) for k, v in out.items()}


def normalise(pixels: Tensor) -> Tensor:
    """uint8 (n, H, W, 3) to the processor's float (n, 3, H, W) in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def as_tiles(pixels: Tensor, k: int = 3) -> Tensor:
    """(n, H, W, 3) to (n*k*k, H, W, 3): each tile in the centre of a white canvas."""
    n, side = pixels.shape[:2]
    tile = side // k
    tiles = pixels.reshape(n, k, tile, k, tile, 3).permute(0, 1, 3, 2, 4, 5)
    out = torch.full((n * k * k, side, side, 3), 255, dtype=pixels.dtype, device=pixels.device)
    start = (side - tile) // 2
    out[:, start : start + tile, start : start + tile] = tiles.reshape(-1, tile, tile, 3)
    return out


def from_tiles(states: Tensor, k: int = 3) -> Tensor:
    """(n*k*k, grid*grid, D) of tiles back to (n, grid*grid, D) of the image."""
    width, tile = states.shape[-1], GRID // k
    start = (GRID - tile) // 2
    grid = states.view(-1, k, k, GRID, GRID, width)
    grid = grid[:, :, :, start : start + tile, start : start + tile]
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, GRID * GRID, width)
