"""What differs between families of models; everything else is shared (chapters 0, 2 and 14).

A `Family` says which Hugging Face class a checkpoint needs, how big an image is on the token
grid, which tensors an image becomes and what takes its place in the text.  `register` adds one.
Facts were measured with transformers 5.23 and TransformerLens 4.3.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from math import isqrt

import torch

PRECISIONS = ("float32", "bfloat16", "float16", "4bit")


class ModelError(ValueError):
    """A model, an image or a question that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Family:
    """One family of models.

    layout: config -> (rows and columns of the token grid, pixels per visual token).
    pixels: (image processor, PIL images of canvas size, side) -> the model's image arguments.
    placeholder: what the chat template writes for an image.
    expand: (rows, columns) -> what the model expects in its place.
    architecture: name of the TransformerLens adapter; adapt changes that adapter if need be.
    type_ids: name of the argument that marks image tokens, if the model has one.
    native_rope: "1d", or "mrope" if image tokens have a row and a column of their own.
    precisions: those in which the language model does not overflow.
    native: whether it takes pictures of any size, with a token grid of their own.
    """

    name: str
    model_class: str
    layout: Callable
    pixels: Callable
    placeholder: str = "<image>"
    expand: Callable[[int, int], str] | None = None
    architecture: str = "LlavaForConditionalGeneration"
    adapt: Callable | None = None
    type_ids: str | None = None
    native_rope: str = "1d"
    precisions: tuple[str, ...] = PRECISIONS
    native: bool = False

    def expanded(self, rows: int, cols: int) -> str:
        """What stands in the text for an image of rows x columns visual tokens."""
        return self.expand(rows, cols) if self.expand else self.placeholder * rows * cols


# --- token grids ---------------------------------------------------------------------


def patches(config) -> tuple[int, int]:
    """One visual token per patch of an image of fixed size."""
    vision = config.vision_config
    return vision.image_size // vision.patch_size, vision.patch_size


def merged(grid: int) -> Callable:
    """A free canvas of grid x grid tokens, each made of merged patches."""

    def layout(config):
        vision = config.vision_config
        return grid, vision.patch_size * getattr(vision, "spatial_merge_size", 1)

    return layout


def _gemma_layout(config):
    grid = isqrt(config.mm_tokens_per_image)
    return grid, config.vision_config.image_size // grid


def _pixtral_layout(config):
    return 15, config.vision_config.patch_size * (getattr(config, "spatial_merge_size", None) or 1)


def _shuffled_layout(config):
    grid, px = patches(config)
    return grid // config.scale_factor, px * config.scale_factor


# --- image arguments -----------------------------------------------------------------


IMAGE_ARGUMENTS = ("pixel_values", "image_sizes", "image_grid_thw", "pixel_attention_mask")


def as_they_are(processor, images: list, side: int, **more) -> dict:
    """Pixels rescaled and normalised, never resized or cropped: images have canvas size."""
    found = processor(images, return_tensors="pt", do_resize=False, **more)
    return {name: found[name] for name in IMAGE_ARGUMENTS if name in found}


def _uncropped(processor, images, side):
    return as_they_are(processor, images, side, do_center_crop=False)


def _no_crops(processor, images, side):
    return as_they_are(processor, images, side, do_pan_and_scan=False)


def _one_view(processor, images, side):
    # With several images in a sample the model takes one view of each and no tiles.  Saying one
    # too many switches the tiles off for a single image, too; the model ignores the surplus.
    found = as_they_are(processor, [[*images, images[-1]]], side)
    found = {name: value[: len(images)] for name, value in found.items()}
    return found | {"batch_num_images": torch.tensor([len(images) + 1])}


def _global_view(processor, images, side):
    how = {"do_image_splitting": False, "max_image_size": {"longest_edge": side}}
    return as_they_are(processor, [[image] for image in images], side, **how)


# --- what stands for an image in the text --------------------------------------------


def _gemma_text(rows, cols):
    return f"\n\n<start_of_image>{'<image_soft_token>' * rows * cols}<end_of_image>\n\n"


def _pixtral_text(rows, cols):
    return "[IMG_BREAK]".join(["[IMG]" * cols] * rows) + "[IMG_END]"


def _global_text(rows, cols):
    fake = "<fake_token_around_image>"
    return f"{fake}<global-img>{'<image>' * rows * cols}{fake}"


# --- TransformerLens -----------------------------------------------------------------


def _plain_vision_mlp(adapter) -> None:
    """Qwen2-VL is Qwen2.5-VL with an ungated MLP in the vision tower."""
    from transformer_lens.model_bridge.generalized_components import LinearBridge
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    mlp = {"in": LinearBridge(name="fc1"), "out": LinearBridge(name="fc2")}
    block = adapter.component_mapping["vision_encoder"].submodules["blocks"]
    block.submodules["mlp"] = GeneralizedComponent(name="mlp", submodules=mlp)


def tower_as_one_block(adapter) -> None:
    """A vision tower with other parts than CLIP's or SigLIP's: no hooks inside it."""
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    tower = GeneralizedComponent(name="model.vision_tower")
    adapter.component_mapping["vision_encoder"] = tower


def bridge(model: torch.nn.Module, family: Family):
    """A second copy of a model's weights as a TransformerLens bridge, with eager attention."""
    from transformer_lens.factories.architecture_adapter_factory import (
        SUPPORTED_ARCHITECTURES,
        ArchitectureAdapterFactory,
    )
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    config = deepcopy(model.config)  # choosing eager attention changes it in place
    copy = type(model)._from_config(config, attn_implementation="eager")
    copy.load_state_dict(model.state_dict())
    copy = copy.to(model.device, model.dtype).eval().requires_grad_(False)
    adapter = SUPPORTED_ARCHITECTURES[family.architecture]
    # the images are prepared here, so that no adapter needs torchvision
    light = type(adapter.__name__, (adapter,), {"required_libraries": []})
    ArchitectureAdapterFactory.register_adapter(family.name, light)
    return build_bridge_from_module(
        copy, family.name, hf_config=copy.config, post_adapter_hook=family.adapt
    )


# --- the families --------------------------------------------------------------------

_QWEN = {
    "pixels": as_they_are,
    "placeholder": "<|image_pad|>",
    "type_ids": "mm_token_type_ids",
    "native_rope": "mrope",
    "native": True,
}
_IDEFICS = {
    "layout": _shuffled_layout,
    "pixels": _global_view,
    "expand": _global_text,
    "architecture": "Idefics3ForConditionalGeneration",
}
FAMILIES: dict[str, Family] = {
    "llava": Family("LLaVA", "LlavaForConditionalGeneration", patches, _uncropped),
    "pixtral": Family(
        "Pixtral", "LlavaForConditionalGeneration", _pixtral_layout, as_they_are, "[IMG]",
        _pixtral_text, adapt=tower_as_one_block, native=True,
    ),
    "llava_onevision": Family(
        "LLaVA-OneVision", "LlavaOnevisionForConditionalGeneration", patches, _one_view,
        expand=lambda rows, cols: "<image>" * (rows * cols + 1),  # the last one is a line break
        architecture="LlavaOnevisionForConditionalGeneration",
    ),
    "gemma3": Family(
        "Gemma 3", "Gemma3ForConditionalGeneration", _gemma_layout, _no_crops,
        "<start_of_image>", _gemma_text, "Gemma3ForConditionalGeneration",
        type_ids="token_type_ids", precisions=("float32", "bfloat16", "4bit"),
    ),
    "qwen2_vl": Family(
        "Qwen2-VL", "Qwen2VLForConditionalGeneration", merged(12), adapt=_plain_vision_mlp,
        architecture="Qwen2_5_VLForConditionalGeneration", **_QWEN,
    ),
    "qwen2_5_vl": Family(
        "Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration", merged(12),
        architecture="Qwen2_5_VLForConditionalGeneration", **_QWEN,
    ),
    "qwen3_vl": Family(
        "Qwen3-VL", "Qwen3VLForConditionalGeneration", merged(12),
        architecture="Qwen3VLForConditionalGeneration", **_QWEN,
    ),
    "idefics3": Family("SmolVLM (Idefics3)", "Idefics3ForConditionalGeneration", **_IDEFICS),
    "smolvlm": Family("SmolVLM2", "SmolVLMForConditionalGeneration", **_IDEFICS),
}  # fmt: skip


def register(model_type: str, family: Family) -> None:
    """Make `load` take checkpoints whose configuration has this model_type."""
    FAMILIES[model_type] = family


def family_of(config) -> Family | None:
    """The family of a configuration; Pixtral shares LLaVA's model_type."""
    vision = getattr(getattr(config, "vision_config", None), "model_type", None)
    return FAMILIES.get("pixtral" if vision == "pixtral" else config.model_type)


# Hub ids that the book names: the revision that is loaded, and billions of parameters.
HUB: dict[str, tuple[str, float]] = {
    "HuggingFaceTB/SmolVLM-500M-Instruct": ("a7da5b986cb59b408707209984f360a5f4ad7e47", 0.51),
    "Qwen/Qwen3-VL-2B-Instruct": ("89644892e4d85e24eaac8bacfd4f463576704203", 2.13),
    "Qwen/Qwen2-VL-2B-Instruct": ("895c3a49bc3fa70a340399125c650a463535e71c", 2.21),
    "Qwen/Qwen2.5-VL-3B-Instruct": ("66285546d2b821cf421d4f5eb2576359d3770cd3", 3.75),
    "google/gemma-3-4b-it": ("093f9f388b31de276ce2de164bdc2081324b9767", 4.30),
    "llava-hf/llava-1.5-7b-hf": ("b234b804b114d9e37bb655e11cbbb5f5e971b7a9", 7.06),
    "Qwen/Qwen2-VL-7B-Instruct": ("eed13092ef92e448dd6875b2a00151bd3f7db0ac", 8.29),
    "mistral-community/pixtral-12b": ("c2756cbbb9422eba9f6c5c439a214b0392dfc998", 12.68),
}
