"""Exercises of chapter 6: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
from test_exercises import answers

from exercises import verdict


def booking(draw):
    """phone_book as a student might write it; draw(rng, k cells) -> their classes."""

    def phone_book(cells, seed=0):
        some = np.unique(cells)
        found = draw(np.random.RandomState(seed), some)
        return found[np.searchsorted(some, cells)]

    return phone_book


def in_turn(rng, some):
    return rng.permutation(np.arange(len(some)) % 3)


WRONG_BOOK = {
    "not done yet": lambda cells, seed=0: ...,
    "one class for each token": lambda cells, seed=0: in_turn(
        np.random.RandomState(seed), np.unique(cells)
    ),
    "the classes are 0, 1 and 2": booking(lambda rng, some: 1 + in_turn(rng, some)),
    "look it up for each token": lambda cells, seed=0: np.random.RandomState(seed).randint(
        0, 3, len(cells)
    ),
    "two calls with one seed differ": booking(
        lambda rng, some: np.random.permutation(np.arange(len(some)) % 3)
    ),
    "is the same for every seed": booking(lambda rng, some: np.arange(len(some)) // 3),
    "of the nine cells: give each as many": booking(lambda rng, some: rng.randint(0, 3, len(some))),
}


WRONG_GAIN = {
    "not done yet": lambda p, blank, tokens, c: None,
    "shape (3,)": lambda p, blank, tokens, c: (p - blank)[:, tokens, c].mean(0),
    "shape ()": lambda p, blank, tokens, c: (p - blank)[:, tokens, c].mean(),
    "the sign is turned": lambda p, blank, tokens, c: (blank - p)[:, tokens, c].mean(1),
    "the probability itself": lambda p, blank, tokens, c: p[:, tokens, c].mean(1),
    "the mean over all tokens": lambda p, blank, tokens, c: (p - blank)[..., c].mean(1),
    "the blank is averaged": lambda p, blank, tokens, c: (
        p[:, tokens, c].mean(1) - blank[..., c].mean(1)
    ),
    "that is class 2": lambda p, blank, tokens, c: (p - blank)[:, tokens, c + 1].mean(1),
    "and the means are": lambda p, blank, tokens, c: (p - blank)[:, tokens + 1, c].mean(1),
}


def keep(orders, test):
    """(train, test), from whether each order is for the test."""
    return [k for k, t in enumerate(test) if not t], [k for k, t in enumerate(test) if t]


def by_trio(orders, name=frozenset, share=4):
    names = list(dict.fromkeys(map(name, orders)))
    return keep(orders, [names.index(name(order)) % share == 0 for order in orders])


WRONG_SPLIT = {
    "not done yet": lambda orders: None,
    "it should return two lists": lambda orders: by_trio(orders)[0],
    "not the orders themselves": lambda orders: [
        [orders[k] for k in part] for part in by_trio(orders)
    ],
    "an order is in both parts": lambda orders: (list(range(len(orders))), by_trio(orders)[1]),
    "use each of them once": lambda orders: (by_trio(orders)[0][1:], by_trio(orders)[1]),
    "trios are in both parts": lambda orders: keep(orders, np.arange(len(orders)) % 4 == 0),
    "every fourth trio": lambda orders: by_trio(orders, share=2),
}


def test_colours_in_their_order_are_no_name_of_a_trio():
    assert "trios are in both parts" in verdict("6.3", lambda orders: by_trio(orders, tuple))


WRONG = {"6.1": WRONG_BOOK, "6.2": WRONG_GAIN, "6.3": WRONG_SPLIT}
RIGHT = {
    "6.1": [booking(in_turn)],
    "6.2": [lambda p, blank, tokens, c: (p - blank)[:, tokens, c].mean(1)],
    "6.3": [by_trio],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
