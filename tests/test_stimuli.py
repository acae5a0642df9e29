"""Canvases, tasks, scenes and counterfactual pairs, against the paper's released geometry."""

import hashlib
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from dualmech import stimuli as S
from dualmech import train

PAPER_GEOMETRY = {  # family: canvas side, first-axis starts, cross-axis start, item (in tokens)
    "mini": (96, (1, 5, 9), 5, 2),
    "qwen2-vl": (336, (1, 5, 9), 5, 2),
    "gemma3": (896, (0, 6, 12), 6, 3),
    "pixtral": (240, (2, 6, 10), 6, 2),
}
FAR = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}  # axis, sign


def digest(array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def squares(*colours):
    return tuple(S.Item("square", c) for c in colours)


# --- canvases ------------------------------------------------------------------------


def test_every_family_has_a_geometry_here():
    assert set(S.GEOMETRIES) == set(PAPER_GEOMETRY)
    assert S.GEOMETRIES["mini"] == S.MINI


@pytest.mark.parametrize("family", PAPER_GEOMETRY)
def test_geometry_is_the_papers(family):
    side, starts, cross, item = PAPER_GEOMETRY[family]
    geometry = S.GEOMETRIES[family]
    assert (geometry.side, geometry.item) == (side, item)
    assert geometry.cells(vertical=False) == [(cross, start) for start in starts]
    assert geometry.cells(vertical=True) == [(start, cross) for start in starts]


@pytest.mark.parametrize("family", PAPER_GEOMETRY)
@pytest.mark.parametrize("vertical", [False, True])
def test_squares_fill_their_tokens_exactly(family, vertical):
    side, starts, cross, item = PAPER_GEOMETRY[family]
    px = S.GEOMETRIES[family].px
    expected = np.full((side, side, 3), 255, np.uint8)
    boxes = []
    for start, colour in zip(starts, ("red", "green", "gray"), strict=True):
        row, col = (start, cross) if vertical else (cross, start)
        box = (col * px, row * px, (col + item) * px, (row + item) * px)
        expected[box[1] : box[3], box[0] : box[2]] = S.COLOURS[colour]
        boxes.append(box)
    drawn = S.row_of(squares("red", "green", "gray"), vertical, S.GEOMETRIES[family], full=True)
    assert np.array_equal(drawn.pixels, expected)
    assert np.array_equal(np.asarray(drawn.image), expected)
    assert drawn.boxes.tolist() == [list(box) for box in boxes]
    assert np.array_equal(drawn.centres[0], np.add(boxes[0][:2], boxes[0][2:]) / 2)
    for cover, (left, top, right, bottom) in zip(drawn.cover, boxes, strict=True):
        assert cover.sum() == cover[top:bottom, left:right].sum() == (item * px) ** 2


def test_colours_and_pairs_are_the_papers():
    assert S.task_items("squares") == list(
        squares("red", "green", "blue", "black", "brown", "gray")
    )
    assert [(i.shape, i.colour) for i in S.task_items("shapes")] == [
        ("square", "red"), ("circle", "green"), ("triangle", "blue"),
        ("star", "black"), ("cross", "brown"), ("heart", "gray"),
    ]  # fmt: skip
    assert [i.name for i in S.task_items("objects")] == [
        "orange", "apple", "pot", "bell", "hat", "rose", "key", "bomb",
    ]  # fmt: skip
    assert [S.COLOURS[c] for c in ("red", "green", "blue", "black", "brown", "gray", "orange")] == [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (150, 75, 0), (128, 128, 128),
        (255, 165, 0),
    ]  # fmt: skip


def test_shapes_have_the_papers_proportions():
    size = 200
    cover = {s: S.sprite(S.Item(s, "red"), size)[..., 3] for s in S.SHAPES}
    area = {s: c.sum() / size**2 for s, c in cover.items()}
    assert area["square"] == pytest.approx(0.8**2, abs=0.005)
    assert area["circle"] == pytest.approx(np.pi / 4 * 0.9**2, abs=0.005)
    assert area["triangle"] == pytest.approx(1 / 2, abs=0.005)
    assert area["cross"] == pytest.approx(5 / 9, abs=0.005)
    assert area["star"] == pytest.approx(5 * np.sin(np.pi / 5) * 0.382 / 4, abs=0.005)
    rows = np.flatnonzero(cover["heart"].max(1) > 0.5)
    assert rows[0] < 0.15 * size and rows[-1] > 0.85 * size
    for shape, c in cover.items():
        # the stripes of a mirrored drawing agree but for rounding at an edge
        assert abs(c - c[:, ::-1]).mean() < 0.01, shape


def test_objects_are_drawn_apart_from_each_other():
    drawn = [S.row_of((S.Item(o),)).pixels.astype(int) for o in S.OBJECTS]
    for first, second in permutations(range(len(drawn)), 2):
        assert abs(drawn[first] - drawn[second]).sum(-1).max() > 100


def test_a_given_background_shows_around_the_items():
    ground = np.full((96, 96, 3), 30.0)
    drawn = S.draw(squares("red"), [(0, 0)], full=True, background=ground)
    assert (drawn.pixels[:16, :16] == (255, 0, 0)).all()
    assert (drawn.pixels[16:] == 30).all() and (drawn.pixels[:, 16:] == 30).all()
    assert (ground == 30).all(), "the caller's array was drawn on"


def test_an_empty_canvas_is_white():
    blank = S.draw([], [])
    assert blank.boxes.shape == (0, 4) and blank.cover.shape == (0, 96, 96)
    assert (blank.pixels == 255).all()


# --- tasks ---------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "n"), [("squares", 480), ("shapes", 480), ("objects", 1344)])
def test_every_ordered_triple_in_four_directions(task, n):
    trials = S.trials(task)
    assert len(trials) == n
    seen = {(t.direction, t.stimulus.items) for t in trials}
    triples = list(permutations(S.task_items(task), 3))
    assert seen == {(d, t) for d in ("left", "right", "above", "below") for t in triples}


@pytest.mark.parametrize(
    ("task", "direction", "question", "answer"),
    [
        ("squares", "left", "The color of the square to the left of the green square is ", "red"),
        ("squares", "right", "The color of the square to the right of the green square is ",
         "blue"),
        ("squares", "above", "The color of the square above the green square is ", "red"),
        ("squares", "below", "The color of the square below the green square is ", "blue"),
        ("shapes", "left", "The color of the shape to the left of the green circle is ", "red"),
        ("shapes", "right", "The color of the shape to the right of the green circle is ", "blue"),
        ("shapes", "above", "The color of the shape above the green circle is ", "red"),
        ("shapes", "below", "The color of the shape below the green circle is ", "blue"),
        ("objects", "left", "The object to the left of the apple is a(n) ", "orange"),
        ("objects", "right", "The object to the right of the apple is a(n) ", "pot"),
        ("objects", "above", "The object above the apple is a(n) ", "orange"),
        ("objects", "below", "The object below the apple is a(n) ", "pot"),
    ],
)  # fmt: skip
def test_prompts_character_by_character(task, direction, question, answer):
    (trial,) = [
        t
        for t in S.trials(task)
        if t.direction == direction and t.stimulus.items == tuple(S.task_items(task)[:3])
    ]
    assert (trial.question, trial.answer, trial.task) == (question, answer, task)
    assert trial.candidates == [i.answer for i in S.task_items(task)[:3]]


@pytest.mark.parametrize("task", S.TASKS)
def test_the_answer_is_where_the_question_looks(task):
    for trial in S.trials(task)[::17]:
        axis, sign = FAR[trial.direction]
        order = np.argsort(sign * trial.stimulus.centres[:, axis])
        named = trial.stimulus.items[order[1]]
        assert f" the {named.name} is" in trial.question
        assert trial.stimulus.items[order[2]].answer == trial.answer
        across = trial.stimulus.centres[:, 1 - axis]
        assert (across == across[0]).all()


# --- counterfactual pairs ------------------------------------------------------------


@pytest.mark.parametrize("task", S.TASKS)
@pytest.mark.parametrize("direction", S.DIRECTIONS)
def test_last_token_pairs(task, direction):
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}[direction]
    pairs = S.last_token_pairs(task, direction, 20, seed=3)
    assert len(pairs) == 20 and len({p.clean.stimulus.items for p in pairs}) > 10
    for pair in pairs:
        clean, other = pair.clean.stimulus.items, pair.counterfactual.stimulus.items
        if direction in ("right", "below"):
            clean, other = clean[::-1], other[::-1]
        (c0, c1, c2), (c4, middle, c3) = clean, other
        assert middle == c1 and len({c0, c1, c2, c3, c4}) == 5
        assert pair.clean.direction == direction and pair.counterfactual.direction == opposite
        assert pair.clean.answer == c0.answer and pair.counterfactual.answer == c3.answer
        assert pair.targets == {
            "clean": c0.answer, "ordering": c2.answer, "attribute": c3.answer,
        }  # fmt: skip


def test_the_ordering_target_is_the_clean_item_at_the_counterfactual_place():
    for direction in S.DIRECTIONS:
        for pair in S.last_token_pairs("objects", direction, 5):
            axis, sign = FAR[pair.counterfactual.direction]
            place = np.argmax(sign * pair.counterfactual.stimulus.centres[:, axis])
            found = pair.counterfactual.stimulus.items[place].answer
            assert found == pair.counterfactual.answer == pair.targets["attribute"]
            assert pair.clean.stimulus.items[place].answer == pair.targets["ordering"]


@pytest.mark.parametrize("task", S.TASKS)
@pytest.mark.parametrize("direction", S.DIRECTIONS)
def test_swap_pairs(task, direction):
    for pair in S.swap_pairs(task, direction, 20, seed=3):
        assert pair.clean.stimulus.items == pair.counterfactual.stimulus.items[::-1]
        assert pair.clean.question == pair.counterfactual.question
        items = pair.clean.stimulus.items
        first, last = (items[0], items[2]) if direction in ("left", "above") else items[::-2]
        assert pair.targets == {"clean": first.answer, "flipped": last.answer}
        assert pair.clean.answer == first.answer and pair.counterfactual.answer == last.answer


@pytest.mark.parametrize("make", [S.last_token_pairs, S.swap_pairs])
def test_pairs_come_from_their_seed(make):
    def names(seed):
        return [p.clean.stimulus.items for p in make("objects", "left", 10, seed)]

    assert names(1) == names(1) != names(2)
    for kept in (True, False):
        for pair in make("objects", "left", 10, heldout=kept):
            assert S.is_heldout(pair.clean.stimulus.items) == kept
            assert S.is_heldout(pair.counterfactual.stimulus.items) == kept


def test_the_patching_pool_of_squares_has_orange():
    pairs = S.last_token_pairs("squares", "left", 40)
    used = {i.colour for p in pairs for t in (p.clean, p.counterfactual) for i in t.stimulus.items}
    assert used == {"red", "green", "blue", "black", "brown", "gray", "orange"}


# --- held out ------------------------------------------------------------------------


@pytest.mark.parametrize("task", S.TASKS)
def test_heldout_and_seen_triples_are_a_partition(task):
    def keys(trials):
        return {(t.direction, t.stimulus.items) for t in trials}

    held, seen = keys(S.trials(task, heldout=True)), keys(S.trials(task, heldout=False))
    assert held and not held & seen
    assert held | seen == keys(S.trials(task))
    assert all(S.is_heldout(items) for _, items in held)
    assert not any(S.is_heldout(items) for _, items in seen)
    if task == "shapes":
        assert not seen, "the pairs of the Shapes task are never shown in training"
    else:  # by unordered triple: every order and direction of one is on the same side
        assert {frozenset(i) for _, i in held}.isdisjoint({frozenset(i) for _, i in seen})
        assert 0.1 < len(held) / (len(held) + len(seen)) < 0.5


def test_training_never_shows_a_heldout_combination():
    rng = np.random.RandomState(99)
    held = {
        frozenset(i.answer for i in t.stimulus.items)
        for task in ("squares", "objects")
        for t in S.trials(task, heldout=True)
    }
    held_pairs = set(S.SHAPE_PAIRS) - {("square", "red")}
    kinds = set()
    for _ in range(3000):
        drawn = train.training_stimulus(rng)
        assert S.heldout_combinations(drawn.items, drawn.boxes) == []
        assert frozenset(i.answer for i in drawn.items) not in held
        assert not {(i.shape, i.colour) for i in drawn.items} & held_pairs
        kinds.add((len(drawn.items), drawn.items[0].colour is None))
    assert kinds == {(2, True), (2, False), (3, True), (3, False)}


def test_places_are_heldout_by_the_centre_of_a_box():
    item, found = S.Item("key"), set()
    for row in range(4):
        for col in range(4):
            centre = np.array([24 * col + 12, 24 * row + 12])
            reasons = [
                S.heldout_combinations((item,), np.array([[*(centre - r), *(centre + r)]]))
                for r in (2, 7, 12)
            ]
            assert reasons[0] == reasons[1] == reasons[2]
            found |= {tuple(r) for r in reasons if r}
            if reasons[0]:
                assert reasons[0] == [f"place key-{row}-{col}"]
    assert 1 <= len(found) <= 6
    assert S.heldout_combinations((item,)) == []


@pytest.mark.parametrize("style", [S.EASY, S.HARD], ids=["easy", "hard"])
def test_heldout_scenes_hold_a_new_triple_at_a_new_place(style):
    for trial in S.scene_trials(5, style, seed=4):
        reasons = S.heldout_combinations(trial.stimulus.items, trial.stimulus.boxes)
        assert {r.split()[0] for r in reasons} == {"triple", "place"}
        assert S.is_heldout(trial.stimulus.items)
    for trial in S.scene_trials(5, style, seed=4, heldout=False):
        assert S.heldout_combinations(trial.stimulus.items, trial.stimulus.boxes) == []


# --- scenes --------------------------------------------------------------------------


@pytest.mark.parametrize("style", [S.EASY, S.HARD, replace(S.EASY, layout="free")],
                         ids=["easy", "hard", "free"])  # fmt: skip
def test_scene_answers_follow_from_the_boxes(style):
    trials = S.scene_trials(12, style, seed=5, heldout=None)
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


@pytest.mark.parametrize("style", [replace(S.EASY, occlusion=0.0), replace(S.HARD, occlusion=0.0)],
                         ids=["easy", "hard"])  # fmt: skip
def test_scene_boxes_agree_with_what_the_items_cover(style):
    rng = np.random.RandomState(6)
    for _ in range(40):
        s = S.scene(rng, style)
        assert (s.boxes[:, :2] >= 0).all() and (s.boxes[:, 2:] <= 96).all()
        wide, high = (s.boxes[:, 2:] - s.boxes[:, :2]).T
        assert (wide == high).all()
        assert ((wide >= style.size[0]) & (wide <= style.size[1])).all()
        for cover, item, (left, top, right, bottom) in zip(s.cover, s.items, s.boxes, strict=True):
            outside = cover.copy()
            outside[top:bottom, left:right] = 0
            assert outside.max() == 0
            whole = S.sprite(item, int(right - left))[..., 3]
            assert (cover[top:bottom, left:right] <= whole + 1e-12).all()
        # the last item has nothing in front of it
        left, top, right, bottom = s.boxes[-1]
        last = S.sprite(s.items[-1], int(right - left))[..., 3]
        assert np.array_equal(s.cover[-1][top:bottom, left:right], last)


def test_occlusion_hides_part_of_an_item():
    hidden = 0.0
    for seed in range(20):
        clear, covered = (
            S.scene(np.random.RandomState(seed), replace(S.EASY, occlusion=share)).cover.sum()
            for share in (0.0, 1.0)
        )
        assert covered <= clear
        hidden += clear - covered
    assert hidden > 100


def test_a_white_scene_has_nothing_but_its_items():
    s = S.scene(np.random.RandomState(2), S.EASY, squares("red", "blue"), white=True, full=True)
    expected = np.full((96, 96, 3), 255)
    for item, (left, top, right, bottom) in zip(s.items, s.boxes, strict=True):
        expected[top:bottom, left:right] = S.COLOURS[item.colour]
    assert np.array_equal(s.pixels, expected)


def test_layouts():
    for layout, still in (("row", 1), ("column", 0)):
        style = replace(S.EASY, layout=layout, jitter=0)
        for seed in range(10):
            # corners round down by half of an odd size
            centres = S.scene(np.random.RandomState(seed), style).centres
            assert np.ptp(centres[:, still]) <= 1
            assert np.diff(centres[:, 1 - still]).min() >= style.spacing[0] - 1
    rng = np.random.RandomState(0)
    free = [S.scene(rng, replace(S.EASY, layout="free")).centres for _ in range(20)]
    assert any(np.ptp(c, axis=0).min() > 20 for c in free), "free places fill both axes"


def test_keep_decides_the_places():
    def on_the_left(items, boxes):
        return (boxes[:, 2] <= 60).all()

    rng = np.random.RandomState(0)
    style = replace(S.EASY, layout="column")
    for _ in range(5):
        assert (S.scene(rng, style, keep=on_the_left).boxes[:, 2] <= 60).all()


def test_reference_of_orders_items_and_refuses_ties():
    s = S.draw(squares("red", "green", "blue"), [(0, 9), (5, 1), (5, 5)])
    assert S.reference_of(s, vertical=False) == [1, 2, 0]
    assert S.reference_of(s, vertical=True) == [], "two items at one height"
    assert S.reference_of(s, vertical=False, margin=32) == [1, 2, 0]
    assert S.reference_of(s, vertical=False, margin=33) == []


# --- the same bytes everywhere -------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "task", "expected"),
    [
        ("mini", "squares", "580788f994535e4c"),
        ("mini", "shapes", "ca912898bf3c2456"),
        ("mini", "objects", "05b9643871cf89e2"),
        ("gemma3", "shapes", "e50f6afdd12bbd98"),
        ("qwen2-vl", "objects", "5fac6bff898fa001"),
        ("pixtral", "shapes", "87d462a0dd670399"),
    ],
)
def test_rows_and_columns_have_the_same_bytes_everywhere(family, task, expected):
    items = S.task_items(task)
    drawn = [
        S.row_of(items[k : k + 3], vertical, S.GEOMETRIES[family], full=task == "squares")
        for vertical in (False, True)
        for k in range(len(items) - 2)
    ]
    assert digest(np.stack([s.pixels for s in drawn])) == expected


@pytest.mark.parametrize(
    ("style", "seed", "expected"),
    [
        (S.EASY, 0, "42ceeb93b137ed3a"),
        (S.EASY, 1, "a018f1486e72dfed"),
        (S.HARD, 0, "6b7358e4525dfa09"),
    ],
)
def test_scenes_have_the_same_bytes_everywhere(style, seed, expected):
    trials = S.scene_trials(3, style, seed)
    assert digest(np.stack([t.stimulus.pixels for t in trials])) == expected
    again = S.scene_trials(3, style, seed)
    assert [t.question for t in trials] == [t.question for t in again]


@pytest.mark.parametrize("style", [S.EASY, S.HARD], ids=["easy", "hard"])
def test_scenes_grow_with_the_canvas(style):
    """A larger model's canvas holds the same scene: every length grows with it."""
    for side in (336, 896):
        k = side / 96
        for t in S.scene_trials(2, style, seed=1, side=side):
            assert t.stimulus.pixels.shape == (side, side, 3) and t.stimulus.cover is None
            sizes = t.stimulus.boxes[:, 2:] - t.stimulus.boxes[:, :2]
            assert (
                round(k * style.size[0]) <= sizes.min() <= sizes.max() <= round(k * style.size[1])
            )
            vertical = t.direction in ("above", "below")
            steps = np.diff(t.stimulus.centres[:, int(vertical)])
            low, high = style.gap or (style.spacing[0] / 2, 96)
            assert (steps >= k * low - 1).all() and (steps <= k * high + 1).all()
            first = t.stimulus.items[0 if t.direction in ("left", "above") else 2]
            assert t.answer == first.answer


def test_training_images_have_the_same_bytes_everywhere():
    rng = np.random.RandomState([0, 0, 1])
    drawn = np.stack([train.training_stimulus(rng).pixels for _ in range(32)])
    assert digest(drawn) == "5edd18c80219cc21"


def test_unnamed_colours_and_shapes_by_hand():
    red = (255, 0, 0)
    plain, other = (S.sprite(S.Item(s, "red"), 16)[..., 3] for s in ("circle", "cross"))
    pink = S.sprite(S.Item("circle", S.UNNAMED, (250, 90, 140)), 16)
    assert (pink[..., 3] == plain).all() and (pink[..., :3] == (250, 90, 140)).all()
    for how, want in (
        ("union", np.maximum(plain, other)),
        ("overlap", np.minimum(plain, other)),
        ("difference", abs(plain - other)),
    ):
        mixed = S.sprite(S.Item(S.UNNAMED, "red", blend=("circle", "cross", how)), 16)
        assert (mixed[..., 3] == want).all() and (mixed[..., :3] == red).all()
    outline = S.sprite(S.Item(S.UNNAMED, "red", outline=7), 16)
    assert (outline[..., :3] == red).all() and 10 < outline[..., 3].sum() < 200
    assert S.Item(S.UNNAMED, "red", outline=7).name == "red shape"
    shade = S.sprite(S.Item("square", "red", (230, 9, 9)), 16, full=True)
    assert (shade == (230, 9, 9, 1)).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_random_polygon_fits_its_box(seed):
    corners = np.array(S.random_polygon(seed))
    assert 4 <= len(corners) <= 12 and (abs(corners) <= 1).all()
    assert S.random_polygon(seed) == S.random_polygon(seed) != S.random_polygon(seed + 1)


def test_unnamed_items_are_labelled_and_held_apart():
    rng = np.random.RandomState(5)
    partners = {s: np.array(S.COLOURS[c]) for s, c in S.SHAPE_PAIRS if s != "square"}
    seen = {"colour": 0, "shape": 0, "named": 0}
    for _ in range(300):
        for item in train.training_stimulus(rng, 0.25).items:
            if item.colour is None:
                assert item.rgb is None
                continue
            kind, tint = train.labels_of(item)
            assert (kind == -1) == (item.shape == S.UNNAMED)
            assert (tint == -1) == (item.colour == S.UNNAMED)
            if tint == -1:
                seen["colour"] += 1
                if item.shape in partners:
                    assert abs(np.array(item.rgb) - partners[item.shape]).max() > 30
            else:
                seen["shape" if kind == -1 else "named"] += 1
                assert abs(np.array(item.rgb) - S.COLOURS[item.colour]).max() <= 30
                drawn = item.blend[:2] if item.blend else [item.shape] * (item.shape != "square")
                assert all((s, item.colour) not in S.SHAPE_PAIRS for s in drawn)
    total = sum(seen.values())
    for kind in ("colour", "shape"):
        assert seen[kind] / total == pytest.approx(0.25, abs=0.05)
    named = [train.training_stimulus(rng) for _ in range(50)]
    assert all(S.UNNAMED not in (i.shape, i.colour) for s in named for i in s.items)


# --- errors --------------------------------------------------------------------------

CANNOT_FIT = replace(S.EASY, size=(60, 60))


@pytest.mark.parametrize(
    ("words", "do"),
    [
        ("8 tokens is too small for three items of 2 with gaps of 2: at least 10",
         lambda: S.Geometry(8, 8, 2, 2)),
        ("must be positive", lambda: S.Geometry(12, 0, 2, 2)),
        ("4 items need 14 tokens, the grid has 12", lambda: S.MINI.cells(False, 4)),
        ("at least 4 pixels a side, got 2",
         lambda: S.row_of(squares("red"), geometry=S.Geometry(12, 1, 2, 2))),
        ("leaves the canvas of 96 x 96 px", lambda: S.draw(squares("red"), [(0, 11)])),
        ("leaves the canvas", lambda: S.draw(squares("red"), [(-1, 0)])),
        ("unknown object 'banana'; known: orange, apple", lambda: S.Item("banana")),
        ("unknown shape 'blob'; known: square, circle", lambda: S.Item("blob", "red")),
        ("unknown colour 'teal'; known: red, green", lambda: S.Item("square", "teal")),
        ("an unnamed colour needs an rgb", lambda: S.Item("square", S.UNNAMED)),
        ("an unnamed shape, and no other, needs a blend", lambda: S.Item(S.UNNAMED, "red")),
        ("an unnamed shape, and no other, needs a blend",
         lambda: S.Item("star", "red", blend=("star", "heart", "union"))),
        ("needs a blend of two shapes or a random outline",
         lambda: S.Item(S.UNNAMED, "red", blend=("star", "heart", "union"), outline=1)),
        ("needs a blend of two shapes or a random outline",
         lambda: S.Item("star", "red", outline=1)),
        ("drawn in its own colours; leave rgb out", lambda: S.Item("key", rgb=(1, 2, 3))),
        ("unknown task 'lines'; known: squares, shapes, objects", lambda: S.trials("lines")),
        ("unknown direction 'north'; known: left, right",
         lambda: S.question_for(S.Item("key"), "north")),
        ("unknown direction 'north'", lambda: S.last_token_pairs("squares", "north", 1)),
        ("unknown direction 'north'", lambda: S.swap_pairs("squares", "north", 1)),
        ("unknown layout 'diagonal'; known: row, column", lambda: S.SceneStyle(layout="diagonal")),
        (r"size is \(low, high\), not \(20, 14\)", lambda: S.SceneStyle(size=(20, 14))),
        ("items repeat: red square, red square",
         lambda: S.row_of(squares("red", "red"))),
        ("items repeat: key, key",
         lambda: S.scene(np.random.RandomState(0), items=(S.Item("key"), S.Item("key")))),
        ("2 items but 1 cells", lambda: S.draw(squares("red", "blue"), [(0, 0)])),
        ("three items, got 2", lambda: S.trial(squares("red", "blue"), "left", "squares")),
        ("3 items of .* do not fit on 96 x 96 px; lower size or spacing",
         lambda: S.scene(np.random.RandomState(0), CANNOT_FIT, tries=50)),
        ("2 items of .* do not fit on 96 x 96 px",
         lambda: S.scene(np.random.RandomState(0), replace(CANNOT_FIT, items=2, layout="row",
                                                           spacing=(22, 22)), tries=50)),
        ("1 to 8 objects, not 9", lambda: S.scene(np.random.RandomState(0), S.SceneStyle(items=9))),
        ("three items, not 2", lambda: S.scene_trials(1, S.SceneStyle(items=2))),
        ("fewer than 1 pairs of 'shapes' fit heldout=False",
         lambda: S.swap_pairs("shapes", "left", 1, heldout=False)),
    ],
)  # fmt: skip
def test_errors_are_one_line_that_says_what_is_wrong(words, do):
    with pytest.raises(ValueError, match=words) as error:
        do()
    assert "\n" not in str(error.value) and type(error.value) is ValueError


def test_a_gap_is_the_distance_along_the_asked_axis():
    style = replace(S.HARD, gap=(3, 5))
    for trial in S.scene_trials(6, style, seed=4, heldout=None):
        axis = int(trial.direction in ("above", "below"))
        steps = np.diff(trial.stimulus.centres[:, axis])
        other = np.sort(trial.stimulus.centres[:, 1 - axis])
        # boxes have whole sizes, so a centre can be half a pixel off
        assert (steps >= 2.5).all() and (steps <= 5.5).all()
        assert (np.diff(other) >= style.spacing[0] - 0.5).all()
