"""Exercises of chapter 2: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
import torch
from test_exercises import answers


def numbers(box, px, cols, more=0):
    left, top, right, bottom = (int(v) // px for v in box)
    return [
        row * cols + col for row in range(top, bottom + more) for col in range(left, right + more)
    ]


def across(box, px, cols, at):
    left, top, right, bottom = box
    return at[numbers((top, left, bottom, right), px, cols)]


BOXES = {
    "not done yet": lambda box, px, cols, at: ...,
    "tokens' numbers in the grid": lambda box, px, cols, at: numbers(box, px, cols),
    "rows and columns are exchanged": across,
    "ends where the next token begins": lambda box, px, cols, at: at[numbers(box, px, cols, 1)],
    "in increasing order": lambda box, px, cols, at: at[numbers(box, px, cols)[::-1]],
    "two rows and two columns": lambda box, px, cols, at: at[numbers(box, px, cols)[:2]],
    "the box covers [13": lambda box, px, cols, at: at[numbers(box, px, cols)] + 1,
}


def split(pixels, px):
    high, wide, _ = pixels.shape
    return pixels.reshape(high // px, px, wide // px, px, 3)


def cut(pixels, px, axes=(0, 2, 1, 3, 4)):
    return split(pixels, px).transpose(axes).reshape(-1, px, px, 3)


PATCHES = {
    "not done yet": lambda pixels, px: None,
    "it should be (6, 2, 2, 3)": split,
    "a bare reshape": lambda pixels, px: pixels.reshape(-1, px, px, 3),
    "column by column": lambda pixels, px: cut(pixels, px, (2, 0, 1, 3, 4)),
    "mirrored along its diagonal": lambda pixels, px: cut(pixels, px, (0, 2, 3, 1, 4)),
    "patch 0 is the upper left": lambda pixels, px: cut(pixels[::-1], px),
}


def norm(states, weight, eps, mean=lambda square: square.mean(-1, keepdim=True)):
    return states / (mean(states.pow(2)) + eps).sqrt() * weight


NORMS = {
    "not done yet": lambda states, weight, eps: ...,
    "not that of the states": lambda states, weight, eps: states.norm(dim=-1),
    "one number for all states": lambda *a: norm(*a, mean=torch.mean),
    "over the states, axis 0": lambda *a: norm(*a, mean=lambda s: s.mean(0, keepdim=True)),
    "take the mean of the squares": lambda *a: norm(*a, mean=lambda s: s.sum(-1, keepdim=True)),
    "take its root": lambda s, w, eps: s / (s.pow(2).mean(-1, keepdim=True) + eps) * w,
    "eps is missing": lambda s, w, eps: norm(s, w, 0),
    "multiply by the weight": lambda s, w, eps: norm(s, np.float32(1), eps),
    "that is LayerNorm": lambda s, w, eps: norm(s - s.mean(-1, keepdim=True), w, eps),
    "the first number should be": lambda s, w, eps: norm(s, w + 1, eps),
}


WRONG = {"2.1": BOXES, "2.2": PATCHES, "2.3": NORMS}
RIGHT = {
    "2.1": [
        lambda box, px, cols, at: at[numbers(box, px, cols)],
        lambda box, px, cols, at: at[numbers(box, px, cols)].tolist(),
    ],
    "2.2": [cut],
    "2.3": [norm, lambda s, w, eps: w * s * (s.pow(2).mean(-1)[:, None] + eps).rsqrt()],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
