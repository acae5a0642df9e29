"""Parts of chapter 1 to play with, where a kernel runs (each has a still figure beside it)."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float

from dualmech import edits, figures, stimuli
from dualmech.drawing import SQUARE_COLOURS, Item
from vlms import runs
from vlms.machine import in_batches
from vlms.model import VLM

REACHES = (1, 2, 3, 4)  # of the blocks to choose from: 3 to 9 tokens a side


def token_map(vlm: VLM, trial: stimuli.Trial, reach: int = 1) -> Float[np.ndarray, "rows cols"]:
    """How much the answer needs each visual token: the fall of its probability when the token and
    its neighbours up to `reach` cells away are replaced by those of an all-white image, also in
    what DeepStack models add in later layers."""
    rows, cols = vlm.grid
    row, col = np.divmod(np.arange(rows * cols), cols)
    blank = replace(trial, stimulus=stimuli.draw([], [], vlm.geometry))
    (run, at), (white, _) = (edits.started(vlm, [t]) for t in (trial, blank))

    def compute(tokens):
        mask = torch.zeros(len(tokens), run.resid.shape[1], dtype=torch.bool, device=at.device)
        for k, token in enumerate(tokens):
            near = np.maximum(abs(row - row[token]), abs(col - col[token])) <= reach
            mask[k, at[0, near]] = True
        some = runs.mixed(run, white, mask)
        return vlm.probabilities(some.finish(some.resid, 0), [[trial.answer]] * len(tokens))[:, 0]

    before = vlm.probabilities(run.finish(run.resid, 0), [[trial.answer]])[0, 0]
    after = in_batches(list(range(rows * cols)), compute, 24, vlm.name)
    return (before - np.concatenate(after)).reshape(rows, cols)


def scene_figure(vlm: VLM, trial: stimuli.Trial, reach: int = REACHES[-1]):
    """The image of a trial beside its token map, under the question and the model's answer."""
    answer = vlm.answer([trial.stimulus.image], [trial.question])[0]
    need, block = token_map(vlm, trial, reach), f"{2 * reach + 1} x {2 * reach + 1} tokens"
    fig, (left, right) = plt.subplots(1, 2, figsize=(5.8, 3.6))
    left.imshow(trial.stimulus.pixels)
    drawn = right.imshow(need, vmin=-1, vmax=1, cmap="PuOr_r")  # the same for every trial
    figures.bare(left, "image")
    figures.bare(right, f"need of {block}")
    fig.colorbar(drawn, ax=(left, right), orientation="horizontal", fraction=0.06,
                 label="fall of the right answer's probability")  # fmt: skip
    fig.suptitle(f"{trial.question.strip()} … {answer}", fontsize=12)
    shown = figures.Shown(
        fig, f"An image of {', '.join(i.name for i in trial.stimulus.items)}, for which the model "
        f"says {answer}, beside a map of how much the right answer, {trial.answer}, needs each "
        f"block of {block}: at most {need.max():.3f}."
    )  # fmt: skip
    plt.close(fig)
    return shown


def scene_builder(vlm: VLM):
    """Choose colours, direction and size of block; see image, answer and token map."""
    import ipywidgets

    def shown(first, reference, last, direction, block):
        if len({first, reference, last}) < 3:
            return "Choose three different colours."
        items = tuple(Item("square", colour) for colour in (first, reference, last))
        trial = stimuli.trial(items, direction, "squares", vlm.geometry)
        return scene_figure(vlm, trial, block)

    places = {
        place: ipywidgets.Dropdown(options=SQUARE_COLOURS, value=SQUARE_COLOURS[k])
        for k, place in enumerate(("first", "reference", "last"))
    }
    sizes = {f"{2 * reach + 1} x {2 * reach + 1} tokens": reach for reach in REACHES}
    block = ipywidgets.Dropdown(options=sizes, value=REACHES[-1])
    return ipywidgets.interactive(shown, **places, direction=list(stimuli.DIRECTIONS), block=block)
