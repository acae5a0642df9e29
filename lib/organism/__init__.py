"""How the shipped models were made (chapters 13 and 15): `python -m organism train OUT`.

`recipe` says what decides the weights; `model` builds them, `items`, `images`, `captions`,
`dialogues` and `stream` draw the data, `trainer` runs the stages, `card` ships what came out;
`measure` tells who leads and what the encoder spread, `grid` trains and measures a plan of runs,
`seeds`, `towers` and `comparison` measure other runs; `findings` has the paper's claims, model by
model.
"""

from .captions import Captioner, caption, caption_loss, encoded
from .card import DOES, ship
from .dialogues import TEXT, dialogue, pack, place_of
from .images import KINDS, QUERIES, TINTS, heldout, layout_labels, token_labels, training_stimulus
from .items import ALIKE, UNNAMED, TrainingItem, likeness, random_polygon, shaded
from .model import GRID, PX, SPECIAL, TOKENS, build_model, build_processor
from .recipe import OBJECTIVES, STAGES, Recipe, rate, toy
from .stream import Stream, as_tiles, from_tiles, normalise
from .trainer import Heads, Trainer, dialogue_mask, snapshot, train

__all__ = [
    "ALIKE", "DOES", "GRID", "KINDS", "OBJECTIVES", "PX", "QUERIES", "SPECIAL", "STAGES",
    "TEXT", "TINTS", "TOKENS", "UNNAMED", "Captioner", "Heads", "Recipe", "Stream", "Trainer",
    "TrainingItem", "as_tiles", "build_model", "build_processor", "caption", "caption_loss",
    "dialogue", "dialogue_mask", "encoded", "from_tiles", "heldout", "layout_labels",
    "likeness", "normalise", "pack", "place_of", "random_polygon", "rate", "shaded", "ship",
    "snapshot", "token_labels", "toy", "train", "training_stimulus",
]  # fmt: skip
