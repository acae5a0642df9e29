"""Exercises of chapter 1: the solution passes, and each wrong answer is told what is wrong."""

from dataclasses import replace

import numpy as np
from test_exercises import answers

from dualmech import stimuli as S

LOOSE = np.random.RandomState(1)

GUESSES = {
    "not done yet": lambda t, rng: ...,
    "names the reference": lambda t, rng: t.candidates[rng.randint(3)],
    "may not look at t.answer": lambda t, rng: t.answer,
    "the wrong one": lambda t, rng: t.candidates[2],
    "a word for one item": lambda t, rng: t.candidates[::2],
    "of 400 tries": lambda t, rng: t.candidates[2 * (rng.rand() < 0.9)],
    "draw from `rng`": lambda t, rng: t.candidates[2 * LOOSE.randint(2)],
}


def again(t, items=None, direction=None):
    return S.trial(items or t.stimulus.items[::-1], direction or t.direction, t.task)


MIRRORS = {
    "not done yet": lambda t: None,
    "it should give a trial": lambda t: t.stimulus.pixels[:, ::-1],
    "the image is as before": lambda t: t,
    "that is no mirror order": lambda t: again(t, t.stimulus.items[1:] + t.stimulus.items[:1]),
    "mirror the image, and only that": lambda t: again(t, direction=S.OPPOSITE[t.direction]),
    "`S.trial` works it out": lambda t: replace(again(t), answer=t.answer),
    "draw the image anew": lambda t: replace(
        again(t), stimulus=replace(t.stimulus, items=t.stimulus.items[::-1])
    ),
}


def kind(said, t, *, wrong=lambda said, t: None):
    if found := wrong(said, t):
        return found
    if said == t.answer:
        return "right"
    if said not in t.candidates:
        return "not there"
    return "reference" if said == t.candidates[1] else "other side"


def by_place(said, t):
    """Takes the first item for the right answer, whatever is asked."""
    places = dict(zip(t.candidates, ("right", "reference", "other side"), strict=True))
    return places.get(said, "not there")


KINDS = {
    "not done yet": lambda said, t: None,
    "one of right, other side": lambda said, t: said == t.answer,
    "which side is right depends on the question": by_place,
    "it is 'reference'": lambda said, t: kind(
        said, t, wrong=lambda s, t: "other side" if s == t.candidates[1] else None
    ),
    "it is 'not there'": lambda said, t: kind(
        said, t, wrong=lambda s, t: None if s in t.candidates else "other side"
    ),
    "look at `t.answer` first": lambda said, t: kind(
        said, t, wrong=lambda s, t: "reference" if s == t.candidates[1] else None
    ),
}


WRONG = {"1.1": GUESSES, "1.2": MIRRORS, "1.3": KINDS}
RIGHT = {
    "1.1": [lambda t, rng: t.candidates[2 * rng.randint(2)]],
    "1.2": [again],
    "1.3": [kind],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
