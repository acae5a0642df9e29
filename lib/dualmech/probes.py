"""Linear probes, the directions they find and heat maps (chapters 3, 6 and 9 to 13).

Source: paper Sec. 5.2, App. A.4; released probing/src/probe.py and coco_amplification.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .regions import owned

AXES = {"horizontal": ("left", "right"), "vertical": ("above", "below")}


@dataclass(frozen=True)
class Probe:
    """Softmax probe: weights (d_model, classes), bias (classes,)."""

    weights: Float[Tensor, "d_model classes"]
    bias: Float[Tensor, " classes"]

    def __call__(self, states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch classes"]:
        """Class probabilities."""
        return (states.float() @ self.weights + self.bias).softmax(-1)

    def accuracy(self, states: Float[Tensor, "n d_model"], labels: Int[Tensor, " n"]) -> float:
        """Share of states whose most probable class is their label."""
        return (self(states).argmax(-1) == labels).float().mean().item()


def fit(
    states: Float[Tensor, "n d_model"], labels: Int[Tensor, " n"], classes: int = 3,
    steps: int = 200, lr: float = 1e-3, decay: float = 1e-4, seed: int = 0,
) -> Probe:  # fmt: skip
    """Full-batch AdamW on cross-entropy, W ~ N(0, 1/d_model): the released recipe.

    Raises ValueError if a class has no example.
    """
    missing = set(range(classes)) - set(labels.tolist())
    if missing:
        raise ValueError(f"classes {sorted(missing)} have no example among {len(labels)} labels")
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn((d := states.shape[1]), classes, generator=generator) * d**-0.5
    weights = start.to(states.device).requires_grad_()
    bias = torch.zeros(classes, device=states.device, requires_grad=True)
    optimizer = torch.optim.AdamW([weights, bias], lr=lr, weight_decay=decay)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(states.float() @ weights + bias, labels).backward()
            optimizer.step()
    return Probe(weights.detach(), bias.detach())


def heat_map(
    probe: Probe, states: Float[Tensor, "n tokens d_model"], grid: tuple[int, int]
) -> Float[Tensor, "rows cols classes"]:
    """Class probabilities per cell of the token grid, averaged over images (paper Fig. 4)."""
    return probe(states).mean(0).reshape(*grid, -1)


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

    The sign of each token's move is that of its own projection on it, as in projection scaling.
    """
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(states.shape[-1], generator=generator).to(states)
    w = w / w.norm()
    size = (changed - states).norm(dim=-1, keepdim=True)
    return states + size * (states @ w).sign()[..., None] * w


def probe_data(vlm, trials) -> tuple[Float[Tensor, "n tokens d_model"], list[list[np.ndarray]]]:
    """The visual tokens of each trial's image, and per trial and place the item's token indices."""
    states = vlm.visual([t.stimulus.image for t in trials])
    return states, [owned(t.stimulus, vlm.grid) for t in trials]


def item_rows(states, owned) -> tuple[Float[Tensor, "n d_model"], Int[Tensor, " n"]]:
    """One example per item token of `probe_data`: its state and its item's place (0, 1, 2)."""
    x = torch.cat([states[k, t] for k, places in enumerate(owned) for t in places])
    y = [c for places in owned for c, t in enumerate(places) for _ in t]
    return x, torch.tensor(y, device=states.device)


def ordering_directions(vlm, trials) -> dict[str, Float[Tensor, "2 d_model"]]:
    """Probe directions per axis, from the outer items of the trials that are answered right.

    Each item is one example: the mean of its tokens, labelled first or last along the axis
    (the released coco_amplification recipe).
    """
    answers = vlm.answer([t.stimulus.image for t in trials], [t.question for t in trials])
    right, out = [t for t, a in zip(trials, answers, strict=True) if a == t.answer], {}
    for axis, asked in AXES.items():
        some = [t for t in right if t.direction in asked]
        states, owned = probe_data(vlm, some)
        x = torch.stack([states[k, t].mean(0) for k, p in enumerate(owned) for t in (p[0], p[2])])
        y = torch.tensor([0, 1] * len(some), device=x.device)
        out[axis] = fit(x, y, classes=2).weights.T
    return out
