"""Exercises of chapter 15: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
from test_exercises import answers


def masked(own=lambda t: t[None] == t[:, None], image=lambda t: t[None] == 0, back=np.less_equal):
    """may_look as a student might write it."""

    def may_look(turn):
        at = np.arange(len(turn))
        return back(at[None], at[:, None]) & (own(turn) | image(turn))

    return may_look


WRONG_MASK = {
    "not done yet": lambda turn: ...,
    "say of each pair": lambda turn: turn > 0,
    "should give true or false": lambda turn: masked()(turn).astype(int),
    "rows and columns are exchanged": lambda turn: masked()(turn).T,
    "must see itself": masked(back=np.less),
    "a position looks ahead": masked(back=lambda i, j: i <= np.inf * (j + 1)),
    "a turn sees another turn": masked(own=lambda t: np.ones((len(t), len(t)), bool)),
    "does not see the whole image": masked(image=lambda t: np.zeros((len(t), len(t)), bool)),
    "all of its own kind": masked(own=lambda t: np.eye(len(t), dtype=bool)),
}


def cutting(white=255, order=lambda k: k, to=lambda tile, r, c: (tile, tile)):
    """nine_tiles as a student might write it; to: where on the canvas a tile goes."""

    def nine_tiles(pixels):
        side, tile = len(pixels), len(pixels) // 3
        out = np.full((9, side, side, 3), white, np.uint8)
        for k in range(9):
            r, c = tile * (order(k) // 3), tile * (order(k) % 3)
            top, left = to(tile, r, c)
            out[k, top : top + tile, left : left + tile] = pixels[r : r + tile, c : c + tile]
        return out

    return nine_tiles


def spoiling(pixels):
    out = cutting()(pixels)
    pixels[:] = 255
    return out


WRONG_TILES = {
    "not done yet": lambda pixels: None,
    "it writes into the image": spoiling,
    "not (9, 12, 12, 3)": lambda pixels: cutting()(pixels)[:3],
    "pixels are uint8": lambda pixels: cutting()(pixels) / 255,
    "stands where it was": cutting(to=lambda tile, r, c: (r, c)),
    "in the upper left corner": cutting(to=lambda tile, r, c: (0, 0)),
    "column by column": cutting(order=lambda k: 3 * (k % 3) + k // 3),
    "tile 0 is not in the centre": cutting(order=lambda k: 8 - k),
    "white is 255": cutting(white=0),
}


def left(items, named):
    return [i for i in items if i not in (named, "?")]


WRONG_GUESS = {
    "not done yet": lambda items, named: ...,
    "is never the answer: leave it out": lambda items, named: 1 / len(items),
    "a chance, and not their number": lambda items, named: len(left(items, named)),
    "not one half": lambda items, named: 1 / (1 + len(items)),
    "there is nothing to guess": lambda items, named: 1 / 2,
    "and yet it counts": lambda items, named: 1 / len([i for i in items if i != named]),
    "of four items": lambda items, named: 1 / min(2, len(left(items, named))),
}


WRONG = {"15.1": WRONG_MASK, "15.2": WRONG_TILES, "15.3": WRONG_GUESS}
RIGHT = {
    "15.1": [masked()],
    "15.2": [cutting()],
    "15.3": [lambda items, named: 1 / len(left(items, named))],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
