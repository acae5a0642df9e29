"""A `VLM`: its facts, its inputs and its answers, against the plain Hugging Face model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from dualmech import edits as E
from dualmech import stimuli as S
from vlms import runs
from vlms.checks import check_model, greeting
from vlms.families import ModelError


@pytest.fixture(scope="module")
def x(vlm, trials):
    return E.inputs(vlm, trials)


# --- facts ---------------------------------------------------------------------------


def test_facts(vlm, checkpoint):
    assert (vlm.grid, vlm.px, vlm.canvas) == ((12, 12), 8, (96, 96))
    assert (vlm.n_layers, vlm.n_slots, vlm.d_model) == (8, 9, 128)
    assert vlm.path == checkpoint and vlm.name == str(checkpoint)
    assert not vlm.model.training
    assert not any(p.requires_grad for p in vlm.model.parameters())
    assert vlm.words[:6] == ["<pad>", "<s>", "</s>", "<unk>", "<image>", "assistant:"]
    assert len(vlm.words) == vlm.model.config.text_config.vocab_size
    assert repr(vlm) == (
        f"{checkpoint}: LLaVA, 8 layers of width 128, float32 on cpu\n"
        "images of 96 x 96 px, 12 x 12 visual tokens"
    )


def test_geometry_is_the_papers_or_fits_the_grid(vlm):
    assert vlm.geometry == S.MINI
    other = replace(vlm, grid=(24, 24), px=14)
    assert other.geometry == S.Geometry(24, 14, 4, 3)
    assert len(other.geometry.cells(False)) == 3


# --- inputs --------------------------------------------------------------------------


def test_white_space_after_a_question_does_not_matter(vlm, trials):
    trial = trials[4]
    questions = [trial.question, *(trial.question.rstrip() + end for end in ("", " ", "  ", "\n"))]
    x = vlm.prepare([trial.stimulus.image] * 5, questions)
    assert (x["input_ids"] == x["input_ids"][0]).all()


def test_prepare_and_positions(vlm, trials, x):
    words, tensors = vlm.words, (x["input_ids"], x["attention_mask"], vlm.positions(x))
    for ids, mask, at, trial in zip(*tensors, trials, strict=True):
        assert mask.tolist() == sorted(mask), "padding is on the left"
        pads, asked = int((mask == 0).sum()), trial.question.lower().split()
        told = ["<pad>"] * pads + ["<s>"] + ["<image>"] * 144 + asked + ["assistant:"]
        assert [words[i] for i in ids.tolist()] == told
        assert at.tolist() == list(range(pads + 1, pads + 145)), "where the image tokens stand"
    assert (x["attention_mask"] == 0).any(), "the trials differ in length"
    pixels = np.stack([t.stimulus.pixels for t in trials]).transpose(0, 3, 1, 2)
    assert_close(x["pixel_values"], torch.from_numpy(pixels / 127.5 - 1).float())


@torch.no_grad()
def test_visual_is_what_the_language_model_receives(vlm, plain, trials, x):
    row = torch.arange(len(trials))[:, None]
    states = vlm.visual([t.stimulus.image for t in trials])
    entering = plain(**x, output_hidden_states=True).hidden_states[0]
    assert_close(states, entering[row, vlm.positions(x)], rtol=0, atol=1e-5)
    one_by_one = vlm.visual([t.stimulus.image for t in trials], batch=1)
    assert_close(one_by_one, states, rtol=0, atol=1e-5)


# --- answers -------------------------------------------------------------------------


def spelled(vlm):
    """The same model with a tokenizer that knows four spellings of `red` and two of `blue`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "red", "Red", "\u2581red", "\u2581Red", "blue", "\u2581Blue", "light"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    return replace(vlm, tokenizer=tokenizer)


def test_probabilities_sum_the_spellings(vlm):
    other = spelled(vlm)
    assert other.answer_ids("red") == [1, 2, 3, 4]
    assert other.answer_ids("Blue") == [5, 6]
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.05, 0.15, 0.1, 0.25, 0.05, 0.1],
                                     [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]])) + 7  # fmt: skip
    found = other.probabilities(logits, [["red", "blue"], ["light", "red"]])
    assert found == pytest.approx(np.array([[0.5, 0.3], [0.1, 0.4]]), abs=1e-6)
    for word in ("red light", "green"):
        with pytest.raises(ModelError, match=f"^'{word}' is not a single token of"):
            other.answer_ids(word)


def test_answer_is_the_argmax_of_the_plain_model(vlm, plain, trials, x):
    images, questions = [t.stimulus.image for t in trials], [t.question for t in trials]
    with torch.no_grad():
        best = plain(**x).logits[:, -1].argmax(-1).tolist()
    assert vlm.answer(images, questions) == [vlm.words[i] for i in best]
    assert vlm.answer(images, questions, batch=4) == [vlm.words[i] for i in best]


def test_an_exact_multiple_is_averaged_down(vlm, trials):
    image, questions = trials[4].stimulus.image, [trials[4].question]
    large = image.resize((96 * 7, 96 * 7), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(vlm.check_image(large)), trials[4].stimulus.pixels)
    assert vlm.answer([large], questions) == vlm.answer([image], questions)
    fine = np.zeros((192, 192, 3), np.uint8)
    fine[::2, ::2] = 200  # one of four
    assert (np.asarray(vlm.check_image(fine)) == 50).all()
    gray = vlm.check_image(Image.new("L", (96, 96), 7))
    assert gray.mode == "RGB" and gray.getpixel((3, 4)) == (7, 7, 7)


# --- errors --------------------------------------------------------------------------


def canvas(*size):
    return Image.new("RGB", size or (96, 96))


@pytest.mark.parametrize("size", [(100, 96), (48, 48), (192, 96)])
def test_only_a_picture_of_the_canvas_is_prepared(vlm, size):
    with pytest.raises(ModelError, match="takes images of 96 x 96 pixels or an exact multiple"):
        vlm.prepare([canvas(*size)], ["key"])


@pytest.mark.parametrize(
    ("words", "images", "questions"),
    [
        ("expected an array .* got \\(0, 96, 3\\)", [np.zeros((0, 96, 3), np.uint8)], ["key"]),
        ("expected a PIL image or an array .* got str", ["picture.png"], ["key"]),
        ("does not know the word 'banana'; `vlm.words` lists its words",
         [canvas()], ["The object above the banana is a(n) "]),
        ("does not know the word '<image>'", [canvas()], ["the key <image> "]),
        ("does not know the word '<pad>'", [canvas()], ["the <pad> "]),
        ("2 images but 1 questions", [canvas(), canvas()], ["key"]),
        ("0 images but 0 questions", [], []),
        ("^give a list of images and a list of questions", canvas(), ["key"]),
        ("^give a list of images and a list of questions", [canvas()] * 3, "key"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_line(vlm, monkeypatch, words, images, questions):
    # as readers run it: the tests' own checker of annotations would speak first
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    for do in (vlm.answer, vlm.prepare):
        with pytest.raises(ModelError, match=words) as error:
            do(images, questions)
        assert "\n" not in str(error.value)


# --- the self-test -----------------------------------------------------------------------


def test_a_greeting_is_a_self_test(vlm, monkeypatch):
    told = greeting(vlm)
    assert told.count(";") == 3 and "passes the self-test: " in told
    assert told.endswith("What it has learned is not tested: random weights pass, too.")
    assert greeting(replace(vlm, name="mini")) == "`mini` is loaded."
    finish = runs.Run.finish
    monkeypatch.setattr(runs.Run, "finish", lambda run, *how: finish(run, *how) + how[1])
    with pytest.raises(ModelError, match="fails: .*a suffix is the whole model"):
        greeting(vlm)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [("positions", lambda at: at.flip(1), "fails: tokens lie where the grid says"),
     ("visual", lambda states: states[:, :-1], "143 visual tokens for 144 cells")],
)  # fmt: skip
def test_the_self_test_finds_a_grid_that_is_wrong_or_cut(vlm, monkeypatch, name, change, words):
    right = getattr(type(vlm), name)
    monkeypatch.setattr(type(vlm), name, lambda *how, **more: change(right(*how, **more)))
    with pytest.raises(ModelError, match=words):
        check_model(vlm, bridge=False)
