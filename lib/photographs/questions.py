"""Questions about two things in a picture, and how their answers are scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from dualmech import stimuli as S
from vlms.families import ModelError
from vlms.pictures import padded

from .files import DataError, picture

OPTIONS = (("left", "right"), ("above", "below"), ("on", "under"), ("front", "behind"))
PHRASES = S.PHRASES | {"on": "on", "under": "under", "front": "in front of", "behind": "behind"}
PADDING = (127, 127, 127)


@dataclass(frozen=True)
class Question:
    """What relation two things in a picture have, or which thing stands in that relation.

    files: the picture, or two pictures of which the left half of the first and the right half of
    the second are shown; subject stands in `relation` to `other`; options: the two words to
    choose from; boxes: of subject and other as (left, top, right, bottom) in pixels of the file,
    empty if not known; group: pictures of the same two things (What'sUp), of the same composite
    or the same photograph (COCO-spatial).
    """

    files: tuple[Path, ...]
    subject: str
    other: str
    relation: str
    options: tuple[str, str]
    answer: str
    group: str
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    def image(self, canvas: tuple[int, int]) -> Image.Image:
        """The picture on a canvas (height, width): one file padded to it, or two halves joined.

        Halves are resized to the canvas without padding, as in the released code, and meet in
        the middle: on an edge of the token grid if the grid has an even number of columns.  Raises
        DataError for a file that is no picture, or one too thin to be seen.
        """
        high, wide = canvas
        if len(self.files) == 1:
            try:
                return padded(picture(self.files[0]), (wide, high), PADDING)
            except ModelError as error:
                raise DataError(f"{self.files[0]}: {error}") from None
        first, second = (
            picture(path).resize((wide, high), Image.Resampling.BILINEAR) for path in self.files
        )
        first.paste(second.crop((wide // 2, 0, wide, high)), (wide // 2, 0))
        return first

    def boxes_on(self, canvas: tuple[int, int]) -> np.ndarray:
        """int (0 or 2, 4): the boxes in pixels of the padded picture, rounded outward."""
        if not self.boxes:
            return np.zeros((0, 4), int)
        (high, wide), (w, h) = canvas, picture(self.files[0]).size
        if w * high > wide * h:  # the sizes that ImageOps.pad gives the picture in the canvas
            size = np.array([wide, round(h / w * wide)])
        else:
            size = np.array([round(w / h * high), high])
        scale, start = size / (w, h), np.round((np.array([wide, high]) - size) * 0.5)
        corners = np.array(self.boxes).reshape(2, 2, 2) * scale + start
        inside = np.clip(corners, 0, (wide, high))
        return np.concatenate([np.floor(inside[:, 0]), np.ceil(inside[:, 1])], 1).astype(int)


def two_orders(question: Question, form: str = "direct") -> tuple[str, str]:
    """The question with its options in both orders.

    form: "direct", "Is the cup to the left or to the right of the pan?", as the authors ask Gemma;
    "reference", "Using the pan as the reference point, which side is the cup on?", as they ask
    Qwen and Pixtral (left, right, above and below only).
    """
    return tuple(
        _text(question, order, form) for order in (question.options, question.options[::-1])
    )


def _text(question: Question, options: tuple[str, str], form: str) -> str:
    subject, other = question.subject, question.other
    if form == "direct":
        return S.two_option_question(subject, other, *(PHRASES[word] for word in options))
    if form != "reference" or options[0] not in S.PHRASES:
        raise ValueError(f"no question of form {form!r} for the options {options}")
    where = "which side is the {} on" if "left" in options else "where is the {} located"
    words = f"Answer with one word: {options[0]} or {options[1]}."
    return f"Using the {other} as the reference point, {where.format(subject)}? {words}"


def trials(
    questions: list[Question], canvas: tuple[int, int], form: str = "direct"
) -> list[S.Trial]:
    """Trials for `edits.sweep`, on a canvas (height, width).

    A question about a relation gives two, its two orders, one after the other; a composite gives
    one, the paper's "The object on the floor to the left of the pot is a(n) ".
    """
    out = []
    for q in questions:
        pixels, boxes = np.asarray(q.image(canvas)), q.boxes_on(canvas)
        stimulus = S.Stimulus(pixels, (), boxes, None)
        if len(q.files) == 2:
            texts = [f"The object on the floor {PHRASES[q.relation]} the {q.other} is a(n) "]
        else:
            texts = two_orders(q, form)
        out += [S.Trial(stimulus, text, q.answer, q.relation, "photographs") for text in texts]
    return out


def by_order(trials: list[S.Trial], answers: list[str]) -> Bool[np.ndarray, "n 2"]:
    """Is each question right with its options in the first order, and in the second?

    trials: as `trials` gives them for questions about relations; answers: one word each.
    """
    if len(trials) != len(answers) or len(trials) % 2:
        raise ValueError(f"{len(answers)} answers to {len(trials)} trials, two for each question")
    return np.array([a == t.answer for a, t in zip(answers, trials, strict=True)]).reshape(-1, 2)


def strict(trials: list[S.Trial], answers: list[str]) -> Bool[np.ndarray, " n"]:
    """Is each question right in both orders of its options?  Arguments: see `by_order`."""
    return by_order(trials, answers).all(1)


def grouped(questions: list[Question], right) -> dict[str, bool]:
    """For each group of questions, are all of them right?  right (n,), for example `strict`'s."""
    found = {}
    for q, ok in zip(questions, right, strict=True):
        found[q.group] = found.get(q.group, True) and bool(ok)
    return found
