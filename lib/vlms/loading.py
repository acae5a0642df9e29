"""`load(name)`: a shipped model, a folder or a hub id becomes a `VLM` (all chapters)."""

from __future__ import annotations

import hashlib
import json
import textwrap
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image

from . import machine
from ._paths import data_dir
from .families import FAMILIES, HUB, Family, ModelError, family_of
from .machine import GIB, SPARE, check_device, free_memory, let_go
from .model import VLM

SHIPPED = ("mini", "mini-local")
# What older checkpoints hold besides weights: numbers that the model computes itself.
BUFFERS = ("rotary_emb.inv_freq", "position_ids")
# The encoder is what this book studies, so "4bit" leaves it and the projector alone.
NOT_QUANTISED = ("model.visual", "model.vision_tower", "model.vision_model",
                 "model.multi_modal_projector", "model.connector", "lm_head")  # fmt: skip


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 400, placeholder=" ...")


def check_files(folder: Path) -> None:
    """Compare a shipped model's files with its `hashes.json`.

    Raises ModelError that names the first missing or altered file.
    """
    mend = "restore it with `git checkout -- data` or install the project again"
    listing = folder / "hashes.json"
    if not listing.exists():
        raise ModelError(f"{listing} is missing: {mend}")
    try:
        digests = dict(json.loads(listing.read_text()))
    except (TypeError, ValueError):
        raise ModelError(f"{listing} is truncated or altered: {mend}") from None
    there = {file.name for file in folder.iterdir()} - {listing.name}
    if missing := sorted(set(digests) - there):
        raise ModelError(f"{folder / missing[0]} is missing: {mend}")
    if more := sorted(there - set(digests)):  # it would be obeyed
        raise ModelError(f"{folder / more[0]} is not part of the shipped model: remove it")
    for name, digest in digests.items():
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
        elif not Path(where).is_dir():
            mend = (
                "; connect to the internet once, or fetch it elsewhere with `hf download "
                f"{name} --revision {revision or 'main'}` and give its folder"
            )
        raise ModelError(
            f"cannot read the configuration of {name!r}: {_one_line(error)}{mend}"
        ) from None
    family = family_of(config)
    if family is None:
        raise ModelError(
            f"{name!r} is a {config.model_type!r} model; supported: {', '.join(FAMILIES)}"
        )
    # the attention is chosen here, whatever the files say: a name there may be code to fetch
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if part is not None:
            vars(part).pop("attn_implementation", None)
            part._attn_implementation = "sdpa"
    return config, family


def _check_folder(folder: Path) -> None:
    """Raises ModelError for a folder that holds something else than a checkpoint's weights."""
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise ModelError(
            f"{folder} holds a LoRA adapter, not a model: merge it into its base model with "
            "`merge_and_unload()` of peft, save that, and load its folder"
        )
    for file in folder.glob("*.safetensors"):
        if file.open("rb").read(23) == b"version https://git-lfs":
            raise ModelError(f"{file} is a pointer of git-lfs: run `git lfs pull` in its folder")


def stored_precision(name: str, config) -> str | None:
    """ "4bit" where a checkpoint's weights are kept so (bitsandbytes); None for plain weights.

    Raises ModelError for weights that are packed in another way.
    """
    packed = getattr(config, "quantization_config", None)
    if packed is None:
        return None
    packed = packed if isinstance(packed, dict) else packed.to_dict()
    method = str(packed.get("quant_method", "an unknown method"))
    if "bitsandbytes" in method and packed.get("load_in_4bit"):
        return "4bit"
    raise ModelError(
        f"the weights of {name!r} are quantised ({method}), which cannot be edited here: load the "
        'original checkpoint, with precision="4bit" if it must be small'
    )


def _weights(where: str, config, family: Family, precision: str, device: str, revision):
    """The Hugging Face model on its device, ready to be read; every weight of it from the files.

    Raises ModelError where weights are missing, unknown or of another shape.
    """
    import transformers

    dtype = torch.float32 if precision == "4bit" else getattr(torch, precision)
    how = {"config": config, "dtype": dtype, "use_safetensors": True, "trust_remote_code": False,
           "output_loading_info": True, "ignore_mismatched_sizes": True}  # fmt: skip
    if device != "cpu":  # straight to the GPU: a Colab machine may have less RAM than GPU memory
        how |= {"device_map": {"": device}}
    if precision == "4bit" and getattr(config, "quantization_config", None) is None:
        quantise = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=list(NOT_QUANTISED),
        )  # fmt: skip
        how |= {"quantization_config": quantise, "device_map": {"": device}}
    cls = getattr(transformers, family.model_class)
    model, info = cls.from_pretrained(where, revision=revision, **how)
    _check_weights(where, info)
    return model.eval().requires_grad_(False)


def _check_weights(where: str, info: dict) -> None:
    """Raises ModelError unless the files held every weight of the model, and no other."""
    wrong = {
        "missing": sorted(info["missing_keys"]),
        "unknown": sorted(k for k in info["unexpected_keys"] if not k.endswith(BUFFERS)),
        "of another shape": sorted(str(k[0]) for k in info["mismatched_keys"]),
    }
    told = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' * (len(keys) > 3)})"
        for kind, keys in wrong.items()
        if keys
    ]
    if told:
        raise ModelError(
            f"the weights of {where!r} do not fit its configuration: {'; '.join(told)}. A file of "
            "it is missing, or it was saved from another class or with an adapter that is not "
            "merged: get the checkpoint again, or save it with `save_pretrained`"
        )


def _image_processor(where: str, config, hub: dict):
    """The image processor that computes with Pillow, which needs no torchvision."""
    # from the top of the package it asks for torchvision in some versions
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(where, backend="pil", config=config, **hub)
    except (AttributeError, ValueError):  # before 5.16 it misses those of Idefics3 and SmolVLM
        if (kind := config.model_type) not in ("idefics3", "smolvlm"):
            raise
        module = import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
        found = [one for name, one in vars(module).items() if name.endswith("ImageProcessorPil")]
        return found[0].from_pretrained(where, **hub)


def _template(name: str, told: dict, tokenizer) -> str:
    """The chat template, the one called "default" if there are several.  Raises ModelError."""
    template = told.get("chat_template") or tokenizer.chat_template
    if isinstance(template, list):  # as older files have them
        template = {one["name"]: one["template"] for one in template}
    if isinstance(template, dict):
        if "default" not in template and len(template) != 1:
            raise ModelError(
                f"{name!r} has several chat templates and none is called 'default': "
                f"{', '.join(template)}; keep one in its files"
            )
        template = template.get("default") or next(iter(template.values()))
    if not template:
        raise ModelError(f"{name!r} has no chat template: an instruction-tuned model is needed")
    return template


def load(
    name: str | Path = "mini",
    device: str = "auto",
    precision: str | None = None,
    revision: str | None = None,
) -> VLM:
    """Load a shipped model ("mini"), a local folder or a hub id.

    precision: "float32", "bfloat16", "float16", or "4bit" (the language model's layers in
    bitsandbytes NF4, computing in float32); by default that of the files where they are packed,
    else what `machine.precision` chooses.  revision: of a hub id; those that the book names are
    pinned.

    Raises ModelError for an unknown name, a damaged or incomplete checkpoint, a family or a
    precision that is not supported, too little memory, or a model that cannot give an answer, and
    SetupError for a device that is not there.  Never runs remote code; weights are safetensors
    only.
    """
    try:
        return _loaded(str(name), device, precision, revision)
    except (ModelError, machine.SetupError):
        raise
    except Exception as error:  # whatever else a checkpoint can hold
        mend = ""
        if "torchvision" in str(error):
            mend = ": torchvision does not fit torch here; `pip uninstall torchvision` helps"
        raise ModelError(f"cannot load {str(name)!r}: {_one_line(error)}{mend}") from error


def _loaded(name: str, device: str, precision: str | None, revision: str | None) -> VLM:
    import transformers
    from transformers.processing_utils import ProcessorMixin

    path, shipped = Path(name).expanduser(), name in SHIPPED
    if shipped:
        path = data_dir() / name
        check_files(path)
    elif name and path.is_dir():
        _check_folder(path)
    elif name.count("/") != 1 or name.startswith(("~", ".", "/")):
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
    packed = stored_precision(name, config)
    if packed and precision not in (None, packed):
        raise ModelError(f"the weights of {name!r} are kept in {packed}: leave precision out")
    let_go()  # of a model whose name is in use again
    free = free_memory(torch.device(device))
    if precision is None and (packed or shipped):
        precision = packed or "float32"
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
    if not shipped:
        check_memory(name, config, family, precision, free)
    hub = {"revision": revision, "trust_remote_code": False}
    with _quiet(enabled=shipped):
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **hub)
        images = _image_processor(where, config, hub)
        told = ProcessorMixin.get_processor_dict(where, revision=revision)[0]
        template = _template(name, told, tokenizer)
        if tokenizer.pad_token is None:  # any token will do: padding is never seen
            spare = tokenizer.eos_token or tokenizer.unk_token
            tokenizer.pad_token = spare or tokenizer.convert_ids_to_tokens(0)
        model = _weights(where, config, family, precision, device, revision)
    words, rows = max(tokenizer.get_vocab().values()), len(model.get_input_embeddings().weight)
    if words >= rows:  # a question with such a word would end far from here, on a GPU for good
        raise ModelError(f"{name!r} has a token {words} and weights for {rows}: get it again")
    side, px = family.layout(config)
    vlm = VLM(
        name, model, tokenizer, images, template, family, (side, side), px,
        path if local else None, revision, precision if precision == "4bit" else None,
    )  # fmt: skip
    if not shipped:  # what would stop the first answer, or make it no answer, stops here
        x = vlm.prepare([Image.new("RGB", vlm.canvas[::-1], "white")], [""])
        if vlm.logits(x).isnan().any():
            raise ModelError(
                f"{name!r} computes no numbers (nan) in {precision}: its weights or its image "
                "processor's settings are damaged, or it overflows, and float32 is needed"
            )
    return vlm
