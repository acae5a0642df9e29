"""Checks of chapter 9: where a curve flips, and a reader who knows absolute places only."""

from __future__ import annotations

import math

import numpy as np

from . import done, exercise, require


def _number(value, call: str) -> float:
    """The value of a call as a float."""
    value = np.asarray(done(value, call))
    require(value.size == 1, f"{call} gave shape {value.shape}: it should give one number")
    require(value.dtype.kind in "fiub", f"{call} gave {value!r}: it should give one number")
    return float(value.reshape(()))


@exercise("9.1")
def crossing(answer):
    def at(places, p):
        return _number(answer(np.array(places), np.array(p)), "crossing(places, p)")

    places, falls = [4, 5, 6, 7], [0.9, 0.8, 0.3, 0.1]
    given = at(places, falls)
    mistakes = {
        "that is one of the places: the curve crosses between two of them": [*map(float, places)],
        "that is the middle between two places: the crossing is nearer to the one whose share is "
        "nearer to one half": [5.5],
        "that is counted in steps from the first place, and not in places": [1.6],
        "the two distances are exchanged: from 0.8 down to 0.5 is most of the way to 0.3": [5.4],
    }
    for told, wrong in mistakes.items():
        require(not np.isclose(given, wrong).any(), told)
    require(
        math.isclose(given, 5.6),
        f"shares {falls} at places {places} cross one half at 5.6, and it gave {given:.3g}",
    )
    given = at([2, 4, 6, 8], [0.1, 0.2, 0.7, 0.9])
    require(
        not math.isnan(given) and not math.isclose(given, 4.0),
        "a curve that rises is missed: it may cross one half from either side",
    )
    require(
        not math.isclose(given, 4.6),
        "these places lie two tokens apart: go on by a share of the way between them",
    )
    require(math.isclose(given, 5.2), f"a curve that rises crosses at 5.2, and it gave {given:.3g}")
    given = at(places, [0.9, 0.8, 0.8, 0.7])
    require(
        math.isnan(given),
        f"a curve that stays above one half has no crossing, and it gave {given:.3g}: return nan",
    )


# first tokens of three items, their width, the grid and the direction: the accuracy, and what a
# wrong one missed
CASES = [
    ((1, 5, 9), 2, 12, "left", 1, "the first item alone lies in the first third, and it is the "
     "answer: the reader is right"),
    ((4, 6, 8), 2, 12, "below", 1, "asked for right or below, the reader looks at the last third: "
     "the last item alone lies there, and it is the answer"),
    ((6, 8, 10), 2, 12, "left", 1 / 2, "no outer item lies in the first third: the reader tosses "
     "a coin"),
    ((0, 2, 4), 2, 12, "above", 1, "the reader never names the reference: count the two outer "
     "items only"),
    ((0, 2, 4), 2, 24, "left", 1 / 2, "on a grid of 24 both outer items lie in the first third: "
     "the reader tosses a coin"),
    ((4, 7, 10), 3, 16, "left", 1 / 2, "an item lies in the third that holds its middle, and not "
     "its first token"),
    ((2, 7, 13), 3, 16, "right", 1, "the last item alone lies in the last third of 16 tokens: "
     "the thirds depend on `grid`, and the middle on `wide`"),
]  # fmt: skip


@exercise("9.2")
def thirds(answer):
    for starts, wide, grid, direction, wanted, told in CASES:
        call = f"thirds({starts}, {wide}, {grid}, {direction!r})"
        given = _number(answer(starts, wide, grid, direction), call)
        require(0 <= given <= 1, f"{call} gave {given:.3g}: an accuracy lies between 0 and 1")
        require(math.isclose(given, wanted), f"{call} gave {given:.3g}: {told}")
