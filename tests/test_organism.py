"""The recipe: its data, its masks, and that a stopped run ends where an unbroken one does."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import combinations, islice, product

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

import dualmech
import organism as T
from dualmech import drawing, scenes
from dualmech import stimuli as S
from organism import dialogues, items

TOY = T.toy(T.Recipe())
CAPTION = T.toy(T.Recipe.of("caption"))
RED, GREEN, BLUE = (drawing.Item("square", c) for c in ("red", "green", "blue"))
FULL, SHUFFLED = 0, 5  # the first steps of stage 3 that show all visual tokens, and a quarter


@pytest.fixture(scope="module")
def tokenizer():
    return T.build_processor().tokenizer


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.RandomState(8)
    return [T.training_stimulus(rng) for _ in range(300)]


def patches(pixels):
    """(n, 96, 96, 3) to the (n, 144, 192) pixel values of each token."""
    return pixels.view(-1, 12, 8, 12, 8, 3).transpose(2, 3).reshape(-1, 144, 192)


# --- tiles ---------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_tiles_round_trip(k):
    pixels = torch.randint(0, 256, (2, 96, 96, 3), generator=torch.Generator().manual_seed(0))
    tiles = T.as_tiles(pixels, k)
    assert torch.equal(T.from_tiles(patches(tiles), k), patches(pixels))


def test_a_tile_is_alone_in_the_centre_of_white():
    pixels = torch.randint(0, 255, (2, 96, 96, 3), generator=torch.Generator().manual_seed(0))
    tiles = T.as_tiles(pixels.to(torch.uint8))
    assert tiles.shape == (18, 96, 96, 3) and tiles.dtype == torch.uint8
    for k in range(18):
        n, row, col = k // 9, k % 9 // 3 * 32, k % 3 * 32
        assert torch.equal(tiles[k, 32:64, 32:64], pixels[n, row : row + 32, col : col + 32])
        assert (tiles[k] == 255).all(-1).sum() == 96 * 96 - 32 * 32


# --- labels and dialogues ------------------------------------------------------------


def test_token_labels_by_hand():
    s = S.row_of(
        (drawing.Item("square", "red"), drawing.Item("heart", "blue"), drawing.Item("star", "gray"))
    )
    kinds, tints = T.token_labels(s)
    for place, item in enumerate(s.items):
        block = np.s_[5:7, 4 * place + 1 : 4 * place + 3]
        assert {T.KINDS[i] for i in kinds[block].ravel() if i >= 0} == {item.shape}
        assert {T.TINTS[i] for i in tints[block].ravel() if i >= 0} == {item.colour}
        kinds[block] = tints[block] = 0
    assert not kinds.any() and not tints.any()
    objects = S.row_of((drawing.Item("pot"), drawing.Item("key")))
    assert set(T.token_labels(objects)[1].ravel()) <= {0, -1}, "objects have no colour"


def test_a_sliver_has_no_label():
    stimulus = S.row_of((RED,), full=True)
    for share, expected in ((0.02, 0), (0.03, -1), (0.24, -1), (0.25, 1)):
        cover = np.zeros((1, 96, 96))
        cover[0, :8, :8] = share
        kinds, _ = T.token_labels(replace(stimulus, cover=cover))
        assert kinds[0, 0] == expected, share
        assert not kinds.ravel()[1:].any()


def test_layout_labels_by_hand():
    def told(s):
        found = [(T.KINDS[k], T.TINTS[t]) if k >= 0 else None for k, t in T.layout_labels(s)]
        return dict(zip(T.QUERIES, found, strict=True))

    row = told(S.row_of((RED, GREEN, BLUE)))
    assert row == {
        "left-most": ("square", "red"), "right-most": ("square", "blue"),
        "middle of the row": ("square", "green"),
        "top-most": None, "bottom-most": None, "middle of the column": None,
    }  # fmt: skip
    two = told(S.draw((drawing.Item("pot"), drawing.Item("key")), [(0, 5), (5, 0)]))
    assert two == {
        "left-most": ("key", "none"), "right-most": ("pot", "none"), "middle of the row": None,
        "top-most": ("pot", "none"), "bottom-most": ("key", "none"), "middle of the column": None,
    }  # fmt: skip


def further(s, axis, sign):
    """Names from nearest to furthest along an axis."""
    middle = sign * (s.boxes[:, axis] + s.boxes[:, axis + 2])
    return [s.items[i] for i in np.argsort(middle)]


SIDES = {"to the left of": (0, -1), "to the right of": (0, 1), "above": (1, -1), "below": (1, 1)}
ENDS = {"leftmost": (0, -1), "rightmost": (0, 1), "topmost": (1, -1), "bottommost": (1, 1)}


def answered(s, question):
    """(kind of question, its answer) by the boxes alone."""
    names = {i.name: i for i in s.items}
    where, what = "|".join(SIDES), r"(?:color of the \w+|object)"
    if m := re.fullmatch(rf"The {what} ({where}) the (.+) is (a\(n\) )?", question):
        row = further(s, *SIDES[m[1]])
        return "paper", row[row.index(names[m[2]]) + 1].answer
    if m := re.fullmatch(r"The (?:color of the )?(\w+most) \w+ is(?: a\(n\))?", question):
        return "end", further(s, *ENDS[m[1]])[-1].answer
    options = r"(?:to the left|to the right|above|below) or .*?(?:of|above|below)"
    if m := re.fullmatch(rf"Is the (.+?) {options} the (.+)\? Answer with one word\.", question):
        axis = 1 if "above" in question else 0
        row = further(s, axis, 1)
        first = row.index(names[m[1]]) < row.index(names[m[2]])
        return "pair", [("left", "right"), ("above", "below")][axis][0 if first else 1]
    if question.startswith("Describe the image from "):
        axis = 0 if "left to right" in question else 1
        return "describe", " , ".join(i.name for i in further(s, axis, 1))
    if m := re.fullmatch(r"Where is the (.+) located\?", question):
        left, top, right, bottom = s.boxes[s.items.index(names[m[1]])]
        third = lambda low, high: min(2, int((low + high) / 2 // 32))  # noqa: E731
        row = ("top", "middle", "bottom")[third(top, bottom)]
        return "where", f"{row} {('left', 'middle', 'right')[third(left, right)]}"
    if question == "Name the items.":
        return "names", " , ".join(sorted(names))
    if m := re.fullmatch(r"The color of the (\w+) is", question):
        return "colour", next(i.colour for i in s.items if i.shape == m[1])
    if m := re.fullmatch(r"The shape of the (\w+) item is", question):
        return "shape", next(i.shape for i in s.items if i.colour == m[1])
    if question == "How many items are there?":
        return "count", {2: "two", 3: "three"}[len(s.items)]
    return ("middle" if "he middle " in question else None), None


def turns_of(s, talk):
    """(kind, question) of each turn of a dialogue, whose answers follow from the boxes."""
    for question, answer in T.dialogue(s, talk):
        assert T.UNNAMED not in question + answer
        kind, truth = answered(s, question)
        if kind == "middle":
            assert answer in {further(s, axis, 1)[1].answer for axis in (0, 1)}
        else:
            assert answer == truth, (question, [i.name for i in s.items], s.boxes)
        yield kind, question


def test_every_answer_follows_from_the_boxes_and_any_item_of_a_row_may_be_named(drawn):
    """Were it always the middle one, the word of direction alone would give the answer."""
    talk, seen, named = random.Random(0), Counter(), Counter()
    for s in drawn:
        for kind, question in turns_of(s, talk):
            seen[kind] += 1
            m = re.search(r"(left of|above) the (.+?) is", question)
            if kind == "paper" and len(s.items) == 3 and m:
                row = [i.name for i in further(s, int(m[1] == "above"), 1)]
                named[row.index(m[2])] += 1
    assert set(seen) == {
        "paper", "end", "pair", "describe", "names", "colour", "shape", "count", "middle", "where",
    }  # fmt: skip
    assert set(named) == {1, 2} and min(named.values()) > 0.4 * sum(named.values())


def test_nothing_is_asked_of_what_has_no_name():
    rng, talk, strange, turns = np.random.RandomState(5), random.Random(0), 0, []
    for _ in range(60):
        s = T.training_stimulus(rng, 0.25)
        strange += any(T.UNNAMED in (i.colour, i.shape) for i in s.items)
        turns += turns_of(s, talk)
    assert strange > 10 and len(turns) > 60


WHERE = re.compile(r"left|right|above|below|most|middle|located")


def test_a_recipe_says_how_many_naturalistic_images_are_asked_where_things_are(drawn):
    textured = [s for s in drawn if s.pixels[0, 0].min() <= 250]
    white = [s for s in drawn if s.pixels[0, 0].min() > 250]
    talk, asked = random.Random(0), 0
    for s in textured:
        turns = T.dialogue(s, talk, natural=0.0)
        assert turns and not any(WHERE.search(question) for question, _ in turns)
    for s in textured:
        asked += any(WHERE.search(q) for q, _ in T.dialogue(s, talk, natural=0.5))
    assert 0.35 < asked / len(textured) < 0.65 and len(textured) > 80
    for s in white:
        assert any(WHERE.search(q) for q, _ in T.dialogue(s, talk, natural=0.0))
    one, other = random.Random(1), random.Random(1)
    assert all(T.dialogue(s, one) == T.dialogue(s, other, 1.0) for s in drawn[:40])
    assert one.random() == other.random()


def test_stage_two_ends_with_unnamed_items_at_a_lower_rate():
    recipe = T.Recipe()
    assert T.rate(recipe, "lm", 199) == 1.0
    assert T.rate(recipe, "lm", recipe.lm_steps + 19) == pytest.approx(0.3)
    last = recipe.lm_steps + recipe.polish - 1
    assert T.rate(recipe, "lm", last) == pytest.approx(0.015, abs=1e-3)
    small = replace(recipe, lm_batch=24, lm_steps=1, polish=1)
    named, strange = T.Stream(small, "lm", 0, 2)
    key = [recipe.seed, 1, 2]
    rng = np.random.RandomState(key)
    expected = np.stack([T.training_stimulus(rng, recipe.unnamed).pixels for _ in range(24)])
    assert np.array_equal(strange["pixels"].numpy(), expected)
    assert not torch.equal(named["pixels"], strange["pixels"])


def test_stage_three_shows_random_outlines_and_names_them_by_their_colour():
    rng, talk, count, asked = np.random.RandomState(6), random.Random(0), Counter(), 0
    for _ in range(150):
        s = T.training_stimulus(rng, 0.15, 0.5)
        coloured = [i for i in s.items if i.colour is not None]
        count["all"] += len(coloured)
        count["outline"] += sum(i.outline is not None for i in coloured)
        count["colour"] += sum(i.colour == T.UNNAMED for i in coloured)
        assert not any(i.blend for i in coloured) and not T.heldout(s.items, s.boxes)
        for i in (i for i in coloured if i.outline is not None):
            partners = [shape for shape, colour in drawing.SHAPE_PAIRS if colour == i.colour]
            assert all(T.likeness(i, shape) < 0.6 for shape in partners)
        for _, question in turns_of(s, talk):
            asked += bool(re.search(r"(of|above|below) the \w+ shape is", question))
    assert 0.4 < count["outline"] / count["all"] < 0.6
    assert 0.1 < count["colour"] / count["all"] < 0.2
    assert asked > 50 and all(T.rate(T.Recipe(), "refine", k) == 0.4 for k in (19, 599))


def test_likeness_by_hand():
    assert T.likeness(drawing.Item("circle", "red"), "circle") == 1
    r, h = 0.9, 1 / 3  # a circle, and half the width of a cross's arms, in a box of 2 x 2
    strip = 2 * (h * (r * r - h * h) ** 0.5 + r * r * np.arcsin(h / r))
    both, circle, cross = 2 * strip - (2 * h) ** 2, np.pi * r * r, 4 - 4 * (1 - h) ** 2
    found = T.likeness(drawing.Item("circle", "red"), "cross")
    assert found == pytest.approx(both / (circle + cross - both), abs=0.03)


@pytest.mark.parametrize("shape", drawing.SHAPES[1:])
def test_a_turned_shape_is_found_to_be_like_itself(shape):
    turned = items.turned(shape, 16)
    assert turned.shape == (24, 16, 16)
    upright = drawing.Item(shape, "red").sprite(16)[..., 3].copy()
    assert_close(turned[0], upright, rtol=0, atol=1e-6)
    assert_close(turned[6], np.rot90(upright).copy(), rtol=0, atol=0.1)


def test_stage_three_ends_with_the_mean_of_its_weights(finished, tmp_path):
    for left in ("encoder.safetensors", "lm.safetensors"):
        (tmp_path / left).write_bytes((finished.parent / left).read_bytes())
    recipe = replace(TOY, refine=4, settle=1)
    by_hand = T.Trainer(recipe, "refine", tmp_path, "cpu", compiled=False)
    seen = []
    for step, batch in enumerate(T.Stream(recipe, "refine", 0, 4)):
        by_hand.step(batch, step)
        seen.append({k: v.clone() for k, v in by_hand.trained.state_dict().items()})
    trainer = T.Trainer(recipe, "refine", tmp_path, "cpu", compiled=False)
    trainer.run()
    for name, value in trainer.trained.state_dict().items():
        assert_close(value, torch.stack([one[name] for one in seen[1:]]).mean(0))
    moved = "projector.linear_1.weight"
    assert not torch.equal(seen[3][moved], seen[1][moved])


# --- the tokenizer -------------------------------------------------------------------


def test_the_tokenizer_knows_every_word_it_is_asked_and_answers_in_one(tokenizer, drawn):
    asked, answers, talk = set(), set(), random.Random(1)
    for task in S.TASKS:
        for trial in S.trials(task):
            asked.add(trial.question)
            answers |= {trial.answer, *trial.candidates}
        items = S.task_items(task)
        for first, second, vertical, swap in product(items, items, (False, True), (False, True)):
            asked.add(S.pairwise_question(first, second, vertical, swap))
    for s in drawn:
        for question, answer in T.dialogue(s, talk):
            asked |= {question, answer}
    answers |= {*S.DIRECTIONS, "two", "three", *drawing.SHAPES, *drawing.COLOURS}
    for question in asked:
        assert tokenizer.unk_token_id not in tokenizer(question)["input_ids"], question
    ids = {}
    for answer in answers:
        (ids[answer],) = tokenizer(answer)["input_ids"]
    assert tokenizer.unk_token_id not in ids.values()
    assert len(set(ids.values())) == len(ids)
    assert tokenizer("banana")["input_ids"] == [tokenizer.unk_token_id]


# --- packing -------------------------------------------------------------------------


def drawn_as(value):
    """A draw of one value: 0.0 adds the end of text to a short answer, 1.0 never does."""
    rng = random.Random()
    rng.random = lambda: value
    return rng


def test_a_pack_by_hand(tokenizer):
    turns = [("The key is", "red"), ("Name the items.", "key , pot")]
    ids, target, place, segment = T.pack(turns, tokenizer, drawn_as(1.0))
    words = [tokenizer.convert_ids_to_tokens(i) for i in ids]
    assert words[:13] == [
        "the", "key", "is", "assistant:",
        "name", "the", "items", ".", "assistant:", "key", ",", "pot", "<pad>",
    ]  # fmt: skip
    goals = [None if t == -100 else tokenizer.convert_ids_to_tokens(t) for t in target]
    assert goals[:13] == [
        None, None, None, "red",
        None, None, None, None, "key", ",", "pot", "</s>", None,
    ]  # fmt: skip
    assert place[:13] == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert segment[:13] == [1] * 4 + [2] * 8 + [-1]
    assert {len(part) for part in (ids, target, place, segment)} == {dialogues.TEXT}
    assert set(ids[12:]) == {0} and set(target[12:]) == {-100} and set(segment[12:]) == {-1}


def test_a_short_answer_is_sometimes_followed_by_the_end_of_text(tokenizer):
    ids, target, _, _ = T.pack([("The key is", "red")], tokenizer, drawn_as(0.0))
    red, end = tokenizer.convert_tokens_to_ids(["red", "</s>"])
    assert ids[4:6] == [red, 0] and target[3:6] == [red, end, -100]


def test_a_turn_that_does_not_fit_is_left_out_whole(tokenizer):
    long, short = ("the " * 60, "red"), ("the key", "red")
    _, target, _, segment = T.pack([long, long, short], tokenizer, drawn_as(1.0))
    assert sorted(set(segment)) == [-1, 1, 3]
    assert sum(t != -100 for t in target) == 2


def test_dialogue_mask_by_hand():
    # <s>, two visual tokens, then turns 1, 1, 2 and one position of padding
    mask = T.dialogue_mask(torch.tensor([[1, 1, 2, -1]]), visual=2)
    allowed = [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 0, 1],
    ]
    assert mask.shape == (1, 1, 7, 7)
    assert torch.equal(mask[0, 0] == 0, torch.tensor(allowed, dtype=bool))
    assert (mask[mask != 0] <= -1e4).all()


# --- the stream ----------------------------------------------------------------------


def test_a_batch_is_the_same_wherever_a_run_starts():
    shown = []
    for stage in T.STAGES:
        whole, late = (list(T.Stream(TOY, stage, start, 3)) for start in (0, 2))
        assert len(whole) == 3 and len(late) == 1
        assert same(whole[2], late[0])
        other = next(iter(T.Stream(replace(TOY, seed=1), stage, 2, 3)))
        shown += [batch["pixels"] for batch in (whole[1], whole[2], other)]
    for one, another in combinations(shown, 2):
        assert not torch.equal(one, another), "of another step, seed or stage"


# --- training ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A toy run from beginning to end."""
    out = tmp_path_factory.mktemp("run") / "toy"
    return T.train(TOY, out, "cpu", compiled=False)


@pytest.fixture(scope="module")
def language(finished):
    """The last stage as it stands at the end of that run, for tests that leave it so."""
    trainer = T.Trainer(TOY, "refine", finished.parent, "cpu", compiled=False)
    trainer.run()
    for weight in trainer.model.model.language_model.layers.parameters():
        weight.data *= 1.5  # so that where a token stands matters
    return trainer


def steps_of(folder):
    """The steps in the log of each stage of a run."""
    logs = {stage: folder / f"{stage}.jsonl" for stage in T.STAGES}
    rows = {stage: [json.loads(line) for line in log.open()]
            for stage, log in logs.items() if log.exists()}  # fmt: skip
    assert all(0 < row["loss"] < np.inf for logged in rows.values() for row in logged)
    return {stage: [row["step"] for row in logged] for stage, logged in rows.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_writes_a_model_that_loads_and_whose_tower_is_of_the_first_stage(finished, tokenizer):
    vlm = dualmech.load(finished, device="cpu")
    assert vlm.grid == (12, 12)
    assert vlm.words == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert sum(f.stat().st_size for f in finished.iterdir()) < 16e6
    assert steps_of(finished.parent) == {"encoder": [4], "lm": [4], "refine": [2]}
    assert json.loads((finished.parent / "recipe.json").read_text())["lm_steps"] == 3
    start = T.build_model(len(tokenizer), TOY.seed).state_dict()
    end = vlm.model.state_dict()
    moved = {name for name in start if not torch.equal(start[name], end[name])}
    for part in ("vision_tower", "multi_modal_projector", "language_model"):
        assert any(part in name for name in moved), part
    for name, value in load_file(finished.parent / "encoder.safetensors").items():
        assert torch.equal(end[f"model.vision_tower.{name}"], value), "frozen after the first stage"


@pytest.mark.parametrize("stage", T.STAGES)
def test_a_stopped_stage_ends_where_an_unbroken_one_does(finished, tmp_path, stage):
    recipe = replace(CAPTION if stage == "caption" else TOY, encoder_steps=3, lm_steps=2, polish=1,
                     refine=3, settle=0)  # fmt: skip
    ends = {}
    for name in ("unbroken", "stopped"):
        out = tmp_path / name
        out.mkdir()
        for left in ("encoder.safetensors", "lm.safetensors"):
            (out / left).write_bytes((finished.parent / left).read_bytes())
        trainer = T.Trainer(recipe, stage, out, "cpu", compiled=False)
        if name == "stopped":
            for step, batch in enumerate(islice(T.Stream(recipe, stage, 0, 3), 2)):
                trainer.step(batch, step)
                if step == 0:
                    trainer.save(1)  # the second step is lost
            trainer = T.Trainer(recipe, stage, out, "cpu", compiled=False)
            assert trainer.start == 1
        trainer.run()
        ends[name] = {k: v.clone() for k, v in trainer.trained.state_dict().items()}
    assert same(ends["unbroken"], ends["stopped"])
    assert T.Trainer(recipe, stage, out, "cpu", compiled=False).start == 3


def test_a_finished_run_is_not_run_again(finished):
    files = (finished / "model.safetensors", finished.parent / "refine.jsonl")
    before = [file.read_bytes() for file in files]
    assert T.train(TOY, finished.parent, "cpu", compiled=False) == finished
    assert [file.read_bytes() for file in files] == before
    told = finished.parent / "recipe.json"  # of a run from before a setting was there
    told.write_text(json.dumps({k: v for k, v in vars(TOY).items() if k != "gap"}))
    assert T.train(TOY, finished.parent, "cpu", compiled=False) == finished


def test_a_folder_of_another_recipe_is_refused(finished):
    before = (finished.parent / "recipe.json").read_text()
    with pytest.raises(ValueError, match="holds a run of another recipe; choose another folder$"):
        T.train(replace(TOY, seed=1), finished.parent, "cpu", compiled=False)
    assert (finished.parent / "recipe.json").read_text() == before


NEEDS_STEPS = "'caption', and no other, needs caption_steps"


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("'global'; known: layout, local, caption$", {"objective": "global"}),
        (NEEDS_STEPS, {"objective": "local", "caption_steps": 5}),
        (NEEDS_STEPS, {"objective": "caption"}),
        ("seen is a share of the tokens above 0 and up to 1",
         {"objective": "caption", "caption_steps": 1, "seen": 0}),
        ("no step of 4 is left to average after 4", {"refine": 4, "settle": 4}),
    ],
)  # fmt: skip
def test_a_recipe_that_makes_no_sense(words, settings):
    with pytest.raises(ValueError, match=words):
        T.Recipe(**settings)


def test_captions_are_the_lesson_of_one_objective():
    assert list(T.Recipe.of("caption").steps) == ["encoder", "caption", "lm", "refine"]
    assert T.Recipe.of("local") == T.Recipe("local")
    assert list(T.Recipe().steps) == ["encoder", "lm", "refine"]


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """A toy run of the objective "caption" from beginning to end."""
    return T.train(CAPTION, tmp_path_factory.mktemp("run") / "toy", "cpu", compiled=False)


def test_the_language_model_reads_the_tower_that_wrote_captions(captioned):
    before, after = (load_file(captioned.parent / f"{stage}.safetensors")
                     for stage in ("encoder", "caption"))  # fmt: skip
    end = dualmech.load(captioned, device="cpu").model.state_dict()
    assert all(torch.equal(end[f"model.vision_tower.{k}"], v) for k, v in after.items())
    read = "encoder.layers.0.mlp.fc1.weight"
    assert not torch.equal(before[read], after[read])
    assert steps_of(captioned.parent) == {"encoder": [4], "caption": [3], "lm": [4], "refine": [2]}
    assert not any("captioner" in name for name in end)


def test_without_steps_of_labels_captions_start_from_random_weights(tmp_path):
    towers = replace(CAPTION, encoder_steps=0, lm_steps=0, polish=0, refine=0)
    T.train(towers, tmp_path, "cpu", compiled=False)
    start = T.build_model(len(T.build_processor().tokenizer), 0).model.vision_tower.state_dict()
    assert same(load_file(tmp_path / "encoder.safetensors"), start)


@pytest.mark.parametrize(("seen", "tokens"), [(1.0, 144), (0.25, 36)])
def test_captions_are_written_from_a_share_of_the_tokens(captioned, seen, tokens):
    recipe = replace(CAPTION, seen=seen)
    trainer = T.Trainer(recipe, "caption", captioned.parent, "cpu", compiled=False)
    batch = next(iter(T.Stream(recipe, "caption", 0, 1)))
    shown, states, tower = [], [], trainer.tower
    trainer.captioner.norm.register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    trainer.tower = lambda x: states.append(tower(x)) or states[-1]
    loss, told = trainer.caption_loss(batch, 0)
    assert set(told) == {"words", "first"} and shown[0].shape[1] == tokens
    found = (shown[0][:, :, None] == states[0][:, None]).all(-1)
    assert (found.sum(-1) == 1).all(), "each shown token is one of the tower's"
    assert (found.sum(1) <= 1).all(), "and none is shown twice"
    loss.backward()
    assert trainer.model.model.vision_tower.embeddings.patch_embedding.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("objective", "stats"),
                         [("layout", {"kind", "tint", "layout", "column"}),
                          ("local", {"kind", "tint"})])  # fmt: skip
def test_only_the_layout_objective_asks_where(tmp_path, objective, stats):
    trainer = T.Trainer(replace(TOY, objective=objective), "encoder", tmp_path, "cpu", False)
    batch = next(iter(T.Stream(TOY, "encoder", 0, 1)))
    loss, told = trainer.encoder_loss(batch, 0)
    assert set(told) == stats
    loss.backward()
    asked = {n.split(".")[0] for n, p in trainer.heads.named_parameters() if p.grad is not None}
    assert ({"row", "col", "query", "read", "layout"} & asked != set()) == (objective == "layout")


def packed(turns, tokenizer):
    parts = zip(("ids", "target", "place", "segment"), T.pack(turns, tokenizer, drawn_as(1.0)),
                strict=True)  # fmt: skip
    pixels = torch.from_numpy(S.row_of((RED, GREEN, BLUE), full=True).pixels)[None]
    return {"pixels": pixels} | {name: torch.tensor([part]) for name, part in parts}


def test_pixels_are_normalised_as_the_processor_does():
    s = scenes.scene(np.random.RandomState(0))
    images = T.build_processor().image_processor
    want = images([s.image], return_tensors="pt")["pixel_values"]
    assert_close(T.normalise(torch.from_numpy(s.pixels)[None]), want, rtol=0, atol=1e-6)


def test_the_visual_tokens_of_training_are_a_readers(finished, language):
    drawn = [S.row_of((RED, GREEN, BLUE), full=True), scenes.scene(np.random.RandomState(1))]
    pixels = torch.from_numpy(np.stack([s.pixels for s in drawn]))
    visual = language.model.model.multi_modal_projector(language.visual_states(pixels, 0))
    vlm = dualmech.load(finished, device="cpu")
    assert_close(visual, vlm.visual([s.image for s in drawn]), rtol=0, atol=1e-5)


def test_the_loss_of_training_is_that_of_a_readers_answers(finished, language, tokenizer):
    """Packed turns, their mask and their positions give the logits of one question alone."""
    turns = [
        ("Name the items.", "key"),
        ("The object above the key is a(n) ", "pot"),
        ("The color of the square to the left of the red square is ", "blue"),
    ]
    batch, vlm = packed(turns, tokenizer), dualmech.load(finished, device="cpu")
    vlm.model.load_state_dict(language.model.state_dict())
    with torch.no_grad():
        loss, told = language.lm_loss(batch, FULL)
    assert "full.all" in told
    image = S.Image.fromarray(batch["pixels"][0].numpy())
    logits = vlm.logits(vlm.prepare([image] * 3, [question for question, _ in turns]))
    answers = torch.tensor([vlm.words.index(answer) for _, answer in turns])
    # eight units in the last place: the number of threads moves the sum
    assert_close(loss, torch.nn.functional.cross_entropy(logits, answers), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("step", "kind"), [(FULL, "full"), (SHUFFLED, "shuffled")])
def test_one_turn_does_not_see_another(language, tokenizer, step, kind):
    first = ("The color of the square to the left of the red square is ", "blue")
    others = [("The color of the square above the green square is ", "gray"),
              ("The shape of the purple item is not below a heart", "key")]  # fmt: skip

    def loss_of(turns, segment):
        batch = packed(turns, tokenizer)
        batch["target"] = torch.where(batch["segment"] == segment, batch["target"], -100)
        with torch.no_grad():
            loss, told = language.lm_loss(batch, step)
        assert f"{kind}.all" in told
        return loss.item()

    # the words of the other turn, before or behind, change nothing to the last bit
    assert loss_of([first, others[0]], 1) == loss_of([first, ("name " * 10, "key")], 1)
    assert loss_of([others[0], first], 2) == loss_of([("name " * 10, "key"), first], 2)
    assert loss_of([first, others[0]], 2) != loss_of([first, others[1]], 2), "its own words do"


def test_questions_may_stand_at_random_distances_from_the_image(language, monkeypatch):
    batch, run, seen = next(iter(T.Stream(TOY, "lm", 0, 1))), language.lm, []
    noted = lambda x, mask, place: seen.append(place) or run(x, mask, place)  # noqa: E731
    monkeypatch.setattr(language, "lm", noted)
    for gap in (0, 5):
        monkeypatch.setattr(language, "recipe", replace(TOY, gap=gap, shuffled=0.0))
        with torch.no_grad():
            language.lm_loss(batch, 0)
    near, far = seen
    assert torch.equal(near[:, :145], torch.arange(145).expand(8, -1))
    assert torch.equal(near[:, :145], far[:, :145]), "the image stays where it is"
    moved = far[:, 145:] - near[:, 145:]
    assert (moved == moved[:, :1]).all(), "a dialogue moves as a whole"
    assert len(set(moved[:, 0].tolist())) > 2 and 0 <= moved.min() and moved.max() <= 5


def test_a_recipe_may_ask_for_more_layers(tmp_path):
    trainer = T.Trainer(replace(TOY, layers=12), "encoder", tmp_path, "cpu", compiled=False)
    assert len(trainer.model.model.language_model.layers) == 12


def test_some_batches_are_shuffled_and_some_samples_tiled(language):
    names, batch = set(), next(iter(T.Stream(TOY, "lm", 0, 1)))
    for step in range(SHUFFLED + 1):
        with torch.no_grad():
            names |= set(language.lm_loss(batch, step)[1])
    assert names == {"full.all", "full.paper", "shuffled.all", "shuffled.paper", "tiled.paper"}


def test_tiled_tokens_know_nothing_of_where_their_tile_was(language):
    """The same tile gives the same states wherever it lies in the image."""
    generator = torch.Generator().manual_seed(0)
    tile = torch.randint(0, 256, (32, 32, 3), generator=generator).to(torch.uint8)
    pixels = torch.full((2, 96, 96, 3), 255, dtype=torch.uint8)
    pixels[0, :32, 32:64], pixels[1, 64:, :32] = tile, tile
    states = language.visual_states(pixels, tiled=2).view(2, 12, 12, -1)
    assert_close(states[0, :4, 4:8], states[1, 8:, :4], rtol=0, atol=1e-5)
    whole = language.visual_states(pixels, tiled=0).view(2, 12, 12, -1)
    assert (whole[0, :4, 4:8] - whole[1, 8:, :4]).abs().max() > 1e-2


def test_the_log_of_a_stopped_stage_has_each_step_once(finished, tmp_path):
    stage = T.Trainer(TOY, "encoder", tmp_path, "cpu", compiled=False)
    rows = [{"step": step, "seconds": 10.0 * step} for step in (50, 100, 150)]
    stage.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert stage.forget_after(100) == 1000.0  # the time goes on from there
    assert [json.loads(row) for row in stage.log.read_text().splitlines()] == rows[:2]
    assert stage.forget_after(0) == 0.0 and stage.log.read_text() == ""


def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="device 'bogus' cannot be used here, try 'cpu'"):
        T.train(TOY, tmp_path / "run", device="bogus")
    assert not (tmp_path / "run").exists()
