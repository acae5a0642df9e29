"""Checks of chapter 11: the score of a blind habit, and a picture in a mirror."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dualmech import stimuli

from . import done, exercise, require

ACROSS, DOWN = ("left", "right"), ("above", "below")


@exercise("11.1")
def one_word(answer):
    options = [ACROSS] * 9 + [DOWN] * 4
    right = ["left"] * 7 + ["right"] * 2 + ["above"] + ["below"] * 3
    value = float(done(answer(list(options), list(right)), "one_word(options, right)"))
    known = {
        7 / 13: "the share of one word among all questions: a model may say another word where the "
        "options are others",
        (7 / 9 + 3 / 4) / 2: "the mean over pairs of options: each question counts once",
        10: "a number of questions: divide by all of them",
        3 / 13: "the score of the rarer word of each pair: take the more frequent one",
        1 / 2: "the score on a balanced set: count what these questions ask for",
        1 / 4: "the score of a coin: one and the same word is right in both orders or in neither",
    }
    for wrong, told in known.items():
        require(not np.isclose(value, wrong), f"{value:.3f} is {told}")
    require(bool(np.isclose(value, 10 / 13)), f"here it is {10 / 13:.3f}, not {value:.3f}")
    right = ["right"] * 9 + ["above"] * 4  # another most frequent word
    value = float(answer(list(options), list(right)))
    require(
        bool(np.isclose(value, 1)),
        f"where all answers are 'right' or 'above' it is 1, not {value:.3f}: find the most "
        "frequent word among the answers",
    )


@exercise("11.2")
def mirrored(answer):
    red, green = stimuli.task_items("squares")[:2]
    for vertical, word in ((False, "left"), (True, "above")):
        picture = stimuli.row_of([red, green], vertical)
        pixels = picture.pixels.copy()
        pixels[:9, :9] = 0  # a black corner: no turned or upside-down picture looks alike
        question = stimuli.pairwise_question(red, green, vertical)
        t = stimuli.Trial(replace(picture, pixels=pixels), question, word, word, "squares")
        given = pixels.copy()
        made = done(answer(t), "mirrored(t)")
        require(
            isinstance(made, stimuli.Trial),
            f"it gave {type(made).__name__}: return a Trial, as `replace(t, ...)` makes one",
        )
        require(
            np.array_equal(t.stimulus.pixels, given),
            "it changes the picture that it is given: work on a copy",
        )
        seen = made.stimulus.pixels
        require(
            not np.array_equal(seen, pixels), "the picture is as before: turn its columns around"
        )
        require(
            not np.array_equal(seen, pixels[::-1]),
            "the picture stands on its head: axis 0 of the pixels are rows, axis 1 columns",
        )
        require(
            not np.array_equal(seen, pixels[::-1, ::-1]),
            "the picture is turned by half a circle: reverse the columns alone",
        )
        require(
            not np.array_equal(seen, pixels[..., ::-1]),
            "the colours are exchanged: the last axis holds red, green and blue",
        )
        require(
            np.array_equal(seen, pixels[:, ::-1]),
            "the picture is not the mirrored one: pixels[:, ::-1] is",
        )
        require(made.question == question, "the question has changed: a mirror changes the answer")
        if vertical:
            require(
                made.answer == "above",
                f"{made.answer!r}: in this mirror what is above stays above",
            )
        else:
            require(made.answer == "right", "the answer is as before: what was left is right now")
