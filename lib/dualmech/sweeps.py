"""Long measurements in chunks: shown, kept by content, and within the memory there is.

A chunk's result is written as soon as it is known, under a name made of everything that decides
it: the weights and the rest of the checkpoint, the code and its versions, the inputs and the
settings.  So a run that was stopped goes on where it was, a second run is quick, and a result can
never be stale.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .machine import free_memory, in_batches

# Modules that show or keep what was measured, and decide nothing of it.
SHOWING = ("__main__", "figures", "machine", "paper", "record")

# Bytes of residual, about what a core's cache holds: the sweeps of `bookbuild.bench` took a fifth
# longer in batches of 24 and more on a CPU with 1 MiB of it.
CACHE = 5 * 2**18


def cache_dir() -> Path:
    """Where chunks are kept: $DUALMECH_CACHE, or `.cache/dualmech` in the home folder."""
    return Path(os.environ.get("DUALMECH_CACHE", "~/.cache/dualmech")).expanduser()


@lru_cache(maxsize=1)
def code_version() -> str:
    """Hash of the modules that decide a measurement, and of the versions that it is made with."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    modules = {f.stem: f.read_text() for f in files if f.stem not in SHOWING}
    return content(modules, [metadata.version(p) for p in ("numpy", "torch", "transformers")])


def content(*parts) -> str:
    """Hash of numbers, strings, arrays, dataclasses and lists of them.

    Raises TypeError for anything whose content cannot be told, such as a lambda.
    """
    digest = hashlib.sha256()
    _feed(digest, parts)
    return digest.hexdigest()[:24]


def _feed(digest, part) -> None:
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu()
        part = (part.float() if part.dtype == torch.bfloat16 else part).numpy()
    if isinstance(part, np.ndarray):
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    elif part is None or isinstance(part, str | int | float | np.generic):
        digest.update(f"{type(part).__name__}:{part!r};".encode())
    elif is_dataclass(part):
        _feed(digest, [type(part).__name__, *(getattr(part, f.name) for f in fields(part))])
    elif isinstance(part, dict):
        _feed(digest, list(part.items()))
    elif isinstance(part, list | tuple | range):
        digest.update(f"({len(part)}".encode())
        for one in part:
            _feed(digest, one)
    elif inspect.isfunction(part) and _ours(part):
        digest.update(f"{part.__module__}.{part.__qualname__}".encode())
    else:
        raise TypeError(f"cannot tell the content of {part!r}")


def _ours(function) -> bool:
    """Whether `code_version` covers a function, so that its name tells it."""
    package, _, module = function.__module__.partition(".")
    named = "<" not in function.__qualname__
    return package == "dualmech" and module not in SHOWING and named


def _shape(vlm) -> tuple[int, int]:
    """Positions of an item, its visual tokens and a question; bytes of its residual."""
    seq = vlm.grid[0] * vlm.grid[1] + 64
    return seq, seq * vlm.d_model * vlm.model.dtype.itemsize


def room(vlm, kept: int) -> int:
    """How many items' runs fit in half of the free memory, if `kept` residuals of each stay."""
    config = vlm.model.config.get_text_config()
    seq, resid = _shape(vlm)
    states = resid * (2 * kept + 12)  # two runs, a copy, one layer's own
    attention = 3 * 4 * config.num_attention_heads * seq * seq
    return max(1, int(free_memory(vlm.device) / 2 // (states + attention + _encoding(vlm))))


def _encoding(vlm) -> int:
    """Bytes of an image in one layer of the encoder: its states, and its MLP before and after."""
    vision = vlm.model.config.vision_config
    high, wide = np.broadcast_to(vision.patch_size, 2)  # some families give both
    patches = vlm.canvas[0] * vlm.canvas[1] // int(high * wide)
    width = getattr(vision, "embed_dim", vision.hidden_size)  # Qwen2-VL's hidden size is the LM's
    inner = getattr(vision, "intermediate_size", 4 * width)
    return patches * (6 * width + 2 * inner) * vlm.model.dtype.itemsize


def batch(vlm, kept: int) -> int:
    """How many items to run at once: as many as fit and, on a CPU, no more than are quick."""
    if vlm.device.type != "cpu":
        return room(vlm, kept)
    return min(room(vlm, kept), max(4, CACHE // _shape(vlm)[1]))


def run(
    vlm,
    items: list,
    compute: Callable[[list], np.ndarray],
    label: str,
    settings=(),
    kept: int = 0,
    chunk: int = 50,
    axis: int = 0,
) -> np.ndarray:
    """compute(items) in chunks, joined along an axis.

    label: what is measured; it stands for `compute` in the name of what is kept.
    settings: what decides the result besides the items and the model; None, or a part whose
    content cannot be told, switches keeping off.
    kept: residuals that compute keeps per item, to know how many items fit in memory; if they do
    not fit after all, half as many are tried.  Raises RuntimeError if a single one does not fit.
    """
    if not items:
        raise ValueError(f"nothing to measure: no items for {label!r}")
    told, found = _told(vlm, label, settings), []
    bar = tqdm(total=len(items), desc=label, leave=False, delay=5)  # only if it takes a while
    for i in range(0, len(items), chunk):
        part, path = items[i : i + chunk], None
        if told is not None:
            path = cache_dir() / f"{content(told, part)}.npy"
        found.append(_kept(path) if path and path.exists() else None)
        if found[-1] is None:
            some = in_batches(part, compute, min(chunk, batch(vlm, kept)), vlm.name)
            found[-1] = np.concatenate([np.asarray(one) for one in some], axis)
            if path:
                _keep(path, found[-1])
        bar.update(len(part))
    bar.close()
    return np.concatenate(found, axis)


def _told(vlm, label: str, settings) -> str | None:
    """Hash of what all chunks of a run share; None if the run cannot be kept."""
    if settings is None:
        return None
    run = (str(vlm.model.dtype), vlm.device.type, vlm.rope, code_version())
    try:
        return content(vlm.checkpoint, run, label, settings)
    except TypeError:
        return None


def _kept(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # cut short by a full disk: measure again
        return None


def _keep(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.save(file, values, allow_pickle=False)
    part.replace(path)
