"""What an encoder spread over its tokens, and what a checkpoint does with it: one table.

`spread` probes a tower's output, before the projector: what object tokens and empty background
say of places and of colours.  `measure` adds the rows of `report` that show who leads (last
token, swaps, removal), so that doses, objectives and seeds stand in one table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from dualmech import interventions as I
from dualmech import load, probes
from dualmech import report as R
from dualmech import stimuli as S
from dualmech.drawing import SQUARE_COLOURS
from dualmech.metrics import mean, share
from dualmech.regions import strip, tokens_of

from .model import build_model, build_processor
from .stream import normalise
from .trainer import snapshot

# --- what the encoder spread ----------------------------------------------------------


def tower_states(
    tower: torch.nn.Module, stimuli: list[S.Stimulus]
) -> Float[Tensor, "n tokens width"]:
    """A vision tower's output for images of its own size, as the projector reads it."""
    out = []
    with torch.no_grad():
        for k in range(0, len(stimuli), 32):
            pixels = torch.from_numpy(np.stack([s.pixels for s in stimuli[k : k + 32]]))
            x = tower.embeddings(normalise(pixels))
            out.append(tower.encoder(inputs_embeds=x).last_hidden_state)
    return torch.cat(out)


def tower_of(folder: Path) -> torch.nn.Module:
    """The vision tower of a checkpoint folder, or the last that a run has, finished or not.

    Raises ValueError for a folder without one.
    """
    heads = {"model.safetensors": "vision_tower.", "caption.safetensors": "",
             "caption.checkpoint.pt": "tower.", "encoder.safetensors": ""}  # fmt: skip
    found = next((name for name in heads if (folder / name).exists()), None)
    if found is None:
        raise ValueError(f"{folder} holds neither a checkpoint nor a run's tower")
    file, head = folder / found, heads[found]
    whole = file.suffix == ".safetensors"
    weights = load_file(file) if whole else torch.load(file, weights_only=True)["weights"]
    tower = build_model(len(build_processor().tokenizer)).model.vision_tower
    tower.load_state_dict(
        {k.removeprefix(head): v for k, v in weights.items() if k.startswith(head)}
    )
    return tower.eval()


def spread(states_of: Callable, geometry: S.Geometry = S.MINI, steps: int = 500) -> list[dict]:
    """Rows of linear probes that learn on trios training showed and are read on held-out ones.

    states_of(stimuli) -> (n, tokens, width); steps: of each probe's fit.  On Squares, per axis: the
    place of an object's tokens; the same probe on each strip's background; the own colour of an
    object's tokens; from the background of the far strip, the colours of the first and of the last
    item, and which colours there are (share of tokens that name all three, in any order).  Who
    knows these and not their order is right on the first or last in 1/3; who also knows the
    item of the token's own strip, in 1/2.
    """
    return [row for axis in probes.AXES for row in _spread(states_of, geometry, steps, axis)]


def _spread(states_of, geometry, steps, axis) -> list[dict]:
    direction, vertical, grid = probes.AXES[axis][0], axis == "vertical", geometry.grid
    shown, held = (
        [t.stimulus for t in S.trials("squares", geometry, heldout) if t.direction == direction]
        for heldout in (False, True)
    )
    taught, asked = states_of(shown), states_of(held)
    tints, truth = (
        torch.tensor([[SQUARE_COLOURS.index(i.colour) for i in s.items] for s in some])
        for some in (shown, held)
    )
    owned = [tokens_of(box, geometry.px, grid) for box in shown[0].boxes]  # in every image
    bands = [np.setdiff1d(strip(c, vertical, grid), np.concatenate(owned)) for c in range(3)]
    rows, classes = [], len(SQUARE_COLOURS)

    def fit(groups, classes=classes):
        """A probe, from groups of tokens with a label per image."""
        x = torch.cat([taught[:, tokens].flatten(0, 1) for tokens, _ in groups])
        y = torch.cat([label.repeat_interleave(len(tokens)) for tokens, label in groups])
        return probes.fit(x, y, classes, steps, lr=1e-2)

    def row(what, *right):
        """Share of tokens read right, per image, whose tokens are not independent."""
        per_image = torch.cat(right, 1).float().mean(1).numpy()
        rows.append(R._row("h", what, axis, mean(per_image)))

    place = fit([(owned[c], torch.full((len(shown),), c)) for c in range(3)], 3)
    for what, where in (("object tokens", owned), ("own strip's background", bands)):
        row(f"place, {what}", *(place(asked[:, where[c]]).argmax(-1) == c for c in range(3)))
    own = fit([(owned[c], tints[:, c]) for c in range(3)])
    read = [own(asked[:, owned[c]]).argmax(-1) == truth[:, c, None] for c in range(3)]
    row("own colour, object tokens", *read)
    for what, item, far in (("first", 0, 2), ("last", 2, 0)):
        read = fit([(bands[far], tints[:, item])])(asked[:, bands[far]]).argmax(-1)
        row(f"{what} item's colour, far background", read == truth[:, item, None])
        row(f"{what} item's: one of the three named", (read[..., None] == truth[:, None]).any(-1))
    outer = np.concatenate([bands[0], bands[2]])
    there = [fit([(outer, (tints == k).any(1).long())], 2)(asked[:, outer]) for k in range(classes)]
    named = torch.stack(there)[..., 1].topk(3, 0).indices.sort(0).values  # (3, n, tokens)
    row("which three colours, background", (named == truth.T.sort(0).values[..., None]).all(0))
    return rows


# --- who leads ------------------------------------------------------------------------


def removal_pooled(vlm, heldout: bool = True) -> list[dict]:
    """Accuracy with the encoder's ordering removed, tasks pooled, per direction and over all."""
    found = []
    for task in S.TASKS:
        trials = S.trials(task, vlm.geometry, heldout=heldout)
        if not trials:  # every trio of the shapes has a pair that training never shows
            continue
        answers = I.answers(vlm, trials, visual=I.ordering_removed)
        found += [(t.direction, a == t.answer, a == t.candidates[1])
                  for t, a in zip(trials, answers, strict=True)]  # fmt: skip
    where = "held out" if heldout else "shown"
    rows = []
    for d in (*S.DIRECTIONS, "all"):
        right = [ok for of, ok, _ in found if d in (of, "all")]
        rows.append(R._row("i", f"ordering removed, all tasks, {where}", d, share(right),
                           "low > 0.5", "value < 0.85"))  # fmt: skip
    named = [reference for _, _, reference in found]
    rows.append(
        R._row("i", f"reference named instead, {where}", "all", share(named), "value < 0.05")
    )
    return rows


def measure(folder: Path, parts: str = "ahefi", pairs: int = R.PAIRS) -> list[dict]:
    """Rows of a checkpoint folder, or of a run amid stage 2, which is written out first.

    parts: as in `report`, but h is `spread`, which a run that has only a tower yet can be asked
    for, too.  Part i is asked of trios that training showed, too: a dose is chosen on these.
    """
    if set(parts) == {"h"}:
        tower = tower_of(folder)
        return spread(lambda some: tower_states(tower, some))
    if (folder / "lm.checkpoint.pt").exists():
        folder = snapshot(folder)
    vlm, rows = load(folder, device="cpu"), []
    for part in parts:
        if part == "h":
            rows += spread(lambda some: tower_states(vlm.model.model.vision_tower, some))
            continue
        rows += R.report(vlm, part, pairs)
        if part == "i":
            rows += removal_pooled(vlm, True) + removal_pooled(vlm, False)
    return rows


def columns(found: dict[str, list[dict]]) -> str:
    """Rows of several checkpoints side by side, as text: value and interval of each."""
    keys = list(dict.fromkeys((r["part"], r["what"], r["where"], r.get("slot") if r["part"] in "fg"
                               else None) for rows in found.values() for r in rows))  # fmt: skip
    lines = [f"{'':66}" + "".join(f"{name:>22}" for name in found)]
    for part, what, where, slot in keys:
        label = f"{part} {what[:48]} {where}" + ("" if slot is None else f" [slot {slot}]")
        line = f"{label:66}"
        for rows in found.values():
            cell = ""
            for r in rows:
                same = (r["part"], r["what"], r["where"]) == (part, what, where)
                if same and slot in (None, r.get("slot")):
                    at = f" @{r['slot']}" if slot is None and "slot" in r else ""
                    cell = f"{r['value']:.2f} [{r['low']:.2f},{r['high']:.2f}]{at}"
            line += f"{cell:>22}"
        lines.append(line)
    return "\n".join(lines)


def save(path: Path, found) -> None:
    """Write rows, or rows by name, as JSON."""
    path.write_text(json.dumps(found, indent=1) + "\n")
