"""Exercises of chapter 5: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
import pytest
import torch
from test_exercises import answers, solutions

import dualmech as dm
from dualmech import edits as E
from dualmech import regions
from exercises import verdict

NUMBERS = ("5.1", "5.2", "5.3")


@pytest.mark.parametrize("number", NUMBERS)
def test_the_folded_solution_is_right(number):
    code, _, _ = solutions()[number].partition("exercises.check(")
    room = {"E": E, "dm": dm, "np": np, "torch": torch}
    exec(code, room)
    assert verdict(number, room["solution"]) == "right"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_stub_is_not_done_yet(number):
    assert verdict(number, lambda *_: ...).startswith("not done yet")


def gap(states):
    return states[:, :, 0] - states[:, :, 2]


def signed(states):
    return (gap(states)[:, 0::2] - gap(states)[:, 1::2]).mean(1)


WRONG_NULLS = {
    "this is the ordering vector itself": lambda s: gap(s).mean(1),
    "the second half of the images": lambda s: (gap(s)[:, :3].mean(1) - gap(s)[:, 3:].mean(1)) / 2,
    "average over the images, axis 1": lambda s: gap(s).mean(0),
    "take first minus last item": lambda s: s[:, :, 0].mean(1),
    "2 times as long": signed,
}


def items(b, k, place):
    return regions.tokens_of(b.trials[k].stimulus.boxes[place], b.vlm.px, b.vlm.grid[1])


def moving(*moves, at=lambda b, k, tokens: b.at[k, tokens], slot=lambda b: b.slot):
    """move_first as a student might write it; moves: (place, strength)."""

    def move_first(vectors):
        def edit(resid, b):
            for k in range(len(resid)):
                for place, strength in moves:
                    resid[k, at(b, k, items(b, k, place))] += strength * vectors[slot(b)]
            return resid

        return edit

    return move_first


def everywhere(vectors):
    def edit(resid, b):
        resid[torch.arange(len(resid))[:, None], b.at] -= 2 * vectors[b.slot]
        return resid

    return edit


def background(vectors):
    """All that no item covers."""

    def edit(resid, b):
        for k, t in enumerate(b.trials):
            free = regions.cells("background", t.stimulus, b.vlm.grid)
            resid[k, b.at[k, free]] -= 2 * vectors[b.slot]
        return resid

    return edit


WRONG_MOVES = {
    "leaves the first alone": moving((2, 2)),
    "it moves the last item, too": moving((0, -2), (2, 2)),
    "is turned round": moving((0, 2)),
    "has strength one": moving((0, -1)),
    "the vector of another slot": moving((0, -2), slot=lambda b: b.slot + 1),
    "tokens are no positions": moving((0, -2), at=lambda b, k, tokens: tokens),
    "positions outside the image": moving((0, -2), at=lambda b, k, tokens: [-1]),
    "and the first item covers": background,
    "nothing has changed": moving((0, 0)),
}


def test_a_vector_on_all_tokens_moves_the_last_item_too():
    assert "it moves the last item, too" in verdict("5.2", everywhere)


def test_an_edit_instead_of_what_makes_one():
    assert "it should give an edit" in verdict("5.2", lambda vectors: vectors)


def others(
    first=-2, last=2, places=(0, 2), more=0, seed=lambda b, k: b.index[k], free=True, slot=0
):
    """move_others as a student might write it."""

    def move_others(vectors, _=0):
        def edit(resid, b):
            for k, t in enumerate(b.trials):
                rng = np.random.RandomState(seed(b, k))
                for place, strength in zip(places, (first, last), strict=True):
                    band = regions.strip(place, E.VERTICAL[t.direction], b.vlm.grid[0])
                    own = items(b, k, place)
                    some = np.setdiff1d(band, own) if free else own
                    some = rng.permutation(some)[: len(own) + more]
                    resid[k, b.at[k, some]] += strength * vectors[b.slot + slot]
            return resid

        return edit

    return move_others


WRONG_CONTROLS = {
    "a control of unequal size": others(more=5),
    "it writes tokens of an item": others(free=False),
    "is turned round": others(first=2, last=-2),
    "has strength one": others(first=-1, last=1),
    "all trials get the same tokens": others(seed=lambda b, k: 0),
    "it writes 0 tokens of the last strip": others(places=(0, 1)),
    "the vector of another slot": others(slot=-1),
}


def test_a_third_strip_is_one_too_many():
    def answer(vectors):
        outer, middle = others()(vectors), others(places=(1, 1))(vectors)
        return lambda resid, b: middle(outer(resid, b), b)

    assert "the middle strip" in verdict("5.3", answer)


WRONG = {"5.1": WRONG_NULLS, "5.2": WRONG_MOVES, "5.3": WRONG_CONTROLS}
RIGHT = {
    "5.1": [lambda s: -signed(s) / 2],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
