"""What chapter 2 builds by hand, taken from the notebook itself, against the library.

The chapter's own functions are cut out of its cells and run here on other models and other
images than the chapter's: random weights, a CLIP encoder with a class token, and the shipped one.
"""

import ast
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

import dualmech
import organism
from dualmech import drawing, regions, stimuli

NOTEBOOK = Path(__file__).parents[1] / "chapters" / "02-anatomy-of-a-vlm.ipynb"
CELLS = nbformat.read(NOTEBOOK, 4).cells
QUESTIONS = ["The color of the square above the red square is ", "Name the items."]
CLOSE = 1e-5  # of the largest number: eager and fused attention differ in the last digits


def definitions() -> str:
    """The functions of all code cells and the names of hooks (capital letters), as source."""
    plain = TransformerManager().transform_cell
    nodes = [n for c in CELLS if c.cell_type == "code" for n in ast.parse(plain(c.source)).body]
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef)]
    assert len({f.name for f in functions}) == len(functions), "a function is defined twice"
    names = [
        n
        for n in nodes
        if isinstance(n, ast.Assign)
        and all(t.id.isupper() for t in ast.walk(n.targets[0]) if isinstance(t, ast.Name))
        and all(isinstance(v, ast.Constant | ast.Tuple | ast.Load) for v in ast.walk(n.value))
    ]
    return ast.unparse(ast.Module(names + functions, []))


def solutions() -> dict[str, str]:
    """The folded solutions of the exercises, by the name of the function they define."""
    text = "\n".join(c.source for c in CELLS if c.cell_type == "markdown")
    found = re.findall(r"```python\n(def (\w+).*?)```", text, re.DOTALL)
    return {name: source for source, name in found}


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A small LLaVA-1.5: CLIP encoder with a class token, read before its last layer."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side, px = 40, 8
    processor = organism.build_processor()
    processor.image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    processor.num_additional_image_tokens = 1
    processor.vision_feature_select_strategy = "default"
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
        image_size=side, patch_size=px, initializer_range=0.2,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(processor.tokenizer), hidden_size=48, intermediate_size=64,
        num_hidden_layers=3, num_attention_heads=2, pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=4, initializer_range=0.2,
        image_seq_length=(side // px) ** 2, vision_feature_layer=-2,
    )  # fmt: skip
    torch.manual_seed(5)
    model = LlavaForConditionalGeneration._from_config(config)
    for name, weight in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            weight.data += 0.3 * torch.randn_like(weight)  # else every norm is the same
    folder = tmp_path_factory.mktemp("clip") / "model"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return dualmech.load(folder, device="cpu")


@pytest.fixture(scope="module", params=["random", "clip", "mini"])
def book(request):
    """The chapter's functions on a model, with what its cells would have at that point."""
    if request.param == "mini":
        model = dualmech.load("mini", device="cpu")
    else:
        model = request.getfixturevalue({"random": "vlm"}.get(request.param, request.param))
    space = {"dm": dualmech, "S": stimuli, "torch": torch, "F": F, "np": np, "plt": plt,
             "Image": Image, "vlm": model, "how": model.processor.image_processor,
             "slots": range(model.n_slots)}  # fmt: skip
    exec(definitions(), space)
    rng = np.random.RandomState(0)
    space["images"] = [
        Image.fromarray(rng.randint(0, 256, (*model.canvas, 3)).astype(np.uint8)) for _ in range(2)
    ]
    space["x"] = model.prepare(space["images"], QUESTIONS)
    assert (space["x"]["attention_mask"] == 0).any(), "the second question is padded"
    with torch.no_grad():
        yield space


def assert_equal(ours, theirs, close=CLOSE):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= close * theirs.abs().max()


def test_what_is_taken_from_the_notebook():
    space = {}
    exec(definitions(), space)
    assert {"patch_tokens", "tap", "project", "leaving", "lm_input", "site", "read_out", "lens",
            "put", "patch_with_torch", "patch_with_bridge"} <= set(space)  # fmt: skip
    assert space["EMBED"].startswith("vision_encoder") and space["ENTRY"] == "blocks.0.hook_in"


# --- pixel to visual token -------------------------------------------------------------


def test_patches_by_hand(book):
    seen = book["tap"](book["x"], book["EMBED"])[book["EMBED"]]
    ours = book["patch_tokens"](book["x"]["pixel_values"])
    assert ours.shape[1] == np.prod(book["vlm"].grid)
    assert_equal(ours, seen[:, -ours.shape[1] :])


def test_visual_tokens_by_hand(book):
    vlm = book["vlm"]
    leaving = book["leaving"](vlm.model.model.vision_tower, book["x"]["pixel_values"])
    found = book["tap"](book["x"], book["TOWER"], book["PROJECTED"])
    assert_equal(leaving, found[book["TOWER"]])
    assert_equal(book["project"](leaving), found[book["PROJECTED"]])
    assert_equal(book["project"](leaving), vlm.visual(book["images"]))


def test_tap_refuses_a_misspelt_name_and_gives_copies(book):
    with pytest.raises(AssertionError, match="no such hook.*hook_inn"):
        book["tap"](book["x"], "blocks.0.hook_in", "blocks.0.hook_inn")
    pair = "blocks.0.hook_out", "blocks.1.hook_in"
    first, second = book["tap"](book["x"], *pair).values()
    assert torch.equal(first, second) and first.data_ptr() != second.data_ptr()


def test_painting_a_cell_paints_one_patch(book):
    vlm, (rows, cols) = book["vlm"], book["vlm"].grid
    picture = np.asarray(book["images"][0])
    cell = cols * (rows - 2) + 1
    painted = book["paint"](picture, cell, "green")
    pixels = vlm.prepare([picture, painted], QUESTIONS[:1] * 2)["pixel_values"]
    changed = book["change"](book["patch_tokens"](pixels)).flatten(1)
    assert (changed[0] > 0).nonzero().tolist() == [[cell]]
    top, left = (rows - 2) * vlm.px, vlm.px
    assert (painted[top : top + vlm.px, left : left + vlm.px] == (0, 255, 0)).all()


# --- sequence, slots, words --------------------------------------------------------------


def test_the_input_of_the_language_model(book):
    vlm, x = book["vlm"], book["x"]
    ours = book["lm_input"](x, vlm.visual(book["images"]))
    assert_equal(ours, vlm.forward(x, slots=[0]).resid[0])
    real = x["attention_mask"].bool()
    assert_equal(ours[real], book["tap"](x, book["ENTRY"])[book["ENTRY"]][real])


def test_every_slot_has_its_hook(book):
    vlm, x = book["vlm"], book["x"]
    names = [book["site"](slot) for slot in book["slots"]]
    found, run = book["tap"](x, *names), vlm.prefix(x)
    real = x["attention_mask"].bool()
    for slot, name in enumerate(names):
        assert_equal(found[name][real], run.resid[slot][real])


def test_reading_out_a_word(book):
    vlm = book["vlm"]
    run = vlm.prefix(book["x"])
    for slot in book["slots"]:  # the lens is the suffix of a run that has no layers left
        ours = book["read_out"](run.resid[slot])
        assert_equal(ours, vlm.suffix(run, vlm.n_layers, run.resid[slot]))
    assert_equal(book["read_out"](run.resid[vlm.n_layers]), vlm.forward(book["x"]).logits)


def test_the_lens_ends_at_the_models_answer(book):
    vlm = book["vlm"]
    items = [drawing.Item("square", c) for c in ("blue", "red", "black")]
    trials = [stimuli.trial(tuple(items), d, "squares") for d in stimuli.DIRECTIONS]
    images = book["images"] * 2
    seen = book["lens"](trials, images)
    logits = vlm.forward(vlm.prepare(images, [t.question for t in trials])).logits
    words = [["blue", "black", "red"], ["black", "blue", "red"]] * 2
    assert seen.shape == (vlm.n_slots, 4, 3)
    np.testing.assert_allclose(seen[-1], vlm.probabilities(logits, words), rtol=1e-3, atol=1e-6)


# --- changing a state ----------------------------------------------------------------------


@pytest.mark.parametrize("position", [-1, 3])
def test_one_edit_four_ways(book, position):
    vlm, x = book["vlm"], book["x"]
    run = vlm.prefix(x)
    for slot in book["slots"]:
        donor = run.resid[slot][:, position].flip(0) * 1.5  # from the other image
        edit = book["put"](position, donor)
        before = run.resid[slot].clone()
        forward = vlm.forward(x, edits=[(slot, edit)]).logits
        assert_equal(book["patch_with_bridge"](x, slot, edit), forward)
        assert_equal(vlm.suffix(run, slot, edit(run.resid[slot])), forward)
        assert torch.equal(run.resid[slot], before), "the edit wrote into the clean run"
        if slot < vlm.n_layers:
            assert_equal(book["patch_with_torch"](x, slot, edit), forward)
        if slot < vlm.n_layers or position == -1:
            assert (forward - run.logits).abs().max() > 100 * CLOSE, "the edit did nothing"


def test_no_hook_stays_behind(book):
    x = book["x"]
    before = book["vlm"].forward(x).logits
    book["patch_with_torch"](x, 1, book["put"](-1, 0.0))
    book["patch_with_bridge"](x, 1, book["put"](-1, 0.0))
    assert torch.equal(book["vlm"].forward(x).logits, before)
    assert_equal(book["patch_with_bridge"](x, 1, lambda resid: resid), before)


def test_sites_that_are_blind(book):
    x = book["x"]
    book["logits"] = book["vlm"].bridge(
        x["input_ids"], pixel_values=x["pixel_values"], attention_mask=x["attention_mask"]
    )
    config = book["vlm"].model.config
    layer = range(config.vision_config.num_hidden_layers)[config.vision_feature_layer]
    blind = [f"vision_encoder.encoder_layers.{layer}.hook_out", "vision_encoder.hook_out"]
    alive = [book["EMBED"], book["TOWER"], book["PROJECTED"], book["ENTRY"]]
    assert [book["effect_of_zero"](name) for name in blind] == [0, 0]
    assert min(book["effect_of_zero"](name) for name in alive) > 0.01


# --- exercises -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exercises():
    """The chapter's variables at its end, by running all its cells on the shipped model."""
    space = {"__name__": "chapter"}
    plain = TransformerManager().transform_cell
    with torch.no_grad():
        for cell in CELLS:
            if cell.cell_type == "code":
                exec(plain(cell.source), space)
        yield space
    torch.set_grad_enabled(True)


def test_every_exercise_has_a_solution(exercises):
    assert set(solutions()) == {"find", "norm", "background_moves", "sweep"}


@pytest.mark.parametrize("name", ["find", "norm", "background_moves", "sweep"])
def test_an_exercise_accepts_its_solution_and_nothing_else(exercises, name, capsys):
    space = dict(exercises)
    stub = next(k for k, c in enumerate(CELLS) if c.source.startswith(f"def {name}("))

    def checked(function) -> str:
        capsys.readouterr()
        space[name] = function
        for cell in CELLS[stub : stub + 2]:
            if cell.cell_type == "code":
                tree = ast.parse(cell.source)
                tree.body = [n for n in tree.body if not isinstance(n, ast.FunctionDef)]
                exec(compile(tree, "exercise", "exec"), space)
        return capsys.readouterr().out.strip()

    assert checked(lambda *_: None) == "Not done yet."
    exec(solutions()[name], space)
    solved = space[name]
    assert checked(solved) == "Right."
    wrong = lambda *a: torch.as_tensor(solved(*a)).double() * 1.1 + 1  # noqa: E731
    assert checked(wrong) == "Not yet right."
    short = lambda *a: torch.as_tensor(solved(*a))[..., :1]  # noqa: E731
    assert checked(short).startswith("Shape")


def test_a_box_of_the_exercise_is_the_librarys(exercises):
    space = dict(exercises)
    exec(solutions()["find"], space)
    vlm = space["vlm"]
    for trial in stimuli.trials("objects")[::300]:
        for box in trial.stimulus.boxes:
            tokens = regions.tokens_of(box, vlm.px, vlm.grid[1])
            assert torch.equal(space["find"](box), space["where"][tokens])


def test_what_the_solutions_say_of_the_shipped_model(exercises):
    space = dict(exercises)
    exec(solutions()["background_moves"], space)
    exchange, colours = space["background_moves"]()
    assert colours > exchange
    exec(solutions()["sweep"], space)
    follows = np.array(space["sweep"]())
    first = int((follows > 0.5).argmax())
    early = follows[: first - 1]  # one slot may lie between
    assert first > 1 and early.max() < 0.1 and follows[first:].min() > 0.9
    assert space["mirrored"][first] < min(follows[first], space["mirrored"][-1]) - 0.05
