"""Long sweeps in chunks: shown, kept by content, gone on with (every sweep of the book).

A chunk is kept as soon as it is known, under a name made of all that decides it: the weights and
the rest of the checkpoint, the library's code and its versions, the inputs and the settings.  So a
sweep that was stopped goes on where it was, and a second run is quick.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from vlms import identity

# Modules that show or keep what was measured, and decide nothing of it.
SHOWING = ("__main__", "figures", "machine", "paper", "record", "shell", "store")


def cache_dir() -> Path:
    """Where chunks are kept: $DUALMECH_CACHE, or `.cache/dualmech` in the home folder."""
    try:
        return Path(os.environ.get("DUALMECH_CACHE", "~/.cache/dualmech")).expanduser()
    except RuntimeError:  # nobody has a home here, as in some containers
        return Path(tempfile.gettempdir(), "dualmech")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Hash of the modules that decide a measurement, and of the versions that it is made with."""
    folders = (Path(__file__).parent, Path(identity.__file__).parent)
    files = sorted(file for folder in folders for file in folder.glob("*.py"))
    modules = {f"{f.parent.name}.{f.stem}": f.read_text() for f in files if f.stem not in SHOWING}
    return content(modules, [metadata.version(p) for p in ("numpy", "torch", "transformers")])


def content(*parts) -> str:
    """Hash of numbers, strings, arrays, dataclasses, lists of them and the library's own functions.

    Raises TypeError for anything whose content cannot be told, such as a function of a notebook.
    """
    digest = hashlib.sha256()
    _feed(digest, parts)
    return digest.hexdigest()[:24]


def _feed(digest, part) -> None:
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu()
        part = (part.float() if part.dtype == torch.bfloat16 else part).numpy()
    if isinstance(part, np.ndarray) and part.dtype != object:
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
    elif isinstance(part, partial):
        _feed(digest, [part.func, part.args, part.keywords])
    elif inspect.isfunction(part) and _ours(part):
        digest.update(f"{part.__module__}.{part.__qualname__}".encode())
    else:
        raise TypeError(f"cannot tell the content of {part!r}")


def _ours(function: Callable) -> bool:
    """Whether its name tells a function: of a module in `code_version`, and not made in a call."""
    package, _, module = function.__module__.partition(".")
    return package == "dualmech" and module not in SHOWING and "<" not in function.__qualname__


def swept(
    vlm, items: list, compute: Callable[[list], dict], label: str, settings, chunk: int = 50
) -> dict[str, np.ndarray]:
    """The arrays of compute(items), made in chunks of `chunk` items and joined along axis 2.

    settings: what decides the result besides items and model; where their content cannot be told,
    or the model has hooks of its own, nothing is kept.
    """
    if not items:
        raise ValueError(f"nothing to measure: no items for {label!r}")
    _clear(cache_dir())
    told, found = _told(vlm, settings), []
    for first in tqdm(range(0, len(items), chunk), label, leave=False, delay=5):  # if it is slow
        some = items[first : first + chunk]
        path = cache_dir() / f"{content(told, some)}.npz" if told else None
        found.append(_kept(path) if path else None)
        if found[-1] is None:
            found[-1] = compute(some)
            if path:
                _keep(path, found[-1])
    return joined(found)


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of several parts of the items, as one; items stand on axis 2."""
    return {name: np.concatenate([part[name] for part in parts], 2) for name in parts[0]}


def _told(vlm, settings) -> str | None:
    """Hash of what all chunks of a sweep share; None if it cannot be kept."""
    if settings is None or identity.hooked(vlm.model):
        return None
    run = (str(vlm.model.dtype), vlm.device.type, vlm.rope, code_version())
    try:
        return content(identity.checkpoint(vlm), run, settings)
    except TypeError:
        return None


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    """A kept chunk; None for one that cannot be read, with a warning where it is damaged."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(path.stem.encode() + raw[:-32]).digest() != raw[-32:]:
        warnings.warn(f"{path} is damaged and is measured again", stacklevel=4)
        return None
    with np.load(io.BytesIO(raw[:-32]), allow_pickle=False) as file:
        return dict(file)


def _keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a chunk and a hash of it and its name, whole or not at all; else warn and go on."""
    np.savez(body := io.BytesIO(), **arrays)
    raw, part = body.getvalue(), path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(raw + hashlib.sha256(path.stem.encode() + raw).digest())
        part.replace(path)
    except OSError as error:
        told = f"sweeps are not kept in {path.parent}: {error.strerror or error}"
        warnings.warn(told, stacklevel=4)
    finally:  # also where the reader stops the sweep
        with suppress(OSError):
            part.unlink()


def _clear(folder: Path) -> None:
    """Remove what processes left an hour ago that were killed while they wrote."""
    with suppress(OSError):
        for part in folder.glob("*.part"):
            if part.stat().st_mtime < time.time() - 3600:
                part.unlink()
