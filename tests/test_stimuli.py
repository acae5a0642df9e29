"""Canvases, tasks and counterfactual pairs, against the paper's released geometry."""

import hashlib
from dataclasses import dataclass
from itertools import combinations, permutations, product

import numpy as np
import pytest

from dualmech import drawing, scenes
from dualmech import stimuli as S
from vlms.canvas import GEOMETRIES

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
    return tuple(drawing.Item("square", c) for c in colours)


# --- canvases ------------------------------------------------------------------------


@pytest.mark.parametrize("family", PAPER_GEOMETRY)
@pytest.mark.parametrize("vertical", [False, True])
def test_squares_fill_their_tokens_exactly(family, vertical):
    side, starts, cross, item = PAPER_GEOMETRY[family]
    px = GEOMETRIES[family].px
    expected = np.full((side, side, 3), 255, np.uint8)
    boxes = []
    for start, colour in zip(starts, ("red", "green", "gray"), strict=True):
        row, col = (start, cross) if vertical else (cross, start)
        box = (col * px, row * px, (col + item) * px, (row + item) * px)
        expected[box[1] : box[3], box[0] : box[2]] = drawing.COLOURS[colour]
        boxes.append(box)
    drawn = S.row_of(squares("red", "green", "gray"), vertical, GEOMETRIES[family], full=True)
    assert np.array_equal(drawn.pixels, expected)
    assert np.array_equal(np.asarray(drawn.image), expected)
    assert drawn.boxes.tolist() == [list(box) for box in boxes]
    assert np.array_equal(drawn.centres[0], np.add(boxes[0][:2], boxes[0][2:]) / 2)
    for cover, (left, top, right, bottom) in zip(drawn.cover, boxes, strict=True):
        assert cover.sum() == cover[top:bottom, left:right].sum() == (item * px) ** 2


def test_shapes_have_the_papers_proportions():
    size = 200
    cover = {s: drawing.Item(s, "red").sprite(size)[..., 3] for s in drawing.SHAPES}
    area = {s: c.sum() / size**2 for s, c in cover.items()}
    assert area["square"] == pytest.approx(0.8**2, abs=0.005)
    assert area["circle"] == pytest.approx(np.pi / 4 * 0.9**2, abs=0.005)
    assert area["triangle"] == pytest.approx(3**0.5 / 4, abs=0.005)
    assert area["cross"] == pytest.approx(5 / 9, abs=0.005)
    wide = np.sin(2 * np.pi / 5)  # the five-pointed star is stretched to its box
    assert area["star"] == pytest.approx(5 * np.sin(np.pi / 5) * 0.382 / 4 / wide, abs=0.005)
    # the heart's curve encloses 180 pi in a box of 32 by 28.906
    assert area["heart"] == pytest.approx(180 * np.pi / 32 / 28.906, abs=0.005)
    for shape in ("star", "cross", "heart"):
        across = np.flatnonzero(cover[shape].any(0))
        assert across[0] <= 1 and across[-1] >= size - 2, f"the {shape} fills its box"
    rows = np.flatnonzero(cover["triangle"].any(1))
    assert rows[-1] == pytest.approx(size * 3**0.5 / 2, abs=1.5), "of equal sides"
    for shape, c in cover.items():
        # the stripes of a mirrored drawing agree but for rounding at an edge
        assert abs(c - c[:, ::-1]).mean() < 0.01, shape


def test_shapes_of_the_papers_sizes_have_hard_edges_and_small_ones_soft():
    for shape in drawing.SHAPES:
        for size in (32, 56, 168):
            sprite = drawing.Item(shape, "red").sprite(size)
            assert set(np.unique(sprite[..., 3])) <= {0.0, 1.0}
    soft = drawing.Item("circle", "red").sprite(16)[..., 3]
    assert ((soft > 0) & (soft < 1)).any()


def test_objects_are_drawn_apart_from_each_other():
    drawn = [S.row_of((drawing.Item(o),)).pixels.astype(int) for o in drawing.OBJECTS]
    for first, second in combinations(drawn, 2):
        assert abs(first - second).sum(-1).max() > 100


def test_a_given_background_shows_around_the_items_and_an_empty_canvas_is_white():
    ground = np.full((96, 96, 3), 30.0)
    drawn = S.draw(squares("red"), [(0, 0)], full=True, background=ground)
    assert (drawn.pixels[:16, :16] == (255, 0, 0)).all()
    assert (drawn.pixels[16:] == 30).all() and (drawn.pixels[:, 16:] == 30).all()
    assert (ground == 30).all(), "the caller's array was drawn on"
    blank = S.draw([], [])
    assert blank.boxes.shape == (0, 4) and blank.cover.shape == (0, 96, 96)
    assert (blank.pixels == 255).all()


# --- tasks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "direction", "question", "answer"),
    [
        ("squares", "left", "The color of the square to the left of the green square is ", "red"),
        ("squares", "above", "The color of the square above the green square is ", "red"),
        ("shapes", "right", "The color of the shape to the right of the green circle is ", "blue"),
        ("objects", "below", "The object below the apple is a(n) ", "pot"),
    ],
)
def test_prompts_character_by_character(task, direction, question, answer):
    trial = S.trial(tuple(S.task_items(task)[:3]), direction, task)
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
    assert len(pairs) == 20
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
        axis, sign = FAR[opposite]
        place = np.argmax(sign * pair.counterfactual.stimulus.centres[:, axis])
        shown = [t.stimulus.items[place] for t in (pair.clean, pair.counterfactual)]
        assert shown == [c2, c3], "the clean item at the counterfactual answer's place"


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


@pytest.mark.parametrize("task, trios", [("squares", 20), ("shapes", 20), ("objects", 56)])
def test_each_trio_once(task, trios):
    """C(6, 3) or C(8, 3) pairs, none of which shows what another one shows."""

    def shown(direction, **how):
        return [p.clean.candidates for p in S.swap_pairs(task, direction, None, **how)]

    pairs = S.swap_pairs(task, "left", None)
    orders = [p.clean.candidates for p in pairs]
    assert len(orders) == len({frozenset(names) for names in orders}) == trios
    assert orders == [names[::-1] for names in shown("below")]
    assert orders != shown("left", seed=1)
    unseen = [p.clean.candidates for p in pairs if S.is_heldout(p.clean.stimulus.items)]
    assert shown("left", heldout=True) == unseen


@pytest.mark.parametrize("make", [S.last_token_pairs, S.swap_pairs])
def test_pairs_come_from_their_seed(make):
    def names(seed):
        return [p.clean.stimulus.items for p in make("objects", "left", 10, seed)]

    assert names(1) == names(1) != names(2)
    for kept in (True, False):
        for pair in make("objects", "left", 10, heldout=kept):
            for t in (pair.clean, pair.counterfactual):
                assert S.is_heldout(t.stimulus.items) == kept


def shown(pairs):
    return [(p.clean.stimulus.items, p.counterfactual.stimulus.items) for p in pairs]


def test_no_pair_comes_twice():
    every = S.swap_pairs("squares", "left", 120)
    assert len(set(shown(every))) == 120 == 6 * 5 * 4
    assert len(set(shown(S.last_token_pairs("shapes", "left", 500)))) == 500
    with pytest.raises(ValueError, match="fewer than 121 pairs of 'squares' .*: 120 do$"):
        S.swap_pairs("squares", "left", 121)


def used(pairs):
    return {i.answer for p in pairs for t in (p.clean, p.counterfactual) for i in t.stimulus.items}


def test_only_the_last_token_pairs_of_squares_show_orange():
    six = {"red", "green", "blue", "black", "brown", "gray"}
    assert used(S.last_token_pairs("squares", "left", 40)) == six | {"orange"}
    assert used(S.swap_pairs("squares", "left", 40)) == six
    assert used(S.last_token_pairs("shapes", "left", 40)) == six


def test_the_first_pairs_are_those_of_the_paper():
    """Of Qwen2-VL-7B's committed lists; "right" shows the tuple mirrored."""
    swaps = [("black", "gray", "red"), ("blue", "brown", "black"), ("black", "blue", "gray"),
             ("blue", "brown", "green")]  # fmt: skip
    for direction in S.DIRECTIONS:
        pairs = S.swap_pairs("squares", direction, 4)
        turn = -1 if direction in ("right", "below") else 1
        assert [tuple(p.clean.candidates[::turn]) for p in pairs] == swaps
    pairs = S.last_token_pairs("squares", "left", 2)
    shown = [(p.clean.candidates, p.counterfactual.candidates) for p in pairs]
    assert shown == [
        (["orange", "black", "gray"], ["green", "black", "red"]),
        (["brown", "black", "gray"], ["green", "black", "blue"]),
    ]


def test_pixtral_is_shown_orange_for_brown_and_no_bomb():
    pixtral = S.GEOMETRIES["pixtral"]
    assert len(S.trials("objects", pixtral)) == 840
    colours = {"red", "green", "blue", "black", "orange", "gray"}
    assert {i.colour for i in S.task_items("squares", pixtral)} == colours
    assert drawing.Item("cross", "orange") in S.task_items("shapes", pixtral)
    shown = {task: used(S.swap_pairs(task, "left", 40, geometry=pixtral)) for task in S.TASKS}
    assert shown["objects"] == set(drawing.OBJECTS) - {"bomb"}
    assert shown["squares"] == shown["shapes"] == colours
    seven = colours | {"brown"}
    assert used(S.last_token_pairs("squares", "left", 40, geometry=pixtral)) == seven
    assert S.task_items("objects", S.GEOMETRIES["gemma3"]) == S.task_items("objects")


@dataclass
class Knows:
    """Answers right unless a word that it misses is the answer."""

    missed: tuple[str, ...]
    geometry: S.Geometry = S.MINI
    asked: int = 0

    def __call__(self, trials):
        self.asked += len(trials)
        return ["heart" if t.answer in self.missed else t.answer for t in trials]


@pytest.mark.parametrize(("kind", "make"), [("swap", S.swap_pairs),
                                            ("last token", S.last_token_pairs)])  # fmt: skip
def test_answered_pairs_are_topped_up(kind, make):
    sure, partly, blind = Knows(()), Knows(("black", "blue")), Knows(drawing.SQUARE_COLOURS)
    found = S.answered_pairs(sure, kind, "squares", "above", answers=sure)
    assert shown(found) == shown(make("squares", "above", 50))
    found = S.answered_pairs(partly, kind, "squares", "above", n=30, answers=partly)
    kept = [p for p in make("squares", "above", 120)
            if not {p.clean.answer, p.counterfactual.answer} & set(partly.missed)]  # fmt: skip
    assert shown(found) == shown(kept[:30]) and len(found) == 30
    assert S.answered_pairs(blind, "swap", "squares", "left", answers=blind) == []
    assert blind.asked == 240, "each of the 120 pairs once"
    with pytest.raises(ValueError, match="unknown kind of pairs 'strip'; known: last token, swap"):
        S.answered_pairs(sure, "strip", "squares", "left", answers=sure)


# --- held out ------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "n"), [("squares", 480), ("shapes", 480), ("objects", 1344)])
def test_every_ordered_triple_in_four_directions_is_held_out_or_shown(task, n):
    triples = permutations(S.task_items(task), 3)
    every = {(d, t) for t in triples for d in ("left", "right", "above", "below")}
    keys = {
        heldout: [(t.direction, t.stimulus.items) for t in S.trials(task, heldout=heldout)]
        for heldout in (None, True, False)
    }
    assert len(keys[None]) == n and set(keys[None]) == every
    held, seen = set(keys[True]), set(keys[False])
    assert held and not held & seen and held | seen == every
    assert all(S.is_heldout(items) == ((d, items) in held) for d, items in every)
    if task == "shapes":
        assert not seen, "the pairs of the Shapes task are never shown in training"
    else:  # by unordered triple: every order and direction of one is on the same side
        assert {frozenset(i) for _, i in held}.isdisjoint({frozenset(i) for _, i in seen})
        assert 0.1 < len(held) / n < 0.5


def test_places_are_heldout_by_the_centre_of_a_box():
    item, found = drawing.Item("key"), []
    for row, col in product(range(4), repeat=2):
        centre = np.array([24 * col + 12, 24 * row + 12])
        boxes = [np.array([[*(centre - r), *(centre + r)]]) for r in (2, 7, 12)]
        reasons = [S.heldout_combinations((item,), box) for box in boxes]
        assert reasons[0] == reasons[1] == reasons[2] in ([], [f"place key-{row}-{col}"])
        found += reasons[0]
    assert 1 <= len(found) <= 6
    assert S.heldout_combinations((item,)) == []


# --- the same bytes everywhere -------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "task", "expected"),
    [
        ("mini", "squares", "580788f994535e4c"),
        ("mini", "shapes", "4b4aa9ce100420db"),
        ("mini", "objects", "05b9643871cf89e2"),
        ("gemma3", "shapes", "ae8de1f2c5c84fef"),
        ("qwen2-vl", "objects", "5fac6bff898fa001"),
        ("pixtral", "shapes", "684fc051266d09fd"),
    ],
)
def test_rows_and_columns_have_the_same_bytes_everywhere(family, task, expected):
    items = S.task_items(task)
    drawn = [
        S.row_of(items[k : k + 3], vertical, GEOMETRIES[family], full=task == "squares")
        for vertical in (False, True)
        for k in range(len(items) - 2)
    ]
    assert digest(np.stack([s.pixels for s in drawn])) == expected


# --- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "do"),
    [
        ("3 items need 10 tokens a side, the grid has 8", lambda: S.Geometry(8, 8, 2, 2)),
        ("must be positive", lambda: S.Geometry(12, 0, 2, 2)),
        ("at least 4 pixels a side, got 2",
         lambda: S.row_of(squares("red"), geometry=S.Geometry(12, 1, 2, 2))),
        ("leaves the canvas of 96 x 96 px", lambda: S.draw(squares("red"), [(0, 11)])),
        ("leaves the canvas", lambda: S.draw(squares("red"), [(-1, 0)])),
        ("leaves the canvas of 96 x 48 px",
         lambda: S.draw(squares("red"), [(5, 0)], background=np.zeros((48, 96, 3)))),
        ("unknown object 'banana'; known: orange, apple", lambda: drawing.Item("banana")),
        ("unknown shape 'blob'; known: square, circle", lambda: drawing.Item("blob", "red")),
        ("unknown colour 'teal'; known: red, green", lambda: drawing.Item("square", "teal")),
        ("unknown task 'lines'; known: squares, shapes, objects", lambda: S.trials("lines")),
        ("unknown direction 'north'", lambda: S.swap_pairs("squares", "north", 1)),
        ("items repeat: red square, red square", lambda: S.row_of(squares("red", "red"))),
        ("2 items but 1 cells", lambda: S.draw(squares("red", "blue"), [(0, 0)])),
        ("three items, got 2", lambda: S.trial(squares("red", "blue"), "left", "squares")),
        ("fewer than 1 pairs of 'shapes' fit heldout=False",
         lambda: S.swap_pairs("shapes", "left", 1, heldout=False)),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_or_asked(words, do):
    with pytest.raises(ValueError, match=words) as error:
        do()
    assert "\n" not in str(error.value)


def test_names_that_moved_work_for_one_more_release_and_say_where_they_are():
    with pytest.warns(DeprecationWarning, match="stimuli.Item is now dualmech.drawing.Item"):
        assert S.Item is drawing.Item
    with pytest.warns(DeprecationWarning, match="is now dualmech.scenes.scene_trials"):
        assert S.scene_trials is scenes.scene_trials
    assert not hasattr(S, "Itme")
