"""Every supported family, on a tiny random-weight model of its own Hugging Face classes."""

import subprocess
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import transformers
from held import held
from plain import hooked, naive
from torch.testing import assert_close

import dualmech
from bookbuild import bench, tiny
from dualmech import edits as E
from dualmech import stimuli
from vlms import families, runs
from vlms.checks import check_model
from vlms.families import ModelError
from vlms.loading import weight_bytes

GRIDS = {  # rows and columns, pixels per visual token
    "llava": (12, 14), "pixtral": (15, 16), "llava_onevision": (7, 14), "gemma3": (8, 8),
    "qwen2_vl": (12, 28), "qwen2_5_vl": (12, 28), "qwen3_vl": (12, 32), "idefics3": (8, 16),
    "smolvlm": (8, 16),
}  # fmt: skip
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return tiny.save(family, tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def tiny_vlm(folder):
    return dualmech.load(folder, device="cpu")


@pytest.fixture(scope="module")
def images(tiny_vlm):
    noise = np.random.RandomState(0).randint(0, 256, (2, *tiny_vlm.canvas, 3))
    return list(noise.astype(np.uint8))


@pytest.fixture(scope="module")
def x(tiny_vlm, images):
    return tiny_vlm.prepare(images, ["What is red here?", "The color is "])


@pytest.fixture(scope="module")
def clean(tiny_vlm, x):
    """Logits of the Hugging Face model, and its residuals by slot."""
    return hooked(tiny_vlm.model, x)


CHECKED = set()  # families


def test_the_self_test_passes_on_the_family_s_grid(tiny_vlm, family, monkeypatch):
    """Grid, image, edits, suffix and TransformerLens bridge; and nobody calls pip."""
    monkeypatch.setattr(subprocess, "Popen", None)
    grid, px = GRIDS[family]
    assert (tiny_vlm.grid, tiny_vlm.px) == ((grid, grid), px)
    assert tiny_vlm.model.dtype == torch.float32
    assert len(tiny_vlm.geometry.cells(False)) == 3
    rows = check_model(tiny_vlm)
    assert [row["ok"] for row in rows] == [True] * 5, rows
    CHECKED.add(family)


def test_every_cell_is_its_own_token(tiny_vlm, images):
    """Also where the encoder works in windows (Qwen2.5-VL) or merges patches (SmolVLM)."""
    px, n = tiny_vlm.px, tiny_vlm.grid[0]
    if n > 12:
        pytest.skip("the self-test's cells do for the larger grids")
    cells = range(0, n * n, 5)  # in every row and column
    changed = [images[0].copy() for _ in cells]
    for image, (r, c) in zip(changed, (divmod(k, n) for k in cells), strict=True):
        image[r * px : (r + 1) * px, c * px : (c + 1) * px] = [0, 255, 0]
    states = tiny_vlm.visual([images[0], *changed])
    moved = (states[1:] - states[0]).norm(dim=-1)
    assert moved.argmax(-1).tolist() == list(cells)


@torch.no_grad()
def test_a_run_is_the_plain_class(tiny_vlm, folder, family, x, clean):
    cls = getattr(transformers, families.FAMILIES[family].model_class)
    plain = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    logits, states = clean
    assert_close(logits, plain(**x).logits[:, -1], rtol=0, atol=1e-4)
    run = tiny_vlm.start(x)
    for slot, resid in run.walk():  # Qwen3-VL adds features between its first layers
        assert torch.equal(resid, states[slot])
        assert torch.equal(run.finish(resid, slot), logits)
    assert slot == tiny_vlm.n_layers


def test_an_edited_run_is_the_edited_model_at_every_slot(tiny_vlm, x, clean):
    push = torch.randn(tiny_vlm.d_model, generator=torch.Generator().manual_seed(0))
    at, run = tiny_vlm.positions(x)[:, 3], tiny_vlm.start(x)

    def edit(resid):
        resid = resid.clone()
        resid[[0, 1], at] += 3 * push
        resid[:, -1] += push
        return resid

    for slot in range(tiny_vlm.n_slots):
        whole = hooked(tiny_vlm.model, x, {slot: edit})[0]
        assert torch.equal(run.finish(edit(clean[1][slot]), slot), whole), slot
        assert torch.equal(tiny_vlm.logits(x, [(slot, edit)]), whole), slot
        assert (whole - clean[0]).abs().max() > 1e-3


def test_inputs_are_those_of_the_hugging_face_processor(tiny_vlm, images, family):
    """Where that processor needs no torchvision: LLaVA, Gemma 3 and Idefics3."""
    long = {"longest_edge": 128}
    how = {  # to make it, to call it
        "llava": ({"patch_size": 14, "image_token": "<image>", "num_additional_image_tokens": 1,
                   "vision_feature_select_strategy": "default"}, {}),
        "gemma3": ({"image_seq_length": 64}, {"add_special_tokens": False}),  # the template does
        "idefics3": ({"image_seq_len": 64},
                     {"do_image_splitting": False, "max_image_size": long, "size": long}),
    }  # fmt: skip
    if family not in how:
        pytest.skip("its processor cannot be imported without torchvision")
    make, call = how[family]
    cls = getattr(transformers, f"{family.capitalize()}Processor")
    real = cls(tiny_vlm.image_processor, tiny_vlm.tokenizer, **make)
    questions = ["What is red here?", "The color is "]
    texts = [tiny_vlm.prompt(q) for q in questions]
    expected = real(
        images=[[i] for i in images], text=texts, return_tensors="pt", padding=True,
        padding_side="left", **call,
    )  # fmt: skip
    ours = tiny_vlm.prepare(images, questions)
    for name in ours:
        assert torch.equal(ours[name], expected[name].to(ours[name].dtype)), name


def test_a_model_is_told_to_answer_in_one_token_unless_the_question_does(tiny_vlm):
    told = "You respond in one token. "
    assert f"{told}The key is " in tiny_vlm.prompt("The key is ")
    question = "Where is it? Answer with one word: left or right."
    assert question in tiny_vlm.prompt(question) and told not in tiny_vlm.prompt(question)


def test_text_around_the_image(tiny_vlm, x, family):
    """One placeholder per visual token, what the family puts around them, one first token."""
    words = tiny_vlm.tokenizer.convert_ids_to_tokens(x["input_ids"][0].tolist())
    at, n = tiny_vlm.positions(x), tiny_vlm.grid[0] ** 2
    assert at.shape == (2, n)
    first, last = int(at[0, 0]), int(at[0, -1])
    around = {
        "gemma3": ("<start_of_image>", "<end_of_image>"), "pixtral": ("[INST]", "[IMG_END]"),
        "llava_onevision": (None, "<image>"), "llava": (None, None),
        "idefics3": ("<global-img>", "<fake_token_around_image>"),
        "smolvlm": ("<global-img>", "<fake_token_around_image>"),
    }.get(family, ("<|vision_start|>", "<|vision_end|>"))  # fmt: skip
    for neighbour, found in zip(around, (words[first - 1], words[last + 1]), strict=True):
        assert neighbour is None or found == neighbour
    if family == "pixtral":
        assert words[first:last].count("[IMG_BREAK]") == 14
        assert "[IMG_BREAK]" not in {words[i] for i in at[0].tolist()}
    assert words.count(tiny_vlm.tokenizer.bos_token) == (tiny_vlm.tokenizer.bos_token is not None)


def test_visual_tokens_are_no_placeholders(tiny_vlm, images, x, clean):
    rows = torch.arange(2)[:, None]
    entering = clean[1][0][rows, tiny_vlm.positions(x)]
    assert torch.equal(tiny_vlm.visual(images), entering)
    assert (entering[0] - entering[1]).abs().amax(-1).min() > 0.01, "each depends on its image"


def test_copies_of_the_last_token_are_as_many_whole_passes(tiny_vlm, images, x):
    """One pass with a copy per slot, each pushed at its own, against a whole pass per slot."""
    push = 3 * torch.randn(tiny_vlm.d_model, generator=torch.Generator().manual_seed(1))
    for inputs in (x, tiny_vlm.prepare(images[:1], ["The color is "])):  # padded or not
        seq, clean = inputs["input_ids"].shape[1], hooked(tiny_vlm.model, inputs)[0]
        run = tiny_vlm.start(inputs)
        fan = runs.fan_out(run, tiny_vlm.n_slots)
        for slot, resid in fan.walk():
            resid[:, seq + slot] += push
        found = fan.finish(resid, slot)
        assert_close(run.finish(resid[:, :seq], slot), clean, rtol=0, atol=1e-4)
        for slot in range(tiny_vlm.n_slots):

            def edit(resid):
                return torch.cat([resid[:, :-1], resid[:, -1:] + push], 1)

            whole = hooked(tiny_vlm.model, inputs, {slot: edit})[0]
            assert_close(found[:, slot], whole, rtol=0, atol=1e-4)
            assert (whole - clean).abs().max() > 1e-3


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_half_precision_moves_an_edited_run_by_less_than_a_tenth(tiny_vlm, folder, family, half):
    """In standard deviations of the logits, at every slot; or it is refused."""
    name = families.FAMILIES[family].name
    if half not in families.FAMILIES[family].precisions:
        with pytest.raises(ModelError, match=f"{name} models cannot be used in '{half}' here: "):
            dualmech.load(folder, device="cpu", precision=half)
        return
    vlm = dualmech.load(folder, device="cpu", precision=half)
    exact, found = bench.edited_logits(tiny_vlm), bench.edited_logits(vlm)
    assert found.shape == exact.shape == (tiny_vlm.n_slots, exact.shape[1])
    assert 0 < ((found - exact).abs().amax(-1) / exact.std(-1)).max() < 0.1
    if half == "float16":
        with pytest.raises(ModelError, match="overflows in float16: load .* in float32"):
            _ = vlm.bridge


def test_other_visual_tokens_leave_nothing_of_the_image(tiny_vlm, images, x, monkeypatch):
    """Neither in the language model's input nor, of DeepStack, above; and no image is encoded."""
    asked, at = ["What is red here?"] * 2, tiny_vlm.positions(x)
    same = tiny_vlm.prepare(images, asked)
    gap = lambda logits: (logits[0] - logits[1]).abs().max()  # noqa: E731
    run = tiny_vlm.start(same)
    assert gap(run.finish(run.resid, 0)) > 1e-2
    state, whole = tiny_vlm.visual(images), tiny_vlm.start(x).resid
    encoder = runs._encoder_layers(tiny_vlm.model)
    assert len(encoder) == 2  # of the tiny models

    def computed(*_args, **_kwargs):
        raise AssertionError("a layer of the encoder was computed")

    for layer in encoder:
        monkeypatch.setattr(layer, "forward", computed)
    with pytest.raises(AssertionError):
        tiny_vlm.start(x)
    run = tiny_vlm.start(same, state[:1].repeat(2, 1, 1))
    assert gap(run.finish(run.resid, 0)) < 1e-4
    assert torch.equal(tiny_vlm.start(x, state).resid, whole), "text or special tokens changed"
    assert (tiny_vlm.positions(x) == at).all()


def test_type_ids_matter(tiny_vlm, x, clean, family):
    """Left out, some models silently read the image as text; `prepare` never leaves them out."""
    name = families.FAMILIES[family].type_ids
    if name is None:
        assert not [key for key in x if "type_ids" in key]
        return
    assert torch.equal(x[name].bool(), x["input_ids"] == tiny_vlm.model.config.image_token_id)
    without = {k: v for k, v in x.items() if k != name}
    try:
        moved = (tiny_vlm.logits(without) - clean[0]).abs().max()
    except ValueError:
        return  # the model itself refuses
    assert moved > 1e-2


def test_positions_as_in_text(tiny_vlm, images, x, clean, family):
    if family not in QWEN:
        with pytest.raises(ModelError, match="number image tokens like text already"):
            replace(tiny_vlm, rope="1d")
        return
    flat = replace(tiny_vlm, rope="1d")
    run = flat.start(flat.prepare(images, ["What is red here?", "The color is "]))
    logits = run.finish(run.resid, 0)
    assert torch.equal(run.resid, clean[1][0])
    assert (logits - clean[0]).abs().max() > 1e-2
    position = (x["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        plain = tiny_vlm.model(**x, position_ids=position.expand(3, -1, -1), use_cache=False)
    assert_close(logits, plain.logits[:, -1], rtol=0, atol=1e-5)
    with pytest.raises(ModelError, match="rope is 'native' or '1d', not '2d'"):
        replace(tiny_vlm, rope="2d")


def test_experiments_on_a_grid_that_follows_the_picture(tiny_vlm):
    """Regions, sweeps, amplification and the removed ordering, on 6 rows of 9 tokens."""
    if not tiny_vlm.family.native:
        with pytest.raises(ModelError, match="models have one canvas"):
            tiny_vlm.native(np.zeros((60, 90, 3), np.uint8))
        return
    px = tiny_vlm.px
    paper, geometry = np.full((6 * px, 9 * px, 3), 255.0), stimuli.Geometry(9, px, 1, 2)
    wide = tiny_vlm.native(paper.astype(np.uint8))
    assert wide.grid == (6, 9) and wide.canvas == (6 * px, 9 * px)
    items = stimuli.task_items("objects")[:3]
    draw = partial(stimuli.draw, geometry=geometry, background=paper)

    def pair(direction, at):  # at: the items' cells
        asked = [stimuli.Trial(draw(some, at), "What is there?", some[0].answer, direction,
                               "objects") for some in (items, items[::-1])]  # fmt: skip
        return stimuli.Pair(*asked, {"clean": items[0].answer, "flipped": items[2].answer})

    pairs = [pair("left", [(2, 1), (2, 4), (2, 7)]), pair("above", [(0, 3), (3, 3), (5, 3)])]
    trials, others = ([getattr(p, name) for p in pairs] for name in ("clean", "counterfactual"))
    cells, push = np.arange(54).reshape(6, 9), torch.randn(1, wide.d_model)
    owned = [[19, 22, 25], [3, 30, 48]]

    def strips(resid, theirs, k, at, _slot):
        first, last = (cells[:2], cells[4:]) if k else (cells[:, :3], cells[:, 6:])
        to, of = np.r_[first.ravel(), last.ravel()], np.r_[last.ravel(), first.ravel()]
        resid[0, at[0][to]] = theirs[0, at[1][of]]

    def louder(resid, _theirs, k, at, _slot):
        resid[0, at[0][owned[k]]] += 9 * push[0]

    named = {"strip": E.swap("strip"), "loud": E.amplify(push, 9.0, "constant", "object")}
    found = E.sweep(wide, pairs, named, [0, 2])
    words = [list(p.targets.values()) for p in pairs]
    for (name, sweep), write in zip(found.items(), (strips, louder), strict=True):
        wanted = naive(wide, trials, words, write, [0, 2], others)
        assert sweep.p == pytest.approx(wanted, rel=1e-3), name
    removed = E.ordering_removed(wide, trials)
    blank, alone = wide.visual([paper.astype(np.uint8), draw(items[:1], [(2, 4)]).image])
    for states, own in zip(removed, owned, strict=True):
        assert_close(states[own[0]], alone[22], rtol=0, atol=1e-5)
        rest = np.setdiff1d(np.arange(54), own)
        assert_close(states[rest], blank[rest], rtol=0, atol=1e-5)


def test_description_is_greedy(tiny_vlm, images):
    """Word by word from the logits of whole passes, where the bridge's own generate fails."""
    question = "What is red here?"
    told = tiny_vlm.describe(images[:1], [question], words=3)[0]
    x, ids = tiny_vlm.prepare(images[:1], [question]), []
    for _ in range(3):
        ids.append(int(tiny_vlm.logits(x).argmax()))
        grown = {"input_ids": ids[-1], "attention_mask": 1, tiny_vlm.family.type_ids: 0}
        x = x | {k: torch.cat([x[k], x[k].new_tensor([[v]])], 1) for k, v in grown.items() if k}
        if ids[-1] == tiny_vlm.tokenizer.eos_token_id:
            break
    assert told == tiny_vlm.tokenizer.decode(ids, skip_special_tokens=True)


def test_spellings_of_an_answer(tiny_vlm):
    names = tiny_vlm.tokenizer.convert_ids_to_tokens(tiny_vlm.answer_ids("red"))
    assert set(names) == {"red", "Red", "Ġred", "ĠRed"}
    with pytest.raises(ModelError, match="'lavender' is not a single token of .*choose another"):
        tiny_vlm.answer_ids("lavender")


@pytest.mark.parametrize("how", ["counterfactual", "source and visual"])
def test_a_sweep_is_many_edited_passes_of_the_plain_model(tiny_vlm, how):
    """Several edits at once, of the library's and of one's own, are each as by hand."""
    few = partial(stimuli.swap_pairs, "squares", n=1, seed=0, geometry=tiny_vlm.geometry)
    pairs, n, d = few("left") + few("above"), tiny_vlm.grid[0], tiny_vlm.d_model
    trials, others = ([getattr(p, name) for p in pairs] for name in ("clean", "counterfactual"))
    cells, third = np.arange(n * n).reshape(n, n), n // 3
    push, noise = torch.randn(d), torch.randn(n * n, d)

    def mine(resid, b):
        resid[:, -1] *= 1.5
        resid[torch.arange(len(b.at)), b.at[:, 5]] += 3 * push
        return resid

    def last(resid, theirs, *_):
        resid[:, -1] = theirs[:, -1]

    def strips(resid, theirs, k, at, _slot):
        turned = cells.T if k else cells
        left, right = turned[:, :third].ravel(), turned[:, -third:].ravel()
        resid[0, at[0][np.r_[left, right]]] = theirs[0, at[1][np.r_[right, left]]]

    def by_hand(resid, _theirs, _k, at, _slot):
        resid[:, -1] *= 1.5
        resid[0, at[0][5]] += 3 * push

    named = {"last": E.last_token, "strip": E.swap("strip"), "mine": mine}

    def other(vlm, some):  # visual tokens that depend on the image
        return torch.stack([noise.roll(sum(map(ord, t.answer)), 0) for t in some])

    slots, words = [0, 1, 2, tiny_vlm.n_layers], [list(p.targets.values()) for p in pairs]
    source, visual = (None, None) if how == "counterfactual" else (trials[::-1], other)
    found = E.sweep(tiny_vlm, pairs, named, slots, visual=visual, source=source)
    source = source or others
    for name, write in zip(named, (last, strips, by_hand), strict=True):
        wanted = naive(tiny_vlm, trials, words, write, slots, source, visual)
        assert found[name].p == pytest.approx(wanted, rel=1e-3)
        assert abs(wanted[1] / wanted[-1 if name == "strip" else 0] - 1).max() > 1e-3, (
            "it does something"
        )


# --- loading -------------------------------------------------------------------------


def test_4bit_and_the_bytes_of_weights(folder, tiny_vlm):
    """The language model's layers in 4 bits, the encoder as it was; edits are still exact."""
    vlm = dualmech.load(folder, device="cpu", precision="4bit")
    assert [row["ok"] for row in check_model(vlm)] == [True] * 4 + [None]
    before, after = (dict(v.model.named_parameters()) for v in (tiny_vlm, vlm))
    for name in before:
        quantised = before[name].shape != after[name].shape
        linear = "layers" in name and name.endswith("proj.weight")
        inside = "language_model" in name or "text_model" in name
        assert quantised == (linear and inside), name
    foretold = partial(weight_bytes, tiny_vlm.model.config, vlm.family)
    total = sum(p.numel() for p in before.values())
    assert foretold() == 4 * total == 2 * foretold("bfloat16")
    size = sum(p.numel() * p.element_size() for p in after.values())
    assert size <= foretold("4bit") <= 1.03 * size, "the scales are kept apart"
    with pytest.raises(ModelError, match="load .* without 4bit"):
        _ = vlm.bridge


def test_as_many_families_as_the_page_says_of_this_version():
    """Run it with another version of transformers and DUALMECH_HELD=keep, and the page tells it."""
    assert CHECKED == set(GRIDS) == set(tiny.FAMILIES) == set(families.FAMILIES)
    version = ".".join(transformers.__version__.split(".")[:2])
    held("versions", f"transformers {version}", len(CHECKED),
         "every family loaded, asked and checked against plain PyTorch")  # fmt: skip
