"""The start page and the scoreboard: the name of the book, its three claims, the doors."""

import pytest
from book import CONFIG, ROOT, SITE, START, soup
from bs4 import BeautifulSoup

from dualmech import record
from organism import findings

FOUND = [
    (claim, row)
    for claim in findings.claims()
    for row in findings.rows(claim, record.collect(ROOT / "data" / "results"))
]


def article(page: str):
    return soup(SITE / "chapters" / f"{page}.html").article


def words(tag) -> str:
    return " ".join(tag.get_text().replace("’", "'").split())


def test_the_start_page_has_the_name_of_the_book_then_the_model_to_play_with():
    first, second = article(START).select("h1, .explorable, h2, details")[:2]
    assert first.name == "h1" and words(first).removesuffix("#").strip("¶ ") == CONFIG["title"]
    assert second["data-explorable"] == "erase-ask"
    assert second.noscript.img["alt"], "where scripts are off, its picture stands there"


def test_the_start_page_has_three_doors_and_nothing_about_installing():
    page = BeautifulSoup(str(article(START)), "html.parser")
    for fold in page.select("details"):
        fold.decompose()
    doors = {a["href"].partition("#")[0] for a in page.select("a[href]")}
    assert {"01-the-binding-problem.html", "running.html", "teaching.html"} <= doors
    assert {"taught.html", "scoreboard.html"} <= doors
    assert "install" not in words(page)


@pytest.mark.parametrize("claim", findings.claims(), ids=lambda c: c["experiment"])
def test_each_claim_stands_on_both_pages_with_what_it_was_measured_by(claim):
    for page in (START, "scoreboard"):
        assert claim["claim"] in words(article(page))
        assert claim["measured"] in words(article(page))


@pytest.mark.parametrize(
    ("claim", "row"), FOUND, ids=[f"{c['experiment']}, {r['model']}" for c, r in FOUND]
)
def test_a_row_of_the_scoreboard_is_what_was_found_and_the_start_page_says_the_same(claim, row):
    table = article("scoreboard").select("table")[findings.claims().index(claim)]
    cells = [[words(cell) for cell in line.select("td")] for line in table.select("tbody tr")]
    assert [row[key] for key in ("model", "verdict", "value", "control")] in cells
    assert row["taught"] in words(article("scoreboard"))
    if row["model"] == "mini":
        start = words(article(START))
        assert row["taught"] in start and f"mini: {row['verdict']}" in start
        assert f"{row['value']}. Control, {claim['beside']}: {row['control']}" in start
