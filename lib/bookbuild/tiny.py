"""Tiny random-weight models of the real families, saved as a reader's checkpoint would be.

Class, configuration, special tokens, chat template and image processor are those of the real
family; widths, depths, vocabulary and LLaVA's canvas (half as wide) are not.  Nothing measured on
them says anything about a trained model.
"""

from pathlib import Path

import numpy as np
import torch
import transformers as T
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from dualmech.drawing import COLOURS, OBJECTS, SHAPES

TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 4096}  # fmt: skip
SIGLIP = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
          "num_attention_heads": 4}  # fmt: skip
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_WORDS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
              "<|video_pad|>"]  # fmt: skip


def chat(before: str, image: str, after: str) -> str:
    """A chat template of one turn: text before the image, the image, the question, text after."""
    return (
        f"{before}{{% for c in messages[0].content %}}{{% if c.type == 'image' %}}{image}"
        f"{{% else %}}{{{{ c.text }}}}{{% endif %}}{{% endfor %}}{after}"
    )


def build_tokenizer(special: list[str], bos: str | None, adds_bos: bool, **named):
    """A byte-level tokenizer of single bytes and, whole, the words of the answers.

    named: special tokens that the tokenizer has by name, such as `image_token`.
    """
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for word in (*COLOURS, *SHAPES, *OBJECTS, "left", "right", "above", "below"):
        for spelling in (word, word.capitalize(), f"Ġ{word}", f"Ġ{word.capitalize()}"):
            vocab.setdefault(spelling, len(vocab))
    core = Tokenizer(models.BPE(vocab, [], ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, normalized=False) for t in ["<pad>", *special]])
    if adds_bos:
        from tokenizers.processors import TemplateProcessing

        core.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    return T.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token=bos, extra_special_tokens=named
    )


def rope(kind: str, **more) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0} | more}


def qwen(vision_config, config_class, text_config, model_class, tokenizer):
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{word}|>") for name, word in (
        ("image_token_id", "image_pad"), ("video_token_id", "video_pad"),
        ("vision_start_token_id", "vision_start"),
        ("vision_end_token_id", "vision_end"))}  # fmt: skip
    config = config_class(vision_config=vision_config, text_config=text_config, **ids)
    return model_class, config


def describe(family: str):
    """(model class, configuration, tokenizer, image processor, chat template) of a family."""
    if family.startswith("qwen"):
        tokenizer = build_tokenizer(QWEN_WORDS, None, False)
        text = TEXT | {"vocab_size": len(tokenizer)}
        sections = {"mrope_section": [2, 3, 3]}
        if family == "qwen3_vl":
            vision = {"depth": 2, "hidden_size": 48, "intermediate_size": 64, "num_heads": 4,
                      "patch_size": 16, "out_hidden_size": 64, "num_position_embeddings": 576,
                      "deepstack_visual_indexes": [0, 1]}  # fmt: skip
            text |= {"head_dim": 16} | rope("default", mrope_interleaved=True, **sections)
            made = qwen(vision, T.Qwen3VLConfig, text, T.Qwen3VLForConditionalGeneration, tokenizer)
            pixels = {"patch_size": 16}
        elif family == "qwen2_5_vl":
            vision = {"depth": 2, "hidden_size": 48, "intermediate_size": 64, "num_heads": 4,
                      "out_hidden_size": 64, "window_size": 112,
                      "fullatt_block_indexes": [1]}  # fmt: skip
            made = qwen(vision, T.Qwen2_5_VLConfig, text | rope("default", **sections),
                        T.Qwen2_5_VLForConditionalGeneration, tokenizer)  # fmt: skip
            pixels = {}
        else:
            vision = {
                "depth": 2,
                "embed_dim": 48,
                "num_heads": 4,
                "hidden_size": 64,
                "mlp_ratio": 2,
            }
            made = qwen(vision, T.Qwen2VLConfig, text | rope("default", **sections),
                        T.Qwen2VLForConditionalGeneration, tokenizer)  # fmt: skip
            pixels = {}
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil as Pixels,
        )

        return *made, tokenizer, Pixels(**pixels), QWEN_CHAT
    if family == "gemma3":
        from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

        words = ["<bos>", "<start_of_image>", "<end_of_image>", "<image_soft_token>",
                 "<start_of_turn>", "<end_of_turn>"]  # fmt: skip
        tokenizer = build_tokenizer(
            words, "<bos>", True, boi_token="<start_of_image>", eoi_token="<end_of_image>",
            image_token="<image_soft_token>",
        )  # fmt: skip
        names = {"image_token_index": "<image_soft_token>", "boi_token_index": "<start_of_image>",
                 "eoi_token_index": "<end_of_image>"}  # fmt: skip
        config = T.Gemma3Config(
            text_config=TEXT | {"vocab_size": len(tokenizer), "head_dim": 16,
                                "sliding_window": 512, "query_pre_attn_scalar": 16,
                                "layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
            vision_config=SIGLIP | {"image_size": 64, "patch_size": 4},
            mm_tokens_per_image=64,
            **{k: tokenizer.convert_tokens_to_ids(v) for k, v in names.items()},
        )  # fmt: skip
        template = "{{ bos_token }}" + chat(
            "<start_of_turn>user\n", "<start_of_image>", "<end_of_turn>\n<start_of_turn>model\n"
        )
        pixels = Gemma3ImageProcessorPil(size={"height": 64, "width": 64})
        return T.Gemma3ForConditionalGeneration, config, tokenizer, pixels, template
    if family in ("llava", "pixtral"):
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
        from transformers.models.pixtral.image_processing_pil_pixtral import (
            PixtralImageProcessorPil,
        )

        words = ["<s>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]", "<image>"]
        tokenizer = build_tokenizer(words, "<s>", family == "llava")
        image = "[IMG]" if family == "pixtral" else "<image>"
        vision, select = SIGLIP | {"image_size": 168, "patch_size": 14}, "default"
        if family == "pixtral":
            vision = SIGLIP | {"image_size": 1024, "patch_size": 16, "head_dim": 12,
                               "model_type": "pixtral"} | rope("default")  # fmt: skip
            select = "full"
        else:
            vision["model_type"] = "clip_vision_model"
        config = T.LlavaConfig(
            vision_config=vision, text_config=TEXT | {"vocab_size": len(tokenizer), "head_dim": 16,
                "model_type": "mistral" if family == "pixtral" else "llama"},
            image_token_index=tokenizer.convert_tokens_to_ids(image),
            vision_feature_select_strategy=select,
            vision_feature_layer=-1 if family == "pixtral" else -2,
        )  # fmt: skip
        if family == "pixtral":
            pixels, template = PixtralImageProcessorPil(), chat("<s>[INST]", "[IMG]", "[/INST]")
        else:
            pixels = CLIPImageProcessorPil(size={"shortest_edge": 168},
                                           crop_size={"height": 168, "width": 168})  # fmt: skip
            template = chat("USER: ", "<image>\n", " ASSISTANT:")
        return T.LlavaForConditionalGeneration, config, tokenizer, pixels, template
    if family == "llava_onevision":
        from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
            LlavaOnevisionImageProcessorPil,
        )

        words = ["<|im_start|>", "<|im_end|>", "<image>", "<video>"]
        tokenizer = build_tokenizer(words, None, False)
        config = T.LlavaOnevisionConfig(
            vision_config=SIGLIP | {"image_size": 100, "patch_size": 14,
                                    "vision_use_head": False, "model_type": "siglip_vision_model"},
            text_config=TEXT | {"vocab_size": len(tokenizer), "model_type": "qwen2"},
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
            image_grid_pinpoints=[[100, 100], [200, 200]], vision_feature_layer=-1,
        )  # fmt: skip
        pixels = LlavaOnevisionImageProcessorPil(
            size={"height": 100, "width": 100}, image_grid_pinpoints=[[100, 100], [200, 200]]
        )
        template = chat("<|im_start|>user ", "<image>\n", "<|im_end|><|im_start|>assistant\n")
        return T.LlavaOnevisionForConditionalGeneration, config, tokenizer, pixels, template
    words = ["<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>",
             "<global-img>"]  # fmt: skip
    tokenizer = build_tokenizer(words, "<|im_start|>", False)
    vision = SIGLIP | {"image_size": 132, "patch_size": 4}  # 33 patches: one too many for merging
    text = TEXT | {"vocab_size": len(tokenizer), "model_type": "llama", "head_dim": 16,
                   "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    same = {"image_token_id": tokenizer.convert_tokens_to_ids("<image>"), "scale_factor": 4,
            "vision_config": vision, "text_config": text,
            "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    template = chat("<|im_start|>User:", "<image>", "<end_of_utterance>\nAssistant:")
    size = {"size": {"longest_edge": 528}, "max_image_size": {"longest_edge": 132}}
    if family == "idefics3":
        from transformers.models.idefics3.image_processing_pil_idefics3 import (
            Idefics3ImageProcessorPil as Pixels,
        )

        made = T.Idefics3ForConditionalGeneration, T.Idefics3Config(**same)
    else:
        from transformers.models.smolvlm.image_processing_pil_smolvlm import (
            SmolVLMImageProcessorPil as Pixels,
        )

        made = T.SmolVLMForConditionalGeneration, T.SmolVLMConfig(**same)
    return *made, tokenizer, Pixels(**size), template


FAMILIES = ("llava", "pixtral", "llava_onevision", "gemma3", "qwen2_vl", "qwen2_5_vl",
            "qwen3_vl", "idefics3", "smolvlm")  # fmt: skip


def save(family: str, folder: Path) -> Path:
    """A checkpoint whose weights are large enough for every token to matter."""
    cls, config, tokenizer, pixels, template = describe(family)
    torch.manual_seed(0)
    model = cls(config)
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            weight.data = 0.15 * torch.randn(weight.shape, generator=generator)
        elif "bias" in name:
            weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    pixels.save_pretrained(folder)
    return folder


def save_trained(folder: Path, source: str = "mini") -> Path:
    """A shipped model's weights in another family's classes, on a canvas twice as wide.

    LLaVA-OneVision has the same vision tower and projector, a Qwen2 language model (Llama's with
    biases) and one more token after the image.  A patch of 16 pixels is the average of the 8 that
    the shipped model reads.  It answers nearly as the shipped model does, so that whole
    chapters can be run on a family that is not the shipped one.
    """
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    import dualmech

    vlm = dualmech.load(source, device="cpu")
    old, px, side = vlm.model.config, 2 * vlm.px, 2 * vlm.canvas[0]
    text = old.text_config.to_dict() | {"model_type": "qwen2"}
    vision = old.vision_config.to_dict() | {"image_size": side, "patch_size": px}
    config = T.LlavaOnevisionConfig(
        vision_config=vision, text_config=text, image_token_index=old.image_token_id,
        video_token_index=vlm.tokenizer.unk_token_id, image_grid_pinpoints=[[side, side]],
        vision_feature_layer=old.vision_feature_layer, tie_word_embeddings=True,
    )  # fmt: skip
    model = T.LlavaOnevisionForConditionalGeneration(config)
    weights = {k: v.clone() for k, v in vlm.model.state_dict().items()}
    patch = "model.vision_tower.embeddings.patch_embedding.weight"
    weights[patch] = weights[patch].repeat_interleave(2, -1).repeat_interleave(2, -2) / 4
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    for name in missing:  # what the other family has besides: a line break and biases
        assert name == "model.image_newline" or name.endswith("_proj.bias"), name
        model.get_parameter(name).data.zero_()
    white = np.full((*vlm.canvas, 3), 255, np.uint8)
    model.model.image_newline.data = vlm.visual([white])[0].mean(0)
    model.save_pretrained(folder)
    vlm.tokenizer.chat_template = vlm.chat_template
    vlm.tokenizer.save_pretrained(folder)
    how = vlm.image_processor
    LlavaOnevisionImageProcessorPil(
        size={"height": side, "width": side}, image_grid_pinpoints=[[side, side]],
        image_mean=how.image_mean, image_std=how.image_std,
    ).save_pretrained(folder)  # fmt: skip
    return folder
