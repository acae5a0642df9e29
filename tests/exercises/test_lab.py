"""Exercises of the lab: the solutions pass, and each wrong answer is told what is wrong."""

import numpy as np
import torch
from test_exercises import answers

from dualmech import edits, regions
from exercises import verdict


def own_run(b, before):
    return before


def other_run(b, before):
    return b.source


def strips(
    cross=True, places=(0, 2), vertical=None, source=other_run, arrive=lambda some: some, at=None
):
    """swap_strips as a student might write it."""

    def swap_strips(resid, b):
        column = edits.VERTICAL[b.trials[0].direction] if vertical is None else vertical
        band = [regions.strip(k, column, b.vlm.grid[0]) for k in range(3)]
        row, before = torch.arange(len(resid))[:, None], resid.clone()
        for place in places:
            taken = arrive(band[2 - place if cross else place])
            to = b.at[:, band[place]] if at is None else torch.tensor(band[place])[None]
            resid[row, to] = source(b, before)[row, b.source_at[:, taken]]
        return resid

    return swap_strips


WRONG_STRIPS = {
    "not done yet": lambda resid, b: ...,
    "not that of resid": lambda resid, b: resid[:, :5],
    "nothing has changed": lambda resid, b: resid,
    "positions outside the image": strips(at="tokens"),
    "tokens of the middle strip": strips(vertical=False),
    "write both strips": strips(places=(0,)),
    "it has to cross over": strips(cross=False),
    "exchanged within the clean run": strips(source=own_run),
    "arrive in another order": strips(arrive=lambda some: some[::-1].copy()),
}


def test_the_control_of_the_lab_has_the_check_of_chapter_7():
    assert "does it use k" in verdict("lab.2", lambda k, seed=0: at_random(10, seed))
    assert "of the three trials, and k is 10" in verdict("lab.2", lambda k: at_random(k // 2))
    assert "all trials get the same" in verdict("lab.2", lambda k: at_random(k, one=True))
    assert verdict("lab.2", at_random) == "right"


def at_random(k, seed=0, one=False):
    def edit(resid, b):
        for i, number in enumerate(b.index):
            draw = np.random.RandomState(seed if one else seed + number)
            some = draw.permutation(b.at.shape[1])[:k]
            resid[i, b.at[i, some]] = b.source[i, b.source_at[i, some]]
        return resid

    return edit


def mirrored(turn=lambda cells, vertical: np.flip(cells, 0 if vertical else 1), source=own_run):
    """mirror as a student might write it; turn(grid of tokens, vertical) -> the tokens taken."""

    def mirror(resid, b):
        before, cells = resid.clone(), np.arange(b.at.shape[1]).reshape(b.vlm.grid)
        for i, t in enumerate(b.trials):
            taken = turn(cells, edits.VERTICAL[t.direction]).flatten()
            resid[i, b.at[i]] = source(b, before)[i, b.at[i, taken]]
        return resid

    return mirror


def token_by_token(resid, b):
    """Reads states that it has written over."""
    cells = np.arange(b.at.shape[1]).reshape(b.vlm.grid)
    for i, t in enumerate(b.trials):
        taken = np.flip(cells, 0 if edits.VERTICAL[t.direction] else 1).flatten()
        for to, one in enumerate(taken):
            resid[i, b.at[i, to]] = resid[i, b.at[i, one]]
    return resid


def without_at(resid, b):
    resid[:, :144] = resid[:, :144].flip(1)
    return resid


WRONG_MIRROR = {
    "not done yet": lambda resid, b: None,
    "nothing has changed": mirrored(lambda cells, vertical: cells),
    "positions outside the image": without_at,
    "it mirrors the other axis": mirrored(lambda cells, vertical: np.flip(cells, int(vertical))),
    "both axes at once": mirrored(lambda cells, vertical: np.flip(cells)),
    "both halves now hold the same": token_by_token,
    "the states come from another run": mirrored(source=other_run),
    "is not the mirror image": mirrored(lambda cells, vertical: np.roll(cells, 4, not vertical)),
}


def test_one_axis_for_rows_and_columns_is_told():
    assert "for 'below' it mirrors the other axis" in verdict(
        "lab.3", mirrored(lambda cells, vertical: np.flip(cells, 1))
    )


def rule(d, least):
    if d["low"] > 0:
        return "supported" if d["high"] >= least else "in part"
    return "contradicted" if d["high"] < least else "cannot tell"


WRONG_RULES = {
    "not done yet": lambda d, least: None,
    "the words are": lambda d, least: "true",
    "the value lies above zero": lambda d, least: "supported" if d["value"] > 0 else "contradicted",
    "rules nothing out": lambda d, least: "supported" if d["low"] > 0 else "contradicted",
    "less than would matter": lambda d, least: "supported" if d["low"] > 0 else "cannot tell",
    "says 'supported' of 0.02": lambda d, least: rule(d, 0.055),
    "of 0.05 to 0.3 it says 'in part'": lambda d, least: (
        rule(d, least) if d["low"] <= 0 else "supported" if d["low"] >= least else "in part"
    ),
}


WRONG = {"lab.1": WRONG_STRIPS, "lab.3": WRONG_MIRROR, "lab.4": WRONG_RULES}
RIGHT = {
    "lab.1": [strips()],
    "lab.3": [mirrored()],
    "lab.4": [rule],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
