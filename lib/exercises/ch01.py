"""Checks of chapter 1: a guesser at chance, a mirror image, a sort of errors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from dualmech import stimuli

from . import done, exercise, require


def _asked(direction: str = "left", task: str = "squares", first: int = 0) -> stimuli.Trial:
    items = stimuli.task_items(task)[first : first + 3]
    return stimuli.trial(tuple(items), direction, task)


@exercise("1.1")
def guess(answer):
    t, rng = _asked(), np.random.RandomState(0)
    words = [done(answer(t, rng), "guess(t, rng)") for _ in range(400)]
    strange = [word for word in words if word not in t.candidates]
    require(not strange, f"it says {strange[:1]}: a word for one item, of t.candidates")
    said, (first, reference, _) = Counter(words), t.candidates
    require(
        not said[reference],
        f"it names the reference, {reference}: that one is in the question, so it cannot be it",
    )
    alone = "the right answer: it may not look at t.answer" if said[t.answer] else "the wrong one"
    require(len(said) == 2, f"it always says {said.most_common()[0][0]}, {alone}")
    require(
        160 <= said[first] <= 240,
        f"of 400 tries it says {first} {said[first]} times: a coin says each about as often",
    )
    same = [[answer(t, np.random.RandomState(5)) for _ in range(2)] for _ in range(20)]
    require(
        len({tuple(one) for one in same}) == 1,
        "with one seed it says different things: draw from `rng`, not from another source",
    )


@exercise("1.2")
def mirrored(answer):
    for direction, task in (("left", "squares"), ("below", "objects")):
        t = _asked(direction, task)
        made = done(answer(t), "mirrored(t)")
        require(
            isinstance(made, stimuli.Trial),
            f"it gave {type(made).__name__}; it should give a trial: `S.trial(...)`",
        )
        shown = made.stimulus.items
        require(shown != t.stimulus.items, "the image is as before: reverse the items' order")
        require(
            shown == t.stimulus.items[::-1],
            f"the items are now {', '.join(i.name for i in shown)}: that is no mirror order",
        )
        require(
            made.question == t.question and made.direction == direction,
            f"the question has changed to {made.question!r}: mirror the image, and only that",
        )
        require(
            made.answer != t.answer,
            f"the answer is still {t.answer}, and in the mirror image that stands on the other "
            "side: `S.trial` works it out",
        )
        drawn = stimuli.trial(shown, direction, task).stimulus.pixels
        require(
            np.array_equal(made.stimulus.pixels, drawn),
            "the items are in mirror order and the pixels are not: draw the image anew",
        )


@exercise("1.3")
def kind(answer):
    names = ("right", "other side", "reference", "not there")
    for direction in ("left", "right"):
        t = _asked(direction)
        first, reference, last = t.candidates
        other = last if t.answer == first else first
        told = {t.answer: names[0], other: names[1], reference: names[2], "purple": names[3]}
        for said, wanted in told.items():
            found = done(answer(said, t), f"kind({said!r}, t)")
            require(found in names, f"it gave {found!r}; it should give one of {', '.join(names)}")
            where = f"asked for the {direction} in {first}, {reference}, {last}"
            hint = ": which side is right depends on the question" if direction == "right" else ""
            require(found == wanted, f"{where}, {said} is called {found!r}; it is {wanted!r}{hint}")
    scene = replace(_asked(), answer="green")  # in a scene the right answer may be anywhere
    require(
        answer("green", scene) == "right",
        "in a scene the right answer may be the middle item: look at `t.answer` first",
    )
