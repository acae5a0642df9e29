"""A small batch with known states: what an edit writes can be seen without a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dualmech import edits, stimuli

WIDTH = 4


@dataclass
class Sized:
    """What an edit may ask of a model: the size of its token grid and of its residual."""

    grid: tuple[int, int] = (12, 12)
    px: int = 8
    d_model: int = WIDTH
    n_slots: int = 9
    n_layers: int = 8


def batch(direction: str = "left", n: int = 2, slot: int = 0, seed: int = 0):
    """(resid, b): n trials about squares, each beside its mirror image; the residual of every
    position is its own random vector, in both runs, and rows are padded by other amounts.

    resid: (n, seq, WIDTH); b: an `edits.Batch` whose source is the mirror image's residual.
    """
    generator = torch.Generator().manual_seed(seed)
    items = [i for i in stimuli.task_items("squares")]
    trials = [stimuli.trial(tuple(items[k : k + 3]), direction, "squares") for k in range(n)]
    tokens, before, after = 144, 1 + torch.arange(n), 10
    seq = tokens + int(before.max()) + after
    resid, source = (torch.randn(n, seq, WIDTH, generator=generator) for _ in range(2))
    at = (seq - tokens - after - torch.arange(n))[:, None] + torch.arange(tokens)
    b = edits.Batch(Sized(), trials, list(range(n)), at, source, at.clone(), slot)
    return resid, b


def written(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(n, seq) true where an edit changed a position."""
    return (before != after).any(-1)
