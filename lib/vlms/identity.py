"""What a model is, as a hash: its weights, and whatever else makes its answers (kept results)."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from functools import partial

import torch

LIBRARIES = {"transformers", "accelerate", "bitsandbytes"}  # which set hooks of their own
SMALL = 2**26  # bytes of weights that are hashed again each time


def fingerprint(model: torch.nn.Module) -> str:
    """Hash of the weights, 16 hex digits.

    Large weights are hashed again only where PyTorch counts a change to a tensor: what is written
    past its count, through `.data`, goes unseen.
    """
    weights = sorted(model.state_dict(keep_vars=True).items())
    counted = [(key, id(value), value._version) for key, value in weights]
    small = sum(value.nbytes for _, value in weights) <= SMALL
    known = vars(model).get("_fingerprint", (None, ""))
    if small or known[0] != counted:
        digest = hashlib.sha256()
        for key, value in weights:
            digest.update(key.encode())
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().data)
        known = model._fingerprint = (counted, digest.hexdigest()[:16])
    return known[1]


def checkpoint(vlm) -> str:
    """Hash of what makes an answer of an input besides code: weights, configuration, tokenizer,
    chat template and image processor."""
    words = json.loads(vlm.tokenizer.backend_tokenizer.to_str())
    words |= {"padding": None, "truncation": None}  # what the last call asked for
    parts = [words, vlm.image_processor.to_dict(), vlm.chat_template, vlm.fingerprint]
    told = vlm.model.config.to_json_string() + json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def hooked(model: torch.nn.Module) -> bool:
    """Whether anyone but the libraries that made a model set a hook on it, or wrote a `forward` of
    its modules, be it put on one of them, on a class, or in a module of its own."""
    for module in model.modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if not {_package(hook) for hook in hooks} <= LIBRARIES:
            return True
        if _package(module.forward) not in LIBRARIES | {"torch"}:
            return True
    return False


def _package(function) -> str:
    """The package that a function was written in, whatever `functools.wraps` says of it."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)  # of a bound method
    told = getattr(function, "__globals__", {}).get("__name__") or type(function).__module__
    return told.partition(".")[0]


def facts(vlm) -> dict:
    """What made a measurement: model and its hash, versions, device and precision.

    Also the hub commit ("revision") and the quantisation ("quantised"), if the model has them.
    """
    import transformers

    on_gpu = vlm.device.type == "cuda"
    device = torch.cuda.get_device_name(vlm.device) if on_gpu else platform.machine()
    told = {
        "model": vlm.name,
        "weights": vlm.fingerprint,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": f"{vlm.device.type} ({device}, {torch.get_num_threads()} threads)",
        "precision": str(vlm.model.dtype).removeprefix("torch."),
    }
    known = {"revision": vlm.revision, "quantised": vlm.quantised}
    return told | {name: fact for name, fact in known.items() if fact}


class timer:
    """`with timer() as t: ...` then `t.seconds`."""

    def __enter__(self):
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began
