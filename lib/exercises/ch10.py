"""Checks of chapter 10: a stricter null, a strict count, an amplification without boxes."""

from __future__ import annotations

import numpy as np
import torch

from dualmech.stimuli import DIRECTIONS

from . import done, exercise, require
from .examples import WIDTH, batch, edited, require_visual


@exercise("10.1")
def same_pattern(answer):
    generator = torch.Generator().manual_seed(1)
    along = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    part = torch.tensor([0.0, 3.0, -2.0, 0.0, 1.0, -1.0, 0.5, 2.0])  # with and against
    move = part[:, None] * along
    null = done(answer(move.clone(), 0), "same_pattern(move, 0)")
    require(
        getattr(null, "shape", None) == move.shape,
        f"it gave shape {tuple(getattr(null, 'shape', ()))}, and move has {tuple(move.shape)}",
    )
    require(not torch.allclose(null, move, atol=1e-4), "this is the move itself: draw a direction")
    size, wanted = null.norm(dim=-1), move.norm(dim=-1)
    require(
        not (size[wanted == 0] > 1e-4).any(),
        "tokens that the edit leaves alone now move: their moves have length 0",
    )
    require(
        not torch.allclose(size.norm(), wanted.norm(), rtol=1e-3)
        or torch.allclose(size, wanted, atol=1e-3),
        "the moves are as long on the whole, and not token by token",
    )
    require(
        torch.allclose(size, wanted, atol=1e-3),
        f"the moves have other lengths: token 1 moves by {size[1]:.2f}, and should by 3.00",
    )
    sides = torch.linalg.svdvals(null)
    require(
        bool(sides[1] < 1e-3 * sides[0]),
        "each token has a direction of its own: draw one, and move all tokens along it",
    )
    require(
        bool(abs(null[1] @ along) < 0.95 * size[1]),
        "it moves along the direction of the move: draw another at random",
    )
    moving = part != 0
    side, theirs = (null @ null[1]).sign()[moving], (move @ move[1]).sign()[moving]
    require(
        side.unique().numel() > 1,
        "all tokens move the same way: a common shift leaves the differences as they are",
    )
    require(
        torch.equal(side, theirs),
        "the pattern is lost: tokens that moved against each other must still do so",
    )
    again, other = answer(move.clone(), 0), answer(move.clone(), 1)
    require(
        torch.allclose(again, null),
        "the same seed gave two nulls: draw with torch.Generator().manual_seed(seed)",
    )
    require(not torch.allclose(other, null), "two seeds gave the same null: does it use seed?")


# Both orders of twelve questions, before and after, 1 for right: 4 repaired, 3 broken, if strict.
BEFORE = "11 00 10 10 11 11 00 11 11 00 01 00"
AFTER = "11 11 11 01 10 00 10 01 11 11 11 10"
STRICT_WRONG = {
    (4, 1): "a question is not right because one of its orders is: both must be",
    (9, 5): "it counts answers, and each question has two: put the orders together first",
    (5, 3): "it looks at the first order only",
    (4, 2): "it looks at the second order only",
    (5, 0): "what was right stays counted as right: one question lost the order that it had, and "
    "three lost one of two",
    (3, 4): "the two counts are exchanged: repaired comes first",
    (5, 6): "these are the questions that are right before and after, not those that changed",
}


@exercise("10.2")
def strict_change(answer):
    before, after = (
        np.array([[q[k] == "1" for q in text.split()] for k in (0, 1)]) for text in (BEFORE, AFTER)
    )
    found = done(answer(before.copy(), after.copy()), "strict_change(before, after)")
    require(
        np.shape(found) == (2,),
        f"it gave {found!r}: give two counts, repaired and broken, and not their difference",
    )
    found = tuple(float(x) for x in found)
    known = STRICT_WRONG.get(found)
    require(known is None, f"of twelve questions it finds {found}: {known}")
    require(max(found) > 1, f"it gave {found}: count questions, no shares of them")
    require(found == (4, 3), f"of twelve questions it finds {found}, and there are other counts")


@exercise("10.3")
def without_boxes(answer):
    eye = torch.eye(WIDTH)
    w = {d: eye[1 if d in DIRECTIONS[2:] else 0] for d in DIRECTIONS}
    for direction in ("left", "above"):
        resid, b = batch(direction)
        edit = done(answer(w, 2.0), "without_boxes(w, 2.0)")
        require(callable(edit), f"it gave {edit!r}; it should give a function of (resid, b)")
        after, touched = edited(edit, resid, b, "write into resid at b.at")
        require_visual(touched, b)
        row = torch.arange(len(resid))[:, None]
        x, move = resid[row, b.at], (after - resid)[row, b.at]
        own, other = (1, 0) if direction == "above" else (0, 1)
        require(
            bool(move[..., other].abs().max() < 1e-4 or move[..., own].abs().max() > 1e-4),
            f"a question with {direction!r} moves along the direction of the other axis: "
            "take w[t.direction], trial by trial",
        )
        across = move.clone()
        across[..., own] = 0
        require(
            bool(across.abs().max() < 1e-4),
            "it moves tokens across w, too: only the part along w may grow",
        )
        part = x[..., own]
        require(
            not torch.allclose(move[..., own], 2 * part, atol=1e-4),
            "it multiplies the whole part along w: take off the mean over the image's tokens first",
        )
        require(
            bool(move[..., own].mean(1).abs().max() < 1e-4),
            "the image's mean token has moved: the mean is over the tokens of one image",
        )
        distance = part - part.mean(1, keepdim=True)
        times = 1 + (move[..., own] / distance).median().item()
        require(
            torch.allclose(move[..., own], 2 * distance, atol=1e-4),
            f"at alpha 2 a distance from the mean should become 3 times as long; it is {times:.1f}",
        )
