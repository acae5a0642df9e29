"""Checks of chapter 15: a mask for packed questions, an image in tiles, and a guesser's line."""

from __future__ import annotations

import numpy as np

from . import done, exercise, require

TURN = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])  # three image positions, then three turns


@exercise("15.1")
def may_look(answer):
    given = np.asarray(done(answer(TURN.copy()), "may_look(turn)"))
    n = len(TURN)
    require(
        given.shape == (n, n),
        f"for {n} positions it gave shape {given.shape}: say of each pair, ({n}, {n})",
    )
    require(given.dtype == bool, f"it gave {given.dtype}, and should give true or false")
    at = np.arange(n)
    back, own, image = (
        at[None] <= at[:, None],
        TURN[None] == TURN[:, None],
        (TURN == 0)[None].repeat(n, 0),
    )
    right = back & (own | image)
    require(
        np.array_equal(given, right) or not np.array_equal(given.T, right),
        "rows and columns are exchanged: row i says what position i may look at",
    )
    require(bool(given.diagonal().all()), "a position must see itself: j may equal i")
    require(not (given & ~back).any(), "a position looks ahead: training would copy the answer")
    turns = TURN > 0
    require(
        not (given & ~own)[np.ix_(turns, turns)].any(),
        "a turn sees another turn: it could copy from its answer",
    )
    require(
        bool(given[np.ix_(turns, ~turns)].all()), "a turn does not see the whole image before it"
    )
    require(
        np.array_equal(given, right),
        "a position does not see all of its own kind before it: turn by turn, and the image",
    )


@exercise("15.2")
def nine_tiles(answer):
    side, tile = 12, 4
    pixels = np.random.RandomState(0).randint(0, 200, (side, side, 3)).astype(np.uint8)
    before = pixels.copy()
    given = np.asarray(done(answer(pixels), "nine_tiles(pixels)"))
    require(np.array_equal(pixels, before), "it writes into the image it was given: make a new one")
    require(
        given.shape == (9, side, side, 3),
        f"for an image of {before.shape} it gave shape {given.shape}, not (9, {side}, {side}, 3)",
    )
    require(given.dtype == np.uint8, f"it gave {given.dtype}: pixels are uint8")
    cut = [
        before[r : r + tile, c : c + tile]
        for r in range(0, side, tile)
        for c in range(0, side, tile)
    ]
    middle = slice(tile, 2 * tile)
    shown = [one[middle, middle] for one in given]
    rest = np.ones((side, side), bool)
    rest[middle, middle] = False
    places = [(tile * (k // 3), tile * (k % 3)) for k in range(9)]
    require(
        not all(
            np.array_equal(one[r : r + tile, c : c + tile], part)
            for one, part, (r, c) in zip(given, cut, places, strict=True)
        ),
        "each tile stands where it was in the image: then the encoder can tell its place",
    )
    require(
        not all(
            np.array_equal(one[:tile, :tile], part) for one, part in zip(given, cut, strict=True)
        ),
        "the tiles stand in the upper left corner: put them in the centre",
    )
    turned = [cut[3 * (k % 3) + k // 3] for k in range(9)]
    require(
        not all(np.array_equal(a, b) for a, b in zip(shown, turned, strict=True)),
        "the tiles come column by column: row by row, as the tokens are read",
    )
    for k in range(9):
        require(
            np.array_equal(shown[k], cut[k]),
            f"tile {k} is not in the centre of canvas {k} as it is in the image",
        )
    ground = given[:, rest]
    require(bool((ground == 255).all()), f"around the tiles stands {ground.min()}: white is 255")


@exercise("15.3")
def guessing(answer):
    three = float(done(answer(["star", "ring", "heart"], "ring"), "guessing(items, named)"))
    require(
        abs(three - 1 / 3) > 1e-6,
        "the item that the question names is never the answer: leave it out",
    )
    require(three < 1, f"with two items left it gave {three:.2f}: a chance, and not their number")
    require(abs(three - 1 / 2) < 1e-6, f"with two items left it gave {three:.2f}, not one half")
    two = float(answer(["star", "ring"], "star"))
    require(two == 1, f"with one item left there is nothing to guess, and it gave {two:.2f}")
    unnamed = float(answer(["star", "?", "ring"], "ring"))
    require(unnamed == 1, f'`"?"` is never the answer, and yet it counts: it gave {unnamed:.2f}')
    first = float(answer(["ring", "star", "heart", "cross"], "ring"))
    require(abs(first - 1 / 3) < 1e-6, f"of four items, one named, it gave {first:.2f}")
