"""Checks of the page with the pencil: a run counted four ways, and the line to beat."""

from __future__ import annotations

import numpy as np

from dualmech import stimuli

from . import done, exercise, require

COUNTS = ("any strength", "best strength", "all run again", "chosen elsewhere")


def run():
    """(before, after, tune): twenty questions at three strengths, made so that no two ways of
    counting agree.  Question k is one of `tune` if k < 8."""
    before = np.array([1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0], bool)
    after = np.array([before] * 3)
    after[0, [1, 3, 5]] = True  # best on the tune questions
    after[0, [8, 10, 12]] = False  # and harmful on the others
    after[1, [9, 11, 13, 15, 17]] = True  # repairs most, breaks some
    after[1, [0, 2, 4]] = False
    after[2, [7, 17, 18]] = True  # the best of all, run again
    return before, after, np.arange(20) < 8


def counted(before, after, tune) -> list[float]:
    """The four counts."""
    repaired, net = after & ~before, after.astype(float) - before
    chosen = after[:, tune].mean(1).argmax()
    return [repaired.any(0).mean(), repaired.mean(1).max(), net.mean(1).max(),
            net[chosen][~tune].mean()]  # fmt: skip


@exercise("12.1")
def gains(answer):
    before, after, tune = run()
    given = before.copy(), after.copy(), tune.copy()
    got = np.asarray(done(answer(*given), "gains(before, after, tune)"), float)
    require(
        got.shape == (4,), f"it gave shape {got.shape}: return four numbers, in the order named"
    )
    require(
        all(map(np.array_equal, given, (before, after, tune))),
        "it changes the arrays that it is given: work on copies",
    )
    wanted = counted(before, after, tune)
    net, repaired = after.mean(1) - before.mean(), after & ~before
    chosen, other = after[:, tune].mean(1).argmax(), after[:, ~tune].mean(1).argmax()
    base, left = before.mean(), ~tune
    known = {  # what each count may have been mistaken for
        0: {repaired.any(0).sum() / (~before).sum(): "a share of the failures: a gain in accuracy "
            "is a share of all questions",
            after.any(0).mean(): "an accuracy: take off what was right before"},
        1: {repaired.any(0).mean(): "what any strength repairs: one strength for all questions",
            repaired.mean(1).max() / (~before).mean(): "a share of the failures: a gain in "
            "accuracy is a share of all questions",
            net.max(): "a count with all run again: here a broken answer stays right"},
        2: {repaired.mean(1).max(): "a count of repairs alone: an answer that was right and is now "
            "wrong takes off",
            after.mean(1).max(): "an accuracy: take off what was right before"},
        3: {net[chosen]: "measured on the tune questions, too: count the others alone",
            after[chosen][tune].mean() - before[tune].mean(): "measured on the tune questions: "
            "count the others",
            after[other][left].mean() - before[left].mean(): "the best strength of the scored "
            "questions: choose it on the tune questions",
            after[chosen][left].mean() - base: "compared with the accuracy of all questions: take "
            "off what was right before on the same ones"},
    }  # fmt: skip
    for k, (name, right) in enumerate(zip(COUNTS, wanted, strict=True)):
        for value, told in known[k].items():
            require(
                not np.isclose(got[k], value) or bool(np.isclose(value, right)),
                f"the count {name!r}, {got[k]:.3f}, is {told}",
            )
        require(bool(np.isclose(got[k], right)), f"{name!r} is {right:.3f} here, not {got[k]:.3f}")


@exercise("12.2")
def line(answer):
    pool = stimuli.trials("squares")[::3]
    reference = pool[0].candidates[1]
    trials = [t for t in pool if reference not in t.candidates[::2]][:40]  # the first one, too
    strangers = [pool[0]] + [t for t in pool if t.answer == reference][:20]
    right = [t.answer for t in trials]
    wrong = [next(c for c in t.candidates[::2] if c != t.answer) for t in trials]

    def two(asked, said, references=0):
        """Is the line one half, if the first few answers name their own trial's reference?"""
        said = [t.candidates[1] for t in asked[:references]] + said[references:]
        value = float(done(answer(said, list(asked)), "line(said, trials)"))
        require(
            any(np.isclose(value, one) for one in (1 / 2, 1 / 3)),
            f"it gave {value:.3f}: give the accuracy to beat, 1/2 or 1/3",
        )
        return bool(np.isclose(value, 1 / 2))

    require(
        two(trials, right, 1),
        "one answer in forty names the reference, and that is hardly ever: two answers are left",
    )
    require(
        two(strangers, [t.answer for t in strangers]),
        "another question's reference is no reference here: compare each answer with its own trial",
    )
    require(
        not two(trials, right, 10),
        "one answer in four names the reference: then it is a third candidate",
    )
    require(
        two(trials, wrong, 1),
        "nearly all answers are wrong, and few name the reference: a wrong answer is no sign that "
        "the reference counts",
    )
    require(
        two(trials, ["purple"] * 40, 1),
        "a word that is none of the candidates is not the reference: compare with t.candidates[1]",
    )
    require(
        not two(trials, right, 3),
        "three answers in forty are more than one in twenty: 'hardly ever' ends there",
    )
