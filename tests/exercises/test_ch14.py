"""Exercises of chapter 14: the solution passes, and each wrong answer is told what is wrong."""

from test_exercises import answers


def far(before, after):
    return (after - before).norm(dim=-1) / before.norm(dim=-1)


WRONG_MOVED = {
    "not done yet": lambda before, after: None,
    "one index for each cell": lambda before, after: far(before, after).argmax(),
    "divide by its size": lambda before, after: (after - before).norm(dim=-1).argmax(-1),
    "how far it moved": lambda before, after: far(before, after).max(-1).values,
    "moves least": lambda before, after: far(before, after).argmin(-1),
    "the tokens that moved are": lambda before, after: far(before, after).argmax(-1) + 1,
    "the largest is taken over tokens": lambda before, after: far(before, after).argmax(0),
    "raises RuntimeError": lambda before, after: (after - before[:3]).norm(dim=-1).argmax(-1),
}


def text(rows, cols):
    return "<img>" + "<row>".join(["<cell>" * cols] * rows) + "</img>"


WRONG_TEXT = {
    "not done yet": lambda rows, cols: ...,
    "the text, in one string": lambda rows, cols: ["<cell>"] * rows * cols,
    "a grid of 2 x 3 has 6 visual tokens": lambda rows, cols: text(rows, rows),
    "before the cells and </img> after": lambda rows, cols: text(rows, cols)[5:],
    "one more token": lambda rows, cols: text(rows, cols).replace("<row>", " <row> "),
    "after the last row": lambda rows, cols: "<img>" + ("<cell>" * cols + "<row>") * rows
    + "</img>",
    "no <row> between": lambda rows, cols: text(rows, cols).replace("<row>", ""),
    "exchanged": lambda rows, cols: text(cols, rows),
    "of 3 cells": lambda rows, cols: "<img><cell><row>" + "<cell>" * (rows * cols - 1) + "</img>",
    "a grid of 1 x 1": lambda rows, cols: text(2, 3),
}  # fmt: skip


WRONG = {"14.1": WRONG_MOVED, "14.2": WRONG_TEXT}
RIGHT = {
    "14.1": [lambda before, after: far(before, after).argmax(-1)],
    "14.2": [text],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
