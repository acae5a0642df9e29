"""Exercises of chapter 14: the solution passes, and each wrong answer is told what is wrong."""

import pytest

from exercises import verdict


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


@pytest.mark.parametrize("told", WRONG_MOVED)
def test_a_wrong_token_is_told(told):
    assert told in verdict("14.1", WRONG_MOVED[told])


def test_the_token_that_moves_is_right():
    assert verdict("14.1", lambda before, after: far(before, after).argmax(-1)) == "right"


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


@pytest.mark.parametrize("told", WRONG_TEXT)
def test_a_wrong_text_is_told(told):
    assert told in verdict("14.2", WRONG_TEXT[told])


def test_the_text_is_right():
    assert verdict("14.2", text) == "right"
