"""Exercises of chapter 8: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
from test_exercises import answers

from dualmech import regions
from exercises import verdict


def owned(t, b):
    return [regions.tokens_of(box, b.vlm.px, b.vlm.grid[1]) for box in t.stimulus.boxes]


def strips(t, b):
    """The outer columns, also where the items stand in a column."""
    return [regions.strip(place, False, b.vlm.grid[0]) for place in range(3)]


def trading(tokens=owned, places=(0, 2), source=lambda b, resid: resid, order=lambda some: some):
    """trade_places as a student might write it; tokens(trial, b): those of the three items."""

    def trade_places(resid, b):
        before = resid.clone()
        for i, t in enumerate(b.trials):
            some = [tokens(t, b)[place] for place in places]
            for to, taken in zip(some, some[::-1], strict=True):
                resid[i, b.at[i, to]] = source(b, before)[i, b.source_at[i, order(taken)]]
        return resid

    return trade_places


def overwriting(resid, b):
    for i, t in enumerate(b.trials):
        first, _, last = (b.at[i, tokens] for tokens in owned(t, b))
        resid[i, first] = resid[i, last]
        resid[i, last] = resid[i, first]
    return resid


def half(resid, b):
    for i, t in enumerate(b.trials):
        first, _, last = (b.at[i, tokens] for tokens in owned(t, b))
        resid[i, first] = resid[i, last] + 1
    return resid


def without_at(resid, b):
    for i, t in enumerate(b.trials):
        first, _, last = owned(t, b)
        resid[i, np.r_[first, last]] = resid[i, np.r_[last, first]]
    return resid


WRONG_TRADE = {
    "not done yet": lambda resid, b: ...,
    "not that of resid": lambda resid, b: resid[:, b.at[0]],
    "nothing has changed": lambda resid, b: resid,
    "the reference has changed": trading(places=(0, 1)),
    "positions outside the outer items": without_at,
    "the states come from b.source": trading(source=lambda b, resid: b.source),
    "both places now hold the same item": overwriting,
    "arrive in another order": trading(order=lambda some: some[::-1].copy()),
    "do not hold each other's states": half,
}


def test_strips_are_more_than_the_items():
    assert "positions outside the outer items" in verdict("8.1", trading(strips))


def selecting(keep):
    """survivors as a student might write it; keep(a, b, pair) -> bool."""

    def survivors(first, second, pairs):
        return [bool(keep(*one)) for one in zip(first, second, pairs, strict=True)]

    return survivors


def both(a, b, p):
    return a == p.clean.answer and b == p.counterfactual.answer


WRONG_SURVIVORS = {
    "not done yet": lambda first, second, pairs: None,
    "say of each pair": lambda *given: sum(selecting(both)(*given)),
    "should give true or false": lambda *given: np.array(selecting(both)(*given), float),
    "it drops a pair that was right": selecting(lambda a, b, p: a == b == p.clean.answer),
    "wrong on both images": selecting(lambda a, b, p: a != b),
    "right on one image only": selecting(
        lambda a, b, p: a == p.clean.answer or b == p.counterfactual.answer
    ),
    "the clean image only": selecting(lambda a, b, p: a == p.clean.answer),
    "the counterfactual only": selecting(lambda a, b, p: b == p.counterfactual.answer),
}


def counting(vectors=lambda t: t.answer, places=None, size=None):
    """count_all as a student might write it; places(word, t) -> bool, size(v, p, n)."""

    def follows(word, t):
        return word in t.candidates[::2] and word != vectors(t)

    def count_all(said, trials):
        both = list(zip(said, trials, strict=True))
        v = sum(word == vectors(t) for word, t in both)
        p = sum((places or follows)(*one) for one in both)
        n = (size or (lambda v, p, n: n))(v, p, len(said))
        return v / n, p / n, 1 - v / n - p / n

    return count_all


WRONG_COUNT = {
    "not done yet": lambda said, trials: None,
    "three shares": lambda *given: counting()(*given)[:2],
    "these are counts": counting(size=lambda v, p, n: 1),
    "the others count, too": counting(size=lambda v, p, n: v + p),
    "need not follow the places": counting(places=lambda word, t: word != t.answer),
    "the reference counts as": counting(
        places=lambda word, t: word in t.candidates and word != t.answer
    ),
    "do not always call for the first": counting(vectors=lambda t: t.candidates[0]),
    "vectors and places are exchanged": lambda *given: np.array(counting()(*given))[[1, 0, 2]],
    "and the shares are": lambda *given: np.array(counting()(*given))[[0, 1, 1]] / [1, 2, 1],
}


WRONG = {"8.1": WRONG_TRADE, "8.2": WRONG_SURVIVORS, "8.3": WRONG_COUNT}
RIGHT = {
    "8.1": [trading()],
    "8.2": [selecting(both)],
    "8.3": [counting()],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
