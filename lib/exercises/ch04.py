"""Checks of chapter 4: a control, an edit of several positions, two summaries."""

from __future__ import annotations

import numpy as np
import torch

from dualmech import stimuli

from . import choose, done, exercise, require
from .examples import batch, edited


@exercise("4.1")
def same_question(answer):
    for direction in ("left", "below"):
        (pair,) = stimuli.last_token_pairs("squares", direction, 1)
        made = done(answer(pair), "same_question(pair)")
        require(
            isinstance(made, stimuli.Pair),
            f"it gave {type(made).__name__}; it should give a pair: `replace(pair, ...)`",
        )
        require(
            made.clean.stimulus.items == pair.clean.stimulus.items
            and made.clean.question == pair.clean.question,
            "the clean trial has changed: only the counterfactual gets another question",
        )
        other = made.counterfactual
        require(
            other.stimulus.items != pair.clean.stimulus.items,
            "the counterfactual shows the clean image: it keeps its own colours",
        )
        require(
            other.stimulus.items == pair.counterfactual.stimulus.items,
            "the counterfactual's image has changed: keep its items and their order",
        )
        require(
            other.question != pair.counterfactual.question,
            "the counterfactual is still asked the opposite question",
        )
        require(
            other.question == pair.clean.question,
            f"the counterfactual is asked {other.question!r}, and the clean run "
            f"{pair.clean.question!r}",
        )
        right = stimuli.trial(other.stimulus.items, direction, "squares").answer
        require(
            other.answer == right,
            f"the counterfactual's answer is given as {other.answer}; here it is {right}",
        )
        require(made.targets == pair.targets, "the targets have changed: keep those of the pair")


@exercise("4.2")
def last_k(answer):
    resid, b = batch(n=3)
    for k in (4, 1):
        edit = done(answer(k), f"last_k({k})")
        require(
            callable(edit), f"last_k({k}) gave {edit!r}; it should give a function of (resid, b)"
        )
        after, touched = edited(edit, resid, b, "write states of b.source, not of resid")
        first = resid.shape[1] - k
        where = [i - resid.shape[1] for i in touched.any(0).nonzero()[:, 0].tolist()]
        told = f"with k = {k} it writes {len(where)} positions, from {where[0]} to {where[-1]}: "
        require(not touched[:, :first].any(), told + f"take the last {k} only")
        require(where[-1] == -1, told + "the very last one belongs to them")
        require(len(where) == k, told + "does it use k?")
        require(
            torch.equal(after[:, first:], b.source[:, first:]),
            "the states come from other positions of the counterfactual: each takes the state of "
            "its own place",
        )


@exercise("4.3")
def summaries(answer):
    p = np.array([[0.9, 0.3, 0.0], [0.6, 0.4, 0.2]])
    said = np.array([["red", "blue", "red"], ["red", "blue", "gray"]])
    targets = ["red", "blue", "gray"]
    both = done(answer(p, said, targets), "summaries(p, said, targets)")
    require(
        isinstance(both, tuple | list) and len(both) == 2,
        "it should return two things: effect, agreement",
    )
    effect, agreement = (np.asarray(done(one, "one of the two"), float) for one in both)
    for name, one in (("effect", effect), ("agreement", agreement)):
        require(
            one.shape != (3,),
            f"the {name} has one value per pair: average over the pairs, axis 1, not over slots",
        )
        require(one.shape == (2,), f"the {name} has shape {one.shape}, and there are two slots")
    share, over_half = np.array([2 / 3, 1]), (p > 0.5).mean(1)
    require(
        not (np.allclose(effect, share) and np.allclose(agreement, p.mean(1))),
        "effect and agreement are exchanged: the effect is the mean probability",
    )
    require(np.allclose(effect, p.mean(1)), f"the effect should be {p.mean(1)}, it is {effect}")
    require(
        not np.allclose(agreement, over_half),
        "the agreement counts where p is above one half; a word may be the most probable with "
        "less: compare `said` with the targets",
    )
    require(
        not np.allclose(agreement, (said == targets[0]).mean(1)),
        "each pair has its own target: you compared all of them with the first",
    )
    require(np.allclose(agreement, share), f"the agreement should be {share}, it is {agreement}")


choose("4.4", "b", {
    "a": "a narrower interval round the same probability: it does not say where the place came "
         "from, image or question",
    "c": "that tells when the place gives way to the colour, and not what it was made from",
    "d": "that is the other run as a whole: its answer comes, whatever a layer has found",
})  # fmt: skip
