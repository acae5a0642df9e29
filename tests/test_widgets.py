"""The parts to play with, driven as a reader's clicks would."""

import matplotlib
import numpy as np
import pytest

from dualmech import stimuli as S
from dualmech import widgets

matplotlib.use("Agg")


def test_token_map_by_hand(vlm):
    trial = S.trials("squares")[100]
    found = widgets.token_map(vlm, trial)
    assert found.shape == (12, 12)
    white = vlm.visual([S.draw([], []).image])[0]
    for row, col, near in ((0, 0, [0, 1, 12, 13]), (5, 11, [58, 59, 70, 71, 82, 83])):
        tokens = vlm.visual([trial.stimulus.image])
        x = vlm.prepare([trial.stimulus.image], [trial.question])
        before = vlm.probabilities(vlm.forward(x).logits, [[trial.answer]])
        tokens[0, near] = white[near]

        def write(resid, tokens=tokens):
            resid[:, 1:145] = tokens
            return resid

        after = vlm.probabilities(vlm.forward(x, [(0, write)]).logits, [[trial.answer]])
        assert found[row, col] == pytest.approx((before - after)[0, 0], abs=1e-6)
    assert np.abs(found).max() > 0


def test_the_scene_builder_answers_anew_when_a_menu_changes(vlm):
    box = widgets.scene_builder(vlm)
    (first, reference, last), direction, shown = box.children[0].children, *box.children[1:]

    def answer(colours, asked):
        trial = S.trial(tuple(S.Item("square", c) for c in colours), asked, "squares")
        word = vlm.answer([trial.stimulus.image], [trial.question])[0]
        return f"the answer, {word}, needs each visual token: at most"

    assert answer(("red", "green", "blue"), "left") in shown.value
    direction.value = "below"
    last.value = "gray"
    assert answer(("red", "green", "gray"), "below") in shown.value
    reference.value = "red"
    assert shown.value == "Choose three different colours."
    assert first.value == "red"
