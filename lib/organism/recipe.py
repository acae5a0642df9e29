"""The recipe of the shipped models: an encoder, then projector and language model, then shapes.

Stage 1 trains the vision tower on labels that the drawing program knows.  Objective "local"
(``mini-local``) asks every token for the item under it.  Objective "caption" (``mini``) asks for
that first, and then a small decoder writes captions from a random quarter of the tower's output
(`captions`): they are all it is told of order.  Objective "layout" also asks every token for its
own row and column, and a random quarter of the tokens for the layout (which item is left-most,
top-most, ...).  Stage 2 freezes the tower and trains projector and language model on packed
dialogues, with more or fewer of the samples told of below.  Stage 3 goes on from there with half
of the coloured items in random outlines, and averages its weights.

Stage 1 and the end of stage 2 also show colours and shapes that have no name, so that a colour is
learned apart from the shapes that had it: without them encoder and language model misread the
pairs that they have never seen.  Stage 3 is for what these leave: it asks for the colour of
outlines that never come twice, and names them by their colour alone ("the red shape").

Two kinds of sample in stages 2 and 3 make each of the two mechanisms unreliable in its turn:

- *shuffled*: a random quarter of the visual tokens is shown, at random positions, so the
  language model's own positions say nothing and only the encoder's signal can help;
- *tiled*: nine tiles of the image are encoded one by one, each in the centre of a white
  canvas, as high-resolution VLMs encode tiles; the encoder's signal then says nothing
  about the layout and only the language model's own positions can help.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

OBJECTIVES = ("layout", "local", "caption")
STAGES = {"encoder": 1, "caption": 6, "lm": 2, "refine": 4}  # part of the seed of each batch


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the code and library versions."""

    objective: str = "layout"
    seed: int = 0
    encoder_steps: int = 1200
    read_only: int = 300  # first steps in which the layout is read but does not train the tower
    encoder_batch: int = 128
    caption_steps: int = 0  # of the objective "caption", after the encoder's steps of labels
    captions: int = 3  # captions written about each image
    seen: float = 1.0  # share of the tower's tokens that the captions are written from
    backwards: float = 0.0  # share of captions that begin at the right or at the bottom
    lm_steps: int = 2000
    polish: int = 300  # more steps of stage 2, with unnamed colours and shapes, at a lower rate
    refine: int = 600  # steps of stage 3
    settle: int = 400  # first steps of stage 3, whose weights do not enter the average
    lm_batch: int = 64
    layers: int = 8  # of the language model
    gap: int = 0  # most positions that a sample's questions stand further from the image
    natural: float = 1.0  # share of images on textured ground that are asked where things are
    lr: float = 1.5e-3
    shuffled: float = 0.2  # share of batches with a shuffled quarter of the visual tokens
    tiled: float = 0.25  # share of the other samples whose tokens come from tiles
    unnamed: float = 0.25  # share of items with an unnamed colour, and as many with a shape
    recoloured: float = 0.15  # in stage 3: share of coloured items with an unnamed colour
    outlined: float = 0.5  # in stage 3: share of coloured items with a random outline

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise ValueError(
                f"unknown objective {self.objective!r}; known: {', '.join(OBJECTIVES)}"
            )
        if (self.objective == "caption") != (self.caption_steps > 0):
            raise ValueError("objective 'caption', and no other, needs caption_steps")
        if not 0 < self.seen <= 1:
            raise ValueError(f"seen is a share of the tokens above 0 and up to 1, not {self.seen}")
        if self.settle >= self.refine > 0:
            raise ValueError(f"no step of {self.refine} is left to average after {self.settle}")

    @classmethod
    def of(cls, objective: str, seed: int = 0) -> Recipe:
        """The full recipe of an objective."""
        if objective != "caption":
            return cls(objective, seed)
        return cls(objective, seed, caption_steps=1500, seen=0.25, tiled=0.04, lm_steps=1700)

    @property
    def towers(self) -> list[str]:
        """The stages that train the tower; the language model reads that of the last."""
        return ["encoder", "caption"] if self.objective == "caption" else ["encoder"]

    @property
    def steps(self) -> dict[str, int]:
        """Steps of each stage, in order."""
        told = {"encoder": self.encoder_steps, "caption": self.caption_steps}
        more = {"lm": self.lm_steps + self.polish, "refine": self.refine}
        return {name: told[name] for name in self.towers} | more


def _schedule(step: int, steps: int, warm: int) -> float:
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def rate(recipe: Recipe, stage: str, step: int) -> float:
    """Learning rate of a step, in parts of the recipe's."""
    if stage in ("encoder", "caption"):
        return _schedule(step, recipe.steps[stage], 100)
    if stage == "refine":  # constant: the average of the weights takes the place of a decay
        return 0.4 * min(1, (step + 1) / 20)
    if step < recipe.lm_steps:
        return _schedule(step, recipe.lm_steps, 200)
    return 0.3 * _schedule(step - recipe.lm_steps, recipe.polish, 20)


def toy(recipe: Recipe) -> Recipe:
    """The recipe cut down to a few steps, to see that everything runs."""
    captions = min(3, recipe.caption_steps)
    return replace(recipe, encoder_steps=4, encoder_batch=8, caption_steps=captions, lm_steps=3,
                   polish=1, refine=2, settle=1, lm_batch=8)  # fmt: skip
