"""Exercises of chapter 9: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
import pytest

from exercises import verdict


def flip(p):
    """The number of the last share before the crossing, or None."""
    side = np.asarray(p) > 0.5
    at = np.flatnonzero(side[1:] != side[:-1])
    return at[0] if len(at) else None


def right_crossing(places, p):
    k = flip(p)
    if k is None:
        return np.nan
    return places[k] + (0.5 - p[k]) / (p[k + 1] - p[k]) * (places[k + 1] - places[k])


def by_steps(places, p):
    return np.nan if flip(p) is None else right_crossing(np.arange(len(p)), p)


def one_apart(places, p):
    """Forgets that places may lie two tokens apart."""
    k = flip(p)
    return np.nan if k is None else places[k] + (0.5 - p[k]) / (p[k + 1] - p[k])


def falling_only(places, p):
    below = np.flatnonzero(np.asarray(p) < 0.5)
    return right_crossing(places, p) if len(below) and below[0] else np.nan


def halfway(places, p):
    return np.nan if flip(p) is None else (places[flip(p)] + places[flip(p) + 1]) / 2


def exchanged(places, p):
    k = flip(p)
    return np.nan if k is None else places[k] + (0.5 - p[k + 1]) / (p[k] - p[k + 1])


WRONG_CROSSING = {
    "not done yet": lambda places, p: ...,
    "it should give one number": lambda places, p: p > 0.5,
    "one of the places": lambda places, p: places[np.argmin(abs(p - 0.5))],
    "the middle between two places": halfway,
    "counted in steps": by_steps,
    "distances are exchanged": exchanged,
    "a curve that rises is missed": falling_only,
    "two tokens apart": one_apart,
    "return nan": lambda places, p: places[-1] if flip(p) is None else right_crossing(places, p),
    "raises ZeroDivisionError": lambda places, p: 1 / 0,
}


@pytest.mark.parametrize("told", WRONG_CROSSING)
def test_a_wrong_crossing_is_told(told):
    assert told in verdict("9.1", WRONG_CROSSING[told])


def test_a_crossing_is_right():
    assert verdict("9.1", right_crossing) == "right"


def reader(
    coin=0.5, both=0.5, middle=0.5, last=2, named=(0, 2), wide_of=None, grid_of=lambda grid: grid
):
    """thirds as a student might write it."""

    def thirds(starts, wide, grid, direction):
        wide = wide_of or wide
        lie = [int(3 * (s + middle * wide) / grid_of(grid)) for s in starts]
        asked = 0 if direction in ("left", "above") else last
        inside = [k for k in named if lie[k] == asked]
        return (coin, 1.0, both, both)[len(inside)]

    return thirds


def at_the_end_it_wins(starts, wide, grid, direction):
    """Takes the third of the whole row, and not of each item."""
    return float(starts[0] < grid / 3 if direction in ("left", "above") else starts[2] > grid / 2)


WRONG_THIRDS = {
    "not done yet": lambda *given: None,
    "between 0 and 1": lambda *given: 50.0,
    "it should give one number": lambda starts, *rest: [1.0] * len(starts),
    "first third, and it is the answer": reader(named=(2,)),
    "looks at the last third": reader(last=0),
    "no outer item lies in the first third": reader(coin=0.0),
    "gave 0: no outer item": at_the_end_it_wins,
    "both outer items lie": reader(both=1.0),
    "never names the reference": reader(named=(0, 1, 2)),
    "holds its middle": reader(middle=0),
    "the thirds depend on `grid`": reader(grid_of=lambda grid: 12 if grid == 16 else grid),
}


@pytest.mark.parametrize("told", WRONG_THIRDS)
def test_a_wrong_reader_of_thirds_is_told(told):
    assert told in verdict("9.2", WRONG_THIRDS[told])


def test_a_reader_of_thirds_is_right():
    assert verdict("9.2", reader()) == "right"
