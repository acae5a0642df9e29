"""What an encoder spread over its tokens, and what a checkpoint does with it: one table.

`spread` probes a tower's output, before the projector: what object tokens and empty background
say of places and of colours.  `measure` adds the rows of `report` that show who leads (last
token, swaps, removal), so that doses, objectives and seeds stand in one table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from dualmech import edits as E
from dualmech import probes
from dualmech import report as R
from dualmech import stimuli as S
from dualmech.drawing import SQUARE_COLOURS
from dualmech.metrics import mean, share
from dualmech.regions import strip, tokens_of
from dualmech.scenes import SceneStyle, scene
from vlms.loading import load

from .model import GRID, PX, build_model, build_processor
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


def tower_spread(tower: torch.nn.Module) -> list[dict]:
    """Rows of `spread` of a tower's output."""
    return spread(lambda stimuli: tower_states(tower, stimuli))


def tower_of(folder: Path) -> torch.nn.Module:
    """The vision tower of a checkpoint folder, or the last that a run has, finished or not; or that
    of a stage's file, such as encoder.safetensors.

    Raises ValueError for a folder without one.
    """
    folder, names = (folder.parent, [folder.name]) if folder.is_file() else (folder, None)
    heads = {"model.safetensors": "vision_tower.", "caption.safetensors": "",
             "caption.checkpoint.pt": "tower.", "encoder.safetensors": ""}  # fmt: skip
    found = next((name for name in names or heads if (folder / name).exists()), None)
    if found is None:
        raise ValueError(f"{folder} holds neither a checkpoint nor a run's tower")
    file, head = folder / found, heads.get(found, "")
    whole = file.suffix == ".safetensors"
    weights = load_file(file) if whole else torch.load(file, weights_only=True)["weights"]
    tower = build_model(len(build_processor().tokenizer)).model.vision_tower
    tower.load_state_dict(
        {k.removeprefix(head): v for k, v in weights.items() if k.startswith(head)}
    )
    return tower.eval()


def rows_of_squares(vertical: bool, heldout: bool, draws: int = 3) -> list[S.Stimulus]:
    """Each ordered trio of colours, `draws` times: squares in a row or column, whose places and
    sizes vary, on a faint texture with noise.

    On the task's own images, which differ in nothing but colour, probes read the order from
    the background of an *untrained* tower: whatever differs a little from place to place tells it.
    """
    style = SceneStyle(layout="column" if vertical else "row", size=(14, 18), spacing=(26, 34),
                       jitter=10, texture=15.0, light=0.1, shadow=0.0, contrast=(0.9, 1.0),
                       clutter=(0, 0), occlusion=0.0, noise=4.0)  # fmt: skip
    rng = np.random.RandomState([21, vertical, heldout])
    trios = [t for t in permutations(S.task_items("squares"), 3) if S.is_heldout(t) == heldout]
    return [scene(rng, style, trio, full=True) for trio in trios for _ in range(draws)]


def spread(states_of: Callable, steps: int = 400) -> list[dict]:
    """Rows of linear probes that learn on trios training showed and are read on held-out ones.

    states_of(stimuli) -> (n, tokens, width); steps: of each probe's fit.  Per axis: the place of an
    object's tokens; the same probe on each third's background; the own colour of an object's
    tokens; from the background of the far third, the colours of the first and of the last item; and
    which colours there are (share of tokens that name all three, in any order).  Who knows these
    and not their order is right on the first or last in 1/3; who also knows the item of the token's
    own third, in 1/2.  Beside these numbers belong those of an untrained tower.
    """
    return [row for axis in probes.AXES for row in _spread(states_of, steps, axis)]


def _spread(states_of, steps, axis) -> list[dict]:
    vertical, rows, colours = axis == "vertical", [], len(SQUARE_COLOURS)
    part = {}
    for name in ("shown", "held"):
        some = rows_of_squares(vertical, heldout=name == "held")
        tints = [[SQUARE_COLOURS.index(i.colour) for i in s.items] for s in some]
        part[name] = states_of(some), torch.tensor(tints), [_regions(s, vertical) for s in some]

    def read(name, region):
        """States (tokens, width) of a region ("object" or "free", place); each token's image."""
        states, _, regions = part[name]
        at = [r[region] for r in regions]
        image = torch.tensor([k for k, tokens in enumerate(at) for _ in tokens])
        return states[image, torch.from_numpy(np.concatenate(at))], image

    def fit(groups, classes=colours):
        """A probe, from (region, label of each image) groups."""
        found = [(*read("shown", region), label) for region, label in groups]
        y = torch.cat([label[image] for _, image, label in found])
        return probes.fit(torch.cat([x for x, *_ in found]), y, classes, steps, lr=1e-2)

    def row(what, groups):
        """Share of tokens read right, per image: its tokens are not independent."""
        right, image = (torch.cat(parts) for parts in zip(*groups, strict=True))
        n = len(part["held"][1])
        share = torch.zeros(n).index_add(0, image, right.float()) / image.bincount(minlength=n)
        rows.append(R._row("h", what, axis, mean(share.numpy())))

    tints, truth = part["shown"][1], part["held"][1]
    place = fit([(("object", c), torch.full((len(tints),), c)) for c in range(3)], 3)
    for what, region in (("object tokens", "object"), ("own third's background", "free")):
        told = [read("held", (region, c)) for c in range(3)]
        row(f"place, {what}",
            [(place(x).argmax(-1) == c, image) for c, (x, image) in enumerate(told)])  # fmt: skip
    own = fit([(("object", c), tints[:, c]) for c in range(3)])
    told = [read("held", ("object", c)) for c in range(3)]
    row("own colour, object tokens",
        [(own(x).argmax(-1) == truth[image, c], image) for c, (x, image) in enumerate(told)],
    )  # fmt: skip
    for what, item, far in (("first", 0, 2), ("last", 2, 0)):
        probe, (x, image) = fit([(("free", far), tints[:, item])]), read("held", ("free", far))
        named = probe(x).argmax(-1)
        row(f"{what} item's colour, far background", [(named == truth[image, item], image)])
        one = (named[:, None] == truth[image]).any(-1)
        row(f"{what} item's: one of the three named", [(one, image)])
    x, image = read("held", ("free", 0))
    there = [fit([(("free", 0), (tints == k).any(1).long())], 2)(x)[:, 1] for k in range(colours)]
    named = torch.stack(there, 1).topk(3).indices.sort(-1).values
    row(
        "which three colours, background",
        [((named == truth[image].sort(-1).values).all(-1), image)],
    )
    return rows


def _regions(s: S.Stimulus, vertical: bool) -> dict[tuple[str, int], np.ndarray]:
    """Tokens of each item, and of each third of the image without any that an item touches."""
    touched = np.concatenate([tokens_of(box, PX, GRID, share=0.01) for box in s.boxes])
    found = {("object", c): tokens_of(s.boxes[c], PX, GRID, share=0.5) for c in range(3)}
    free = {("free", c): np.setdiff1d(strip(c, vertical, GRID), touched) for c in range(3)}
    return found | free


# --- who leads ------------------------------------------------------------------------


def removal_pooled(vlm, heldout: bool = True) -> list[dict]:
    """Accuracy with the encoder's ordering removed, tasks pooled, per direction and over all."""
    found = []
    for task in S.TASKS:
        trials = S.trials(task, vlm.geometry, heldout=heldout)
        if not trials:  # every trio of the shapes has a pair that training never shows
            continue
        answers = E.answers(vlm, trials, visual=E.ordering_removed)
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
        return tower_spread(tower_of(folder))
    if (folder / "lm.checkpoint.pt").exists():
        folder = snapshot(folder)
    vlm, rows = load(folder, device="cpu"), []
    for part in parts:
        if part == "h":
            rows += tower_spread(vlm.model.model.vision_tower)
            continue
        rows += R.report(vlm, part, pairs)
        if part == "i":
            rows += removal_pooled(vlm, True) + removal_pooled(vlm, False)
    return rows


def by_direction(rows: list[dict], what: str) -> dict[str, dict]:
    """{direction: the row of `what`}, at slot 0 where it was measured at several."""
    return {r["where"]: r for r in rows
            if r["what"] == what and r["where"] in S.DIRECTIONS and not r.get("slot")}  # fmt: skip


def over_directions(rows: list[dict], what: str) -> dict[str, float]:
    """Mean of these rows, {"value", "low", "high", "n"}: the mean ends of their intervals, which is
    as wide as if all directions erred to the same side, and n of all.
    """
    some = by_direction(rows, what).values()
    stats = {key: np.mean([r[key] for r in some]) for key in ("value", "low", "high")}
    return stats | {"n": sum(r["n"] for r in some)}


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
