"""Naturalistic scenes: answers that follow from the boxes, and the same bytes everywhere."""

from dataclasses import replace

import numpy as np
import pytest
from test_stimuli import FAR, digest, squares

from dualmech import drawing, scenes
from dualmech import stimuli as S

easy_and_hard = pytest.mark.parametrize("style", [scenes.EASY, scenes.HARD], ids=["easy", "hard"])


@easy_and_hard
def test_heldout_scenes_hold_a_new_triple_at_a_new_place(style):
    for trial in scenes.scene_trials(5, style, seed=4):
        reasons = S.heldout_combinations(trial.stimulus.items, trial.stimulus.boxes)
        assert {r.split()[0] for r in reasons} == {"triple", "place"}
        assert S.is_heldout(trial.stimulus.items)
    for trial in scenes.scene_trials(5, style, seed=4, heldout=False):
        assert S.heldout_combinations(trial.stimulus.items, trial.stimulus.boxes) == []


@pytest.mark.parametrize("style", [scenes.EASY, scenes.HARD, replace(scenes.EASY, layout="free")],
                         ids=["easy", "hard", "free"])  # fmt: skip
def test_scene_answers_follow_from_the_boxes(style):
    trials = scenes.scene_trials(12, style, seed=5, heldout=None)
    assert [t.direction for t in trials] == [d for d in S.DIRECTIONS for _ in range(12)]
    for trial in trials:
        axis, sign = FAR[trial.direction]
        boxes = trial.stimulus.boxes
        middle = sign * (boxes[:, axis] + boxes[:, axis + 2])
        by_name = {i.name: k for k, i in enumerate(trial.stimulus.items)}
        (named,) = [n for n in by_name if f" the {n} is a(n) " in trial.question]
        beyond = [n for n in by_name if middle[by_name[n]] > middle[by_name[named]]]
        assert beyond == [trial.answer]
        assert trial.question.startswith(f"The object {S.PHRASES[trial.direction]} the ")
        ordered = boxes[:, axis] + boxes[:, axis + 2]
        assert (np.diff(ordered) > 0).all(), "items are given by place"


@easy_and_hard
def test_scene_boxes_agree_with_what_the_items_cover(style):
    style = replace(style, occlusion=0.0)
    rng = np.random.RandomState(6)
    for _ in range(40):
        s = scenes.scene(rng, style)
        assert (s.boxes[:, :2] >= 0).all() and (s.boxes[:, 2:] <= 96).all()
        wide, high = (s.boxes[:, 2:] - s.boxes[:, :2]).T
        assert (wide == high).all()
        assert ((wide >= style.size[0]) & (wide <= style.size[1])).all()
        for cover, item, (left, top, right, bottom) in zip(s.cover, s.items, s.boxes, strict=True):
            outside = cover.copy()
            outside[top:bottom, left:right] = 0
            assert outside.max() == 0
            whole = item.sprite(int(right - left))[..., 3]
            assert (cover[top:bottom, left:right] <= whole + 1e-12).all()
        # the last item has nothing in front of it
        left, top, right, bottom = s.boxes[-1]
        last = s.items[-1].sprite(int(right - left))[..., 3]
        assert np.array_equal(s.cover[-1][top:bottom, left:right], last)


def test_occlusion_hides_part_of_an_item():
    def seen(seed, share):
        style = replace(scenes.EASY, occlusion=share)
        return scenes.scene(np.random.RandomState(seed), style).cover.sum()

    hidden = [seen(seed, 0.0) - seen(seed, 1.0) for seed in range(20)]
    assert min(hidden) >= 0 and sum(hidden) > 100


def test_a_white_scene_has_nothing_but_its_items():
    items = squares("red", "blue")
    s = scenes.scene(np.random.RandomState(2), scenes.EASY, items, white=True, full=True)
    expected = np.full((96, 96, 3), 255)
    for item, (left, top, right, bottom) in zip(s.items, s.boxes, strict=True):
        expected[top:bottom, left:right] = drawing.COLOURS[item.colour]
    assert np.array_equal(s.pixels, expected)


def test_layouts():
    for layout, still in (("row", 1), ("column", 0)):
        style = replace(scenes.EASY, layout=layout, jitter=0)
        for seed in range(10):
            # corners round down by half of an odd size
            centres = scenes.scene(np.random.RandomState(seed), style).centres
            assert np.ptp(centres[:, still]) <= 1
            assert np.diff(centres[:, 1 - still]).min() >= style.spacing[0] - 1
    rng = np.random.RandomState(0)
    free = [scenes.scene(rng, replace(scenes.EASY, layout="free")).centres for _ in range(20)]
    assert any(np.ptp(c, axis=0).min() > 20 for c in free), "free places fill both axes"


def test_keep_decides_the_places():
    def on_the_left(items, boxes):
        return (boxes[:, 2] <= 60).all()

    rng = np.random.RandomState(0)
    style = replace(scenes.EASY, layout="column")
    for _ in range(5):
        assert (scenes.scene(rng, style, keep=on_the_left).boxes[:, 2] <= 60).all()


def test_reference_of_orders_items_and_refuses_ties():
    s = S.draw(squares("red", "green", "blue"), [(0, 9), (5, 1), (5, 5)])
    assert scenes.reference_of(s, vertical=False) == [1, 2, 0]
    assert scenes.reference_of(s, vertical=True) == [], "two items at one height"
    assert scenes.reference_of(s, vertical=False, margin=32) == [1, 2, 0]
    assert scenes.reference_of(s, vertical=False, margin=33) == []


@pytest.mark.parametrize(
    ("style", "seed", "expected"),
    [
        (scenes.EASY, 0, "42ceeb93b137ed3a"),
        (scenes.EASY, 1, "a018f1486e72dfed"),
        (scenes.HARD, 0, "fb2e16657fda6daf"),
    ],
)
def test_scenes_have_the_same_bytes_everywhere(style, seed, expected):
    trials = scenes.scene_trials(3, style, seed)
    assert digest(np.stack([t.stimulus.pixels for t in trials])) == expected


@easy_and_hard
def test_scenes_grow_with_the_canvas(style):
    """A larger model's canvas holds the same scene: every length grows with it."""
    for side, n, heldout in ((336, 1, True), (896, 1, None)):  # few are held out: they cost most
        k = side / 96
        for t in scenes.scene_trials(n, style, seed=1, heldout=heldout, side=side):
            assert t.stimulus.pixels.shape == (side, side, 3) and t.stimulus.cover is None
            sizes = t.stimulus.boxes[:, 2:] - t.stimulus.boxes[:, :2]
            small, large = (round(k * size) for size in style.size)
            assert small <= sizes.min() <= sizes.max() <= large
            vertical = t.direction in ("above", "below")
            steps = np.diff(t.stimulus.centres[:, int(vertical)])
            low, high = style.gap or (style.spacing[0] / 2, 96)
            assert (steps >= k * low - 1).all() and (steps <= k * high + 1).all()
            first = t.stimulus.items[0 if t.direction in ("left", "above") else 2]
            assert t.answer == first.answer


def test_a_gap_is_the_distance_along_the_asked_axis():
    style = replace(scenes.HARD, gap=(3, 5))
    for trial in scenes.scene_trials(6, style, seed=4, heldout=None):
        axis = int(trial.direction in ("above", "below"))
        steps = np.diff(trial.stimulus.centres[:, axis])
        other = np.sort(trial.stimulus.centres[:, 1 - axis])
        # boxes have whole sizes, so a centre can be half a pixel off
        assert (steps >= 2.5).all() and (steps <= 5.5).all()
        assert (np.diff(other) >= style.spacing[0] - 0.5).all()


CANNOT_FIT = replace(scenes.EASY, size=(60, 60))


@pytest.mark.parametrize(
    ("words", "do"),
    [
        ("unknown layout 'diagonal'; known: row, column",
         lambda: scenes.SceneStyle(layout="diagonal")),
        (r"size is \(low, high\), not \(20, 14\)", lambda: scenes.SceneStyle(size=(20, 14))),
        ("items repeat: key, key",
         lambda: scenes.scene(np.random.RandomState(0), items=(drawing.Item("key"),) * 2)),
        ("3 items of .* do not fit on 96 x 96 px; lower size or spacing",
         lambda: scenes.scene(np.random.RandomState(0), CANNOT_FIT, tries=50)),
        ("1 to 8 objects, not 9",
         lambda: scenes.scene(np.random.RandomState(0), scenes.SceneStyle(items=9))),
        ("three items, not 2", lambda: scenes.scene_trials(1, scenes.SceneStyle(items=2))),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(words, do):
    with pytest.raises(ValueError, match=words) as error:
        do()
    assert "\n" not in str(error.value)
