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


def pairs_of(swap):
    return [*zip(swap.target.tolist(), swap.source.tolist(), strict=True)]


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


# --- strips --------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "widths"), [(12, (4, 4, 4)), (16, (5, 6, 5)), (15, (5, 5, 5))])
@pytest.mark.parametrize("vertical", [False, True])
def test_strips_tile_the_grid(grid, widths, vertical):
    cells = np.arange(grid * grid).reshape(grid, grid)
    bands = np.split(cells, np.cumsum(widths)[:2], axis=0 if vertical else 1)
    for place, band in enumerate(bands):
        assert R.strip(place, vertical, grid).tolist() == band.ravel().tolist()


def test_strips_of_a_grid_that_is_no_square():
    """0 to 3, 4 to 7, ... of 5 rows of 4; 0 to 6, 7 to 13, ... of 3 rows of 7."""
    assert [R.strip(p, False, (5, 4)).tolist() for p in range(3)] == [
        [0, 4, 8, 12, 16], [1, 2, 5, 6, 9, 10, 13, 14, 17, 18], [3, 7, 11, 15, 19]]  # fmt: skip
    assert [R.strip(p, True, (5, 4)).tolist() for p in range(3)] == [
        [0, 1, 2, 3], [*range(4, 16)], [16, 17, 18, 19]]  # fmt: skip
    assert R.strip(2, False, (3, 7)).tolist() == [5, 6, 12, 13, 19, 20]


# --- swaps ---------------------------------------------------------------------------


@pytest.mark.parametrize(("vertical", "tokens"), [(False, ROW), (True, COLUMN)])
def test_object_swap_by_hand(vertical, tokens):
    swap = R.swap("object", three(vertical), 12, vertical)
    assert swap.target.tolist() == tokens[0] + tokens[2]
    assert swap.source.tolist() == tokens[2] + tokens[0]


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize(("family", "strip", "item", "background"),
                         [("mini", 96, 8, 96 - 8), ("qwen2-vl", 96, 8, 96 - 8),
                          ("gemma3", 160, 18, 160 - 24),  # both items' tokens and their mirrors'
                          ("pixtral", 150, 8, 150 - 16)])  # fmt: skip
def test_counts_and_that_the_background_has_no_token_of_an_item(
    family, strip, item, background, vertical
):
    grid, stimulus = GEOMETRIES[family].grid, three(vertical, family)
    swaps = {r: R.swap(r, stimulus, grid, vertical, seed=5) for r in R.REGIONS}
    for swap in swaps.values():
        for tokens in (swap.target, swap.source):
            assert len(set(tokens.tolist())) == len(swap.target), "a state is copied twice"
            assert tokens.min() >= 0 and tokens.max() < grid * grid
    assert {region: len(swap.target) for region, swap in swaps.items()} == {
        "strip": strip, "object": item, "background": background, "scattered": strip,
        "random": strip, "whole": grid * grid, "layout": grid * grid - item * 3 // 2,
    }  # fmt: skip
    white = (pixels_by_token(stimulus, grid) == 255).all(1)
    for region in ("background", "layout"):
        assert white[swaps[region].target].all() and white[swaps[region].source].all()
    assert set(pairs_of(swaps["background"])) < set(pairs_of(swaps["strip"]))


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
    pairs = {r: pairs_of(R.swap(r, picture, (3, 5), False)) for r in R.REGIONS}
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
        ("place is 0, 1 or 2, not -1", lambda: R.strip(-1, False, 12)),
        ("place is 0, 1 or 2, not 3", lambda: R.strip(3, False, 12)),
        ("three strips need 3 tokens side by side, the grid has 2",
         lambda: R.strip(0, True, (2, 9))),
        (r"box \(6, 6, 10, 10\) covers no token of 8 px by 25% or more",
         lambda: R.tokens_of(np.array([6, 6, 10, 10]), 8, 12)),
    ],
)  # fmt: skip
def test_errors(words, do):
    with pytest.raises(ValueError, match=f"^{words}$"):
        do()
