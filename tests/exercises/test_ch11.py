"""Exercises of chapter 11: the solution passes, and each wrong answer is told what is wrong."""

from collections import Counter
from dataclasses import replace

import numpy as np
from test_exercises import answers

from dualmech.stimuli import OPPOSITE


def by_pair(options, right):
    """How often each word is right, for each pair of options."""
    found = {}
    for pair, word in zip(options, right, strict=True):
        found.setdefault(pair, Counter(dict.fromkeys(pair, 0)))[word] += 1
    return found.values()


def one_word(options, right):
    return sum(max(c.values()) for c in by_pair(options, right)) / len(right)


WRONG_WORDS = {
    "not done yet": lambda options, right: ...,
    "where the options are others": lambda o, right: max(Counter(right).values()) / len(right),
    "the mean over pairs": lambda o, r: np.mean(
        [max(c.values()) / c.total() for c in by_pair(o, r)]
    ),
    "divide by all of them": lambda o, r: one_word(o, r) * len(r),
    "the rarer word": lambda o, r: sum(min(c.values()) for c in by_pair(o, r)) / len(r),
    "on a balanced set": lambda o, r: 1 / 2,
    "the score of a coin": lambda o, r: 1 / 4,
    "here it is 0.769": lambda o, r: 0.9,
    "the most frequent word among the answers": lambda o, r: np.mean(
        [word in ("left", "below") for word in r]
    ),
}


def seen(turn, answer=lambda word: OPPOSITE[word] if word in ("left", "right") else word, **more):
    """mirrored as a student might write it."""
    return lambda t: replace(
        t,
        stimulus=replace(t.stimulus, pixels=turn(t.stimulus.pixels)),
        answer=answer(t.answer),
        **more,
    )


def columns(pixels):
    return pixels[:, ::-1].copy()


def in_place(t):
    t.stimulus.pixels[:] = columns(t.stimulus.pixels)
    return seen(lambda pixels: pixels)(t)


WRONG_MIRRORS = {
    "not done yet": lambda t: None,
    "return a Trial": lambda t: columns(t.stimulus.pixels),
    "it changes the picture": in_place,
    "the picture is as before": seen(lambda pixels: pixels),
    "stands on its head": seen(lambda pixels: pixels[::-1]),
    "turned by half a circle": seen(lambda pixels: pixels[::-1, ::-1]),
    "the colours are exchanged": seen(lambda pixels: pixels[..., ::-1]),
    "not the mirrored one": seen(lambda pixels: pixels.transpose(1, 0, 2)),
    "the question has changed": seen(columns, question="Is it?"),
    "above stays above": seen(columns, OPPOSITE.get),
    "the answer is as before": seen(columns, lambda word: word),
}


WRONG = {"11.1": WRONG_WORDS, "11.2": WRONG_MIRRORS}
RIGHT = {
    "11.1": [one_word],
    "11.2": [seen(columns)],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
