"""Exercises of chapter 12: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
from test_exercises import answers


def counting(*, any_=None, best=None, again=None, chosen=None):
    """gains as a student might write it, with one of the four counts replaced."""

    def gains(before, after, tune):
        fixed, left = after & ~before, ~tune
        k = after[:, tune].mean(1).argmax()
        counts = [
            fixed.any(0).mean(),
            fixed.mean(1).max(),
            after.mean(1).max() - before.mean(),
            after[k, left].mean() - before[left].mean(),
        ]
        for place, own in enumerate((any_, best, again, chosen)):
            counts[place] = counts[place] if own is None else own(before, after, tune)
        return counts

    return gains


def spoiling(before, after, tune):
    found = counting()(before, after, tune)
    after |= before
    return found


def elsewhere(questions, scored):
    """The strength that is best on some questions, counted on others."""

    def count(before, after, tune):
        k = after[:, questions(tune)].mean(1).argmax()
        return after[k, scored(tune)].mean() - before[scored(tune)].mean()

    return count


FAILURES = "a share of the failures"
WRONG_GAINS = {
    "not done yet": lambda before, after, tune: ...,
    "return four numbers": lambda before, after, tune: after.mean(1),
    "it changes the arrays": spoiling,
    f"'any strength', 0.909, is {FAILURES}": counting(
        any_=lambda b, a, t: (a & ~b).any(0).sum() / (~b).sum()
    ),
    "'any strength', 0.950, is an accuracy": counting(any_=lambda b, a, t: a.any(0).mean()),
    "one strength for all questions": counting(best=lambda b, a, t: (a & ~b).any(0).mean()),
    f"'best strength', 0.455, is {FAILURES}": counting(
        best=lambda b, a, t: (a & ~b).sum(1).max() / (~b).sum()
    ),
    "a broken answer stays right": counting(best=lambda b, a, t: (a.mean(1) - b.mean()).max()),
    "a count of repairs alone": counting(again=lambda b, a, t: (a & ~b).mean(1).max()),
    "'all run again', 0.600, is an accuracy": counting(again=lambda b, a, t: a.mean(1).max()),
    "on the tune questions, too": counting(chosen=elsewhere(lambda t: t, lambda t: t | True)),
    "measured on the tune questions: count": counting(chosen=elsewhere(lambda t: t, lambda t: t)),
    "the best strength of the scored": counting(chosen=elsewhere(lambda t: ~t, lambda t: ~t)),
    "the accuracy of all questions": counting(
        chosen=lambda b, a, t: a[a[:, t].mean(1).argmax(), ~t].mean() - b.mean()
    ),
    "is -0.250 here, not 0.900": counting(chosen=lambda b, a, t: 0.9),
}


def lined(named, most=1 / 20):
    """line as a student might write it; named(said, trials): which answers name the reference."""
    return lambda said, trials: 1 / 2 if np.mean(named(said, trials)) < most else 1 / 3


def references(said, trials):
    return [word == t.candidates[1] for word, t in zip(said, trials, strict=True)]


WRONG_LINES = {
    "not done yet": lambda said, trials: None,
    "give the accuracy to beat": lambda said, trials: np.mean(references(said, trials)),
    "two answers are left": lambda said, trials: 1 / 3,
    "then it is a third candidate": lambda said, trials: 1 / 2,
    "a wrong answer is no sign": lined(
        lambda said, trials: [word != t.answer for word, t in zip(said, trials, strict=True)]
    ),
    "none of the candidates": lined(
        lambda said, trials: [
            word not in t.candidates[::2] for word, t in zip(said, trials, strict=True)
        ]
    ),
    "another question's reference": lined(
        lambda said, trials: [word == trials[0].candidates[1] for word in said]
    ),
    "'hardly ever' ends there": lined(references, most=1 / 10),
}


WRONG = {"12.1": WRONG_GAINS, "12.2": WRONG_LINES}
RIGHT = {
    "12.1": [counting()],
    "12.2": [lined(references)],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
