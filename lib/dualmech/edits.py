"""`sweep`: a model with its residual stream edited, slot by slot; and edits for it (3 to 13).

An edit is a function `edit(resid, b) -> resid` on the residual (n, seq, d_model) of one batch; `b`,
a `Batch`, holds what it may need.  Each of those below takes its settings first: `swap("strip")` is
an edit.  Sources: paper Sec. 3.3 and 5; paper-specific choices are named where they are made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial, wraps

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlms import runs
from vlms.machine import batch_size, in_batches
from vlms.model import VLM

from . import regions, stimuli, store
from .probes import amplified, matched_null

VERTICAL = {"left": False, "right": False, "above": True, "below": True}
Visual = Callable[[VLM, list], Tensor]  # (vlm, trials) -> visual tokens (n, tokens, d_model)


@dataclass
class Batch:
    """What an edit may need of the batch that it edits.

    trials: its questions; index: their numbers in the whole sweep; at: where the visual tokens
    stand, in raster order; source: the residual that states are taken from, at the same slot;
    source_at: where its visual tokens stand.  These two are copies of the edit's own, made by
    lent(slot) when they are read; a sweep without another run then raises ValueError.
    """

    vlm: VLM
    trials: list[stimuli.Trial]
    index: list[int]
    at: Int[Tensor, "n tokens"]
    slot: int
    lent: Callable[[int], tuple[Tensor, Tensor]]

    @cached_property
    def source(self) -> Float[Tensor, "n seq d_model"]:
        return self.lent(self.slot)[0].clone()

    @cached_property
    def source_at(self) -> Int[Tensor, "n tokens"]:
        return self.lent(self.slot)[1].clone()


Edit = Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True)
class Sweep:
    """What came of an edit: p, the probability of each target; said, the most probable word."""

    p: Float[np.ndarray, "slots n targets"]
    said: np.ndarray  # (slots, n) of str


def sweep(
    vlm: VLM, trials: list, edits: Edit | dict[object, Edit], slots: Iterable[int] | None = None, *,
    visual: Visual | None = None, source: list[stimuli.Trial] | None = None, key: str | None = None,
) -> Sweep | dict[object, Sweep]:  # fmt: skip
    """Edit the residual stream of each trial at each slot in turn, and go on from there.

    trials: `Trial`s, whose target is the right answer, or `Pair`s, whose clean trial is edited,
    with targets of their own, in the first pair's order.  edits: one, or several by name, which
    share the layers below them.  slots: all, if not given.  visual: visual tokens for both runs
    instead of the encoder's own, e.g. `ordering_removed` (paper Sec. 5.3.3); what DeepStack models
    add in later layers is then left out.  source: whose states are read, else counterfactuals.

    Results are kept by content (see `store`).  That of a function in a notebook cannot be told, be
    it an edit or `visual`: it is kept under a key of yours, changed with the function, or not.

    Raises ModelError for a slot out of range or a target that is not one token; ValueError where
    targets of pairs differ, an edit reads another run that is not there, or nothing is to do.
    """
    named, slots = edits if isinstance(edits, dict) else {"sweep": edits}, vlm.check_slots(slots)
    if not (len(trials) and named and slots):
        raise ValueError("nothing to measure: give at least one trial, one edit and one slot")
    if paired := isinstance(trials[0], stimuli.Pair):
        clean, targets = [pair.clean for pair in trials], _targets(trials)
        source = [pair.counterfactual for pair in trials] if source is None else source
    else:
        clean, targets = trials, [[t.answer] for t in trials]
    vlm.check_answers(word for words in targets for word in words)

    def measure(items):
        index, some, theirs, words = map(list, zip(*items, strict=True))
        (run, at), logits = started(vlm, some, visual), {}

        @cache
        def other():  # begun when it is first asked for
            if source is None:
                raise ValueError("no other run to take states from: give pairs, or `source=`")
            return started(vlm, theirs, visual)

        steps = (step for begin in [other] for step in begin()[0].walk(slots))
        lent = lru_cache(1)(lambda slot: next((r, other()[1]) for s, r in steps if s == slot))
        for name in [name for name, edit in named.items() if edit is last_token and len(slots) > 1]:
            logits[name] = _ends(run, other()[0], slots)
        rest = {name: edit for name, edit in named.items() if name not in logits}
        for slot, resid in run.walk(slots) if rest else ():
            for name, edit in rest.items():
                edited = edit(resid.clone(), Batch(vlm, some, index, at.clone(), slot, lent))
                if getattr(edited, "shape", None) != resid.shape:
                    raise ValueError(f"{name!r} gave no residual {tuple(resid.shape)}: return it")
                logits.setdefault(name, {})[slot] = run.finish(edited, slot)
        made = [[logits[name][slot] for slot in slots] for name in named]
        return {
            "p": np.array([[vlm.probabilities(x, words) for x in one] for one in made]),
            "said": np.array([[vlm.decode(x) for x in one] for one in made]),
        }

    def compute(items):
        return store.joined(in_batches(items, measure, batch_size(vlm), vlm.name))

    items = list(zip(range(len(clean)), clean, source or clean, targets, strict=True))
    told = (key, getattr(visual, "__qualname__", None)) if key else (named, visual)
    settings = (told, list(named), slots, paired, source is None)
    label = ", ".join(map(str, named)) if len(named) < 4 else f"{len(named)} edits"
    found = store.swept(vlm, items, compute, label, settings)
    swept = {name: Sweep(found["p"][k], found["said"][k]) for k, name in enumerate(named)}
    return swept if isinstance(edits, dict) else swept["sweep"]


def _targets(pairs: list) -> list[list[str]]:
    """The target answers of each pair, in the first pair's order, or ValueError if they differ."""
    names = list(pairs[0].targets)
    for pair in pairs:
        if set(pair.targets) != set(names):
            raise ValueError(f"pairs with other targets: {names}, {list(pair.targets)}")
    return [[pair.targets[name] for name in names] for pair in pairs]


def _ends(run: runs.Run, other: runs.Run, slots: list[int]) -> dict[int, Tensor]:
    """Logits after `last_token` at each slot, from one pass with a last position for each."""
    seq, fan = run.resid.shape[1], runs.fan_out(run, len(slots))
    for (slot, resid), (_, source) in zip(fan.walk(), other.walk(), strict=True):
        for k in [k for k, where in enumerate(slots) if where == slot]:
            resid[:, seq + k] = source[:, -1]  # in place: the walk goes on from here
    logits = fan.finish(resid, slot).view(len(resid), len(slots), -1)
    return dict(zip(slots, logits.unbind(1), strict=True))


def started(vlm: VLM, trials: list, visual: Visual | None = None) -> tuple[runs.Run, Tensor]:
    """A run of trials at slot 0, with other visual tokens if asked, and where these are."""
    x = inputs(vlm, trials)
    return vlm.start(x, None if visual is None else visual(vlm, trials)), vlm.positions(x)


def inputs(vlm: VLM, trials: list) -> dict[str, Tensor]:
    """Model inputs of a list of trials."""
    return vlm.prepare([t.stimulus.image for t in trials], [t.question for t in trials])


# --- edits ---------------------------------------------------------------------------


def setter(edit: Callable) -> Callable:
    """`edit(resid, b, *settings)` as a function of its settings alone, which gives an edit.

    That is a partial of the library's own function, so that a sweep's content can be told.
    """
    signature = inspect.signature(edit)
    signature = signature.replace(parameters=list(signature.parameters.values())[2:])

    @wraps(edit)
    def settings(*values, **more) -> Edit:
        return partial(edit, **signature.bind(*values, **more).arguments)

    settings.__signature__ = signature
    return settings


def nothing(resid, b):
    """The run as it is."""
    return resid


def last_token(resid, b):
    """Write the last token's state from the other run (paper Sec. 5.1)."""
    resid[:, -1] = b.source[:, -1]
    return resid


@setter
def swap(resid, b, region: str, seed: int = 0):
    """Write a region from the mirror image, crosswise; see `regions.swap` (paper Sec. 5.3).

    seed: of the first trial's random region.
    """
    for k, t in enumerate(b.trials):
        vertical = VERTICAL[t.direction]
        move = regions.swap(region, t.stimulus, b.vlm.grid, vertical, seed + b.index[k])
        resid[k, b.at[k, move.target]] = b.source[k, b.source_at[k, move.source]]
    return resid


@setter
def copy(resid, b, tokens, taken=None):
    """Write tokens from the other run.

    tokens, and those that are taken for them (the same, if not given): raster indices of visual
    tokens, or negative numbers, counted from the end of the prompt; for all trials, or a list with
    those of each.  Raises ValueError for unequal numbers or a token written twice.
    """
    for k, i in enumerate(b.index):
        move = regions.Swap(_own(tokens, i), _own(tokens if taken is None else taken, i))
        resid[k, places(b.at[k], move.target)] = b.source[k, places(b.source_at[k], move.source)]
    return resid


@setter
def steer(resid, b, tokens, vectors: Tensor):
    """Add a vector to tokens, given as in `copy`.

    vectors: (d_model,), one for each trial (n, d_model), or each slot, too (n_slots, n, d_model).
    """
    vectors = vectors[b.slot] if vectors.ndim == 3 else vectors
    for k, i in enumerate(b.index):
        vector = vectors[i] if vectors.ndim == 2 else vectors
        resid[k, places(b.at[k], _own(tokens, i))] += vector.to(resid)
    return resid


@setter
def amplify(resid, b, directions, alpha, how="projection", where="all", null=None):
    """Turn a signal up on visual tokens; see `probes.amplified` (paper Sec. 5.4).

    where: "all" of them, those under an "object", or the "background"; null: the seed of a random
    direction to move by as much along instead, see `probes.matched_null`.
    """
    row = torch.arange(len(b.at), device=b.at.device)[:, None]
    states = resid[row, b.at]
    louder = amplified(states, directions, alpha, how)
    louder = louder if null is None else matched_null(states, louder, null)
    touched = [regions.cells(where, t.stimulus, b.vlm.grid) for t in b.trials]
    touched = torch.from_numpy(np.stack(touched)).to(b.at.device)[..., None]
    resid[row, b.at] = torch.where(touched, louder, states)
    return resid


@setter
def both(resid, b, first: Edit, second: Edit):
    """One edit, then another."""
    return second(first(resid, b), b)


def _own(tokens, i: int) -> np.ndarray:
    """The tokens of trial i, where each has its own."""
    return np.asarray(tokens[i] if np.ndim(tokens[0]) else tokens)


def places(at: Int[Tensor, " tokens"], tokens: np.ndarray) -> Int[Tensor, " k"]:
    """Sequence positions of tokens given as in `copy`; negative ones stay negative."""
    tokens = torch.from_numpy(tokens).long().to(at.device)
    return torch.where(tokens < 0, tokens, at[tokens.clamp(min=0)])


# --- visual tokens, answers, states -----------------------------------------------------


def ordering_removed(vlm: VLM, trials: list) -> Float[Tensor, "n tokens d_model"]:
    """Visual tokens whose encoder-made ordering is gone (paper Sec. 5.3.3; Table 5).

    Each item's tokens come from an image of that item alone in the centre of a white canvas;
    every other token from an all-white image, at the same place of the grid.  Raises
    ValueError if Squares and other tasks are mixed.
    """
    if len({t.task == "squares" for t in trials}) > 1:
        raise ValueError("mix of Squares and other tasks: remove the ordering task by task")
    full, box = trials[0].task == "squares", trials[0].stimulus.boxes[0]
    size = int(box[2] - box[0]) // vlm.px
    geometry = stimuli.Geometry(max(vlm.grid), vlm.px, size, 0)
    middle, paper = [[(side - size) // 2 for side in vlm.grid]], np.full((*vlm.canvas, 3), 255.0)
    items = sorted({item for t in trials for item in t.stimulus.items}, key=lambda i: i.name)
    alone = [stimuli.draw([item], middle, geometry, full, paper) for item in items]
    white, *states = vlm.visual([paper.astype(np.uint8), *(s.image for s in alone)])
    (centre,) = regions.owned(alone[0], vlm.grid)
    out = white.repeat(len(trials), 1, 1)
    for k, t in enumerate(trials):
        owned = regions.owned(t.stimulus, vlm.grid)
        for item, own in zip(t.stimulus.items, owned, strict=True):
            out[k, own] = states[items.index(item)][centre]
    return out


def answers(vlm: VLM, trials: list, visual: Visual | None = None) -> list[str]:
    """The model's answers, with other visual tokens if asked; see `sweep`."""
    return sweep(vlm, trials, nothing, [0], visual=visual).said[0].tolist()


def read(
    vlm: VLM, trials: list, tokens: Callable, slots: Iterable[int] | None = None,
    visual: Visual | None = None,
) -> Float[Tensor, "slots n k d_model"]:  # fmt: skip
    """Residuals of chosen tokens at each slot, in float32.

    tokens(trial) -> k tokens, as in `copy`; visual: see `sweep`.  Raises ValueError without trials,
    or if they choose different numbers of tokens.
    """
    slots, chosen = vlm.check_slots(slots), [np.asarray(tokens(t)) for t in trials]
    if len({len(some) for some in chosen}) != 1:
        raise ValueError("read the same number of tokens from each trial, and from at least one")

    def compute(items):
        some, tokens = map(list, zip(*items, strict=True))
        run, at = started(vlm, some, visual)
        where = torch.stack([places(a, c) for a, c in zip(at, tokens, strict=True)])
        row = torch.arange(len(at), device=at.device)[:, None]
        states = {slot: resid[row, where].float() for slot, resid in run.walk(slots)}
        return torch.stack([states[slot] for slot in slots])

    items = list(zip(trials, chosen, strict=True))
    return torch.cat(in_batches(items, compute, batch_size(vlm), vlm.name), 1)
