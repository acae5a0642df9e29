"""Checks of chapter 3: a control of equal size, a verdict, a setting chosen and held out."""

from __future__ import annotations

import numpy as np

from . import done, exercise, require


@exercise("3.1")
def control_of(answer):
    tokens, region = 144, np.arange(60, 100)
    call = "control_of(region, 144, seed)"
    drawn = [np.asarray(done(answer(region.copy(), tokens, seed), call)) for seed in range(30)]
    shape, many = drawn[0].shape, len(region)
    require(len(shape) == 1, f"it gave shape {shape}; it should give one row of token numbers")
    require(
        all(len(one) == many for one in drawn),
        f"it draws {len(drawn[0])} tokens and the region has {many}: a control of another size "
        "controls nothing",
    )
    whole = all(np.array_equal(one, np.round(one)) for one in drawn)
    low, high = (min(map(np.min, drawn)), max(map(np.max, drawn)))
    require(
        bool(whole and 0 <= low and high < tokens),
        f"it draws numbers from {low} to {high}: tokens are whole numbers from 0 to 143",
    )
    require(
        all(len(set(one.tolist())) == many for one in drawn),
        "a token is drawn twice, so fewer are moved than you think: draw without replacement",
    )
    again = np.asarray(answer(region.copy(), tokens, 0))
    require(
        np.array_equal(again, drawn[0]), "the same seed gives other tokens: use it for every draw"
    )
    require(
        not np.array_equal(drawn[0], drawn[1]),
        "two seeds give the same tokens: draw from np.random.RandomState(seed)",
    )
    inside = np.isin(np.concatenate(drawn), region).mean()
    require(
        bool(inside < 0.99), "it only reorders the region's own tokens: draw from the whole grid"
    )
    require(
        bool(inside > 0.01),
        "it leaves the region out: drawn from the rest, it would differ in place as well as in "
        "choice. Draw from the whole grid",
    )
    spread = np.unique(np.concatenate(drawn))
    require(len(spread) > 130, f"only {len(spread)} of 144 tokens are ever drawn")


@exercise("3.2")
def verdict(answer):
    clear = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}
    under = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 40}
    wide = {"value": 0.7, "low": 0.4, "high": 0.9, "n": 10}
    deep = {"value": 0.3, "low": 0.1, "high": 0.6, "n": 10}
    names = ("above", "below", "cannot tell")

    def told(s, chance=0.5):
        found = done(answer(dict(s), chance), "verdict(s, chance)")
        require(found in names, f"it gave {found!r}; it should give one of {', '.join(names)}")
        return found

    require(
        told(clear) != "below" and told(under) != "above",
        "above and below are exchanged: above means that the whole interval is above chance",
    )
    for s in (wide, deep):
        require(
            told(s) == "cannot tell",
            f"{s['value']} with its interval {s['low']} to {s['high']} is called {told(s)!r}, but "
            "the interval holds one half: do not compare the value",
        )
    require(
        told(clear) == "above" and told(under) == "below",
        "an interval that lies wholly on one side is called 'cannot tell'",
    )
    require(
        told(clear, 0.9) == "cannot tell" and told(under, 1 / 3) == "below",
        "with another line of chance it says the same: use `chance`",
    )


@exercise("3.3")
def held_out(answer):
    rng = np.random.RandomState(0)
    for settings, trials in ((6, 40), (40, 6)):
        tuning, other = rng.randint(0, 2, (2, settings, trials))
        tuning[2], tuning[0], tuning[4] = 1, 0, np.arange(trials) % 2
        other[2], other[0] = np.arange(trials) % 3 == 0, np.arange(trials) % 2
        other[4] = 1  # the best held out is another setting than the best in tuning
        given = done(answer(tuning.copy(), other.copy()), "held_out(tuning, heldout)")
        require(
            np.ndim(given) == 0,
            f"it gave shape {np.shape(given)}; it should give one share, of one setting",
        )
        given = float(given)
        require(
            given != 1.0,
            "it gives 1.0: that is the best share in tuning, or the best of the held-out half. "
            "Choose in tuning, look up in the other",
        )
        require(
            given != 2.0,
            "it gives the number of the setting: look up what that one does in the held-out half",
        )
        require(
            not np.isclose(given, other.mean()),
            "it averages over all settings: report the one that was chosen",
        )
        worst = other[tuning.mean(1).argmin()].mean()
        share = other[2].mean()
        require(
            bool(np.isclose(given, share) or not np.isclose(given, worst)),
            "that is the setting which was worst in tuning",
        )
        require(
            bool(np.isclose(given, share)),
            f"it gives {given:.3f}; the setting that is best in tuning has {share:.3f} held out. "
            "Average over trials, axis 1",
        )
