"""Every exercise has a card in its chapter, and the page of all exercises shows them."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

import exercises
from bookbuild import cards

CHAPTERS = Path(__file__).parents[1] / "chapters"


def by_number():
    found = [
        (card, path.name)
        for path in sorted(CHAPTERS.glob("*.ipynb"))
        for card in cards.cards(nbformat.read(path, 4))
    ]
    assert len({card.number for card, _ in found}) == len(found), "a number stands on two cards"
    return {card.number: (card, name) for card, name in found}


def test_a_card_is_read():
    text = "**7.1 Half the vote** · 10 minutes · medium · *write an\nedit* · How many?"
    notebook = new_notebook(cells=[new_markdown_cell(f"## Your turn\n\n{text}")])
    assert cards.cards(notebook) == [("7.1", "Half the vote", "10", "medium", "write an edit")]


def test_every_check_has_a_card_in_its_chapter():
    found = by_number()
    for number in exercises.checks():
        assert number in found, f"exercise {number} has no card (see lib/bookbuild/cards.py)"
        chapter = number.split(".")[0]
        name = found[number][1]
        start = {"lab": "lab-90", "12": "pencil"}.get(chapter) or f"{int(chapter):02}-"
        assert name.startswith(start)


def test_the_page_of_all_exercises_is_up_to_date():
    told = "the cards have changed: run `make exercises`"
    assert (CHAPTERS / "exercises.md").read_text(encoding="utf-8") == cards.page(CHAPTERS), told
