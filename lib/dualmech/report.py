"""What a model can do and which of the paper's phenomena are in it, in one table (chapter 14).

`python -m dualmech report mini` prints it.  Rows (a) to (d) are what a model must do to be
worth studying; rows (e) to (j) look for the paper's findings, each with its control.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

import numpy as np
import torch

from vlms.model import VLM

from . import edits as E
from . import stimuli as S
from .metrics import mean, share
from .probes import fit, item_rows, ordering_directions, probe_data
from .regions import strip
from .scenes import EASY, HARD, scene_trials

PAIRS = 40  # counterfactual pairs per direction
ALPHAS = (0.25, 0.5, 1, 2, 4, 8)
TESTS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def _row(part: str, what: str, where: str, stats: dict, *wanted: str) -> dict:
    """A row of the table; wanted: tests such as "value >= 0.98", all of which must hold."""
    met = all(TESTS[sign](stats[key], float(x)) for key, sign, x in map(str.split, wanted))
    told = {"part": part, "what": what, "where": where, "wanted": " and ".join(wanted)}
    return told | {"met": bool(met) if wanted else None} | stats


def _hits(answers, trials) -> np.ndarray:
    return np.array([a == t.answer for a, t in zip(answers, trials, strict=True)])


def _answers(vlm: VLM, trials) -> list[str]:
    return vlm.answer([t.stimulus.image for t in trials], [t.question for t in trials])


def _by_direction(part: str, what: str, right: np.ndarray, trials, *wanted: str) -> Iterator[dict]:
    """A row of the share of right answers for each direction."""
    asked = np.array([t.direction for t in trials])
    for d in S.DIRECTIONS:
        yield _row(part, what, d, share(right[asked == d]), *wanted)


def accuracy_rows(vlm: VLM, tasks=S.TASKS) -> Iterator[dict]:
    """(a) each task and direction, on combinations never seen in training."""
    for task in tasks:
        trials = S.trials(task, vlm.geometry, heldout=True)
        right = _hits(_answers(vlm, trials), trials)
        yield from _by_direction("a", f"{task} accuracy", right, trials, "value >= 0.98")


def scene_rows(vlm: VLM, n: int = 150) -> Iterator[dict]:
    """(b) easy and (c) hard naturalistic scenes, with what the errors name."""
    hard = ("c", "hard", HARD, "value >= 0.5", "value <= 0.8")
    for part, name, style, *wanted in (("b", "easy", EASY, "value >= 0.95"), hard):
        trials = scene_trials(n, style, seed=7, side=vlm.canvas[0])
        answers = _answers(vlm, trials)
        right = _hits(answers, trials)
        yield from _by_direction(part, f"{name} scenes accuracy", right, trials)
        yield _row(part, f"{name} scenes accuracy", "all", share(right), *wanted)
        wrong = [(a, t) for a, t, ok in zip(answers, trials, right, strict=True) if not ok]
        if wrong and part == "c":
            outer = share([a in (t.candidates[0], t.candidates[2]) for a, t in wrong])
            yield _row("c", "errors that name the opposite item", "all", outer, "value > 0.5")
        some = trials[:: max(1, len(trials) // 200)]
        told = vlm.describe([t.stimulus.image for t in some], ["Name the items."] * len(some))
        named = [i.name in t for s, t in zip(some, told, strict=True) for i in s.stimulus.items]
        yield _row(part, f"{name} scenes, objects named", "all", share(named), "value > 0.9")


def blank_rows(vlm: VLM, tasks=S.TASKS) -> Iterator[dict]:
    """(d) the same questions about an all-white image: no better than guessing."""
    blank = S.draw([], [], vlm.geometry).image
    for task in tasks:
        trials = S.trials(task, vlm.geometry, heldout=True)
        right = _hits(vlm.answer([blank] * len(trials), [t.question for t in trials]), trials)
        chance = 1 / (len(S.task_items(task, vlm.geometry)) - 1)  # any item but the reference
        yield _row("d", f"{task}, blank image", "all", share(right), f"low <= {chance:.3f}")


def last_token_rows(vlm: VLM, pairs: int = PAIRS) -> Iterator[dict]:
    """(e) ordering first, attribute later, at the last token."""
    for d in S.DIRECTIONS:
        some = S.last_token_pairs("squares", d, pairs, geometry=vlm.geometry)
        p = E.sweep(vlm, some, E.last_token).p
        order, attribute = p[:, :, 1], p[:, :, 2]
        peak = int(order.mean(1).argmax())
        over = np.flatnonzero(attribute.mean(1) > 0.8)
        first = int(over[0]) if len(over) else vlm.n_layers
        stats, wanted = mean(order[peak]) | {"slot": peak}, ("value >= 0.6", f"slot < {first}")
        yield _row("e", "ordering target at its peak", d, stats, *wanted)
        stats = mean(attribute[first]) | {"slot": first}
        yield _row("e", "attribute target", d, stats, "value > 0.8")


def swap_rows(vlm: VLM, pairs: int = PAIRS) -> Iterator[dict]:
    """(f) strips, (g) objects, beside them the count-matched random tokens, and two swaps that
    change one thing: what the background says at its place ("layout"), or only the places of the
    tokens ("own image")."""
    for d in S.DIRECTIONS:
        some = S.swap_pairs("squares", d, pairs, geometry=vlm.geometry)
        found = E.sweep(vlm, some, {r: E.swap(r) for r in ("strip", "object")})
        others = ("background", "random", "whole", "layout")
        found |= E.sweep(vlm, some, {r: E.swap(r) for r in others}, [0])
        own = E.sweep(vlm, some, E.swap("strip"), [0], source=[pair.clean for pair in some])
        found["strip, own image"] = own
        rows = [("f", "strip", 0, "value >= 0.8"), ("f", "strip", vlm.n_layers - 1, "value <= 0.1"),
                ("g", "object", 0, "value <= 0.3"), *(("g", region, 0) for region in others),
                ("g", "strip, own image", 0)]  # fmt: skip
        for part, region, slot, *wanted in rows:
            stats = mean(found[region].p[slot, :, 1]) | {"slot": slot}
            yield _row(part, f"flipped by a swap: {region}", d, stats, *wanted)


def probe_rows(vlm: VLM) -> Iterator[dict]:
    """(h) position probes on object tokens, tested on new contents and on the background."""
    for vertical, d, name in ((False, "left", "rows"), (True, "above", "columns")):
        old, new = ([t for t in S.trials("squares", vlm.geometry, heldout) if t.direction == d]
                    for heldout in (False, True))  # fmt: skip
        probe = fit(*item_rows(*probe_data(vlm, old)), steps=1000, lr=1e-2)
        states, owned = probe_data(vlm, new)
        objects, background = [], []  # share right per image, whose tokens are not independent
        for k, own in enumerate(owned):
            read = probe(states[k]).argmax(-1).cpu().numpy()
            objects.append(np.mean([read[own[c]] == c for c in range(3)]))
            bands = [strip(c, vertical, vlm.grid) for c in range(3)]
            bands = [np.setdiff1d(band, np.concatenate(own)) for band in bands]
            background.append(np.concatenate([read[bands[c]] == c for c in range(3)]).mean())
        yield _row("h", "position probe, object tokens", name, mean(objects), "value >= 0.99")
        what = "position probe, background of the strips"
        yield _row("h", what, name, mean(background), "low > 0.334")


def removal_rows(vlm: VLM, pairs: int = PAIRS) -> Iterator[dict]:
    """(i) accuracy without the encoder's ordering, and what then carries the answer."""
    for task in S.TASKS:
        trials = S.trials(task, vlm.geometry, heldout=True)
        answers = E.answers(vlm, trials, visual=E.ordering_removed)
        what, right = f"{task} accuracy, ordering removed", _hits(answers, trials)
        yield from _by_direction("i", what, right, trials, "low > 0.5", "high < 0.98")
        named = [a == t.candidates[1] for a, t in zip(answers, trials, strict=True)]
        yield _row("i", f"{task}, reference named instead", "all", share(named))
    for d in S.DIRECTIONS:
        some = S.swap_pairs("squares", d, pairs, geometry=vlm.geometry)
        removed = E.sweep(vlm, some, E.swap("object"), visual=E.ordering_removed).p[:, :, 1]
        peak = int(removed.mean(1).argmax())
        what, stats = "flipped by object swap, ordering removed", mean(removed[peak])
        yield _row("i", what, d, stats | {"slot": peak}, "low > 0.5", "slot > 0")


def amplification_rows(vlm: VLM, n: int = 100) -> Iterator[dict]:
    """(j) hard scenes: alpha chosen on a tuning split, reported on held-out scenes."""
    tune = scene_trials(n, HARD, seed=11, heldout=False, side=vlm.canvas[0])
    test = scene_trials(2 * n, HARD, seed=12, side=vlm.canvas[0])
    directions = torch.cat(list(ordering_directions(vlm, tune).values()))

    def hits(trials, alphas, null=None):
        edits = {alpha: E.amplify(directions, alpha, null=null) for alpha in alphas}
        found = E.sweep(vlm, trials, edits, [0])
        return {alpha: _hits(found[alpha].said[0], trials) for alpha in alphas}

    tuned = hits(tune, ALPHAS)
    best = max(ALPHAS, key=lambda a: tuned[a].mean())
    base, turned = hits(test, [0.0, best]).values()
    nulls = np.mean([hits(test, [best], null=seed)[best] for seed in range(3)], 0)
    chosen = {"alpha": best}
    yield _row("j", "hard scenes accuracy, untouched", "all", share(base))
    parts = (("wrong before, repaired", turned[~base]), ("right before, broken", ~turned[base]))
    for what, hit in parts:
        if len(hit):
            yield _row("j", what, "all", share(hit) | chosen)
    yield _row("j", "net gain", "all", mean(turned * 1.0 - base) | chosen)
    yield _row("j", "net gain, norm-matched null (3 seeds)", "all", mean(nulls - base) | chosen)
    yield _row("j", "gain over the null", "all", mean(turned - nulls) | chosen, "low > 0")


PARTS = {"a": accuracy_rows, "b": scene_rows, "d": blank_rows, "e": last_token_rows,
         "f": swap_rows, "h": probe_rows, "i": removal_rows, "j": amplification_rows}  # fmt: skip


def table(rows: list[dict]) -> str:
    """The rows as plain text, one a line."""
    lines = [f"{'':3}{'what':42}{'where':12}{'value':>7}  {'95 % interval':16}{'n':>6}  wanted"]
    for r in rows:
        tick = {True: "yes: ", False: "NO: ", None: ""}[r["met"]]
        at = "".join(f"  [{k} {r[k]}]" for k in ("slot", "alpha") if k in r)
        shown = f"{r['value']:7.3f}  [{r['low']:.3f}, {r['high']:.3f}]  {r['n']:6}"
        told = f"{r['part']:3}{r['what'][:41]:42}{r['where']:12}{shown}"
        lines.append(f"{told}  {tick}{r['wanted']}{at}")
    return "\n".join(lines)


def report(vlm: VLM, parts="abdefhij", pairs: int = PAIRS, tasks=S.TASKS) -> list[dict]:
    """All rows of the table for a model; parts: keys of PARTS (b also measures c, f also g);
    pairs: how many per direction in parts e, f and i; tasks: those of parts a and d.

    Raises ValueError for a part that does not exist.
    """
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"unknown parts {sorted(unknown)}; known: {', '.join(PARTS)}")
    more = dict.fromkeys("efi", {"pairs": pairs}) | dict.fromkeys("ad", {"tasks": tasks})
    return [row for part in parts for row in PARTS[part](vlm, **more.get(part, {}))]
