"""Checks of chapter 2: tokens of a box, patches of an image, a norm."""

from __future__ import annotations

import numpy as np
import torch

from . import done, exercise, require


@exercise("2.1")
def find(answer):
    px, cols, start = 8, 6, 5
    at = torch.arange(4 * cols) + start  # four rows of six tokens, after five of text
    box = (16, 8, 32, 24)  # columns 2 and 3 of rows 1 and 2
    given = done(answer(box, px, cols, at), "find(box, px, cols, at)")
    found = torch.as_tensor(given).reshape(-1).tolist()
    numbers = [8, 9, 14, 15]
    wanted = [n + start for n in numbers]
    require(
        found != numbers,
        f"{numbers} are the tokens' numbers in the grid; where they stand in the sequence, `at` "
        "says",
    )
    turned = [at[col * cols + row].item() for row in (1, 2) for col in (2, 3)]
    require(
        sorted(found) != sorted(turned), "rows and columns are exchanged: the box begins with left"
    )
    require(
        len(found) < 9,
        f"it gives {len(found)} tokens: the box ends where the next token begins",
    )
    require(
        len(found) == 4,
        f"it gives {len(found)} positions, and the box covers two rows and two columns: 4 tokens",
    )
    require(found == sorted(found), f"the order is {found}: give the positions in increasing order")
    require(found == wanted, f"it gives {found}; the box covers {wanted}")


@exercise("2.2")
def patches(answer):
    px, rows, cols = 2, 2, 3
    pixels = np.arange(rows * px * cols * px * 3).reshape(rows * px, cols * px, 3)
    wanted = [
        pixels[row * px : (row + 1) * px, col * px : (col + 1) * px]
        for row in range(rows)
        for col in range(cols)
    ]
    made = np.asarray(done(answer(pixels.copy(), px), "patches(pixels, px)"))
    shape = (rows * cols, px, px, 3)
    require(
        made.shape == shape,
        f"it gave shape {made.shape} for an image of {pixels.shape} and px = {px}; it should "
        f"be {shape}",
    )
    require(
        not np.array_equal(made, pixels.reshape(shape)),
        "a bare reshape cuts the rows of pixels in pieces: a patch has pixels of several rows. "
        "Split both axes first, then bring the two px together",
    )
    down = [wanted[row * cols + col] for col in range(cols) for row in range(rows)]
    require(
        not np.array_equal(made, down),
        "the patches come column by column: the grid counts row by row",
    )
    require(
        not np.array_equal(made, np.swapaxes(wanted, 1, 2)),
        "each patch is mirrored along its diagonal: rows of pixels stay rows",
    )
    require(
        np.array_equal(made, wanted),
        "the shape is right and the pixels are not: patch 0 is the upper left corner, patch 1 "
        "stands to its right",
    )


@exercise("2.3")
def norm(answer):
    generator = torch.Generator().manual_seed(0)
    states = 3 * torch.randn(4, 8, generator=generator) + 1
    weight, eps = torch.rand(8, generator=generator) + 0.5, 0.1
    made = done(answer(states.clone(), weight, eps), "norm(states, weight, eps)")
    require(
        getattr(made, "shape", None) == states.shape,
        f"it gave shape {tuple(getattr(made, 'shape', ()))}, not that of the states, "
        f"{tuple(states.shape)}",
    )

    def wrong(size):
        return torch.allclose(made, states / size * weight, atol=1e-5)

    square = states.pow(2)
    root = (square.mean(-1, keepdim=True) + eps).sqrt()
    require(
        not wrong((square.mean() + eps).sqrt()),
        "one number for all states: the mean runs over the last axis, each state has its own",
    )
    require(
        not wrong((square.mean(0, keepdim=True) + eps).sqrt()),
        "the mean runs over the states, axis 0: it should run over the components, the last axis",
    )
    require(
        not wrong((square.sum(-1, keepdim=True) + eps).sqrt()),
        "you divide by the root of the sum: take the mean of the squares",
    )
    require(not wrong(root**2), "you divide by the mean of the squares: take its root")
    require(
        not wrong(square.mean(-1, keepdim=True).sqrt()),
        "eps is missing: add it to the mean, so that a state of zeros does no harm",
    )
    require(not torch.allclose(made, states / root, atol=1e-5), "multiply by the weight in the end")
    centred = states - states.mean(-1, keepdim=True)
    require(
        not torch.allclose(
            made, centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight, atol=1e-5
        ),
        "you subtract the mean first: that is LayerNorm; this one does not centre",
    )
    require(wrong(root), f"the first number should be {(states / root * weight)[0, 0]:.4f}")
