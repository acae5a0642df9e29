"""The parts to play with, driven as a reader's clicks would."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from dualmech import drawing
from dualmech import stimuli as S
from live import widgets

matplotlib.use("Agg")


def test_token_map_by_hand(vlm):
    trial = S.trials("squares")[100]
    found = widgets.token_map(vlm, trial)
    assert found.shape == (12, 12)
    white = vlm.visual([S.draw([], []).image])[0]
    for row, col, near in ((0, 0, [0, 1, 12, 13]), (5, 11, [58, 59, 70, 71, 82, 83])):
        tokens = vlm.visual([trial.stimulus.image])
        x = vlm.prepare([trial.stimulus.image], [trial.question])
        before = vlm.probabilities(vlm.logits(x), [[trial.answer]])
        tokens[0, near] = white[near]

        def write(resid, tokens=tokens):
            resid[:, 1:145] = tokens
            return resid

        after = vlm.probabilities(vlm.logits(x, [(0, write)]), [[trial.answer]])
        assert found[row, col] == pytest.approx((before - after)[0, 0], abs=1e-6)
    assert np.abs(found).max() > 0


def test_the_scene_builder_answers_anew_when_a_menu_changes(vlm):
    box = widgets.scene_builder(vlm)
    first, reference, last, direction, block, _ = box.children
    box.update()  # as when it is displayed

    def answer(colours, asked, reach):
        trial = S.trial(tuple(drawing.Item("square", c) for c in colours), asked, "squares")
        word = vlm.answer([trial.stimulus.image], [trial.question])[0]
        side = 2 * reach + 1
        return (
            f"says {word}, beside a map of how much the right answer, {trial.answer}, needs each "
            f"block of {side} x {side} tokens: at most"
        )

    assert answer(("red", "green", "blue"), "left", 4) in box.result.alt
    block.value = 1
    direction.value = "below"
    last.value = "gray"
    assert answer(("red", "green", "gray"), "below", 1) in box.result.alt
    reference.value = "red"
    assert box.result == "Choose three different colours."
    assert first.value == "red"


def test_the_scene_builder_leaves_a_readers_figures_open(vlm):
    mine, axes = plt.subplots()
    before = plt.get_fignums()
    widgets.scene_builder(vlm).update()
    assert plt.get_fignums() == before and plt.gcf() is mine
    plt.close(mine)


def test_the_colours_of_a_token_map_are_the_same_for_every_scene(vlm, monkeypatch):
    """A map whose largest fall is next to nothing must not look like need."""
    seen = []
    monkeypatch.setattr(plt, "close", seen.append)
    widgets.scene_figure(vlm, S.trials("squares")[100], 1)
    monkeypatch.undo()
    image = seen[0].axes[1].images[0]
    assert image.get_clim() == (-1, 1) and abs(image.get_array()).max() < 1
    plt.close(seen[0])
