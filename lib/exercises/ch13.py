"""Checks of chapter 13: a contrast of one thing, the rule for a leader, and a probe's own line."""

from __future__ import annotations

import torch

from . import done, exercise, require


@exercise("13.1")
def differences(answer):
    default = {"objective": "layout", "seed": 0, "tiled": 0.25, "layers": 8, "gap": 0}
    one = {"objective": "layout", "seed": 0, "tiled": 0.25}  # an older recipe: no layers, no gap
    other = {"objective": "caption", "seed": 0, "tiled": 0.06, "layers": 8, "gap": 4}
    given = done(answer(dict(one), dict(other), dict(default)), "differences(one, other, default)")
    require(
        not isinstance(given, dict | str | int | bool),
        f"it gave {given!r}: give a list of names",
    )
    given = list(given)
    require(
        all(isinstance(name, str) for name in given),
        f"it gave {given[:3]}: the names of the settings, not their values",
    )
    require("seed" not in given, "the seed is named, and it is the same in both")
    require(
        "layers" not in given,
        "`layers` is named: the older recipe lacks it, so it has its default, and that is equal",
    )
    require(
        "gap" in given,
        "`gap` is missing: the older recipe has its default, and the newer one another value",
    )
    lost = {"objective", "tiled"} - set(given)
    require(not lost, f"{', '.join(sorted(lost))}: the values differ, and it is not named")
    require(given == ["gap", "objective", "tiled"], f"the names are right and not sorted: {given}")
    back = list(answer(dict(other), dict(one), dict(default)))
    require(
        back == given,
        f"with the two exchanged it gave {back}: a setting may be missing in either recipe",
    )


def _share(low: float, high: float) -> dict:
    return {"value": (low + high) / 2, "low": low, "high": high}


@exercise("13.2")
def leader(answer):
    high, low, open_ = _share(0.9, 1.0), _share(0.0, 0.1), _share(0.4, 0.75)
    given = done(answer(high, low), "leader(mirror, own)")
    known = ("vectors", "places", "neither")
    require(given in known, f"it gave {given!r}: one of {', '.join(known)}")
    require(
        (given, answer(low, high)) != ("places", "vectors"),
        "leaders are exchanged: who flips with the mirror's strips follows the vectors",
    )
    require(
        given == "vectors",
        f"flips with the mirror's strips, stays with its own: the vectors lead, not {given!r}",
    )
    require(
        answer(low, high) == "places",
        "stays with the mirror's strips, flips with its own: places lead, "
        f"not {answer(low, high)!r}",
    )
    require(
        answer(low, low) == "neither",
        "an answer that stays in both conflicts is stubborn: look at `own`, too",
    )
    require(
        answer(high, high) == "neither",
        "an answer that flips in both conflicts follows no one: look at `own`, too",
    )
    require(
        answer(open_, low) == answer(high, open_) == "neither",
        "an interval that holds one half says neither: use low and high, not value",
    )


@exercise("13.3")
def beyond_the_bag(answer):
    trios = torch.tensor([[0, 1, 2]] * 4 + [[3, 4, 5]] * 4)
    # first, first, last, not there; first, middle, last, not there
    named = torch.tensor([0, 0, 2, 5, 3, 4, 5, 0])
    given = float(done(answer(named, trios), "beyond_the_bag(named, trios)"))
    mistakes = {
        "that is the share of all tokens: leave out those that name none of the three": 3 / 8,
        "that is the share that names one of the three: of these, count the first": 6 / 8,
        "that counts the last item: the first stands at index 0": 2 / 6,
        "that is a count, not a share": 3,
        "that divides by those that are wrong: divide by all that name one of the three": 3 / 3,
    }
    for told, wrong in mistakes.items():
        require(abs(given - wrong) > 1e-6, told)
    require(
        abs(given - 3 / 6) < 1e-6,
        f"it gave {given:.3f}; of the example's tokens, six name one of the three, three the first",
    )
    none = float(answer(torch.tensor([5, 1]), torch.tensor([[0, 1, 2], [0, 1, 2]])))
    require(
        none == 0, f"where one names the middle item and one nothing, it gave {none:.3f}, not 0"
    )
