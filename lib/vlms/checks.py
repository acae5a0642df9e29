"""`check_model`: does the library see a model as Hugging Face and PyTorch do? (2 and 14)."""

from __future__ import annotations

import numpy as np
import torch

from .families import ModelError
from .loading import SHIPPED, load
from .machine import free_memory
from .model import VLM

QUESTIONS = ("How many items are there?", "The color is ")  # of unequal length: one row is padded


def _noise(vlm: VLM, n: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (n, *vlm.canvas, 3)).astype(np.uint8)


def _gap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, in standard deviations of the logits."""
    return float((a - b).abs().max() / b.std())


def _grid(vlm: VLM) -> tuple[bool, str]:
    """Change one pixel cell: the visual token of its row and column moves most, for its size.

    Some trained encoders have a few large tokens that any change moves, so one cell may miss.
    """
    (rows, cols), px, bases = vlm.grid, vlm.px, _noise(vlm, 3, 1)
    corners = [(0, 0), (0, cols - 1), (rows - 1, 0), (rows - 1, cols - 1)]
    cells = [*corners, (rows // 2, cols // 3), (rows - 2, cols - 1)]
    images = list(bases)
    for r, c in cells:
        for base in bases:
            image = base.copy()
            cell = image[r * px : (r + 1) * px, c * px : (c + 1) * px]
            cell[:] = np.where(cell.mean() > 127, 0, 255)
            images.append(image)
    states = vlm.visual(images, batch=8)
    if states.shape[1] != rows * cols:
        return False, f"{states.shape[1]} visual tokens for {rows * cols} cells"
    states = states.view(len(cells) + 1, 3, rows * cols, -1)
    moved = (states[1:] - states[0]).norm(dim=-1) / states[0].norm(dim=-1)
    most = moved.mean(1).argmax(-1).tolist()
    hits = sum(found == r * cols + c for found, (r, c) in zip(most, cells, strict=True))
    return hits >= len(cells) - 1, f"{hits} of {len(cells)} cells on a {rows} x {cols} grid"


def _image(vlm: VLM, logits) -> tuple[bool, str]:
    """Another image gives other visual tokens and other logits; the padding changes nothing."""
    other = vlm.prepare(list(_noise(vlm, 2, 2)), list(QUESTIONS))
    moved = _gap(vlm.logits(other), logits)
    alone = vlm.logits(vlm.prepare(list(_noise(vlm, 2, 0))[1:], list(QUESTIONS[1:])))
    padded = _gap(alone, logits[1:])
    exact = vlm.model.dtype == torch.float32 and not vlm.quantised
    limit = 0.01 if exact else 0.2 * moved  # a few digits fewer move the logits a little, too
    return (
        moved > 0.01 and padded < limit,
        f"image moves logits by {moved:.2f} sd, padding by {padded:.1e}",
    )


def _edit(vlm: VLM, x: dict, states: dict, logits) -> tuple[bool, str]:
    """An edit through the library is a PyTorch hook on the Hugging Face layer."""
    slot, at = vlm.n_layers // 2, vlm.positions(x)[:, 0]
    rows = torch.arange(len(at), device=at.device)
    push = torch.randn(vlm.d_model, generator=torch.Generator().manual_seed(0))
    push = push.to(states[slot]) * states[slot].std()

    def fn(resid):
        resid = resid.clone()
        resid[rows, at] += push
        resid[rows, -1] += push
        return resid

    def hook(_module, args, kwargs):
        if args:
            return (fn(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": fn(kwargs["hidden_states"])}

    layer = vlm.language_model.layers[slot]
    with layer.register_forward_pre_hook(hook, with_kwargs=True):
        plain = _plain(vlm, x)
    ours = vlm.logits(x, [(slot, fn)])
    gap, effect = _gap(ours, plain), _gap(ours, logits)
    return (
        gap == 0 and effect > 0.01,
        f"difference {gap:.1e} sd, effect {effect:.2f} sd at slot {slot}",
    )


@torch.no_grad()
def _plain(vlm: VLM, x: dict) -> torch.Tensor:
    """The Hugging Face model's own logits at the last position."""
    return vlm.model(**x, use_cache=False, logits_to_keep=1).logits[:, -1].float()


def _suffix(vlm: VLM, x: dict, run, states: dict) -> tuple[bool, str]:
    """The model gone on with from each slot gives the Hugging Face model's logits."""
    plain = _plain(vlm, x)
    worst = max(_gap(run.finish(resid, slot), plain) for slot, resid in states.items())
    return worst < 1e-3, f"largest difference {worst:.1e} sd over {vlm.n_slots} slots"


def _bridge(vlm: VLM, x: dict, logits) -> tuple[bool | None, str]:
    """The TransformerLens bridge gives the Hugging Face model's logits."""
    size = sum(p.numel() * p.element_size() for p in vlm.model.parameters())
    if size > 0.9 * free_memory(vlm.device):
        return None, "skipped: a second copy of the weights does not fit"
    try:
        bridge = vlm.bridge
    except ModelError as error:
        return None, f"skipped: {error}"
    with torch.no_grad():
        rest = {k: v for k, v in x.items() if k != "input_ids"}
        found = bridge(x["input_ids"], **rest)[:, -1].float()
    gap = _gap(found, logits)
    limit = 1e-3 if vlm.model.dtype == torch.float32 else 0.2  # eager against fused attention
    return gap < limit, f"difference {gap:.1e} sd"


def check_model(model: VLM | str, bridge: bool = True, **how) -> list[dict]:
    """Test on random images what every experiment relies on; rows of check, ok and detail.

    model: a loaded VLM, or a name to `load` with `how`.  bridge: build the TransformerLens bridge,
    too, which needs memory for a second copy of the weights; a check that cannot be made has ok
    None.  A model of random weights passes: what it has learned is not tested.  Raises ModelError
    that names the checks that fail.
    """
    vlm = model if isinstance(model, VLM) else load(model, **how)
    x = vlm.prepare(list(_noise(vlm, 2, 0)), list(QUESTIONS))
    run = vlm.start(x)
    states = dict(run.walk())
    logits = run.finish(states[vlm.n_layers], vlm.n_layers)
    found = {
        "tokens lie where the grid says": _grid(vlm),
        "the image reaches the answer": _image(vlm, logits),
        "an edit is a PyTorch hook": _edit(vlm, x, states, logits),
        "a suffix is the whole model": _suffix(vlm, x, run, states),
    }
    if bridge:
        found["the bridge is the model"] = _bridge(vlm, x, logits)
    rows = [{"check": name, "ok": ok, "detail": told} for name, (ok, told) in found.items()]
    failed = [f"{row['check']} ({row['detail']})" for row in rows if row["ok"] is False]
    if failed:
        raise ModelError(f"{vlm.name} fails: {'; '.join(failed)}")
    return rows


def greeting(vlm: VLM) -> str:
    """What a chapter says of the model it works on: that it is loaded and, if it is not one of
    the shipped ones, which the book's own tests check, that it passes the self-test.

    Raises ModelError that names the checks that fail.
    """
    if vlm.name in SHIPPED:
        return f"`{vlm.name}` is loaded."
    passed = [row["check"] for row in check_model(vlm, bridge=False)]
    told = f"`{vlm.name}` is loaded and passes the self-test: {'; '.join(passed)}."
    return f"{told} What it has learned is not tested: random weights pass, too."
