"""Every exercise has a card in its chapter, and the page of all exercises shows them."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

import exercises
from bookbuild import cards

CHAPTERS = Path(__file__).parents[1] / "chapters"


def test_a_card_is_read():
    text = "**7.1 Half the vote** · 10 minutes · medium · *write an\nedit* · How many?"
    notebook = new_notebook(cells=[new_markdown_cell(f"## Your turn\n\n{text}")])
    assert cards.cards(notebook) == [("7.1", "Half the vote", "10", "medium", "write an edit")]


def test_every_check_has_a_card_in_its_chapter():
    shown = [
        (card.number, path.name)
        for path in CHAPTERS.glob("*.ipynb")
        for card in cards.cards(nbformat.read(path, 4))
    ]
    found = dict(shown)
    assert len(found) == len(shown), "a number stands on two cards"
    for number in exercises.checks():
        assert number in found, f"exercise {number} has no card (see lib/bookbuild/cards.py)"
        chapter = number.split(".")[0]
        start = {"lab": "lab-90", "12": "pencil"}.get(chapter) or f"{int(chapter):02}-"
        assert found[number].startswith(start)


def test_the_page_of_all_exercises_is_up_to_date():
    told = "the cards have changed: run `make exercises`"
    assert (CHAPTERS / "exercises.md").read_text(encoding="utf-8") == cards.page(CHAPTERS), told
