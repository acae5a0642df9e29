"""Checks of chapter 8: items that trade places, pairs that survive a selection, a count of all."""

from __future__ import annotations

import numpy as np
import torch

from dualmech import regions, stimuli

from . import choose, done, exercise, require
from .examples import batch, edited


@exercise("8.1")
def trade_places(answer):
    for direction in ("left", "above"):
        resid, b = batch(direction)
        after, touched = edited(
            answer, resid, b, "write into resid at b.at", "trade_places(resid, b)"
        )
        for i, t in enumerate(b.trials):
            own = [regions.tokens_of(box, b.vlm.px, b.vlm.grid[1]) for box in t.stimulus.boxes]
            first, reference, last = (b.at[i, tokens] for tokens in own)
            outer = torch.zeros(resid.shape[1], dtype=torch.bool)
            outer[torch.cat([first, last])] = True
            require(
                not touched[i, reference].any(), "the reference has changed: it keeps its states"
            )
            strangers = int((touched[i] & ~outer).sum())
            require(
                strangers == 0,
                f"for {direction!r}, {strangers} positions outside the outer items are written: "
                "exchange the tokens of boxes 0 and 2 alone, at b.at",
            )
            new_first, new_last = after[i, first], after[i, last]
            require(
                not any(
                    torch.equal(new, b.source[i, theirs])
                    for new in (new_first, new_last)
                    for theirs in (b.source_at[i, own[0]], b.source_at[i, own[2]])
                ),
                "the states come from b.source, the mirror image's run: take them from resid",
            )
            require(
                not torch.equal(new_first, new_last),
                "both places now hold the same item: the first write went over states that the "
                "second needs; read both before you write",
            )
            for new, wanted in ((new_first, resid[i, last]), (new_last, resid[i, first])):
                alike = sorted(new.tolist()) == sorted(wanted.tolist())
                require(
                    torch.equal(new, wanted) or not alike,
                    "an item's tokens arrive in another order: its upper left token goes to the "
                    "upper left of the other place",
                )
                require(
                    torch.equal(new, wanted),
                    "the outer items do not hold each other's states: each takes those of the "
                    "other, from resid",
                )


@exercise("8.2")
def survivors(answer):
    pairs = stimuli.swap_pairs("squares", "left", 5)
    right = [(p.clean.answer, p.counterfactual.answer) for p in pairs]
    # right on both; the clean one's answer to both; the other's to both; wrong on both; one is odd
    first = [right[0][0], right[1][0], right[2][1], right[3][1], right[4][0]]
    second = [right[0][1], right[1][0], right[2][1], right[3][0], "purple"]
    kept = np.asarray(done(answer(first, second, pairs), "survivors(first, second, pairs)"))
    require(
        kept.shape == (5,),
        f"for five pairs it gave shape {kept.shape}: say of each pair whether it survives",
    )
    require(kept.dtype == bool, f"it gave {kept.dtype}, and should give true or false for each")
    kept = kept.tolist()
    require(kept[0], "it drops a pair that was right on both images: a counterfactual has an "
            "answer of its own, p.counterfactual.answer")  # fmt: skip
    require(
        not kept[3],
        "it keeps a pair that was wrong on both images: two answers that differ may be both wrong",
    )
    require(
        not (kept[1] and kept[2]),
        "it keeps pairs that were right on one image only: both must be right",
    )
    require(
        not (kept[1] or kept[4]), "it looks at the clean image only: the other answer counts, too"
    )
    require(
        not kept[2], "it looks at the counterfactual only: the clean image's answer counts, too"
    )


@exercise("8.3")
def count_all(answer):
    items = stimuli.task_items("squares")
    trials = [stimuli.trial(tuple(items[k : k + 3]), "right", "squares") for k in range(4)]
    trials += [stimuli.trial(tuple(items[k : k + 3]), "above", "squares") for k in (0, 1, 2, 3, 0)]
    first, middle, last = zip(*(t.candidates for t in trials), strict=True)
    # vectors (3), places; vectors, places, the reference, a colour that is not there, vectors
    said = [*last[:3], first[3], first[4], last[5], middle[6], "purple", first[8]]
    right = np.array([5, 2, 2]) / 9
    given = done(answer(list(said), trials), "count_all(said, trials)")
    require(
        np.shape(given) == (3,), f"it should return three shares, and gave shape {np.shape(given)}"
    )
    given = np.asarray(given, float)
    require(bool((given <= 1).all()), "these are counts: divide by the number of questions")
    at_first = np.mean([word == t.candidates[0] for word, t in zip(said, trials, strict=True)])
    require(
        not np.allclose(given[0], at_first),
        "the vectors do not always call for the first item: t.answer says for which",
    )
    require(
        not np.allclose(given[:2], np.array([5, 2]) / 7),
        "the shares are of the answers that follow one of the roads: the others count, too",
    )
    require(
        not np.allclose(given[1], 1 - right[0]),
        "what does not follow the vectors need not follow the places: it may name the reference, "
        "or nothing that is there",
    )
    require(
        not np.allclose(given[1], 3 / 9),
        "the reference counts as an answer of the places: these call for the other outer item",
    )
    require(
        not np.allclose(given[:2], right[1::-1]),
        "vectors and places are exchanged: all vectors are as before, so they call for t.answer",
    )
    require(np.allclose(given, right), f"it gave {given.round(3)}, and the shares are {right}")


choose("8.4", "d", {
    "a": "a narrower interval round the same loss: it shows what the model can do without the "
         "encoder's order, and not what it does with it",
    "b": "it belongs to every removal, since that loss may be as small; but the model still need "
         "not choose between the two",
    "c": "it shows that there is no third road, and not which of the two leads",
})  # fmt: skip
