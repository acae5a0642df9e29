"""Traps of TransformerLens that the book warns of (chapters 2 and "Traps") and works around.

They are pinned here, so that a version which takes one away, or sets another, is noticed.
"""

import torch
from pytest import fixture, raises

import dualmech
from bookbuild import tiny

ENTRY = "blocks.0.hook_in"


@fixture(scope="module")
def llava():
    return dualmech.load("mini", device="cpu")


@fixture(scope="module")
def qwen(tmp_path_factory):
    return dualmech.load(tiny.save("qwen2_vl", tmp_path_factory.mktemp("qwen")), device="cpu")


def inputs(vlm):
    image = dualmech.stimuli.draw([], [], vlm.geometry).image
    x = vlm.prepare([image], ["Which item is red?" if vlm.name != "mini" else "The item is red ."])
    return x.pop("input_ids"), x


def cached(vlm, *names, **how):
    ids, x = inputs(vlm)
    return vlm.bridge.run_with_cache(ids, names_filter=list(names), **x, **how)[1]


def test_a_wrong_name_among_right_ones_is_dropped_without_a_word(llava):
    assert list(cached(llava, ENTRY, "blocks.0.hook_inn")) == [ENTRY]
    with raises(KeyError):
        cached(llava, "blocks.0.hook_inn")


def test_a_cached_residual_is_a_view_of_the_next(llava):
    cache = cached(llava, "blocks.0.hook_out", "blocks.1.hook_in")
    assert cache["blocks.0.hook_out"].data_ptr() == cache["blocks.1.hook_in"].data_ptr()


def test_caching_asks_for_all_attention_patterns_unless_told_not_to(llava):
    asked = []
    see = llava.bridge.original_model.get_decoder().register_forward_pre_hook(
        lambda _m, _args, how: asked.append(how.get("output_attentions")), with_kwargs=True
    )
    with see:
        cached(llava, ENTRY)
        cached(llava, ENTRY, output_attentions=False)
    assert asked == [True, False]


def test_an_edit_of_the_encoder_s_output_does_nothing(llava):
    ids, x = inputs(llava)
    plain = llava.bridge(ids, **x)

    def change(name):
        zero = lambda states, hook: torch.zeros_like(states)  # noqa: E731
        edited = llava.bridge.run_with_hooks(ids, fwd_hooks=[(name, zero)], **x)
        return (edited - plain).abs().max().item()

    assert change("vision_encoder.hook_out") == 0
    assert change("vision_projector.hook_in") > 0.1 and change(ENTRY) > 0.1


def test_the_text_embedding_holds_placeholders_where_the_image_is(llava):
    cache, ids = cached(llava, "embed.hook_out", ENTRY), inputs(llava)[0]
    at = llava.positions({"input_ids": ids})[0]
    placeholders = cache["embed.hook_out"][0, at]
    assert (placeholders == placeholders[0]).all()
    assert (cache[ENTRY][0, at] - placeholders).norm(dim=-1).min() > 0.1


def test_the_last_position_of_a_projector_without_a_batch_axis_is_a_feature(qwen):
    name, tokens = "vision_projector.hook_out", qwen.grid[0] * qwen.grid[1]
    assert cached(qwen, name)[name].shape == (tokens, qwen.d_model)
    assert cached(qwen, name, pos_slice=-1)[name].shape == (tokens, 1)
