"""What stages 2 and 3 ask about an image, packed side by side."""

from __future__ import annotations

import random

from dualmech.drawing import Item
from dualmech.scenes import reference_of
from dualmech.stimuli import MINI, Stimulus, pairwise_question, question_for

from .items import UNNAMED
from .model import SPECIAL

TEXT = 112  # text positions an image's dialogue may fill


def place_of(s: Stimulus, item: Item) -> str:
    """The third of the image, up and down then across, that holds an item's centre."""
    x, y = (3 * s.centres[s.items.index(item)] // MINI.side).astype(int)
    return f"{('top', 'middle', 'bottom')[y]} {('left', 'middle', 'right')[x]}"


def dialogue(s: Stimulus, rng: random.Random, natural: float = 1.0) -> list[tuple[str, str]]:
    """Questions about an image with their answers, the paper's own form first.

    natural: share of the images on textured ground that are asked where things are.
    """
    asked, rest = [], []  # turns that need a missing name are dropped
    unique = {item.shape for item in s.items}
    square = unique == {"square"}
    objects = s.items[0].colour is None
    where = natural == 1 or s.pixels[0, 0].min() > 250 or rng.random() < natural
    for vertical in (False, True) if where else ():
        order = reference_of(s, vertical, 8)
        if not order:
            continue
        row = [s.items[i] for i in order]
        low, high = ("above", "below") if vertical else ("left", "right")
        ends = ("topmost", "bottommost") if vertical else ("leftmost", "rightmost")
        noun = "square" if square else "shape"
        for a, b in zip(row, row[1:], strict=False):
            asked.append((question_for(b, low, noun), a.answer))
            asked.append((question_for(a, high, noun), b.answer))
        for word, item in zip((*ends, "middle"), (row[0], row[-1], row[1]), strict=True):
            if word == "middle" and len(row) != 3:
                continue
            ask = f"The {word} object is a(n)" if objects else f"The color of the {word} {noun} is"
            rest.append((ask, item.answer))
        names = " , ".join(item.name for item in row)
        rest.append((f"Describe the image from {ends[0][:-4]} to {ends[1][:-4]}.", names))
        i, j = rng.sample(range(len(row)), 2)
        answer = low if i < j else high
        rest.append((pairwise_question(row[i], row[j], vertical, rng.random() < 0.5), answer))
    names = sorted(item.name for item in s.items)
    rest.append(("Name the items.", " , ".join(names)))
    if not objects and len(unique) == len(s.items):
        item = rng.choice(s.items)
        rest.append((f"The color of the {item.shape} is", item.colour))
        rest.append((f"The shape of the {item.colour} item is", item.shape))
    if rng.random() < 0.2:
        rest.append(("How many items are there?", ("two", "three")[len(s.items) - 2]))
    item = rng.choice(s.items)
    if where:
        rest.append((f"Where is the {item.name} located?", place_of(s, item)))
    asked, rest = (
        [turn for turn in turns if UNNAMED not in " ".join(turn)] for turns in (asked, rest)
    )
    rng.shuffle(asked)
    rng.shuffle(rest)
    return asked[:4] + rest


def pack(turns, tokenizer, rng: random.Random):
    """Lay turns side by side: ids, targets (-100 if none), positions and segments, (TEXT,) each.

    A turn is [question, assistant:, answer] with the answer's words predicted one by one and
    the end of text after a long answer (or, now and then, a short one).  A turn sees the image
    and itself only.
    """
    ids, target, place, segment = [], [], [], []
    for k, (question, answer) in enumerate(turns):
        q, a = tokenizer(question)["input_ids"], tokenizer(answer)["input_ids"]
        turn = [*q, SPECIAL.index("assistant:")]
        goal = [-100] * len(q) + [a[0]]
        if len(a) > 1 or rng.random() < 0.15:
            turn, goal = turn + a, goal + a[1:] + [SPECIAL.index("</s>")]
        if len(ids) + len(turn) > TEXT:
            continue
        ids += turn
        target += goal
        place += range(len(turn))
        segment += [k + 1] * len(turn)
    fill = TEXT - len(ids)
    return ids + [0] * fill, target + [-100] * fill, place + [0] * fill, segment + [-1] * fill
