"""Chapter 4's checks take the folded solutions, and tell what is wrong with plausible others."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_exercises import solutions

import exercises
from dualmech import stimuli as S


def told(number, answer):
    return exercises.verdict(number, answer)


@pytest.mark.parametrize("number", ["4.1", "4.2", "4.3"])
def test_the_folded_solution_is_right(number):
    code, _, _ = solutions()[number].partition("exercises.check(")
    room = {"S": S, "np": np, "replace": replace, "vlm": SimpleNamespace(geometry=S.MINI)}
    exec(code, room)
    assert told(number, room["solution"]) == "right"


@pytest.mark.parametrize("number", ["4.1", "4.2", "4.3"])
def test_the_stub_is_not_done_yet(number):
    assert told(number, lambda *_: None).startswith("not done yet")


# --- 4.1 -----------------------------------------------------------------------------


def asked(items, direction):
    return S.trial(items, direction, "squares")


def opposite(pair):
    return pair


def clean_image(pair):
    return replace(pair, counterfactual=pair.clean)


def clean_changed(pair):
    other = pair.counterfactual
    return replace(pair, clean=asked(pair.clean.stimulus.items, other.direction))


def mirrored(pair):
    items = pair.counterfactual.stimulus.items[::-1]
    return replace(pair, counterfactual=asked(items, pair.clean.direction))


def old_answer(pair):
    other = replace(pair.counterfactual, question=pair.clean.question)
    return replace(pair, counterfactual=other)


def other_targets(pair):
    other = asked(pair.counterfactual.stimulus.items, pair.clean.direction)
    return replace(pair, counterfactual=other, targets=pair.targets | {"clean": other.answer})


def only_the_trial(pair):
    return asked(pair.counterfactual.stimulus.items, pair.clean.direction)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (opposite, "still asked the opposite question"),
        (clean_image, "shows the clean image"),
        (clean_changed, "the clean trial has changed"),
        (mirrored, "keep its items and their order"),
        (old_answer, "answer is given as"),
        (other_targets, "the targets have changed"),
        (only_the_trial, "it should give a pair"),
    ],
)
def test_wrong_pairs(answer, words):
    assert words in told("4.1", answer)


# --- 4.2 -----------------------------------------------------------------------------


def editing(change):
    """k -> an edit that calls change(resid, source, k)."""

    def answer(k):
        def edit(resid, b):
            change(resid, b.source, k)
            return resid

        return edit

    return answer


def set_from(resid, where, states):
    resid[:, where] = states


wrong_edits = {
    "it writes 5 positions": lambda r, s, k: set_from(r, slice(-k - 1, None), s[:, -k - 1 :]),
    "the very last one belongs": lambda r, s, k: set_from(r, slice(-k, -1), s[:, -k:-1]),
    "nothing has changed": lambda r, s, k: set_from(r, slice(-k, None), r[:, -k:].clone()),
    "of its own place": lambda r, s, k: set_from(r, slice(-k, None), s[:, -k - 1 : -1]),
    "take the last 4 only": lambda r, s, k: set_from(r, slice(None), s),
    "does it use k": lambda r, s, k: set_from(r, slice(-1, None), s[:, -1:]),
}


@pytest.mark.parametrize("words", wrong_edits)
def test_wrong_edits(words):
    assert words in told("4.2", editing(wrong_edits[words]))


def test_an_edit_that_returns_the_copied_part_alone():
    def answer(k):
        return lambda resid, b: b.source[:, -k:]

    assert "return all of resid" in told("4.2", answer)


def test_an_edit_without_its_setting():
    assert "a function of (resid, b)" in told("4.2", lambda k: torch.zeros(k))


# --- 4.3 -----------------------------------------------------------------------------


def share(said, targets):
    return (said == np.asarray(targets)).mean(1)


wrong_summaries = {
    "one value per pair": lambda p, said, t: (p.mean(0), (said == np.asarray(t)).mean(0)),
    "are exchanged": lambda p, said, t: (share(said, t), p.mean(1)),
    "above one half": lambda p, said, t: (p.mean(1), (p > 0.5).mean(1)),
    "all of them with the first": lambda p, said, t: (p.mean(1), (said == t[0]).mean(1)),
    "the effect should be": lambda p, said, t: (p.max(1), share(said, t)),
    "return two things": lambda p, said, t: p.mean(1),
}


@pytest.mark.parametrize("words", wrong_summaries)
def test_wrong_summaries(words):
    assert words in told("4.3", wrong_summaries[words])
