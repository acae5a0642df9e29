"""Regions and swaps, against token indices counted by hand on the 12 x 12 grid."""

import numpy as np
import pytest

from dualmech import drawing
from dualmech import regions as R
from dualmech import stimuli as S
from vlms.canvas import GEOMETRIES

RED, GREEN, BLUE = (drawing.Item("square", c) for c in ("red", "green", "blue"))
# Items of 2 x 2 tokens start at 1, 5 and 9 along their axis and at 5 across it.
ROW = [[61, 62, 73, 74], [65, 66, 77, 78], [69, 70, 81, 82]]
COLUMN = [[17, 18, 29, 30], [65, 66, 77, 78], [113, 114, 125, 126]]


def three(vertical=False, family="mini"):
    return S.row_of((RED, GREEN, BLUE), vertical, GEOMETRIES[family], full=True)


def pixels_by_token(stimulus, grid):
    px = len(stimulus.pixels) // grid
    tokens = stimulus.pixels.reshape(grid, px, grid, px, 3).swapaxes(1, 2)
    return tokens.reshape(grid * grid, -1)


# --- tokens --------------------------------------------------------------------------


@pytest.mark.parametrize(("vertical", "expected"), [(False, ROW), (True, COLUMN)])
@pytest.mark.parametrize("family", ["mini", "qwen2-vl"])
def test_tokens_of_the_three_places(vertical, expected, family):
    px = GEOMETRIES[family].px
    found = [R.tokens_of(box, px, 12).tolist() for box in three(vertical, family).boxes]
    assert found == expected


def test_a_token_counts_from_a_quarter_of_its_area():
    assert R.tokens_of((4, 4, 12, 12), 8, 12).tolist() == [0, 1, 12, 13]  # a quarter of each
    assert R.tokens_of((5, 4, 12, 12), 8, 12).tolist() == [1, 13]  # 3/16 of the left ones
    assert R.tokens_of((5, 4, 12, 12), 8, 12, share=3 / 16).tolist() == [0, 1, 12, 13]
    assert R.tokens_of((0, 0, 8, 8), 8, 12, share=1).tolist() == [0]
    assert R.tokens_of((88, 88, 96, 96), 8, 12).tolist() == [143]


def test_a_box_too_small_for_any_token():
    with pytest.raises(ValueError, match=r"^box \(6, 6, 10, 10\) covers no token of 8 px by 25%"):
        R.tokens_of(np.array([6, 6, 10, 10]), 8, 12)


# --- strips --------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "widths"), [(12, (4, 4, 4)), (16, (5, 6, 5)), (15, (5, 5, 5))])
def test_strips_tile_the_grid(grid, widths):
    for vertical in (False, True):
        bands = [R.strip(place, vertical, grid) for place in range(3)]
        assert [len(b) for b in bands] == [w * grid for w in widths]
        assert sorted(np.concatenate(bands)) == list(range(grid * grid))
        for band, start in zip(bands, np.cumsum((0, *widths)), strict=False):
            along, across = (band // grid, band % grid) if vertical else (band % grid, band // grid)
            width = len(band) // grid
            assert set(along) == set(range(start, start + width)) and set(across) == set(
                range(grid)
            )


def test_strips_by_hand():
    assert R.strip(0, False, 12)[:9].tolist() == [0, 1, 2, 3, 12, 13, 14, 15, 24]
    assert R.strip(2, False, 12)[:5].tolist() == [8, 9, 10, 11, 20]
    assert R.strip(1, True, 12).tolist() == list(range(48, 96))


def test_strips_of_a_grid_that_is_no_square():
    """0 to 3, 4 to 7, ... of 5 rows of 4; 0 to 6, 7 to 13, ... of 3 rows of 7."""
    assert [R.strip(p, False, (5, 4)).tolist() for p in range(3)] == [
        [0, 4, 8, 12, 16], [1, 2, 5, 6, 9, 10, 13, 14, 17, 18], [3, 7, 11, 15, 19]]  # fmt: skip
    assert [R.strip(p, True, (5, 4)).tolist() for p in range(3)] == [
        [0, 1, 2, 3], [*range(4, 16)], [16, 17, 18, 19]]  # fmt: skip
    assert R.strip(2, False, (3, 7)).tolist() == [5, 6, 12, 13, 19, 20]
    with pytest.raises(ValueError, match="^three strips need 3 tokens side by side, .* has 2$"):
        R.strip(0, True, (2, 9))


@pytest.mark.parametrize("place", [-1, 3])
def test_a_fourth_place(place):
    with pytest.raises(ValueError, match=f"^place is 0, 1 or 2, not {place}$"):
        R.strip(place, False, 12)


# --- swaps ---------------------------------------------------------------------------


@pytest.mark.parametrize(("vertical", "tokens"), [(False, ROW), (True, COLUMN)])
def test_object_swap_by_hand(vertical, tokens):
    swap = R.swap("object", three(vertical), 12, vertical)
    assert swap.target.tolist() == tokens[0] + tokens[2]
    assert swap.source.tolist() == tokens[2] + tokens[0]


def test_strip_swap_by_hand():
    swap = R.swap("strip", three(), 12, False)
    pairs = dict(zip(swap.target.tolist(), swap.source.tolist(), strict=True))
    assert len(pairs) == 96
    for row in range(12):
        for col in (0, 1, 2, 3):
            assert pairs[12 * row + col] == 12 * row + col + 8
            assert pairs[12 * row + col + 8] == 12 * row + col


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize(("family", "strip", "item"),
                         [("mini", 96, 8), ("qwen2-vl", 96, 8), ("gemma3", 160, 18),
                          ("pixtral", 150, 8)])  # fmt: skip
def test_counts(family, strip, item, vertical):
    grid, stimulus = GEOMETRIES[family].grid, three(vertical, family)
    n = {}
    for region in R.REGIONS:
        swap = R.swap(region, stimulus, grid, vertical, seed=5)
        n[region] = len(swap.target)
        assert len(swap.source) == n[region] == len(set(swap.target.tolist()))
        assert len(set(swap.source.tolist())) == n[region], "a state is copied twice"
        assert swap.target.min() >= 0 and swap.target.max() < grid * grid
        assert swap.source.min() >= 0 and swap.source.max() < grid * grid
    assert (n["object"], n["strip"], n["random"], n["whole"]) == (item, strip, strip, grid * grid)
    assert n["scattered"] == strip
    assert n["background"] < strip


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("family", GEOMETRIES)
def test_background_has_no_token_of_an_item(family, vertical):
    geometry, stimulus = GEOMETRIES[family], three(vertical, family)
    swap = R.swap("background", stimulus, geometry.grid, vertical)
    white = (pixels_by_token(stimulus, geometry.grid) == 255).all(1)
    assert white[swap.target].all() and white[swap.source].all()
    strip = R.swap("strip", stimulus, geometry.grid, vertical)
    pairs = set(zip(strip.target.tolist(), strip.source.tolist(), strict=True))
    assert set(zip(swap.target.tolist(), swap.source.tolist(), strict=True)) < pairs
    if geometry.grid == 12:  # both items lie alike in their bands, so nothing else is lost
        assert len(swap.target) == 96 - 8


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("region", ["strip", "object", "background", "scattered", "whole"])
def test_a_swap_never_changes_what_a_token_shows(region, vertical):
    clean = S.row_of((RED, GREEN, BLUE), vertical, full=True)
    mirror = S.row_of((BLUE, GREEN, RED), vertical, full=True)
    swap = R.swap(region, clean, 12, vertical)
    here, there = pixels_by_token(clean, 12)[swap.target], pixels_by_token(mirror, 12)[swap.source]
    assert np.array_equal(here, there)
    if region != "background":
        assert len(np.unique(here, axis=0)) >= 2, "items are among them"


def test_swaps_and_cells_by_hand_on_a_grid_that_is_no_square():
    """A picture of 3 x 5 tokens of 4 pixels: items of one token in the middle row, 0, 2 and 4."""
    boxes = np.array([(x, 4, x + 4, 8) for x in (0, 8, 16)])
    picture = S.Stimulus(np.zeros((12, 20, 3), np.uint8), (), boxes, None)
    assert [tokens.tolist() for tokens in R.owned(picture, (3, 5))] == [[5], [7], [9]]
    found = {r: R.swap(r, picture, (3, 5), False) for r in R.REGIONS}
    pairs = {r: [*zip(s.target.tolist(), s.source.tolist(), strict=True)] for r, s in found.items()}
    assert pairs["object"] == [(5, 9), (9, 5)]
    assert pairs["strip"] == [(0, 4), (5, 9), (10, 14), (4, 0), (9, 5), (14, 10)]
    assert pairs["background"] == [(0, 4), (10, 14), (4, 0), (14, 10)]
    assert pairs["whole"] == [(5 * r + c, 5 * r + 4 - c) for r in range(3) for c in range(5)]
    assert pairs["layout"] == [(t, t) for t in range(15) if t not in (5, 7, 9)]
    assert set(pairs["scattered"]) < set(pairs["whole"]) and len(pairs["scattered"]) == 6
    assert len(pairs["random"]) == 6 and all(0 <= t < 15 for pair in pairs["random"] for t in pair)
    assert R.swap("whole", picture, (3, 5), True).source.tolist()[:5] == [10, 11, 12, 13, 14]
    for where, tokens in (("all", range(15)), ("object", (5, 7, 9)),
                          ("background", set(range(15)) - {5, 7, 9})):  # fmt: skip
        assert set(np.flatnonzero(R.cells(where, picture, (3, 5)))) == set(tokens)


def test_random_swaps_come_from_their_seed():
    first, again, other = (R.swap("random", three(), 12, False, seed=s) for s in (1, 1, 2))
    mirrored = R.swap("scattered", three(), 12, False, seed=1)
    assert np.array_equal(mirrored.target, first.target)
    assert np.array_equal(first.target, again.target)
    assert np.array_equal(first.source, again.source)
    assert not np.array_equal(first.target, other.target)
    assert not np.array_equal(first.target, first.source)


@pytest.mark.parametrize(
    ("words", "do"),
    [
        ("unknown region 'corner'; known: strip, object, background, scattered, random, "
         "whole, layout", lambda: R.swap("corner", three(), 12, False)),
        ("2 targets but 1 sources", lambda: R.Swap(np.array([1, 2]), np.array([3]))),
        ("a token is written twice", lambda: R.Swap(np.array([1, 1]), np.array([2, 3]))),
    ],
)  # fmt: skip
def test_errors(words, do):
    with pytest.raises(ValueError, match=f"^{words}$"):
        do()


def test_the_layout_swap_keeps_every_background_token_in_its_place():
    trial = S.trials("squares")[0]
    made = R.swap("layout", trial.stimulus, 12, vertical=False)
    covered = {t for box in trial.stimulus.boxes for t in R.tokens_of(box, 8, 12).tolist()}
    assert np.array_equal(made.target, made.source)
    assert set(made.target.tolist()) == set(range(144)) - covered and len(covered) == 12
