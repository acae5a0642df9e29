"""Checks of the lab: strips that change sides, as many tokens at random, a conflict, a verdict."""

from __future__ import annotations

import torch

from dualmech import edits, regions

from . import ch07, done, exercise, require
from .examples import batch, edited, require_visual


def _edited(answer, call: str, direction: str):
    """(resid, what the edit made of it, where it wrote, b), all of it in the image."""
    resid, b = batch(direction)
    after, touched = edited(answer, resid, b, "write into resid, and return it", call)
    require_visual(touched, b)
    return resid, after, touched, b


@exercise("lab.1")
def swap_strips(answer):
    for direction in ("left", "above"):
        resid, after, touched, b = _edited(answer, "swap_strips(resid, b)", direction)
        first, middle, last = (
            regions.strip(place, edits.VERTICAL[direction], b.vlm.grid[0]) for place in range(3)
        )
        changed = touched.gather(1, b.at)
        require(
            not changed[:, middle].any(),
            f"for {direction!r} it writes tokens of the middle strip: strips are columns where the "
            "squares stand in a row, and rows where they stand in a column",
        )
        for ours, name in ((first, "first"), (last, "last")):
            share = int(changed[:, ours].sum()), changed[:, ours].numel()
            require(
                share[0] == share[1],
                f"it writes {share[0]} of {share[1]} tokens of the {name} strip: write both strips",
            )
        row = torch.arange(len(resid))[:, None]
        new, taken, own = (x[row, b.at] for x in (after, b.source, resid))
        require(
            not torch.equal(new[:, first], taken[:, first]),
            "each strip comes from the same side of the mirror image: it has to cross over",
        )
        require(
            not torch.equal(new[:, first], own[:, last]),
            "the strips are exchanged within the clean run: take the states from b.source",
        )
        require(
            torch.equal(new[:, first], taken[:, last])
            and torch.equal(new[:, last], taken[:, first]),
            "the states of a strip arrive in another order: keep rows and columns as they are",
        )


exercise("lab.2")(ch07.swap_random)


@exercise("lab.3")
def mirror(answer):
    for direction in ("left", "below"):
        resid, after, _, b = _edited(answer, "mirror(resid, b)", direction)
        row, (rows, cols) = torch.arange(len(resid))[:, None], b.vlm.grid
        own = resid[row, b.at].unflatten(1, (rows, cols))
        new = after[row, b.at].unflatten(1, (rows, cols))
        axis = 1 if edits.VERTICAL[direction] else 2
        require(
            not torch.equal(new, own.flip(3 - axis)),
            f"for {direction!r} it mirrors the other axis: left and right trade places where the "
            "squares stand in a row, top and bottom where they stand in a column",
        )
        require(
            not torch.equal(new, own.flip(1, 2)),
            "the grid is turned upside down, both axes at once: mirror the asked axis alone",
        )
        require(
            not torch.equal(new, new.flip(axis)),
            "both halves now hold the same states: the first write went over what the second "
            "needs; read all states before you write",
        )
        from_source = b.source[row, b.at].unflatten(1, (rows, cols))
        require(
            not any(torch.equal(new, x) for x in (from_source, from_source.flip(axis))),
            "the states come from another run: take the model's own, from resid",
        )
        require(
            torch.equal(new, own.flip(axis)),
            f"for {direction!r} the grid is not the mirror image of the old one: token (row, "
            "column) takes the state of the token as far from the other edge",
        )


# {interval: the word for it}, where 0.1 is the least that would matter
SUPPORTED, PART, CONTRADICTED, OPEN = "supported", "in part", "contradicted", "cannot tell"
DIFFERENCES = {
    (0.20, 0.40): SUPPORTED,
    (0.05, 0.30): SUPPORTED,
    (0.02, 0.06): PART,
    (-0.03, 0.05): CONTRADICTED,
    (-0.40, -0.20): CONTRADICTED,
    (-0.05, 0.30): OPEN,
}


@exercise("lab.4")
def verdict(answer):
    said = {
        ends: done(
            answer({"value": sum(ends) / 2, "low": ends[0], "high": ends[1], "n": 50}, 0.1),
            "verdict(difference, least)",
        )
        for ends in DIFFERENCES
    }
    words = set(DIFFERENCES.values())
    for word in said.values():
        require(word in words, f"it gave {word!r}: the words are {', '.join(sorted(words))}")
    require(
        said[-0.05, 0.30] != SUPPORTED,
        "it says 'supported' of -0.05 to 0.30: the value lies above zero, and the interval does "
        "not; look at low",
    )
    require(
        said[-0.05, 0.30] != CONTRADICTED,
        "it says 'contradicted' of -0.05 to 0.30: an interval that reaches 0.30 rules nothing out; "
        "not shown is not the same as shown not to be",
    )
    require(
        said[-0.03, 0.05] != OPEN,
        "it says 'cannot tell' of -0.03 to 0.05: whatever there is, it is less than would matter",
    )
    require(
        said[0.02, 0.06] != SUPPORTED,
        "it says 'supported' of 0.02 to 0.06: there is something, and it is less than would matter",
    )
    for (low, high), word in DIFFERENCES.items():
        require(
            said[low, high] == word,
            f"of {low} to {high} it says {said[low, high]!r}, and it should be {word!r}: is low "
            "above zero? does high reach the least that would matter?",
        )
