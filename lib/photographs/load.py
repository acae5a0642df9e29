"""What'sUp and COCO-spatial from a folder, as questions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

from dualmech.stimuli import OPPOSITE

from .files import COCO, SUBSETS, DataError, again, check, listed, mislabelled, parsed
from .questions import OPTIONS, Question

THING = r"([^_/\\\x00-\x1f]{1,80})"
NAME = re.compile(rf"{THING}_(left_of|right_of|on|under|in-front_of|behind)_{THING}\.\w{{3,4}}")
RELATIONS = {"left_of": "left", "right_of": "right", "in-front_of": "front"}


def whatsup(folder: Path | str, subset: str = "A") -> list[Question]:
    """The What'sUp questions of subset "A" (photographs) or "B" (rendered scenes).

    Raises DataError for a file that is missing, truncated or not the one of the first use, and
    for a caption that contradicts its file's name.
    """
    folder, found = Path(folder).expanduser(), []
    if subset not in SUBSETS:
        raise ValueError(f"subset is 'A' or 'B', not {subset!r}")
    listing, pictures = SUBSETS[subset]
    entries = listed(folder, listing)
    for k, entry in enumerate(entries):
        try:
            name, caption = Path(entry["image_path"]).name, entry["caption_options"][0]
            subject, relation, other = NAME.fullmatch(name).groups()
            said = set(caption.split())
        except (TypeError, KeyError, IndexError, AttributeError):
            why = "no image_path <thing>_<relation>_<thing>.jpeg with caption_options"
            raise mislabelled(folder / listing, k, entry, why) from None
        relation = RELATIONS.get(relation, relation)
        if {word for pair in OPTIONS for word in pair} & said != {relation}:
            why = "the first caption does not say what the file's name says"
            raise mislabelled(folder / listing, k, entry, why)
        options = next(pair for pair in OPTIONS if relation in pair)
        subject, other = subject.replace("-", " "), other.replace("-", " ")
        file = folder / pictures / name
        group = f"{subject}, {other}, {options[0]} or {options[1]}"
        found.append(Question((file,), subject, other, relation, options, relation, group))
    check(folder, [f"{pictures}/{q.files[0].name}" for q in found])
    return found


def composites(
    folder: Path | str, fits: Callable[[str], bool] = lambda name: True
) -> list[Question]:
    """The paper's three-object questions, joined from What'sUp A (paper Table 1).

    Two things and the reference between them: for every ordered pair of things that were
    photographed on both sides of a reference, which one is to the left, and which to the right?
    fits(name): keep a thing?  The authors keep names of one token: `one_token`.  Raises DataError
    as `whatsup`.
    """
    sides, found = {}, []
    for q in whatsup(folder):
        if q.relation in ("left", "right") and fits(q.subject):
            sides.setdefault(q.other, {}).setdefault(q.subject, {})[q.relation] = q.files[0]
    for other, things in sides.items():
        both = [thing for thing, files in things.items() if len(files) == 2]
        for first, last in permutations(both, 2):
            files = (things[first]["left"], things[last]["right"])
            group = f"{first}, {other}, {last}"
            for relation, subject in (("left", first), ("right", last)):
                options = (first, last)
                found.append(Question(files, subject, other, relation, options, subject, group))
    if not found:
        raise DataError(f"{folder}: no two things that fit were photographed on both sides")
    return found


def one_token(tokenizer) -> Callable[[str], bool]:
    """The authors' filter: is a name one token in lower case *and* capitalised, without a space?"""

    def fits(name: str) -> bool:
        spellings = [tokenizer(word, add_special_tokens=False)["input_ids"]
                     for word in (name.lower(), name.capitalize())]  # fmt: skip
        return all(len(ids) == 1 and ids != [tokenizer.unk_token_id] for ids in spellings)

    return fits


CAPTION = re.compile(
    r"A photo of (?:an?|the) (.+?) "
    r"(?:to the (left|right) of|(above|below)(?: of)?) (?:an?|the) (.+)$"
)


def coco_spatial(folder: Path | str) -> list[Question]:
    """The two-object questions of COCO-spatial (440 in the public file), with boxes if known.

    A thing's box is its largest one in the photograph, as in the released code; the questions
    have none if ``annotations/instances_val2017.json`` is not there.  Raises DataError as
    `whatsup`.
    """
    folder, found = Path(folder).expanduser(), []
    listing, pictures, annotations = COCO
    boxes = _coco_boxes(folder, annotations) if (folder / annotations).exists() else {}
    for k, entry in enumerate(listed(folder, listing)):
        try:
            number, captions = int(entry[0]), entry[1:]
            if not 0 <= number < 10**12:
                raise ValueError
            (subject, *word, other), wrong = (CAPTION.match(c).groups() for c in captions)
            relation, opposite = word[0] or word[1], wrong[1] or wrong[2]
        except (
            TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError
        ):  # fmt: skip
            why = "not [image id, right caption, wrong caption] with a relation each"
            raise mislabelled(folder / listing, k, entry, why) from None
        if (subject, OPPOSITE[relation], other) != (wrong[0], opposite, wrong[3]):
            why = "the captions do not differ in the relation alone"
            raise mislabelled(folder / listing, k, entry, why)
        options = next(pair for pair in OPTIONS if relation in pair)
        file = folder / pictures / f"{number:012d}.jpg"
        known = [boxes.get((number, name)) for name in (subject, other)]
        found.append(Question((file,), subject, other, relation, options, relation, str(number),
                              tuple(known) if all(known) else ()))  # fmt: skip
    check(folder, [f"{pictures}/{q.files[0].name}" for q in found])
    return found


def _coco_boxes(folder: Path, name: str) -> dict:
    """{(image id, category): its largest box as left, top, right, bottom}."""
    check(folder, [name])
    told, best = parsed(folder / name), {}
    try:
        names = {c["id"]: c["name"] for c in told["categories"]}
        for one in told["annotations"]:
            left, top, wide, high = box = [float(v) for v in one["bbox"]]
            if not (min(box) >= 0 and math.isfinite(sum(box))):
                raise ValueError
            key, area = (one["image_id"], names[one["category_id"]]), wide * high
            if area > best.get(key, (0, None))[0]:
                best[key] = area, (left, top, left + wide, top + high)
    except (TypeError, KeyError, ValueError, OverflowError):
        why = f"{folder / name} is not a COCO instances file, or a box in it is no box"
        raise DataError(f"{why}: {again(folder / name)}") from None
    return {key: box for key, (_, box) in best.items()}
