"""How a trained model is shipped: its card, its log, its versions and its hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file

from dualmech.stimuli import MINI

from .model import TOKENS
from .recipe import Recipe

CARD = """# {name}: a model organism for spatial reasoning

A LLaVA checkpoint of {params:.2f} million parameters ({layers} language-model layers, a vision
tower of {tower} layers, {tokens} visual tokens on {side} x {side} pixels), trained from random
weights on images that `dualmech.stimuli` draws. It answers questions about coloured squares,
shapes and eight small objects, in one word, from a vocabulary of {vocab} words.

- **Made by** `python -m organism train OUT --objective {objective} --seed {seed}`; the recipe, the
  logs of all stages and the versions are in `training.json`, file hashes in `hashes.json`.
- **Encoder objective** "{objective}": {does}{note}
- **Stages**: {stages}; then projector and language model; then these two again for a short
  while, with half of the coloured items in random outlines, and the mean of the weights kept.
- **Shares with real VLMs**: the Hugging Face LLaVA classes, a vision transformer trained before
  and frozen while the language model learns, a two-layer projector, raster-ordered visual tokens
  before the question in a causal language model with rotary positions.
- **Differs**: size, vocabulary and images; {taught}; samples with shuffled or
  tile-encoded visual tokens that make each of the two mechanisms unreliable in turn. A result on
  this model is a result on this model alone.
- **Asked about neighbours**: "to the left of" means the next item to the left of the item that is
  named, which may be any item of the row. (Asked for the ends of rows alone, the word of direction
  decides, and the model learns to ignore the item that the question names.)
- **Held out from training**: 30 % of the triples of colours or objects, the five non-square pairs
  of the Shapes task and 10 % of each item's places (`stimuli.heldout_combinations`).
- **Chosen by looking**: stage 3 and its mean, at the Shapes questions and the strip swap of a model
  that was taught by labels, and its length once more, at the Objects questions of this recipe when
  stage 3 had 400 steps; the share of tokens that captions are written from (a
  quarter), at the object swap of a language model on an encoder whose captions saw all of them; and
  the steps of labels, the steps of stage 2 and the share of tiled samples, at what an earlier run
  of captions did with fewer labels, more steps and more tiles. These are no clean tests of it. The
  seed was chosen before any result: 0.
- **What it can do**: `python -m dualmech report {name}` measures it. Licence: MIT.
"""
DOES = {
    "layout": "every token names the item under it and its own row and column, and a random "
    "quarter of the tokens must tell the layout.",
    "local": "every token names the item under it, and nothing else.",
    "caption": "every token names the item under it; then a decoder that is told no positions "
    "writes captions from a random quarter of the tokens, and these alone speak of order.",
}
STAGES = {"caption": "the encoder, by labels and then by captions"}
TAUGHT = {
    "layout": "an encoder taught positions and layouts by labels (real\n  ones learn them from "
    "captions)",
    "local": "an encoder taught by labels alone, which name no position",
    "caption": "an encoder taught what is under each token by labels\n  before it sees captions",
}


def ship(out: Path, to: Path) -> Path:
    """Copy a trained model to a data folder with its card, log, versions and hashes."""
    recipe = json.loads((out / "recipe.json").read_text())
    to.mkdir(parents=True, exist_ok=True)
    for file in sorted((out / "model").iterdir()):
        shutil.copyfile(file, to / file.name)
    logs = {}
    for stage in Recipe(**recipe).steps:
        lines = (out / f"{stage}.jsonl").read_text().splitlines()
        logs[stage] = [json.loads(line) for line in lines]
    told = {"recipe": recipe, "log": logs} | json.loads((out / "made.json").read_text())
    (to / "training.json").write_text(json.dumps(told, indent=1) + "\n")
    config = json.loads((to / "config.json").read_text())
    count = sum(v.numel() for v in load_file(to / "model.safetensors").values())
    card = CARD.format(
        name=to.name,
        params=count / 1e6,
        layers=config["text_config"]["num_hidden_layers"],
        tower=config["vision_config"]["num_hidden_layers"],
        tokens=TOKENS,
        side=MINI.side,
        vocab=config["text_config"]["vocab_size"],
        objective=recipe["objective"],
        seed=recipe["seed"],
        does=DOES[recipe["objective"]],
        stages=STAGES.get(recipe["objective"], "the encoder"),
        note=told.get("note", ""),
        taught=TAUGHT[recipe["objective"]],
    )
    (to / "README.md").write_text(card)
    files = [f for f in sorted(to.iterdir()) if f.name != "hashes.json"]
    hashes = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (to / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
    return to
