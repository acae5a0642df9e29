"""Exercises of chapter 7: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
from test_exercises import answers

from dualmech import regions
from exercises import verdict


def moving(choose, taken=lambda some: some, source=lambda b, resid: b.source):
    """swap_random as a student might write it; choose(rng, b, k) -> tokens."""

    def swap_random(k, seed=0):
        def edit(resid, b):
            before = resid.clone()
            for i, number in enumerate(b.index):
                some = choose(np.random.RandomState(seed + number), b, k)
                theirs = source(b, before)
                resid[i, b.at[i, some]] = theirs[i, b.source_at[i, taken(some)]]
            return resid

        return edit

    return swap_random


def draw(rng, b, k):
    return rng.permutation(b.at.shape[1])[:k]


def by_sequence(k, seed=0):
    """Draws positions of the sequence, not tokens of the image."""

    def edit(resid, b):
        for i in range(len(resid)):
            some = np.random.RandomState(i).permutation(resid.shape[1])[:k]
            resid[i, some] = b.source[i, some]
        return resid

    return edit


WRONG_RANDOM = {
    "not done yet": lambda k, seed=0: ...,
    "it should give a function": lambda k, seed=0: k,
    "nothing has changed": moving(draw, source=lambda b, resid: resid),
    "positions outside the image": by_sequence,
    "do not come from the same places": moving(draw, taken=lambda some: some[::-1].copy()),
    "all trials get the same tokens": moving(
        lambda rng, b, k: draw(np.random.RandomState(0), b, k)
    ),
    "of the three trials, and k is 10": moving(lambda rng, b, k: draw(rng, b, k + 1)),
    "does it use k": moving(lambda rng, b, k: draw(rng, b, 10)),
}


def writing(where="background", crosswise=False, source=lambda b, resid: b.source, drop=0):
    def same_places(resid, b):
        before = resid.clone()
        for i, t in enumerate(b.trials):
            free = np.flatnonzero(regions.cells(where, t.stimulus, b.vlm.grid))[drop:]
            theirs = source(b, before)[i, b.source_at[i, free]]
            resid[i, b.at[i, free]] = theirs.flip(0) if crosswise else theirs
        return resid

    return same_places


WRONG_PLACES = {
    "not done yet": lambda resid, b: None,
    "nothing has changed": writing(source=lambda b, resid: resid),
    "tokens that an item covers": writing("all"),
    "of 132 background tokens": writing(drop=5),
    "the states come from other places": writing(crosswise=True),
    "raises AttributeError": lambda resid, b: resid.nothing,
}


def ranked(where="background", count=lambda k: k, centres=lambda t: t.stimulus.centres, turn=False,
           taken=lambda some: some):  # fmt: skip
    """nearest as a student might write it."""

    def nearest(k, far=False):
        def edit(resid, b):
            for i, t in enumerate(b.trials):
                free = np.flatnonzero(regions.cells(where, t.stimulus, b.vlm.grid))
                row, col = np.divmod(free, b.vlm.grid[1])
                away = np.min([np.hypot(row + 0.5 - y, col + 0.5 - x)
                               for x, y in centres(t) / b.vlm.px], 0)  # fmt: skip
                order = np.argsort(-away if far != turn else away, kind="stable")
                some = free[order[: count(k)]]
                resid[i, b.at[i, some]] = b.source[i, b.source_at[i, taken(some)]]
            return resid

        return edit

    return nearest


WRONG_NEAREST = {
    "not done yet": lambda k, far=False: ...,
    "it should give an edit": lambda k, far=False: k,
    "nothing has changed": lambda k, far=False: lambda resid, b: resid,
    "it writes 11 positions": ranked(count=lambda k: k + 1),
    "tokens that an item covers": ranked("all"),
    "it takes the other end": ranked(turn=True),
    "rows are y, columns x": ranked(centres=lambda t: t.stimulus.centres[:, ::-1]),
    "the states come from other places": ranked(taken=lambda some: some[::-1].copy()),
}


def test_near_to_the_first_item_alone_is_not_near():
    alone = ranked(centres=lambda t: t.stimulus.centres[:1])
    assert "the nearest of the three items" in verdict("7.3", alone)


WRONG = {"7.1": WRONG_RANDOM, "7.2": WRONG_PLACES, "7.3": WRONG_NEAREST}
RIGHT = {
    "7.1": [moving(draw)],
    "7.2": [writing()],
    "7.3": [ranked()],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
