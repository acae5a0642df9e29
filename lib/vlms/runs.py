"""`Run`: one pass through a model, held slot by slot (behind every sweep; chapters 1 to 3, speed).

A *slot* is a point of the language model's residual stream: slot s is the input of layer s, the
last slot the output of the last layer (before the final norm).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass
class Run:
    """A pass of a Hugging Face VLM, held at slot 0: `start` makes one, then `walk` and `finish`.

    The model itself prepares what its layers are called with: embedded text, encoded images, masks,
    rotary angles.  `start` calls it with every layer stood in for by a function that notes its
    arguments and hands its input on, so that no layer is computed.  `walk` and `finish` then call
    the real layers with these arguments.  So a run is the model's own arithmetic, to the last bit.
    """

    model: torch.nn.Module
    resid: Float[Tensor, "n seq d_model"]
    _calls: list[dict] = field(repr=False)  # the other arguments of each layer
    # what enters between layers, by slot: Qwen3-VL's DeepStack adds visual features there
    _added: dict[int, Float[Tensor, "n seq d_model"]] = field(repr=False)
    _copies: int = 0  # of the last position, each with an answer of its own

    @property
    def layers(self) -> torch.nn.ModuleList:
        return self.model.get_decoder().layers

    @torch.no_grad()
    def walk(self, slots: Iterable[int] | None = None) -> Iterator[tuple[int, Tensor]]:
        """(slot, residual there) from below, for the slots asked for (all, if not given).

        Each is computed when it is asked for, and no layer above the last one.  A residual that is
        changed in place is what the walk goes on from.
        """
        wanted = set(range(len(self.layers) + 1) if slots is None else slots)
        resid = self.resid.clone()
        for slot in range(max(wanted, default=-1) + 1):
            resid = self._step(resid, slot - 1) if slot else resid
            if slot in wanted:
                yield slot, resid

    @torch.no_grad()
    def finish(
        self, resid: Float[Tensor, "n seq d_model"] | None = None, slot: int = 0
    ) -> Float[Tensor, ...]:
        """Logits (n, vocab) of the run gone on with from a residual at a slot, or from its start.

        Equal to a whole pass with that residual, without the layers below.
        """
        resid = self.resid if resid is None else resid
        for layer in range(slot, len(self.layers)):
            resid = self._step(resid, layer)
        # sliced after the norm, as in a whole pass: the same bits
        last = self.model.get_decoder().norm(resid)[:, -(self._copies or 1) :]
        logits = self.model.get_output_embeddings()(last).float()
        return logits if self._copies else logits[:, 0]

    @torch.no_grad()
    def _step(self, resid: Tensor, layer: int) -> Tensor:
        out = self.layers[layer](resid, **self._calls[layer])
        out = out[0] if isinstance(out, tuple) else out
        return out + self._added[layer + 1] if layer + 1 in self._added else out


@torch.no_grad()
def start(
    model: torch.nn.Module,
    x: dict[str, Tensor],
    visual: tuple[Int[Tensor, "n tokens"], Float[Tensor, "n tokens d_model"]] | None = None,
) -> Run:
    """A run of prepared inputs, at slot 0.

    visual: where the visual tokens stand, and the states to begin with there instead of the
    encoder's own.  The encoder's layers are then left out, and so is what DeepStack would add: it
    would bring back what is replaced.
    """
    decoder, entered, calls, added = model.get_decoder(), [], [], {}

    def note(hidden_states, **rest):
        entered.append(hidden_states)
        calls.append(rest)
        return hidden_states

    def deepstack(_module, _args, kwargs):
        for layer, features in enumerate(kwargs.get("deepstack_visual_embeds") or ()):
            empty = torch.zeros_like(kwargs["inputs_embeds"])
            mask = kwargs["visual_pos_masks"]
            added[layer + 1] = decoder._deepstack_process(empty, mask, features)

    skipped = () if visual is None else _encoder_layers(model)
    with _standing_in(decoder.layers, note), _standing_in(skipped, lambda states, *_, **__: states):
        with decoder.register_forward_pre_hook(deepstack, with_kwargs=True):
            model(**x, use_cache=False, logits_to_keep=1)
    resid = entered[0]
    if visual is not None:
        added.clear()
        at, states = visual
        resid = resid.clone()
        resid[torch.arange(len(at), device=at.device)[:, None], at] = states.to(resid)
    return Run(model, resid, calls, added)


def fan_out(run: Run, copies: int) -> Run:
    """A run with copies of its last position behind it, each with an answer of its own.

    A copy sees the prompt before the last position, and itself; nothing sees a copy.  So each
    goes through the layers as the last position does, and many edits of the last token need one
    pass.
    """
    seq, device = run.resid.shape[1], run.resid.device
    rows = torch.tensor([*range(seq), *[seq - 1] * copies], device=device)
    masks, calls = {}, []
    for call in run._calls:
        mask = call["attention_mask"]
        if id(mask) not in masks:
            masks[id(mask)] = _fanned_mask(mask, rows)
        angles = tuple(part.index_select(-2, rows) for part in call["position_embeddings"])
        more = {"attention_mask": masks[id(mask)], "position_embeddings": angles}
        if call.get("position_ids") is not None:
            more["position_ids"] = call["position_ids"].index_select(-1, rows)
        calls.append(call | more)
    added = {slot: _without_copies(states, copies) for slot, states in run._added.items()}
    return Run(run.model, run.resid.index_select(1, rows), calls, added, copies)


def _without_copies(states: Tensor, copies: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, 0, copies))


def _fanned_mask(mask: Tensor | None, rows: Tensor) -> Bool[Tensor, "n 1 rows rows"]:
    """The attention mask (n, 1, seq, seq; True where seen; None for a causal one) with copies."""
    seq = int(rows.max()) + 1
    if mask is None:
        mask = torch.ones(1, 1, seq, seq, dtype=torch.bool, device=rows.device).tril()
    if mask.dtype != torch.bool:
        raise ValueError("last-token copies need the attention masks of torch's own attention")
    fanned = mask.index_select(-2, rows).index_select(-1, rows)
    fanned[..., seq - 1 :] = False  # columns: the last position and its copies
    last = torch.arange(seq - 1, len(rows), device=rows.device)
    fanned[..., last, last] = mask[..., -1:, -1]
    return fanned


def _encoder_layers(model: torch.nn.Module) -> torch.nn.ModuleList | tuple:
    """The vision encoder's layers; none for a class that does not say where its encoder is."""
    encoder = model.get_encoder(modality="image")
    if encoder is model:
        return ()
    return max((m for m in encoder.modules() if isinstance(m, torch.nn.ModuleList)), key=len)


@contextmanager
def _standing_in(layers, forward):
    """Calls `forward` in place of each layer."""
    before = [vars(layer).get("forward") for layer in layers]  # quantised layers have their own
    try:
        for layer in layers:
            layer.forward = forward
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own
