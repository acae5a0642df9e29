"""Parts of the book to play with, where a kernel runs (each has a still figure beside it)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from . import interventions, stimuli
from .models import VLM


def token_map(vlm: VLM, trial: stimuli.Trial, reach: int = 1) -> Float[np.ndarray, "rows cols"]:
    """How much the answer needs each visual token: the fall of its probability when the token and
    its neighbours up to `reach` cells away are replaced by those of an all-white image."""
    rows, cols = vlm.grid
    x = interventions.inputs(vlm, [trial])
    at = vlm.positions(x)
    clean = vlm.forward(x, slots=[0])
    white = vlm.visual([stimuli.draw([], [], vlm.geometry).image])[0]
    before = vlm.probabilities(clean.logits, [[trial.answer]])[0, 0]
    cell, found = np.arange(rows * cols), []
    row, col = cell // cols, cell % cols
    for some in np.array_split(cell, max(1, len(cell) // 24)):
        resid = clean.resid[0].repeat(len(some), 1, 1)
        for k, token in enumerate(some):
            near = np.maximum(abs(row - row[token]), abs(col - col[token])) <= reach
            resid[k, at[0, near]] = white[near].to(resid)
        after = vlm.probabilities(vlm.suffix(clean, 0, resid), [[trial.answer]] * len(some))
        found.append(before - after[:, 0])
    return np.concatenate(found).reshape(rows, cols)


def scene_figure(vlm: VLM, trial: stimuli.Trial):
    """The image of a trial beside its token map, under the question and the model's answer."""
    import matplotlib.pyplot as plt

    from . import figures

    answer = vlm.answer([trial.stimulus.image], [trial.question])[0]
    fig, (left, right) = plt.subplots(1, 2, figsize=(5.8, 3.6))
    left.imshow(trial.stimulus.pixels)
    need = token_map(vlm, trial)
    most = max(0.01, abs(need).max())  # often far below 1: other tokens know the answer, too
    drawn = right.imshow(need, vmin=-most, vmax=most, cmap="PuOr_r")
    figures.bare(left, "image")
    figures.bare(right, "need of each token")
    fig.colorbar(drawn, ax=(left, right), orientation="horizontal", fraction=0.06,
                 label="fall of the answer's probability")  # fmt: skip
    fig.suptitle(f"{trial.question.strip()} … {answer}", fontsize=12)
    return figures.Shown(
        fig, f"An image of {', '.join(i.name for i in trial.stimulus.items)} beside a map of how "
        f"much the answer, {answer}, needs each visual token: at most {need.max():.3f}."
    )  # fmt: skip


def scene_builder(vlm: VLM):
    """Choose three colours and a direction; see the image, the answer and the token map."""
    import ipywidgets as w
    import matplotlib.pyplot as plt

    names = list(stimuli.SQUARE_COLOURS)
    places = [
        w.Dropdown(options=names, value=names[k], description=what)
        for k, what in enumerate(("first", "reference", "last"))
    ]
    direction = w.Dropdown(options=list(stimuli.DIRECTIONS), description="direction")
    shown = w.HTML()

    def draw(_change=None):
        colours = [p.value for p in places]
        if len(set(colours)) < 3:
            shown.value = "Choose three different colours."
            return
        items = tuple(stimuli.Item("square", c) for c in colours)
        trial = stimuli.trial(items, direction.value, "squares", vlm.geometry)
        figure = scene_figure(vlm, trial)
        plt.close("all")
        shown.value = figure._repr_html_()

    for box in (*places, direction):
        box.observe(draw, "value")
    draw()
    return w.VBox([w.HBox(places), direction, shown])
