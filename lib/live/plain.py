"""The Hugging Face model with hooks, and nothing else: for still pictures and for tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch

from . import library as lib


def inputs(vlm: lib.VLM, stimulus, question: str) -> dict[str, torch.Tensor]:
    """Model inputs of one image and one question."""
    return vlm.prepare([stimulus.image], [question])


def positions(vlm: lib.VLM, stimulus, question: str) -> torch.Tensor:
    """Where the visual tokens stand in the prompt, in raster order: (tokens,)."""
    ids = inputs(vlm, stimulus, question)["input_ids"][0]
    return (ids == vlm.model.config.image_token_id).nonzero()[:, 0]


def points(vlm: lib.VLM) -> list[torch.nn.Module]:
    """The modules whose input is the residual stream at slots 0, 1, ..."""
    return [*vlm.model.get_decoder().layers, vlm.model.get_decoder().norm]


@torch.no_grad()
def forward(
    vlm: lib.VLM,
    stimulus,
    question: str,
    slot: int = 0,
    change: Callable | None = None,
    visual: torch.Tensor | None = None,
) -> list[float]:
    """Logits of the last position; change(resid (1, seq, d), at) edits the residual at a slot in
    place, `at` being where the visual tokens stand.  visual: other visual tokens (tokens, d)."""
    at = positions(vlm, stimulus, question)

    def hook(do):
        def changed(_module, args, kwargs):
            resid = (args[0] if args else kwargs["hidden_states"]).clone()
            do(resid, at)
            if args:
                return (resid, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": resid}

        return changed

    def replace(resid, at):
        resid[0, at] = visual

    with ExitStack() as hooks:
        for where, do in ((0, visual is not None and replace), (slot, change)):
            if do:
                handle = points(vlm)[where].register_forward_pre_hook(hook(do), with_kwargs=True)
                hooks.callback(handle.remove)
        return vlm.model(**inputs(vlm, stimulus, question)).logits[0, -1].tolist()


@torch.no_grad()
def residuals(vlm: lib.VLM, stimulus, question: str) -> dict[int, torch.Tensor]:
    """The residual (1, seq, d) at every slot."""
    found = {}
    with ExitStack() as hooks:
        for slot, module in enumerate(points(vlm)):

            def note(_module, args, kwargs, slot=slot):
                found[slot] = (args[0] if args else kwargs["hidden_states"]).clone()

            hooks.callback(module.register_forward_pre_hook(note, with_kwargs=True).remove)
        vlm.model(**inputs(vlm, stimulus, question))
    return found
