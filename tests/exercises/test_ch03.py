"""Exercises of chapter 3: the solution passes, and each wrong answer is told what is wrong."""

import numpy as np
import pytest

from exercises import verdict

LOOSE = np.random.RandomState(1)


def draw(tokens, seed):
    return np.random.RandomState(seed).permutation(tokens)


def test_a_control_is_right():
    assert verdict("3.1", lambda region, tokens, seed: draw(tokens, seed)[: len(region)]) == "right"
    choice = np.random.RandomState
    assert (
        verdict("3.1", lambda r, tokens, seed: choice(seed).choice(tokens, len(r), replace=False))
        == "right"
    )


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


@pytest.mark.parametrize("told", CONTROLS)
def test_a_wrong_control_is_told(told):
    assert told in verdict("3.1", CONTROLS[told])


def judge(s, chance, low="low", high="high"):
    if s[low] > chance:
        return "above"
    return "below" if s[high] < chance else "cannot tell"


def test_a_verdict_is_right():
    assert verdict("3.2", judge) == "right"


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


@pytest.mark.parametrize("told", VERDICTS)
def test_a_wrong_verdict_is_told(told):
    assert told in verdict("3.2", VERDICTS[told])


def test_a_held_out_setting_is_right():
    assert verdict("3.3", lambda a, b: b[a.mean(1).argmax()].mean()) == "right"
    assert verdict("3.3", lambda a, b: b[a.sum(-1).argmax()].mean()) == "right"


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


@pytest.mark.parametrize("told", HELD_OUT)
def test_a_wrong_held_out_setting_is_told(told):
    assert told in verdict("3.3", HELD_OUT[told])
