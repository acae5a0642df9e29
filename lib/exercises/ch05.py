"""Checks of chapter 5: a null for a vector, and edits that move an ordering."""

from __future__ import annotations

import numpy as np
import torch

from dualmech import edits, regions

from . import choose, done, exercise, require
from .examples import WIDTH, batch, edited, require_visual

SLOT, STRENGTH = 3, 2


@exercise("5.1")
def shuffled(answer):
    generator = torch.Generator().manual_seed(0)
    slots, trios, width = 2, 3, 4
    place = torch.randn(slots, 1, width, generator=generator)
    content = torch.randn(slots, trios, 3, width, generator=generator)
    both = torch.stack([content, content.flip(2)], 2).flatten(1, 2)  # each trio, then its mirror
    states = both.clone()
    states[:, :, 0] += place / 2
    states[:, :, 2] -= place / 2
    made = torch.as_tensor(done(answer(states.clone()), "shuffled(states)"))
    require(
        made.shape == (slots, width),
        f"it has shape {tuple(made.shape)}, not (slots, d_model) = {(slots, width)}: average over "
        "the images, axis 1, and no other axis",
    )
    gap = both[:, :, 0] - both[:, :, 2]
    right = (gap[:, 0::2] - gap[:, 1::2]).mean(1) / 2
    gap = states[:, :, 0] - states[:, :, 2]
    require(
        not torch.allclose(made.abs(), gap.mean(1).abs(), atol=1e-5),
        "this is the ordering vector itself: places are still in it, and contents have cancelled. "
        "Turn the sign in every second image",
    )
    halves = torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]
    require(
        not any(torch.allclose(made, sign * (gap * halves).mean(1), atol=1e-5) for sign in (1, -1)),
        "you turned the sign of the second half of the images: turn it in every second one, so "
        "that each trio and its mirror image part",
    )
    along = torch.cosine_similarity(made, right, dim=-1).abs()
    longer = float(made.norm() / right.norm())
    require(
        bool((along > 1 - 1e-4).all()),
        "places cancel, or not, in another way than asked: take first minus last item, and turn "
        "the sign in every second image",
    )
    require(
        abs(longer - 1) < 1e-4,
        f"the direction is right, but it is {longer:.3g} times as long: average over all images",
    )


def _moved(answer, call: str, direction: str):
    """(b, what was added (n, tokens, WIDTH), the vector at its slot) of a reader's edit."""
    resid, b = batch(direction, n=3, slot=SLOT)
    vectors = torch.randn(9, WIDTH, generator=torch.Generator().manual_seed(1))
    edit = done(answer(vectors), call)
    require(callable(edit), f"{call} gave {type(edit).__name__}; it should give an edit(resid, b)")
    after, touched = edited(edit, resid, b, "write into resid, and return it")
    require_visual(touched, b)
    row = torch.arange(len(resid))[:, None]
    return b, (after - resid)[row, b.at], vectors


def _is(added: torch.Tensor, vector: torch.Tensor) -> bool:
    return torch.allclose(added, vector.expand_as(added), atol=1e-5)


def _sized(added: torch.Tensor, vectors: torch.Tensor, sign: int, where: str) -> None:
    """Raises `Wrong` unless sign * STRENGTH * the slot's vector was added everywhere."""
    right = sign * STRENGTH * vectors[SLOT]
    require(
        not any(
            _is(added, factor * vectors[s])
            for s in range(9) if s != SLOT for factor in (-2, -1, 1, 2)
        ),
        "it takes the vector of another slot: vectors[b.slot] is the one of this slot",
    )  # fmt: skip
    require(not _is(added, -right), f"the sign on {where} is turned round")
    require(
        not _is(added, right / STRENGTH),
        f"on {where} the vector has strength one, and the others in the figure have {STRENGTH}",
    )
    require(_is(added, right), f"on {where} it should add {sign * STRENGTH:+d} x vectors[b.slot]")


def _owned(b, k: int, place: int) -> np.ndarray:
    return regions.tokens_of(b.trials[k].stimulus.boxes[place], b.vlm.px, b.vlm.grid[1])


@exercise("5.2")
def move_first(answer):
    for direction in ("left", "above"):
        b, added, vectors = _moved(answer, "move_first(vectors)", direction)
        for k in range(len(b.trials)):
            first, last = _owned(b, k, 0), _owned(b, k, 2)
            touched = added[k].ne(0).any(-1).numpy()
            require(
                not np.array_equal(b.at[k, touched].numpy(), first),
                "tokens are no positions: b.at[k, tokens] says where they stand in the sequence",
            )
            require(
                bool(touched[first].any() or not touched[last].any()),
                "it moves the last item and leaves the first alone",
            )
            require(not touched[last].any(), "it moves the last item, too: leave that alone")
            wide = int(touched.sum())
            require(
                wide == len(first) and bool(touched[first].all()),
                f"it writes {wide} tokens in trial {k}, and the first item covers {len(first)}",
            )
            _sized(added[k, first], vectors, -1, "the first item")


@exercise("5.3")
def move_others(answer):
    for direction in ("left", "below"):
        b, added, vectors = _moved(answer, "move_others(vectors)", direction)
        drawn = []
        for k, t in enumerate(b.trials):
            touched = added[k].ne(0).any(-1).numpy()
            items = regions.cells("object", t.stimulus, b.vlm.grid)
            require(
                not (touched & items).any(),
                "it writes tokens of an item: the control is about the others",
            )
            inside = np.zeros_like(touched)
            for place, name in ((0, "first"), (2, "last")):
                band = regions.strip(place, edits.VERTICAL[direction], b.vlm.grid)
                inside[band] = True
                some, size = band[touched[band]], len(_owned(b, k, place))
                require(
                    len(some) == size,
                    f"it writes {len(some)} tokens of the {name} strip, and an item covers {size}: "
                    "a control of unequal size",
                )
                _sized(added[k, some], vectors, -1 if place == 0 else 1, f"the {name} strip")
            require(not touched[~inside].any(), "it writes tokens of the middle strip")
            drawn.append(touched)
        require(
            not all(np.array_equal(one, drawn[0]) for one in drawn),
            "all trials get the same tokens: draw anew for each, from b.index",
        )


choose("5.4", "d", {
    "a": "more reading: no cosine shows that an answer depends on the vector",
    "b": "reading again, from one token instead of many: what can be read need not be used",
    "c": "it shows use, and is worth asking for; but a vector for earlier and later in the row of "
         "tokens would pass, and that is not space",
})  # fmt: skip
