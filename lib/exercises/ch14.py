"""Checks of chapter 14: the token that a changed cell moves, and what stands for an image."""

from __future__ import annotations

import numpy as np
import torch

from . import done, exercise, require


@exercise("14.1")
def moved_most(answer):
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(12, 4, generator=generator)
    before = before / before.norm(dim=-1, keepdim=True)
    before[2] *= 50  # a huge token that any change moves
    cells = [5, 9, 0, 7]
    after = before + 0.01 * torch.randn(4, 12, 4, generator=generator)
    step = torch.randn(4, generator=generator)
    step = step / step.norm()
    after[:, 2] += 4 * step
    for k, cell in enumerate(cells):
        after[k, cell] += step
    given = done(answer(before.clone(), after.clone()), "moved_most(before, after)")
    given = np.asarray(given.tolist() if isinstance(given, torch.Tensor) else given)
    require(
        given.shape == (4,),
        f"for 4 cells it gave shape {given.shape}: one index for each cell, so the norm goes over "
        "d_model and the largest is taken over tokens",
    )
    require(
        not (given == 2).all(),
        "token 2 is huge, and moves a little whatever changes: divide by its size before",
    )
    require(
        given.dtype.kind in "iu",
        "that is how far it moved: return its index, which `argmax` gives",
    )
    far = (after - before).norm(dim=-1) / before.norm(dim=-1)
    require(
        given.tolist() != far.argmin(-1).tolist(), "that is the token that moves least, not most"
    )
    require(
        given.tolist() == cells,
        f"the tokens that moved are {cells}, and it gave {given.tolist()}",
    )


@exercise("14.2")
def expand(answer):
    told = done(answer(2, 3), "expand(2, 3)")
    require(isinstance(told, str), f"it gave {type(told).__name__}: the text, in one string")
    count = told.count("<cell>")
    require(count == 6, f"a grid of 2 x 3 has 6 visual tokens, and the text {count} of <cell>")
    require(
        told.startswith("<img>") and told.endswith("</img>"),
        "the family writes <img> before the cells and </img> after them",
    )
    require(" " not in told, "there is a space in it: to a tokenizer that is one more token")
    rows = told.removeprefix("<img>").removesuffix("</img>").split("<row>")
    require(rows[-1] != "", "there is a <row> after the last row: it stands between rows")
    require(len(rows) > 1, "there is no <row> between the two rows")
    require(
        rows != ["<cell>" * 2] * 3,
        "rows and columns are exchanged: 2 rows of 3 cells each",
    )
    require(rows == ["<cell>" * 3] * 2, f"the first row is {rows[0]!r}, of 3 cells")
    one = answer(1, 1)
    require(one == "<img><cell></img>", f"a grid of 1 x 1 is one cell, and it gave {one!r}")
