"""Checks of chapter 7: edits that move tokens of the mirror image."""

from __future__ import annotations

import numpy as np
import torch

from dualmech import regions

from . import choose, done, exercise, require
from .examples import batch, edited, require_visual, written

FROM_SOURCE = "write states of b.source, not of resid"


@exercise("7.1")
def swap_random(answer):
    edit = done(answer(10), "swap_random(10)")
    require(
        callable(edit), f"swap_random(10) gave {edit!r}; it should give a function of (resid, b)"
    )
    resid, b = batch(n=3)
    after, touched = edited(edit, resid, b, FROM_SOURCE)
    require_visual(touched, b)
    count = touched.sum(1).tolist()
    require(count == [10] * 3, f"it writes {count} tokens of the three trials, and k is 10")
    for i in range(3):
        places = touched[i].nonzero()[:, 0]
        ours = [int((b.at[i] == p).nonzero()) for p in places]
        theirs = b.source[i, b.source_at[i, ours]]
        require(
            torch.equal(after[i, places], theirs),
            "the states do not come from the same places of the mirror image: "
            "index b.source with b.source_at, at the same tokens",
        )
    require(
        not torch.equal(touched[0, b.at[0]], touched[1, b.at[1]]),
        "all trials get the same tokens: draw anew for each, from b.index",
    )
    wider = written(resid, answer(20)(resid.clone(), b)).sum(1).tolist()
    require(wider == [20] * 3, f"swap_random(20) writes {wider} tokens: does it use k?")


@exercise("7.2")
def same_places(answer):
    resid, b = batch(n=2)
    after, touched = edited(answer, resid, b, FROM_SOURCE, "same_places(resid, b)")
    for i, t in enumerate(b.trials):
        free = regions.cells("background", t.stimulus, b.vlm.grid)
        moved = touched[i, b.at[i]].numpy()
        require(not moved[~free].any(), "it writes tokens that an item covers: leave those alone")
        require(
            bool(moved[free].all()), f"it writes {moved.sum()} of {free.sum()} background tokens"
        )
        theirs = b.source[i, b.source_at[i, np.flatnonzero(free)]]
        require(
            torch.equal(after[i, b.at[i, np.flatnonzero(free)]], theirs),
            "the states come from other places: here nothing crosses, each token takes the "
            "state of its own place",
        )


@exercise("7.3")
def nearest(answer):
    k = 10
    for far, word in ((False, "nearest"), (True, "farthest")):
        edit = done(answer(k, far), f"nearest({k}, {far})")
        require(callable(edit), f"nearest({k}, {far}) gave {edit!r}; it should give an edit")
        for direction in ("left", "above"):
            resid, b = batch(direction)
            after, touched = edited(edit, resid, b, FROM_SOURCE)
            for i, t in enumerate(b.trials):
                moved = touched[i, b.at[i]].numpy()
                free = regions.cells("background", t.stimulus, b.vlm.grid)
                count = int(touched[i].sum())
                require(count == k, f"it writes {count} positions, and k is {k}")
                require(not moved[~free].any(), "it writes tokens that an item covers: leave these")
                row, col = np.divmod(np.arange(len(free)), b.vlm.grid[1])
                gap = [np.hypot(row + 0.5 - y, col + 0.5 - x)
                       for x, y in t.stimulus.centres / b.vlm.px]  # fmt: skip
                away = np.min(gap, 0)
                ours, rest = away[moved], away[free & ~moved]
                near, away = ours.max() <= rest.min() + 1e-6, ours.min() >= rest.max() - 1e-6
                ok, turned = (away, near) if far else (near, away)
                require(not turned, f"with far = {far} it takes the other end: not the {word}")
                require(
                    bool(ok),
                    f"for {direction!r} these are not the {word} {k}: rows are y, columns x, and "
                    "the nearest of the three items counts",
                )
                some = np.flatnonzero(moved)
                require(
                    torch.equal(after[i, b.at[i, some]], b.source[i, b.source_at[i, some]]),
                    "the states come from other places: each token takes the state of its own "
                    "place in the mirror image",
                )


choose("7.4", "c", {
    "a": "more pairs make a narrower interval round the same unequal comparison, 96 tokens "
         "against 8",
    "b": "half as many tokens: if the answer stays, their number explains it again",
    "d": "in a later layer the strips may do nothing, and you still would not know whether their "
         "place or their number did it at the input",
})  # fmt: skip
