"""Exercises that a letter answers: the right one passes, and each other is told why not."""

import pytest

from exercises import verdict

LETTERS = {
    "4.4": {
        ...: "put a letter",
        "a": "where the place came from",
        "b": "right",
        "c": "when the place gives way",
        "d": "the other run as a whole",
        "B": "'B' is none of a, b, c, d",
    },
    "5.4": {
        ...: "put a letter",
        "a": "no cosine shows",
        "b": "reading again",
        "c": "and that is not space",
        "d": "right",
        None: "None is none of a, b, c, d",
    },
    "6.4": {
        ...: "put a letter",
        "a": "none could prove it wrong",
        "b": "right",
        "c": "the same dog",
        "d": "something stands on the left again",
        "e": "'e' is none of a, b, c, d",
    },
    "7.4": {
        ...: "put a letter",
        "a": "the same unequal comparison",
        "b": "half as many tokens",
        "c": "right",
        "d": "in a later layer",
        "C": "'C' is none of a, b, c, d",
    },
    "8.4": {
        ...: "put a letter",
        "a": "a narrower interval",
        "b": "need not choose",
        "c": "no third road",
        "d": "right",
        1: "1 is none of a, b, c, d",
    },
}


@pytest.mark.parametrize(
    ("number", "letter"), [(n, letter) for n, told in LETTERS.items() for letter in told]
)
def test_each_letter_has_an_answer(number, letter):
    assert LETTERS[number][letter] in verdict(number, letter)
