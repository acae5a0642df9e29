"""Random cases for the engine of the page, and what plain PyTorch says to them."""

from __future__ import annotations

import shutil

import numpy as np
import torch

from live import library as lib
from live import pack
from live.plain import forward, positions, residuals

OPS = ("none", "copy", "own", "removed", "steer", "amplify", "constant", "null", "turned")


def scene_of(stimulus, task: str, px: int) -> dict:
    """A stimulus as the page describes it."""
    items = [
        {"name": item.name, "row": top // px, "col": left // px}
        for item, (left, top, *_) in zip(stimulus.items, stimulus.boxes.tolist(), strict=True)
    ]
    return {"task": task, "items": items}


def random_trial(vlm, rng):
    """A row, column or free layout of one to four items and a question about one of them."""
    task = lib.TASKS[rng.randint(3)]
    pool, shape = pack.pool(task), vlm.geometry
    direction = lib.DIRECTIONS[rng.randint(4)]
    if rng.random_sample() < 0.5:
        items = tuple(pool[i] for i in rng.permutation(len(pool))[:3])
        one = lib.trial(items, direction, task, shape)
        return one.stimulus, one.question, task
    items = tuple(pool[i] for i in rng.permutation(len(pool))[: rng.randint(1, 5)])
    cells = [tuple(map(int, rng.randint(0, shape.grid - shape.item + 1, 2))) for _ in items]
    stimulus = lib.draw(items, cells, shape, full=task == "squares")
    noun = "square" if task == "squares" else "shape"
    return stimulus, lib.question_for(items[0], direction, noun), task


def make(vlm, n: int, seed: int = 0) -> list[dict]:
    """n cases: {clean, edits} as the page's lab takes them, `expected` logits, and the answer."""
    rng = np.random.RandomState(seed)
    return [_case(vlm, rng, OPS[k % len(OPS)]) for k in range(n)]


def _case(vlm, rng, op: str) -> dict:
    stimulus, question, task = random_trial(vlm, rng)
    other, asked, other_task = random_trial(vlm, rng)
    slot = int(rng.randint(vlm.n_slots))
    tokens, d = vlm.grid[0] * vlm.grid[1], vlm.d_model
    some = rng.permutation(tokens)[: rng.randint(1, tokens)]
    run = {"view": {"scene": scene_of(stimulus, task, vlm.px)}, "question": question}
    theirs = {"view": {"scene": scene_of(other, other_task, vlm.px)}, "question": asked}
    visual, edits, change = None, [], None
    states = {}  # of the other run, by slot
    if op in ("copy", "own", "removed"):
        of = rng.permutation(tokens)[: len(some)]
        if op == "copy" and rng.random_sample() < 0.5:  # the last tokens, too
            some, of = np.append(some, [-1, -2]), np.append(of, [-1, -2])
        edit = {"slot": slot, "op": "copy", "to": some.tolist(), "of": of.tolist()}
        if op == "removed" and rng.random_sample() < 0.5:
            run["view"]["removed"] = True
            trial = lib.Trial(stimulus, question, "", "", task)
            visual = lib.ordering_removed(vlm, [trial])[0]
        if op != "own":
            edit["from"] = theirs
            states = residuals(vlm, other, asked)
        edits = [edit]

        def change(resid, at):
            rows = [at[t] if t >= 0 else t for t in some]
            source = states.get(slot, resid.clone())
            place = positions(vlm, other, asked) if op != "own" else at
            resid[0, rows] = source[0, [place[t] if t >= 0 else t for t in of]]

    elif op == "steer":
        vector = rng.standard_normal(d).astype(np.float32)
        edits = [{"slot": slot, "op": "steer", "at": some.tolist(), "vector": vector.tolist()}]

        def change(resid, at):
            resid[0, at[some]] += torch.from_numpy(vector)

    elif op in ("amplify", "constant", "null"):
        how = "constant" if op == "constant" else "projection"
        w = rng.standard_normal((2, d)).astype(np.float32) / 3
        alpha = float(rng.uniform(-1, 4))
        edit = {"slot": slot, "op": "amplify", "at": some.tolist(), "directions": w.tolist()}
        edits = [edit | {"alpha": alpha, "how": how}]
        seed = int(rng.randint(1000))
        if op == "null":
            generator = torch.Generator().manual_seed(seed)
            edits[0]["null"] = torch.randn(d, generator=generator).tolist()

        def change(resid, at):
            before = resid[0, at[some]]
            after = lib.amplified(before, torch.from_numpy(w), alpha, how)
            resid[0, at[some]] = lib.matched_null(before, after, seed) if op == "null" else after

    elif op == "turned":
        order = rng.permutation(tokens)
        run["view"]["order"] = order.tolist()

        def change(resid, at):
            resid[0, at] = resid[0, at[order]]

        slot = 0

    logits = forward(vlm, stimulus, question, slot, change, visual)
    return {"clean": run, "edits": edits, "expected": logits, "op": op}


def asked(cases):
    return [["logits", {key: case[key] for key in ("clean", "edits")}] for case in cases]


def same(cases, found, limit=1e-4):
    """Logits within a limit of PyTorch's, and the same answer, in every case."""
    assert len(found) == len(cases)
    for case, logits in zip(cases, found, strict=True):
        assert not isinstance(logits, str), logits  # what went wrong
        expected = np.array(case["expected"])
        worst = abs(np.array(logits) - expected).max()
        assert worst < limit, f"{case['op']} differs by {worst}: {case['clean']}, {case['edits']}"
        assert np.argmax(logits) == expected.argmax(), case["op"]


def with_page_weights(vlm, folder):
    """The model with the weights that the page has, those of its file in float16."""
    shutil.copytree(vlm.path, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").write_bytes(pack.weights(vlm))
    return lib.load(folder, device="cpu", precision="float32")
