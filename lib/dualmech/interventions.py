"""Patch, swap, remove and amplify states of the residual stream, slot by slot.

Every sweep walks up the clean run (and, in step, the run that states are taken from) and continues
it from each edited slot, so that no layer below an edit is run twice and no more than one
residual of a run is kept.  Edits of the last token alone share one pass (`VLM.branched`).
Sources: paper Sec. 3.3 and 5; paper-specific choices are named where they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import stimuli, sweeps
from .machine import in_batches
from .models import VLM, Run
from .regions import swap, tokens_of

VERTICAL = {"left": False, "right": False, "above": True, "below": True}


def inputs(vlm: VLM, trials) -> dict[str, Tensor]:
    """Model inputs of a list of trials."""
    return vlm.prepare([t.stimulus.image for t in trials], [t.question for t in trials])


def patch(
    vlm: VLM, pairs: list, choose: Callable, slots: Iterable[int] | None = None, **how
) -> Float[np.ndarray, "slots n targets"]:
    """Probability of each target answer after an interchange intervention at each slot.

    choose(pair, k) -> (targets, sources): the tokens of pair k to overwrite and those to take
    the states from.  A token is a visual token's raster index, or negative and then counted
    from the end of the prompt (-1 is the last token).  how: see `patches`.  Target order: that of
    `pairs[0].targets`.
    """
    return patches(vlm, pairs, [choose], slots, **how)[0]


def patches(
    vlm: VLM,
    pairs: list,
    chooses: list[Callable],
    slots: Iterable[int] | None = None,
    *,
    visual: Callable | None = None,
    own: bool = False,
    label: str = "patch",
    chunk: int = 50,
) -> Float[np.ndarray, "choices slots n targets"]:
    """Several interchange interventions on the same pairs, which share their runs; see `patch`.

    visual(vlm, trials) -> visual tokens (n, tokens, d_model) to use instead of the encoder's own
    in both runs, e.g. `ordering_removed` (paper Sec. 5.3.3); what DeepStack models add in later
    layers is then left out.  own: take the states from the clean image itself instead of the
    counterfactual.
    """
    slots = _slots(vlm, slots)
    moves = [
        [tuple(np.asarray(tokens) for tokens in choose(p, k)) for choose in chooses]
        for k, p in enumerate(pairs)
    ]
    for target, source in (move for of_pair in moves for move in of_pair):
        if len(target) != len(source):
            raise ValueError(f"{len(target)} tokens to overwrite, but {len(source)} to take from")
        if len(np.unique(target)) != len(target):
            raise ValueError("a token is overwritten twice")
    names = _targets(pairs)

    def compute(part):
        some, chosen = zip(*part, strict=True)
        begun = [_begin(vlm, [p.clean for p in some], visual)]
        if not own:
            begun.append(_begin(vlm, [p.counterfactual for p in some], visual))
        runs, at = zip(*begun, strict=True)
        edits = [_copy(moved, at[0], at[-1]) for moved in zip(*chosen, strict=True)]
        return _sweep(vlm, _words(some, names), slots, runs, edits)

    return sweeps.run(
        vlm, list(zip(pairs, moves, strict=True)), compute, label, (slots, visual, own, names),
        kept=1, chunk=chunk, axis=2,
    )  # fmt: skip


def _copy(moves, at: Tensor, theirs_at: Tensor) -> Callable:
    """An edit for `_sweep` that copies tokens; moves: (targets, sources) of each item of the batch,
    whose visual tokens stand at `at` (n, tokens) in one run and at `theirs_at` in the other."""
    row = torch.tensor([k for k, (target, _) in enumerate(moves) for _ in target])
    target = torch.cat([_places(at[k], to) for k, (to, _) in enumerate(moves)])
    source = torch.cat([_places(theirs_at[k], of) for k, (_, of) in enumerate(moves)])

    def edit(slot, resid, theirs):
        resid[row, target] = theirs[row, source]

    return edit


def _targets(pairs) -> list[str]:
    """Names of the targets, in the first pair's order.  Raises ValueError where pairs differ."""
    for pair in pairs:
        if set(pair.targets) != set(pairs[0].targets):
            raise ValueError(f"pairs with other targets: {[*pairs[0].targets]}, {[*pair.targets]}")
    return list(pairs[0].targets) if pairs else []


def _words(pairs, names: list[str]) -> list[list[str]]:
    """The answer of each target of each pair."""
    return [[pair.targets[name] for name in names] for pair in pairs]


def _slots(vlm: VLM, slots: Iterable[int] | None) -> list[int]:
    """The slots asked for, all of them by default.  Raises ModelError for one out of range, and
    ValueError for none."""
    slots = list(range(vlm.n_slots)) if slots is None else list(slots)
    if not slots:
        raise ValueError("no slots: give at least one, or leave them out for all")
    for slot in slots:
        vlm.check_slot(slot)
    return slots


def _walked(vlm: VLM, slots: list[int], *runs: Run) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """(slot, residual of each run there) for the slots asked for, from below; no layer above."""
    walks = zip(*map(vlm.walk, runs), strict=True)
    for slot, resids in zip(range(max(slots) + 1), walks, strict=False):
        if slot in slots:
            yield slot, resids


def _sweep(
    vlm: VLM, words: list[list[str]], slots: list[int], runs: tuple[Run, ...], edits: list[Callable]
) -> Float[np.ndarray, "edits slots n words"]:
    """Probabilities of each item's words after each edit(slot, copy of the first run's residual,
    residual of the last run) at each slot."""
    found = {}
    for slot, resids in _walked(vlm, slots, *runs):
        found[slot] = []
        for edit in edits:
            resid = resids[0].clone()
            edit(slot, resid, resids[-1])
            found[slot].append(vlm.probabilities(vlm.suffix(runs[0], slot, resid), words))
    return np.stack([found[slot] for slot in slots], 1)


def _begin(
    vlm: VLM, trials: list, visual: Callable | None = None
) -> tuple[Run, Int[Tensor, "n tokens"]]:
    """A run of trials at slot 0, with other visual tokens if asked, and where these are."""
    x = inputs(vlm, trials)
    run, at = vlm.begin(x, encode=visual is None), vlm.positions(x)
    if visual is not None:
        run.between.clear()  # DeepStack's features would bring back what is replaced
        run.resid[0] = replace_visual(at, visual(vlm, trials))(run.resid[0])
    return run, at


def _places(at: Tensor, tokens: np.ndarray) -> Tensor:
    """Sequence positions of tokens given as in `patch`; negative ones stay negative."""
    tokens = torch.from_numpy(tokens).long().to(at.device)
    return torch.where(tokens < 0, tokens, at[tokens.clamp(min=0)])


def last_token_patch(
    vlm: VLM, pairs: list, slots: Iterable[int] | None = None, chunk: int = 50
) -> Float[np.ndarray, "slots n targets"]:
    """Probability of each target answer after the last token's state at a slot is patched.

    The clean run's residual at the last position is overwritten by the counterfactual run's
    (paper Sec. 5.1).  Target order: that of `pairs[0].targets`.
    """
    slots, names = _slots(vlm, slots), _targets(pairs)

    def compute(some):
        clean, other = (
            _begin(vlm, trials)[0]
            for trials in ([p.clean for p in some], [p.counterfactual for p in some])
        )
        states = {slot: r[:, -1].clone() for slot, (r,) in _walked(vlm, slots, other)}
        seq = clean.resid[0].shape[1]
        for slot, resid in enumerate(vlm.walk(vlm.branched(clean, len(slots)))):
            for k, where in enumerate(slots):
                if slot == where:
                    resid[:, seq + k] = states[slot]  # in place: the walk goes on from here
        logits = vlm.head(resid, len(slots))
        words = _words(some, names)
        return np.stack([vlm.probabilities(row, words) for row in logits.unbind(1)])

    return sweeps.run(
        vlm, pairs, compute, "last token", (slots, names), kept=1, chunk=chunk, axis=1
    )


def region_swap(
    vlm: VLM, pairs: list, region: str, slots: Iterable[int] | None = None, **how
) -> Float[np.ndarray, "slots n targets"]:
    """Probability of each target after a region is swapped in from the mirrored image.

    region: see `regions.swap`; how: see `region_swaps`.
    """
    return region_swaps(vlm, pairs, [region], slots, **how)[region]


def region_swaps(
    vlm: VLM,
    pairs: list,
    regions: Iterable[str],
    slots: Iterable[int] | None = None,
    *,
    seed: int = 0,
    **how,
) -> dict[str, Float[np.ndarray, "slots n targets"]]:
    """`region_swap` for several regions, which share the runs of their pairs.

    seed: of the first pair's random region.  how: see `patches`; with own, tokens change places
    and what they know of the layout stays right.
    """
    regions = list(regions)

    def chooser(region):
        def choose(pair, k):
            moved = swap(
                region, pair.clean.stimulus, vlm.grid[0], VERTICAL[pair.clean.direction], seed + k
            )
            return moved.target, moved.source

        return choose

    chooses, label = [chooser(region) for region in regions], f"swap of {', '.join(regions)}"
    found = patches(vlm, pairs, chooses, slots, label=label, **how)
    return dict(zip(regions, found, strict=True))


def steer(
    vlm: VLM,
    pairs: list,
    vectors: Callable,
    slots: Iterable[int] | None = None,
    *,
    label: str = "steer",
    chunk: int = 50,
) -> Float[np.ndarray, "slots n targets"]:
    """Probability of each target answer after vectors are added to tokens at each slot.

    vectors(pair, slot) -> list of (tokens, vector (d_model,)); tokens as in `patch`.  Only
    the clean run of a pair is read.
    """
    slots = _slots(vlm, slots)
    moves = [
        [[(np.asarray(t), torch.as_tensor(v)) for t, v in vectors(pair, s)] for s in slots]
        for pair in pairs
    ]
    names = _targets(pairs)

    def compute(part):
        some, chosen = zip(*part, strict=True)
        clean, at = _begin(vlm, [p.clean for p in some])

        def add(slot, resid, _):
            for k, by_slot in enumerate(chosen):
                for tokens, vector in by_slot[slots.index(slot)]:
                    resid[k, _places(at[k], tokens)] += vector.to(resid)

        return _sweep(vlm, _words(some, names), slots, (clean,), [add])[0]

    return sweeps.run(
        vlm, list(zip(pairs, moves, strict=True)), compute, label, (slots, names),
        kept=1, chunk=chunk, axis=1,
    )  # fmt: skip


def read(
    vlm: VLM, trials: list, tokens: Callable, slots: Iterable[int] | None = None, chunk: int = 50
) -> Float[Tensor, "slots n k d_model"]:
    """Residuals of chosen tokens at each slot, in float32.

    tokens(trial) -> k tokens, as in `patch`.  Raises ValueError without trials, or if they choose
    different numbers of tokens.
    """
    if not trials:
        raise ValueError("no trials to read from")
    slots = _slots(vlm, slots)
    chosen = [np.asarray(tokens(t)) for t in trials]
    if len({len(c) for c in chosen}) != 1:
        raise ValueError("the same number of tokens must be read from each trial")

    def compute(part):
        some, tokens = zip(*part, strict=True)
        run, at = _begin(vlm, list(some))
        where = torch.stack([_places(a, c) for a, c in zip(at, tokens, strict=True)])
        row = torch.arange(len(at), device=at.device)[:, None]
        states = {slot: resid[row, where].float() for slot, (resid,) in _walked(vlm, slots, run)}
        return torch.stack([states[slot] for slot in slots])

    items = list(zip(trials, chosen, strict=True))
    return torch.cat(in_batches(items, compute, min(chunk, sweeps.batch(vlm, 1)), vlm.name), 1)


def answers(vlm: VLM, trials: list, visual: Callable | None = None, chunk: int = 64) -> list[str]:
    """The model's answers, with other visual tokens if asked; visual: see `patches`.

    Raises ModelError if the right answers are not single tokens of the model.
    """
    vlm.check_answers(t.answer for t in trials)

    def compute(some):
        run, _ = _begin(vlm, some, visual)
        return np.array(vlm.decode(vlm.suffix(run, 0, run.resid[0])))

    return sweeps.run(vlm, trials, compute, "answers", (visual,), chunk=chunk).tolist()


def replace_visual(
    at: Tensor, visual: Float[Tensor, "n tokens d_model"]
) -> Callable[[Tensor], Tensor]:
    """An edit that overwrites the visual tokens at sequence positions `at` (n, tokens)."""

    def edit(resid):
        resid = resid.clone()
        resid[torch.arange(len(at), device=at.device)[:, None], at] = visual.to(resid.dtype)
        return resid

    return edit


def ordering_removed(vlm: VLM, trials: list) -> Float[Tensor, "n tokens d_model"]:
    """Visual tokens whose encoder-made ordering is gone (paper Sec. 5.3.3; Table 5).

    Each item's tokens come from an image of that item alone in the centre of a white canvas;
    every other token from an all-white image, at the same place of the grid.  Raises
    ValueError if Squares and other tasks are mixed.
    """
    grid = vlm.grid[0]
    box = trials[0].stimulus.boxes[0]
    geometry = stimuli.Geometry(grid, vlm.px, int(box[2] - box[0]) // vlm.px, 0)
    centre = geometry.cells(False, 1)
    full = trials[0].task == "squares"
    if any((t.task == "squares") != full for t in trials):
        raise ValueError("mix of Squares and other tasks: remove the ordering task by task")
    items = sorted({item for t in trials for item in t.stimulus.items}, key=lambda i: i.name)
    alone = [stimuli.draw([item], centre, geometry, full=full) for item in items]
    white = stimuli.draw([], [], geometry)
    states = vlm.visual([s.image for s in [white, *alone]])
    middle = torch.from_numpy(tokens_of(alone[0].boxes[0], vlm.px, grid))
    out = states[:1].repeat(len(trials), 1, 1)
    for k, t in enumerate(trials):
        for item, box in zip(t.stimulus.items, t.stimulus.boxes, strict=True):
            out[k, tokens_of(box, vlm.px, grid)] = states[1 + items.index(item), middle]
    return out


def amplified(
    states: Float[Tensor, "*batch d_model"],
    directions: Float[Tensor, "k d_model"],
    alpha: float,
    how: str = "projection",
) -> Float[Tensor, "*batch d_model"]:
    """States with a signal turned up by alpha.

    "projection": x + alpha * sum_k (<x, w_k> / |w_k|^2) w_k, as in the released code
    (coco_amplification/src/common.py); "constant": x + alpha * sum_k w_k, as the text reads.
    """
    w = directions.to(states)
    if how == "projection":
        size = (w * w).sum(-1) + 1e-8
        return states + alpha * ((states @ w.T) / size) @ w
    if how == "constant":
        return states + alpha * w.sum(0)
    raise ValueError(f"how is 'projection' or 'constant', not {how!r}")


def matched_null(
    states: Float[Tensor, "*batch d_model"], changed: Float[Tensor, "*batch d_model"], seed: int = 0
) -> Float[Tensor, "*batch d_model"]:
    """States moved along one random direction, by as much (in norm) as `changed` moved each.

    The sign of each token's move is that of its own projection on the direction, as it is in
    projection scaling.
    """
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(states.shape[-1], generator=generator).to(states)
    w = w / w.norm()
    size = (changed - states).norm(dim=-1, keepdim=True)
    return states + size * (states @ w).sign()[..., None] * w


def amplified_answers(
    vlm: VLM,
    trials: list,
    directions: Float[Tensor, "k d_model"],
    alphas: Iterable[float],
    how: str = "projection",
    null: int | None = None,
    where: str = "all",
    chunk: int = 64,
) -> dict[float, list[str]]:
    """Answers after visual tokens entering the LM are amplified, for each alpha.

    null: the seed of a norm-matched random direction to use instead (see `matched_null`).
    where: "all" visual tokens, "object" for those that items cover, "background" for the rest.
    Raises ValueError, before any run, for an unknown how or where, or an item that covers no token.
    """
    alphas = list(alphas)
    amplified(directions, directions, 0, how)  # raises for an unknown `how`
    if where not in ("all", "object", "background"):
        raise ValueError(f"where is 'all', 'object' or 'background', not {where!r}")

    def touched(t) -> np.ndarray:
        cells = np.arange(vlm.grid[0] * vlm.grid[1])
        if where == "all":  # needs no boxes: a photograph may have none
            return np.ones(len(cells), bool)
        if not len(t.stimulus.boxes):
            raise ValueError(
                f"where={where!r} needs boxes, and the image of {t.question!r} has none"
            )
        owned = np.concatenate([tokens_of(b, vlm.px, vlm.grid[1]) for b in t.stimulus.boxes])
        return np.isin(cells, owned) == (where == "object")

    def compute(part):
        some, masks = zip(*part, strict=True)
        clean, at = _begin(vlm, list(some))
        row = torch.arange(len(at), device=at.device)[:, None]
        states = clean.resid[0][row, at]
        mask = torch.from_numpy(np.stack(masks))[..., None].to(at.device)
        found = []
        for alpha in alphas:
            new = amplified(states, directions, alpha, how)
            if null is not None:
                new = matched_null(states, new, null)
            resid = replace_visual(at, torch.where(mask, new, states))(clean.resid[0])
            found.append(vlm.decode(vlm.suffix(clean, 0, resid)))
        return np.array(found)

    settings = (directions, alphas, how, null, where)
    vlm.check_answers(t.answer for t in trials)
    items = [(t, touched(t)) for t in trials]
    found = sweeps.run(vlm, items, compute, "amplify", settings, kept=1, chunk=chunk, axis=1)
    return dict(zip(alphas, found.tolist(), strict=True))
