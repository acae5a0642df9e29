"""What ships in `data/`: whole files, and weights that learned what the book says they did."""

import json

import pytest

import dualmech
import organism
from dualmech import edits as E
from dualmech import stimuli as S
from dualmech.metrics import wilson
from vlms._paths import data_dir
from vlms.loading import SHIPPED, check_files

SAMPLE = 80  # trials per task, spread evenly over directions and held-out triples


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request):
    return dualmech.load(request.param, device="cpu")


def held_out(task):
    trials = S.trials(task, heldout=True)
    return trials[:: max(1, len(trials) // SAMPLE)]


@pytest.mark.parametrize("name", SHIPPED)
def test_files(name):
    folder = data_dir() / name
    check_files(folder)
    listed = set(json.loads((folder / "hashes.json").read_text()))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= listed
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 16e6


def test_the_shipped_processor_is_the_recipes(shipped):
    tokenizer = organism.build_processor().tokenizer
    assert shipped.words == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert shipped.prompt("The key is ") == organism.build_processor().apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "The key is "}]}],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert shipped.canvas == (S.MINI.side, S.MINI.side)


@pytest.mark.parametrize("shipped", ["mini"], indirect=True)
@pytest.mark.parametrize("task", S.TASKS)
def test_accuracy_on_combinations_never_seen(shipped, task):
    trials = S.trials(task, heldout=True)
    answers = shipped.answer([t.stimulus.image for t in trials], [t.question for t in trials])
    right = {d: [a == t.answer for a, t in zip(answers, trials, strict=True) if t.direction == d]
             for d in S.DIRECTIONS}  # fmt: skip
    assert sum(map(sum, right.values())) / len(trials) >= 0.98
    assert min(sum(one) / len(one) for one in right.values()) >= 0.95, right


@pytest.mark.parametrize("shipped", ["mini-local"], indirect=True)
def test_with_a_local_encoder_the_language_models_positions_do(shipped):
    """What chapter 13 says of it: it needs nothing that the encoder knows of the order."""
    trials = held_out("objects")
    whole = E.answers(shipped, trials)
    bare = E.answers(shipped, trials, visual=E.ordering_removed)
    right = [a == t.answer for a, t in zip(whole, trials, strict=True)]
    assert sum(right) / len(right) >= 0.9
    assert sum(a == b for a, b in zip(whole, bare, strict=True)) / len(trials) >= 0.9


@pytest.mark.parametrize("task", S.TASKS)
def test_a_blank_image_leaves_only_guesses(shipped, task):
    trials = held_out(task)
    answers = shipped.answer([S.draw([], []).image] * len(trials), [t.question for t in trials])
    right = sum(a == t.answer for a, t in zip(answers, trials, strict=True))
    chance = 1 / (len(S.task_items(task)) - 1)  # any item but the reference
    assert wilson(right, len(trials))[0] <= chance
