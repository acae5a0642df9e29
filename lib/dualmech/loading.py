"""`load(name)`: a shipped model, a folder or a hub id becomes a `VLM` (all chapters)."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch

from . import machine
from ._paths import data_dir
from .families import FAMILIES, HUB, Family, ModelError, family_of
from .machine import GIB, SPARE, check_device, free_memory, let_go
from .model import VLM

SHIPPED = ("mini", "mini-local")
# The encoder is what this book studies, so "4bit" leaves it and the projector alone.
NOT_QUANTISED = ("model.visual", "model.vision_tower", "model.vision_model",
                 "model.multi_modal_projector", "model.connector", "lm_head")  # fmt: skip


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def check_files(folder: Path) -> None:
    """Compare a shipped model's files with its `hashes.json`.

    Raises ModelError that names the first missing or altered file.
    """
    mend = "restore it with `git checkout -- data` or install the project again"
    listing = folder / "hashes.json"
    if not listing.exists():
        raise ModelError(f"{listing} is missing: {mend}")
    try:
        digests = json.loads(listing.read_text())
    except ValueError:
        raise ModelError(f"{listing} is truncated or altered: {mend}") from None
    for name, digest in digests.items():
        if not (folder / name).exists():
            raise ModelError(f"{folder / name} is missing: {mend}")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ModelError(f"{folder / name} is truncated or altered: {mend}")


@contextmanager
def _quiet(enabled: bool):
    """No progress bar and no notes of the transformers library for a load that takes no time."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    if enabled:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def weight_bytes(config, family: Family, precision: str = "float32") -> int:
    """Bytes of a model's weights, from its configuration alone (nothing is downloaded).

    "4bit": the language model's layers in NF4 (4 bits and a scale per 64 weights), the rest in
    float32.
    """
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, family.model_class)._from_config(config)
    total = sum(p.numel() for p in model.parameters())
    if precision != "4bit":
        return total * (4 if precision == "float32" else 2)
    layers = model.get_decoder().layers.modules()
    packed = sum(m.weight.numel() for m in layers if isinstance(m, torch.nn.Linear))
    return packed * 9 // 16 + (total - packed) * 4


def check_memory(name: str, config, family: Family, precision: str, free: int) -> None:
    """Raises ModelError if a model would not fit in `free` bytes, and says what would.

    A tenth is left for the states of one pass.
    """
    if SPARE * weight_bytes(config, family, precision) <= free:
        return
    need = {p: SPARE * weight_bytes(config, family, p) for p in family.precisions}
    fits = [f"{p} ({need[p] / GIB:.1f} GiB)" for p in need if need[p] <= free]
    others = [hub for hub, (_, billions) in HUB.items() if SPARE * 4e9 * billions <= free]
    advice = f"load it in {' or '.join(fits)}" if fits else "no precision of it fits"
    if others and others[-1] != name:
        advice += f"; in float32 {others[-1]} would fit"
    raise ModelError(
        f"{name} needs {need[precision] / GIB:.1f} GiB in {precision}, but {free / GIB:.1f} GiB "
        f"are free: {advice} (a model that was loaded before counts until `del` or a restart)"
    )


def _configuration(name: str, where: str, revision: str | None):
    """The checkpoint's configuration and family.  Raises ModelError."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(
            where, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        mend = ""
        if "gated" in str(error):
            mend = (
                f"; accept its licence on https://huggingface.co/{name}, then log in with "
                "`huggingface_hub.login()`"
            )
        raise ModelError(
            f"cannot read the configuration of {name!r}: {_one_line(error)}{mend}"
        ) from None
    family = family_of(config)
    if family is None:
        raise ModelError(
            f"{name!r} is a {config.model_type!r} model; supported: {', '.join(FAMILIES)}"
        )
    return config, family


def _weights(where: str, family: Family, precision: str, device: str, revision: str | None):
    """The Hugging Face model on its device, ready to be read."""
    import transformers

    dtype = torch.float32 if precision == "4bit" else getattr(torch, precision)
    how = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
    if device != "cpu":  # straight to the GPU: a Colab machine may have less RAM than GPU memory
        how |= {"device_map": {"": device}}
    if precision == "4bit":
        quantise = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=list(NOT_QUANTISED),
        )  # fmt: skip
        how |= {"quantization_config": quantise, "device_map": {"": device}}
    cls = getattr(transformers, family.model_class)
    return cls.from_pretrained(where, revision=revision, **how).eval().requires_grad_(False)


def load(
    name: str | Path = "mini",
    device: str = "auto",
    precision: str | None = None,
    revision: str | None = None,
) -> VLM:
    """Load a shipped model ("mini"), a local folder or a hub id.

    precision: "float32", "bfloat16", "float16", or "4bit" (the language model's layers in
    bitsandbytes NF4, computing in float32); by default what `machine.precision` chooses.
    revision: of a hub id; those that the book names are pinned.

    Raises ModelError, before any long work, for an unknown name, a damaged file, a family or a
    precision that is not supported, or too little memory, and SetupError for a device that is not
    there.  Never runs remote code; weights are
    safetensors only.
    """
    import transformers
    from safetensors import SafetensorError

    # from the top of the package it asks for torchvision in some versions
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.processing_utils import ProcessorMixin

    name, path = str(name), Path(name)
    if name in SHIPPED:
        path = data_dir() / name
        check_files(path)
    elif not path.is_dir() and name.count("/") != 1:
        raise ModelError(
            f"unknown model {name!r}: use one of {', '.join(SHIPPED)}, a folder with a "
            "Hugging Face checkpoint, or a hub id such as owner/name"
        )
    local = path.is_dir()
    where = str(path) if local else name
    revision = None if local else revision or HUB.get(name, (None,))[0]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    config, family = _configuration(name, where, revision)
    let_go()  # of a model whose name is in use again
    free = free_memory(torch.device(device))
    if precision is None and name in SHIPPED:
        precision = "float32"
    elif precision is None:
        gpu = torch.cuda.get_device_capability(device) if "cuda" in device else None
        precision = machine.precision(weight_bytes(config, family), free, gpu)
    if precision not in family.precisions:
        raise ModelError(
            f"{family.name} models cannot be used in {precision!r} here: "
            f"use {', '.join(family.precisions)}"
        )
    if precision == "4bit" and find_spec("bitsandbytes") is None:
        raise ModelError("4bit needs the package bitsandbytes: pip install bitsandbytes")
    if name not in SHIPPED:
        check_memory(name, config, family, precision, free)
    hub = {"revision": revision, "trust_remote_code": False}
    try:
        with _quiet(enabled=name in SHIPPED):
            tokenizer = transformers.AutoTokenizer.from_pretrained(where, **hub)
            images = AutoImageProcessor.from_pretrained(where, backend="pil", **hub)
            told = ProcessorMixin.get_processor_dict(where, revision=revision)[0]
            model = _weights(where, family, precision, device, revision)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot load {name!r}: {_one_line(error)}") from None
    template = told.get("chat_template") or tokenizer.chat_template
    if not template:
        raise ModelError(f"{name!r} has no chat template: an instruction-tuned model is needed")
    side, px = family.layout(config)
    return VLM(
        name, model, tokenizer, images, template, family, (side, side), px,
        path if local else None, revision, precision if precision == "4bit" else None,
    )  # fmt: skip
