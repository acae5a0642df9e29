"""What the library is compared with: a Hugging Face model, PyTorch hooks, and whole passes."""

from contextlib import ExitStack

import numpy as np
import torch


@torch.no_grad()
def hooked(model, x, edits=None, enter=None):
    """(logits (n, vocab), {slot: residual}) of one pass, edited on the way: {slot: fn}.

    enter: keyword arguments of the language model -> those that take their place.
    """
    lm, kept, edits = model.get_decoder(), {}, edits or {}

    def at(slot):
        def hook(_module, args, how):
            resid = args[0] if args else how["hidden_states"]
            kept[slot] = resid.clone()
            resid = edits.get(slot, lambda resid: resid)(resid.clone())
            return ((resid, *args[1:]), how) if args else (args, how | {"hidden_states": resid})

        return hook

    with ExitStack() as hooks:
        for slot, module in enumerate([*lm.layers, lm.norm]):
            hooks.enter_context(module.register_forward_pre_hook(at(slot), with_kwargs=True))
        if enter:
            begin = lambda _module, args, how: (args, how | enter(how))  # noqa: E731
            hooks.enter_context(lm.register_forward_pre_hook(begin, with_kwargs=True))
        logits = model(**x, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits, kept


def naive(vlm, trials, words, write, slots, source=None, visual=None):
    """(slots, n, words): one whole pass for each trial and slot.

    write(resid, theirs, k, at, slot) edits the residual of trial k alone, in place; theirs: that of
    its source; at: where the visual tokens stand in each of the two.
    """

    def inputs(trial):
        x = vlm.prepare([trial.stimulus.image], [trial.question])
        at = vlm.positions(x)[0]

        def enter(how):
            embeds = how["inputs_embeds"].clone()
            embeds[0, at] = visual(vlm, [trial])[0].to(embeds)
            return {"inputs_embeds": embeds} | {k: None for k in how if "deepstack" in k}

        return x, at, visual and enter

    p = np.zeros((len(slots), len(trials), len(words[0])))
    for k, trial in enumerate(trials):
        x, at, enter = inputs(trial)
        other, other_at, its = inputs(source[k]) if source else (x, at, enter)
        theirs = hooked(vlm.model, other, enter=its)[1]
        for i, slot in enumerate(slots):

            def edit(resid, k=k, slot=slot, theirs=theirs, both=(at, other_at)):
                write(resid, theirs[slot], k, both, slot)
                return resid

            logits = hooked(vlm.model, x, {slot: edit}, enter)[0]
            p[i, k] = vlm.probabilities(logits, [words[k]])[0]
    return p
