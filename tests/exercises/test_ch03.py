"""Exercises of chapter 3: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
from test_exercises import answers

LOOSE = np.random.RandomState(1)


def draw(tokens, seed):
    return np.random.RandomState(seed).permutation(tokens)


CONTROLS = {
    "not done yet": lambda region, tokens, seed: ...,
    "one row of token numbers": lambda r, tokens, seed: draw(tokens, seed)[:40].reshape(8, 5),
    "controls nothing": lambda r, tokens, seed: draw(tokens, seed)[: len(r) - 1],
    "whole numbers from 0 to 143": lambda r, tokens, seed: draw(tokens, seed)[: len(r)] + 1,
    "without replacement": lambda r, n, seed: np.random.RandomState(seed).randint(0, n, len(r)),
    "the same seed gives other": lambda r, tokens, seed: LOOSE.permutation(tokens)[: len(r)],
    "two seeds give the same": lambda r, tokens, seed: draw(tokens, 0)[: len(r)],
    "the region's own tokens": lambda r, tokens, seed: np.random.RandomState(seed).permutation(r),
    "leaves the region out": lambda r, n, seed: np.random.RandomState(seed).permutation(
        np.setdiff1d(np.arange(n), r)
    )[: len(r)],
    "are ever drawn": lambda r, tokens, seed: draw(tokens // 2, seed)[: len(r)],
}


def judge(s, chance, low="low", high="high"):
    if s[low] > chance:
        return "above"
    return "below" if s[high] < chance else "cannot tell"


VERDICTS = {
    "not done yet": lambda s, chance: None,
    "one of above, below": lambda s, chance: s["low"] > chance,
    "are exchanged": lambda s, chance: {"above": "below", "below": "above"}.get(
        judge(s, chance), "cannot tell"
    ),
    "do not compare the value": lambda s, chance: judge(s, chance, "value", "value"),
    "is called 'above', but": lambda s, chance: judge(s, chance, "high", "low"),
    "lies wholly on one side": lambda s, chance: "cannot tell",
    "use `chance`": lambda s, chance: judge(s, 1 / 2),
}


HELD_OUT = {
    "not done yet": lambda a, b: ...,
    "it should give one share": lambda a, b: b.mean(1),
    "Choose in tuning": lambda a, b: a.mean(1).max(),
    "best of the held-out half": lambda a, b: b.mean(1).max(),
    "the number of the setting": lambda a, b: a.mean(1).argmax(),
    "over all settings": lambda a, b: b.mean(),
    "worst in tuning": lambda a, b: b[a.mean(1).argmin()].mean(),
    "Average over trials, axis 1": lambda a, b: b[:, a.mean(0).argmax()].mean(),
}


WRONG = {"3.1": CONTROLS, "3.2": VERDICTS, "3.3": HELD_OUT}
RIGHT = {
    "3.1": [
        lambda region, tokens, seed: draw(tokens, seed)[: len(region)],
        lambda r, n, seed: np.random.RandomState(seed).choice(n, len(r), replace=False),
    ],
    "3.2": [judge],
    "3.3": [lambda a, b: b[a.mean(1).argmax()].mean(), lambda a, b: b[a.sum(-1).argmax()].mean()],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
