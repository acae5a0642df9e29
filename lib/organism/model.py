"""The shipped models' processor and architecture, with random weights."""

from __future__ import annotations

import torch

from dualmech.drawing import COLOURS, OBJECTS, SHAPES
from dualmech.stimuli import MINI

GRID, PX, TOKENS = MINI.grid, MINI.px, MINI.grid**2
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "assistant:")
WORDS = """the color of square shape to left right above below is object a(n) a an item items
leftmost rightmost topmost bottommost middle name describe image from top bottom and or in on
answer with one word two three four five how many are there yes no which side where located
using as reference point floor nothing ? . , :""".split()
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% elif message['role'] == 'assistant' %}{{ ' assistant: ' + message['content'] }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' assistant:' }}{% endif %}"
)


def build_processor():
    """The LLaVA processor of the shipped models: word-level tokenizer, 96 x 96 pixels."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = dict.fromkeys([*SPECIAL, *WORDS, *COLOURS, *SHAPES, *OBJECTS])
    vocab = {word: i for i, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("?", "isolated"),
         pre_tokenizers.Split(".", "isolated"), pre_tokenizers.Split(",", "isolated")]
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>", additional_special_tokens=["<image>", "assistant:"],
        extra_special_tokens={"image_token": "<image>"}, padding_side="left",
    )  # fmt: skip
    images = SiglipImageProcessorPil(size={"height": MINI.side, "width": MINI.side})
    return LlavaProcessor(
        images, tokenizer, patch_size=PX, vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE, image_token="<image>", num_additional_image_tokens=0,
    )  # fmt: skip


def build_model(vocab: int, seed: int = 0, layers: int = 8, attn: str = "eager"):
    """A LLaVA model of about 2.3 million random weights (SigLIP tower, Llama LM of `layers`)."""
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        SiglipVisionConfig,
    )

    width = 128
    vision = SiglipVisionConfig(
        hidden_size=width, intermediate_size=3 * width, num_hidden_layers=4,
        num_attention_heads=4, image_size=MINI.side, patch_size=PX, vision_use_head=False,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=320, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2, head_dim=64, tie_word_embeddings=True,
        max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        initializer_range=0.08,  # 1/sqrt(width): the default 0.02 starts on a long plateau
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=SPECIAL.index("<image>"),
        vision_feature_select_strategy="full", vision_feature_layer=-1,
        image_seq_length=TOKENS, tie_word_embeddings=True, initializer_range=0.08,
    )  # fmt: skip
    torch.manual_seed(seed)
    return LlavaForConditionalGeneration._from_config(config, attn_implementation=attn)
