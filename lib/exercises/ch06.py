"""Checks of chapter 6: a control task for a probe, a map without its blank, a test set apart."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from . import choose, done, exercise, require


@exercise("6.1")
def phone_book(answer):
    cells = np.random.RandomState(1).permutation(np.tile([60, 61, 64, 66, 67, 72, 73, 76, 79], 7))
    book = np.asarray(done(answer(cells), "phone_book(cells)"))
    require(
        book.shape == cells.shape,
        f"for {len(cells)} tokens it gave shape {book.shape}: one class for each token",
    )
    require(
        bool(np.isin(book, (0, 1, 2)).all()),
        f"the classes are 0, 1 and 2, and not {np.unique(book)[:5].tolist()}",
    )
    for cell in np.unique(cells):
        found = np.unique(book[cells == cell])
        require(
            len(found) == 1,
            f"cell {cell} has the classes {found.tolist()}: draw one for each cell, and look it up "
            "for each token",
        )
    require(
        bool((np.asarray(answer(cells, 0)) == book).all()),
        "two calls with one seed differ: draw from np.random.RandomState(seed)",
    )
    others = [np.asarray(answer(cells, seed)) for seed in range(1, 6)]
    require(
        not all((other == book).all() for other in others),
        "the book is the same for every seed: a phone book is arbitrary",
    )
    for one in (book, *others):
        sizes = [len(np.unique(cells[one == c])) for c in range(3)]
        require(
            sizes == [3, 3, 3],
            f"the classes get {sizes} of the nine cells: give each as many, as places have",
        )


@exercise("6.2")
def gain(answer):
    rng = np.random.RandomState(0)
    p, blank = rng.dirichlet((1, 1, 1), (4, 16)), rng.dirichlet((1, 1, 1), (1, 16))
    tokens, c = np.array([2, 5, 7]), 1
    given = np.asarray(done(answer(p, blank, tokens, c), "gain(p, blank, tokens, c)"))
    require(
        given.shape == (4,),
        f"for four images it gave shape {given.shape}: one number for each image, so the mean goes "
        "over tokens",
    )
    one, none = p[:, tokens].mean(1), blank[:, tokens].mean(1)
    wanted = one[:, c] - none[:, c]
    mistakes = {
        "the sign is turned: with squares minus blank": -wanted,
        "that is the probability itself: subtract that of the blank image": one[:, c],
        "that is the mean over all tokens: take those of `tokens`": (p - blank).mean(1)[:, c],
        "the blank is averaged over all its tokens: take the same ones for both": one[:, c]
        - blank.mean(1)[:, c],
    }
    for other in {0, 1, 2} - {c}:
        mistakes[f"that is class {other}, and c is {c}"] = one[:, other] - none[:, other]
    for told, wrong in mistakes.items():
        require(not np.allclose(given, wrong), told)
    require(
        np.allclose(given, wanted),
        f"for the first image it gave {given[0]:.3f}, and the means are {one[0, c]:.3f} with "
        f"squares and {none[0, c]:.3f} without",
    )


@exercise("6.3")
def split(answer):
    trios = ["abc", "abd", "ace", "bcd", "bde", "cde", "ade", "bce"]
    orders = [tuple(order) for trio in trios for order in permutations(trio)]
    orders = [orders[i] for i in np.random.RandomState(2).permutation(len(orders))]
    given = done(answer(list(orders)), "split(orders)")
    require(
        isinstance(given, tuple | list) and len(given) == 2,
        "it should return two lists: the numbers of the orders to train on, and to test on",
    )
    train, test = (np.asarray(done(part, "one of the two")).tolist() for part in given)
    require(
        all(isinstance(k, int) for k in train + test),
        "the lists hold numbers of orders (0 for the first), not the orders themselves",
    )
    require(
        not set(train) & set(test), "an order is in both parts: the probe has seen its test image"
    )
    require(
        sorted(train + test) == list(range(len(orders))),
        f"{len(orders)} orders go in, and {len(train) + len(test)} come out: use each of them once",
    )
    seen, new = ({frozenset(orders[k]) for k in part} for part in (train, test))
    require(
        not seen & new,
        f"{len(seen & new)} trios are in both parts, in another order: keep all six orders of a "
        "trio together",
    )
    require(
        len(new) == len(trios) // 4,
        f"of {len(trios)} trios {len(new)} are kept for the test: every fourth trio, not order",
    )


choose("6.4", "b", {
    "a": "these would light up as well, whatever the probe reads: none could prove it wrong",
    "c": "that is a sharper picture of the same dog, in the same place",
    "d": "something stands on the left again; you would not learn what the left half of the map "
         "does without it",
})  # fmt: skip
