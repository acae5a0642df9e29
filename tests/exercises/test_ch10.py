"""Exercises of chapter 10: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
import torch
from test_exercises import answers


def drawn(seed, d):
    w = torch.randn(d, generator=torch.Generator().manual_seed(seed))
    return w / w.norm()


def pattern(move, seed):
    size = move.norm(dim=-1, keepdim=True)
    sign = (move @ move[size.argmax()]).sign()[:, None]
    return size * sign * drawn(seed, move.shape[1])


def each_its_own(move, seed):
    w = torch.randn(move.shape, generator=torch.Generator().manual_seed(seed))
    return move.norm(dim=-1, keepdim=True) * torch.nn.functional.normalize(w, dim=-1)


def evenly(move, seed):
    """As long on the whole: every token that moves goes as far."""
    touched = (move.norm(dim=-1, keepdim=True) > 0).float()
    return touched / touched.norm() * move.norm() * drawn(seed, move.shape[1])


def alternating(move, seed):
    sign = torch.tensor([1.0, -1.0]).repeat(len(move))[: len(move), None]
    return move.norm(dim=-1, keepdim=True) * sign * drawn(seed, move.shape[1])


WRONG_PATTERN = {
    "not done yet": lambda move, seed: ...,
    "it gave shape": lambda move, seed: pattern(move, seed)[0],
    "this is the move itself": lambda move, seed: move,
    "tokens that the edit leaves alone": lambda move, seed: pattern(move, seed).roll(1, 0),
    "have other lengths": lambda move, seed: 2 * pattern(move, seed),
    "as long on the whole, and not token by token": evenly,
    "each token has a direction of its own": each_its_own,
    "along the direction of the move": lambda move, seed: -move,
    "all tokens move the same way": lambda move, seed: (
        move.norm(dim=-1, keepdim=True) * drawn(seed, move.shape[1])
    ),
    "the pattern is lost": alternating,
    "the same seed gave two nulls": lambda move, seed: pattern(
        move, int(torch.randint(2**31, ()).item())
    ),
    "does it use seed": lambda move, seed: pattern(move, 0),
}


def strict(before, after):
    before, after = before.all(0), after.all(0)
    return int((after & ~before).sum()), int((before & ~after).sum())


def on(collapse):
    """The same two counts of questions that were put together in another way."""

    def strict_change(before, after):
        before, after = collapse(before), collapse(after)
        return (after & ~before).sum(), (before & ~after).sum()

    return strict_change


WRONG_STRICT = {
    "not done yet": lambda before, after: None,
    "give two counts": lambda before, after: strict(before, after)[0] - strict(before, after)[1],
    "because one of its orders is": on(lambda right: right.any(0)),
    "it counts answers": on(lambda right: right),
    "first order only": on(lambda right: right[0]),
    "second order only": on(lambda right: right[1]),
    "what was right stays counted as right": lambda before, after: strict(before, before | after),
    "the two counts are exchanged": lambda before, after: strict(after, before),
    "not those that changed": lambda before, after: (before.all(0).sum(), after.all(0).sum()),
    "no shares of them": lambda before, after: np.array(strict(before, after)) / 12,
    "other counts": lambda before, after: (6, 6),
}


def louder(middle=lambda x: x.mean(0), along=lambda w, t: w[t.direction], times=1.0, shift=0):
    """without_boxes as a student might write it; middle(x): (d_model,) or what takes its place."""

    def without_boxes(w, alpha):
        def edit(resid, b):
            for i, t in enumerate(b.trials):
                at, one = b.at[i] + shift, along(w, t)
                x = resid[i, at]
                resid[i, at] = x + times * alpha * ((x - middle(x)) @ one)[:, None] * one
            return resid

        return edit

    return without_boxes


def all_of_it(w, alpha):
    def edit(resid, b):
        for i in range(len(resid)):
            x = resid[i, b.at[i]]
            resid[i, b.at[i]] = x + alpha * (x - x.mean(0))
        return resid

    return edit


def over_the_batch(w, alpha):
    def edit(resid, b):
        row = torch.arange(len(resid))[:, None]
        x = resid[row, b.at]
        one = w[b.trials[0].direction]
        resid[row, b.at] = x + alpha * ((x - x.mean(0)) @ one)[..., None] * one
        return resid

    return edit


WRONG_LOUDER = {
    "not done yet": lambda w, alpha: ...,
    "it should give a function": lambda w, alpha: w,
    "nothing has changed": louder(times=0.0),
    "positions outside the image": louder(shift=1),
    "the direction of the other axis": louder(along=lambda w, t: w["left"]),
    "across w": all_of_it,
    "take off the mean over the image's tokens": louder(middle=torch.zeros_like),
    "the mean is over the tokens of one image": over_the_batch,
    "3 times as long; it is 2.0": louder(times=0.5),
}


WRONG = {"10.1": WRONG_PATTERN, "10.2": WRONG_STRICT, "10.3": WRONG_LOUDER}
RIGHT = {
    "10.1": [pattern, lambda move, seed: -pattern(move, seed)],
    "10.2": [strict],
    "10.3": [louder()],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
