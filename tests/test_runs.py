"""A `Run` against the plain Hugging Face model, PyTorch hooks, and TransformerLens."""

import pytest
import torch
from plain import hooked
from torch.testing import assert_close

from dualmech import edits as E
from vlms import runs
from vlms.families import ModelError

SLOTS = range(9)  # eight layers


@pytest.fixture(scope="module")
def x(vlm, trials):
    return E.inputs(vlm, trials)


@pytest.fixture(scope="module")
def states(vlm, x):
    return dict(vlm.start(x).walk())


@pytest.fixture(scope="module")
def logits(vlm, x):
    return vlm.logits(x)


def push(resid):
    """Move a visual token of the first row and the last token of the others."""
    generator = torch.Generator().manual_seed(0)
    resid = resid.clone()
    resid[0, -60] += 10 * torch.randn(resid.shape[-1], generator=generator)
    resid[1:, -1] += torch.randn(resid.shape[-1], generator=generator)
    return resid


@torch.no_grad()
def test_a_run_is_the_plain_model(vlm, plain, x, states, logits):
    assert_close(logits, plain(**x).logits[:, -1], rtol=0, atol=1e-5)
    assert logits.std() > 0.1, "a model that says something"
    # to the last bit, where the very same weights do the same work
    out = vlm.model(**x, use_cache=False, logits_to_keep=1, output_hidden_states=True)
    assert torch.equal(logits, out.logits[:, -1]) and list(states) == list(SLOTS)
    for slot in range(8):
        assert torch.equal(states[slot], out.hidden_states[slot]), slot
    assert torch.equal(vlm.language_model.norm(states[8]), out.hidden_states[8])


@pytest.mark.parametrize("slot", SLOTS)
def test_an_edit_is_a_pytorch_hook(vlm, plain, x, states, logits, slot):
    edited, kept = vlm.logits(x, [(slot, push)]), states[slot].clone()
    assert torch.equal(edited, hooked(vlm.model, x, {slot: push})[0])
    assert_close(edited, hooked(plain, x, {slot: push})[0], rtol=0, atol=1e-5)
    assert torch.equal(vlm.start(x).finish(push(kept), slot), edited), "without the layers below"
    assert torch.equal(states[slot], kept), "a residual can be used again"
    moved = (edited - logits).abs().amax(1)
    assert (moved[1:] > 1e-2).all()
    # behind the last layer a visual token reaches no answer
    assert moved[0] > 1e-4 if slot < 8 else moved[0] == 0


def test_edits_at_two_slots_and_twice_at_one(vlm, x):
    double, shift = lambda r: 2 * r, lambda r: r + 1
    found = vlm.logits(x, [(6, push), (3, double), (3, shift)])
    assert torch.equal(found, hooked(vlm.model, x, {3: lambda r: 2 * r + 1, 6: push})[0])


@pytest.mark.parametrize(("slots", "layers"), [([0], []), ([3, 1], [0, 1, 2]), ([], [])])
def test_a_walk_computes_no_layer_above_the_last_slot(vlm, x, states, slots, layers):
    computed, run = [], vlm.start(x)
    handles = [layer.register_forward_hook(lambda *_, k=k: computed.append(k))
               for k, layer in enumerate(vlm.language_model.layers)]  # fmt: skip
    found = dict(run.walk(slots))
    for handle in handles:
        handle.remove()
    assert computed == layers and list(found) == sorted(slots)
    assert all(torch.equal(found[slot], states[slot]) for slot in slots)


def test_a_walk_goes_on_from_what_is_changed_in_place_and_leaves_the_run_as_it_was(vlm, x, logits):
    run = vlm.start(x)
    for slot, resid in run.walk():
        if slot in (0, 4):
            resid[:, -1] += 1
    add = lambda r: torch.cat([r[:, :-1], r[:, -1:] + 1], 1)  # noqa: E731
    assert torch.equal(run.finish(resid, slot), hooked(vlm.model, x, {0: add, 4: add})[0])
    assert torch.equal(run.finish(run.resid, 0), logits)


def test_a_run_begins_without_a_layer_and_leaves_the_layers_as_they_were(vlm, x, logits):
    layers, computed = vlm.language_model.layers, []
    layers[2].forward = own = layers[2].forward  # as a quantised layer has its own
    with layers[0].mlp.register_forward_hook(lambda *_: computed.append(0)):
        vlm.start(x)
    assert not computed
    assert vars(layers[2])["forward"] is own and "forward" not in vars(layers[1])
    with pytest.raises(ValueError):  # nor does a failure leave the layers replaced
        vlm.start({})
    assert vars(layers[2])["forward"] is own and "forward" not in vars(layers[1])
    del layers[2].forward

    def fail(_resid):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        vlm.logits(x, [(4, fail)])
    assert torch.equal(vlm.logits(x), logits)


@pytest.mark.parametrize("slot", [-1, 9])
def test_a_slot_out_of_range(vlm, x, slot):
    with pytest.raises(ModelError, match=rf"^slot {slot} is out of range: 0 .. 8$"):
        vlm.logits(x, [(slot, push)])


def test_copies_need_a_mask_of_true_and_false(vlm, x):
    run = vlm.start(x)
    mask = run._calls[0]["attention_mask"]
    run._calls[0]["attention_mask"] = torch.where(mask, 0.0, -1e9)
    with pytest.raises(ValueError, match="last-token copies need the attention masks of torch"):
        runs.fan_out(run, 2)


def test_a_padded_batch_equals_single_rows(vlm, trials, x, states, logits):
    assert (x["attention_mask"] == 0).any()
    for row, trial in enumerate(trials):
        run = vlm.start(E.inputs(vlm, [trial]))
        alone = dict(run.walk([5, 8]))
        assert_close(logits[row : row + 1], run.finish(alone[8], 8), rtol=0, atol=1e-5)
        length = alone[5].shape[1]
        assert_close(states[5][row : row + 1, -length:], alone[5], rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_bridge_is_the_same_model(vlm, x, states, logits):
    from transformers import LlavaForConditionalGeneration

    eager = LlavaForConditionalGeneration.from_pretrained(
        vlm.path, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    more = {k: v for k, v in x.items() if k != "input_ids"}
    found, cache = vlm.bridge.run_with_cache(x["input_ids"], **more)
    assert_close(found, eager(**x).logits, rtol=0, atol=1e-5)
    assert_close(found[:, -1], logits, rtol=0, atol=1e-4)
    real = x["attention_mask"].bool()
    for slot in SLOTS:
        seen = cache[f"blocks.{slot}.hook_in" if slot < 8 else "blocks.7.hook_out"]
        assert_close(seen[real], states[slot][real], rtol=1e-4, atol=1e-4)
    # an edit through the bridge is an edit here
    hooks = [("blocks.5.hook_in", lambda resid, hook: push(resid))]
    edited = vlm.bridge.run_with_hooks(x["input_ids"], fwd_hooks=hooks, **more)
    assert_close(edited[:, -1], vlm.logits(x, [(5, push)]), rtol=0, atol=1e-4)
    assert torch.equal(vlm.logits(x), logits), "the bridge is a copy"
    assert vlm.model.config.text_config._attn_implementation == "sdpa"
