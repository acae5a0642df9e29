"""Patch, swap, remove and amplify states of the residual stream, slot by slot.

Every sweep takes a clean prefix (one pass that keeps the residual at each slot) and
continues it from the edited slot upward, so that no layer below an edit is run twice.
Sources: paper Sec. 3.3 and 5; paper-specific choices are named where they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from . import stimuli
from .models import VLM, Run
from .regions import swap, tokens_of

VERTICAL = {"left": False, "right": False, "above": True, "below": True}


def inputs(vlm: VLM, trials) -> dict[str, Tensor]:
    """Model inputs of a list of trials."""
    return vlm.prepare([t.stimulus.image for t in trials], [t.question for t in trials])


def _sweep(vlm: VLM, clean: Run, pairs, slots: list[int], edit: Callable) -> np.ndarray:
    """Target probabilities (slots, n, targets) after edit(slot, residual copy) at each slot."""
    words, found = [list(pair.targets.values()) for pair in pairs], []
    for slot in slots:
        resid = clean.resid[slot].clone()
        edit(slot, resid)
        found.append(vlm.probabilities(vlm.suffix(clean, slot, resid), words))
    return np.stack(found)


def last_token_patch(
    vlm: VLM, pairs: list, slots: Iterable[int] | None = None, batch: int = 50
) -> Float[np.ndarray, "slots n targets"]:
    """Probability of each target answer after the last token's state at a slot is patched.

    The clean run's residual at the last position is overwritten by the counterfactual run's
    (paper Sec. 5.1).  Target order: that of `pairs[0].targets`.
    """
    slots = list(range(vlm.n_slots)) if slots is None else list(slots)
    found = []
    for i in tqdm(range(0, len(pairs), batch), desc="last token", leave=False):
        some = pairs[i : i + batch]
        clean = vlm.forward(inputs(vlm, [p.clean for p in some]), slots=slots)
        other = vlm.forward(inputs(vlm, [p.counterfactual for p in some]), slots=slots)

        def edit(slot, resid, other=other):
            resid[:, -1] = other.resid[slot][:, -1]

        found.append(_sweep(vlm, clean, some, slots, edit))
    return np.concatenate(found, 1)


def region_swap(
    vlm: VLM,
    pairs: list,
    region: str,
    slots: Iterable[int] | None = None,
    batch: int = 50,
    seed: int = 0,
    visual: Callable | None = None,
    own: bool = False,
) -> Float[np.ndarray, "slots n targets"]:
    """Probability of each target after a region is swapped in from the mirrored image.

    region: see `regions.swap`.  visual: a function of a list of trials that returns visual
    tokens (n, tokens, d_model) to use instead of the encoder's own in both runs, e.g.
    `ordering_removed` (paper Sec. 5.3.3).  own: take the states from the clean image itself, so
    that tokens change places and what they know of the layout stays right.
    """
    slots = list(range(vlm.n_slots)) if slots is None else list(slots)
    found = []
    for i in tqdm(range(0, len(pairs), batch), desc=f"{region} swap", leave=False):
        some = pairs[i : i + batch]
        runs = []
        for trials in ([p.clean for p in some], [p.counterfactual for p in some])[: 2 - own]:
            x = inputs(vlm, trials)
            at = vlm.positions(x)
            edits = [] if visual is None else [(0, replace_visual(at, visual(trials)))]
            runs.append(vlm.forward(x, edits, slots=slots))
        clean, other = runs[0], runs[-1]
        swaps = [
            swap(region, p.clean.stimulus, vlm.grid[0], VERTICAL[p.clean.direction], seed + i + k)
            for k, p in enumerate(some)
        ]
        target, source = (
            at.gather(
                1, torch.from_numpy(np.stack([getattr(s, name) for s in swaps])).to(at.device)
            )
            for name in ("target", "source")
        )
        row = torch.arange(len(some), device=at.device)[:, None]

        def edit(slot, resid, row=row, target=target, source=source, other=other):
            resid[row, target] = other.resid[slot][row, source]

        found.append(_sweep(vlm, clean, some, slots, edit))
    return np.concatenate(found, 1)


def replace_visual(
    at: Tensor, visual: Float[Tensor, "n tokens d_model"]
) -> Callable[[Tensor], Tensor]:
    """An edit that overwrites the visual tokens at sequence positions `at` (n, tokens)."""

    def edit(resid):
        resid = resid.clone()
        resid[torch.arange(len(at), device=at.device)[:, None], at] = visual.to(resid.dtype)
        return resid

    return edit


def ordering_removed(vlm: VLM, trials: list) -> Float[Tensor, "n tokens d_model"]:
    """Visual tokens whose encoder-made ordering is gone (paper Sec. 5.3.3; Table 5).

    Each item's tokens come from an image of that item alone in the centre of a white canvas;
    every other token from an all-white image, at the same place of the grid.
    """
    grid = vlm.grid[0]
    geometry = stimuli.Geometry(grid, vlm.px, 2, 2)
    centre = geometry.cells(False, 1)
    full = trials[0].task == "squares"
    if any((t.task == "squares") != full for t in trials):
        raise ValueError("mix of Squares and other tasks: remove the ordering task by task")
    items = sorted({item for t in trials for item in t.stimulus.items}, key=lambda i: i.name)
    alone = [stimuli.draw([item], centre, geometry, full=full) for item in items]
    white = stimuli.draw([], [], geometry)
    states = vlm.visual([s.image for s in [white, *alone]])
    middle = torch.from_numpy(tokens_of(alone[0].boxes[0], vlm.px, grid))
    out = states[:1].repeat(len(trials), 1, 1)
    for k, t in enumerate(trials):
        for item, box in zip(t.stimulus.items, t.stimulus.boxes, strict=True):
            out[k, tokens_of(box, vlm.px, grid)] = states[1 + items.index(item), middle]
    return out


def amplified(
    states: Float[Tensor, "*batch d_model"],
    directions: Float[Tensor, "k d_model"],
    alpha: float,
    how: str = "projection",
) -> Float[Tensor, "*batch d_model"]:
    """States with a signal turned up by alpha.

    "projection": x + alpha * sum_k (<x, w_k> / |w_k|^2) w_k, as in the released code
    (coco_amplification/src/common.py); "constant": x + alpha * sum_k w_k, as the text reads.
    """
    w = directions.to(states)
    if how == "projection":
        size = (w * w).sum(-1) + 1e-8
        return states + alpha * ((states @ w.T) / size) @ w
    if how == "constant":
        return states + alpha * w.sum(0)
    raise ValueError(f"how is 'projection' or 'constant', not {how!r}")


def matched_null(
    states: Float[Tensor, "*batch d_model"], changed: Float[Tensor, "*batch d_model"], seed: int = 0
) -> Float[Tensor, "*batch d_model"]:
    """States moved along one random direction, by as much (in norm) as `changed` moved each.

    The sign of each token's move is that of its own projection on the direction, as it is in
    projection scaling.
    """
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(states.shape[-1], generator=generator).to(states)
    w = w / w.norm()
    size = (changed - states).norm(dim=-1, keepdim=True)
    return states + size * (states @ w).sign()[..., None] * w


def amplified_answers(
    vlm: VLM,
    trials: list,
    directions: Float[Tensor, "k d_model"],
    alphas: Iterable[float],
    how: str = "projection",
    null: int | None = None,
    batch: int = 64,
) -> dict[float, list[str]]:
    """Answers after all visual tokens entering the LM are amplified, for each alpha.

    null: the seed of a norm-matched random direction to use instead (see `matched_null`).
    """
    out: dict[float, list[str]] = {alpha: [] for alpha in alphas}
    for i in tqdm(range(0, len(trials), batch), desc="amplify", leave=False):
        some = trials[i : i + batch]
        x = inputs(vlm, some)
        at = vlm.positions(x)
        clean = vlm.forward(x, slots=[0])
        row = torch.arange(len(at), device=at.device)[:, None]
        states = clean.resid[0][row, at]
        for alpha in out:
            new = amplified(states, directions, alpha, how)
            if null is not None:
                new = matched_null(states, new, null)
            resid = replace_visual(at, new)(clean.resid[0])
            out[alpha] += vlm.decode(vlm.suffix(clean, 0, resid))
    return out
