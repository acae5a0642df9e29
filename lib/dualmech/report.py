"""What a model can do and which of the paper's phenomena are in it: one table, one command.

`python -m dualmech report mini` prints it.  Rows (a) to (d) are what a model must do to be
worth studying; rows (e) to (j) look for the paper's findings, each with its control.
"""

from __future__ import annotations

import numpy as np
import torch

from . import interventions as I
from . import probes
from . import stimuli as S
from .metrics import mean, share
from .models import VLM
from .regions import strip, tokens_of

PAIRS = 40  # counterfactual pairs per direction


def _row(part, what, where, stats, wanted=None, met=None) -> dict:
    return {"part": part, "what": what, "where": where, "wanted": wanted, "met": met} | stats


def _right(vlm: VLM, trials, images=None) -> tuple[list[str], np.ndarray]:
    images = [t.stimulus.image for t in trials] if images is None else images
    answers = vlm.answer(images, [t.question for t in trials])
    return answers, np.array([a == t.answer for a, t in zip(answers, trials, strict=True)])


def _of(trials, direction):
    return np.array([t.direction == direction for t in trials])


def accuracy_rows(vlm: VLM) -> list[dict]:
    """(a) each task and direction, on combinations never seen in training."""
    rows = []
    for task in S.TASKS:
        trials = S.trials(task, heldout=True)
        _, right = _right(vlm, trials)
        for d in S.DIRECTIONS:
            stats = share(right[_of(trials, d)])
            rows.append(_row("a", f"{task} accuracy", d, stats, ">= 0.98", stats["value"] >= 0.98))
    return rows


def scene_rows(vlm: VLM, n: int = 150) -> list[dict]:
    """(b) easy and (c) hard naturalistic scenes, with what the errors name."""
    rows = []
    for part, name, style in (("b", "easy", S.EASY), ("c", "hard", S.HARD)):
        trials = S.scene_trials(n, style, seed=7)
        answers, right = _right(vlm, trials)
        for d in S.DIRECTIONS:
            rows.append(_row(part, f"{name} scenes accuracy", d, share(right[_of(trials, d)])))
        stats = share(right)
        low, high = (0.95, 1.0) if part == "b" else (0.5, 0.8)
        rows.append(_row(part, f"{name} scenes accuracy", "all", stats, f"{low} to {high}",
                         low <= stats["value"] <= high))  # fmt: skip
        if part == "c":
            wrong = [k for k, ok in enumerate(right) if not ok]
            outer = [answers[k] in (trials[k].candidates[0], trials[k].candidates[2]) for k in wrong]
            stats = share(outer)
            rows.append(_row("c", "errors that name the opposite item", "all", stats, "> 0.5",
                             stats["value"] > 0.5))  # fmt: skip
        some = trials[:: max(1, len(trials) // 200)]
        told = vlm.describe([t.stimulus.image for t in some], ["Name the items."] * len(some))
        named = [i.name in t for s, t in zip(some, told, strict=True) for i in s.stimulus.items]
        stats = share(named)
        rows.append(_row(part, f"{name} scenes, objects named", "all", stats, "> 0.9",
                         stats["value"] > 0.9))  # fmt: skip
    return rows


def blank_rows(vlm: VLM) -> list[dict]:
    """(d) the same questions about an all-white image: no better than guessing."""
    rows = []
    blank = S.draw([], []).image
    for task in S.TASKS:
        trials = S.trials(task, heldout=True)
        _, right = _right(vlm, trials, [blank] * len(trials))
        chance = 1 / (len(S.task_items(task)) - 1)  # any item but the reference
        stats = share(right)
        rows.append(_row("d", f"{task}, blank image", "all", stats,
                         f"interval reaches {chance:.2f} or below", stats["low"] <= chance))  # fmt: skip
    return rows


def last_token_rows(vlm: VLM, task: str = "squares") -> list[dict]:
    """(e) ordering first, attribute later, at the last token."""
    rows = []
    for d in S.DIRECTIONS:
        pairs = S.last_token_pairs(task, d, PAIRS, heldout=None)
        p = I.last_token_patch(vlm, pairs)
        order, attribute = p[:, :, 1], p[:, :, 2]
        peak = int(order.mean(1).argmax())
        over = np.flatnonzero(attribute.mean(1) > 0.8)
        first = int(over[0]) if len(over) else None
        met = order[peak].mean() >= 0.6 and first is not None and peak < first
        rows.append(_row("e", f"ordering target, peak at slot {peak}", d, mean(order[peak]),
                         ">= 0.6, before the attribute", bool(met)))  # fmt: skip
        at = vlm.n_layers if first is None else first
        rows.append(_row("e", f"attribute target, slot {at}", d, mean(attribute[at]),
                         "> 0.8, after the ordering", bool(met)))  # fmt: skip
    return rows


def swap_rows(vlm: VLM, task: str = "squares") -> list[dict]:
    """(f) strips, (g) objects, and the count-matched random tokens beside them."""
    rows = []
    for d in S.DIRECTIONS:
        pairs = S.swap_pairs(task, d, PAIRS, heldout=None)
        flipped = {r: I.region_swap(vlm, pairs, r)[:, :, 1] for r in ("strip", "object")}
        for r in ("background", "random", "whole"):
            flipped[r] = I.region_swap(vlm, pairs, r, slots=[0])[:, :, 1]
        stats = mean(flipped["strip"][0])
        rows.append(_row("f", "strip swap, flipped, slot 0", d, stats, ">= 0.8",
                         stats["value"] >= 0.8))  # fmt: skip
        stats = mean(flipped["strip"][-2])
        rows.append(_row("f", f"strip swap, flipped, slot {vlm.n_layers - 1}", d, stats, "<= 0.1",
                         stats["value"] <= 0.1))  # fmt: skip
        stats = mean(flipped["object"][0])
        rows.append(_row("g", "object swap, flipped, slot 0", d, stats, "<= 0.3",
                         stats["value"] <= 0.3))  # fmt: skip
        for r in ("background", "random", "whole"):
            rows.append(_row("g", f"{r} swap, flipped, slot 0", d, mean(flipped[r][0])))
    return rows


def probe_data(vlm: VLM, trials):
    """States (n, tokens, d_model), and per trial and place the item's tokens."""
    states = vlm.visual([t.stimulus.image for t in trials])
    owned = [[tokens_of(b, vlm.px, vlm.grid[1]) for b in t.stimulus.boxes] for t in trials]
    return states, owned


def _item_rows(states, owned):
    x = torch.cat([states[k, t] for k, places in enumerate(owned) for t in places])
    y = [c for places in owned for c, t in enumerate(places) for _ in t]
    return x, torch.tensor(y, device=states.device)


def probe_rows(vlm: VLM) -> list[dict]:
    """(h) position probes on object tokens, tested on new contents and on the background."""
    rows = []
    for vertical, d in ((False, "left"), (True, "above")):
        name = "rows" if vertical else "columns"
        old = [t for t in S.trials("squares", heldout=False) if t.direction == d]
        new = [t for t in S.trials("squares", heldout=True) if t.direction == d]
        probe = probes.fit(*_item_rows(*probe_data(vlm, old)), steps=1000, lr=1e-2)
        states, owned = probe_data(vlm, new)
        x, y = _item_rows(states, owned)
        right = (probe(x).argmax(-1) == y).cpu().numpy()
        stats = share(right)
        rows.append(_row("h", "position probe, object tokens", name, stats, ">= 0.99",
                         stats["value"] >= 0.99))  # fmt: skip
        hits = []
        for k in range(len(states)):
            covered = np.concatenate(owned[k])
            for c in range(3):
                band = np.setdiff1d(strip(c, vertical, vlm.grid[0]), covered)
                hits += (probe(states[k, band]).argmax(-1) == c).tolist()
        rows.append(_row("h", "position probe, background of the bands", name, share(hits),
                         "> 1/3", share(hits)["low"] > 1 / 3))  # fmt: skip
    return rows


def removal_rows(vlm: VLM) -> list[dict]:
    """(i) accuracy without the encoder's ordering, and what then carries the answer."""
    rows = []
    for task in S.TASKS:
        trials = S.trials(task, heldout=True)
        answers, named = [], []
        for i in range(0, len(trials), 64):
            some = trials[i : i + 64]
            x = vlm.prepare([t.stimulus.image for t in some], [t.question for t in some])
            visual = I.ordering_removed(vlm, some)
            edit = (0, I.replace_visual(vlm.positions(x), visual))
            answers += vlm.decode(vlm.forward(x, [edit]).logits)
        right = np.array([a == t.answer for a, t in zip(answers, trials, strict=True)])
        named = share([a == t.candidates[1] for a, t in zip(answers, trials, strict=True)])
        for d in S.DIRECTIONS:
            stats = share(right[_of(trials, d)])
            rows.append(_row("i", f"{task} accuracy, ordering removed", d, stats,
                             "below intact, interval above 1/2",
                             0.5 < stats["low"] and stats["high"] < 0.98))  # fmt: skip
        rows.append(_row("i", f"{task}, reference named, ordering removed", "all", named))
    for d in S.DIRECTIONS:
        pairs = S.swap_pairs("squares", d, PAIRS, heldout=None)
        removed = lambda trials: I.ordering_removed(vlm, trials)  # noqa: E731
        p = I.region_swap(vlm, pairs, "object", visual=removed)[:, :, 1]
        peak = int(p.mean(1).argmax())
        stats = mean(p[peak])
        rows.append(_row("i", f"object swap, ordering removed, peak at slot {peak}", d, stats,
                         "> 0.5 above slot 0", stats["low"] > 0.5 and peak > 0))  # fmt: skip
    return rows


def ordering_directions(vlm: VLM, trials) -> dict[str, torch.Tensor]:
    """Probe directions (2, d_model) per axis, from the outer items of trials answered right.

    Each item is one example: the mean of its tokens, labelled first or last along the axis
    (the released coco_amplification recipe).
    """
    _, right = _right(vlm, trials)
    out = {}
    for axis, (low, high) in {"horizontal": ("left", "right"), "vertical": ("above", "below")}.items():
        some = [t for t, ok in zip(trials, right, strict=True) if ok and t.direction in (low, high)]
        states, owned = probe_data(vlm, some)
        x = torch.stack([states[k, t].mean(0) for k, p in enumerate(owned) for t in (p[0], p[2])])
        y = torch.tensor([0, 1] * len(some), device=x.device)
        out[axis] = probes.fit(x, y, classes=2).weights.T
    return out


def amplification_rows(vlm: VLM, n: int = 150, alphas=(0.25, 0.5, 1, 2, 4, 8)) -> list[dict]:
    """(j) hard scenes: alpha chosen on a tuning split, reported on held-out scenes."""
    tune = S.scene_trials(n, S.HARD, seed=11, heldout=False)
    test = S.scene_trials(2 * n, S.HARD, seed=12)
    directions = torch.cat(list(ordering_directions(vlm, tune).values()))

    def hits(trials, alpha, null=None):
        got = I.amplified_answers(vlm, trials, directions, [alpha], null=null)[alpha]
        return np.array([a == t.answer for a, t in zip(got, trials, strict=True)])

    best = max(alphas, key=lambda a: hits(tune, a).mean())
    base, turned = hits(test, 0.0), hits(test, best)
    nulls = [hits(test, best, null=k) for k in range(3)]
    gain = mean(turned.astype(float) - base)
    null = mean(np.mean(nulls, 0) - base)
    better = mean(turned - np.mean(nulls, 0))
    return [
        _row("j", "hard scenes accuracy, untouched", "all", share(base)),
        _row("j", f"repaired at alpha {best}", "all", share(turned[~base])),
        _row("j", f"broken at alpha {best}", "all", share(~turned[base])),
        _row("j", "net gain", "all", gain),
        _row("j", "net gain of the norm-matched null (3 seeds)", "all", null),
        _row("j", "gain over the null", "all", better, "> 0", better["low"] > 0),
    ]


PARTS = {
    "a": accuracy_rows, "b": scene_rows, "d": blank_rows, "e": last_token_rows,
    "f": swap_rows, "h": probe_rows, "i": removal_rows, "j": amplification_rows,
}  # fmt: skip


def table(rows: list[dict]) -> str:
    """The rows as plain text, one a line."""
    lines = [f"{'':3}{'what':46}{'where':12}{'value':>7}  {'95 % interval':16}{'n':>6}  wanted"]
    for r in rows:
        tick = {True: "yes", False: "NO", None: ""}[r["met"]]
        lines.append(
            f"{r['part']:3}{r['what'][:45]:46}{r['where']:12}{r['value']:7.3f}  "
            f"[{r['low']:.3f}, {r['high']:.3f}]  {r['n']:6}  {r['wanted'] or '':32} {tick}"
        )
    return "\n".join(lines)


def report(vlm: VLM, parts: str = "abdefhij") -> list[dict]:
    """All rows of the table for a model; parts: which of PARTS to measure."""
    rows = []
    for part in parts:
        if part in PARTS:
            rows += PARTS[part](vlm)
    return rows
