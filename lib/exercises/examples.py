"""A small batch with known states: what an edit writes can be seen without a model."""

from __future__ import annotations

import torch

from dualmech import edits, stimuli
from vlms.model import VLM

from . import done, require

WIDTH = 4


class Sized(VLM):
    """The sizes of a small model, without a model: what an edit may ask of `b.vlm`."""

    n_layers, d_model = 8, WIDTH

    def __init__(self):
        self.name, self.grid, self.px = "example", (12, 12), 8


def batch(direction: str = "left", n: int = 2, slot: int = 0, seed: int = 0):
    """(resid, b): n trials about squares, each beside its mirror image; the residual of every
    position is its own random vector, in both runs, and rows are padded by other amounts.

    resid: (n, seq, WIDTH); b: an `edits.Batch` whose source is the mirror image's residual.
    """
    generator = torch.Generator().manual_seed(seed)
    items = stimuli.task_items("squares")
    trials = [stimuli.trial(tuple(items[k : k + 3]), direction, "squares") for k in range(n)]
    tokens, before, after = 144, 1 + torch.arange(n), 10
    seq = tokens + int(before.max()) + after
    resid, source = (torch.randn(n, seq, WIDTH, generator=generator) for _ in range(2))
    at = (seq - tokens - after - torch.arange(n))[:, None] + torch.arange(tokens)
    b = edits.Batch(Sized(), trials, list(range(n)), at, slot, lambda _slot: (source, at))
    return resid, b


def written(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(n, seq) true where an edit changed a position."""
    return (before != after).any(-1)


def edited(edit, resid: torch.Tensor, b, hint: str, call: str = "your edit"):
    """(after, touched): what a reader's edit makes of a copy of resid, and where it wrote.

    Raises `Wrong` if it gives no states of resid's shape, or leaves all as they are (with the
    hint what to write), and `NotDone` for a stub; call: what is said to have returned nothing.
    """
    after = done(edit(resid.clone(), b), call)
    require(
        after.shape == resid.shape,
        f"your edit gave shape {tuple(after.shape)}, not that of resid: return all of resid",
    )
    touched = written(resid, after)
    require(bool(touched.any()), f"nothing has changed: {hint}")
    return after, touched


def require_visual(touched: torch.Tensor, b) -> None:
    """Raises `Wrong` if an edit wrote positions that hold no visual token; touched: (n, seq)."""
    visual = torch.zeros_like(touched).scatter(1, b.at, True)
    require(
        not (touched & ~visual).any(), "positions outside the image were written: index with b.at"
    )
