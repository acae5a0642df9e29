"""Figures as a page shows them, and the plots that several chapters share."""

import matplotlib
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbclient import NotebookClient

from dualmech import figures, metrics

matplotlib.use("Agg")
ALT = 'A line falls from "left" < right to zero.'


def line() -> Figure:
    fig = Figure()
    fig.subplots().plot([1, 0])
    return fig


@pytest.mark.parametrize("alt", ["", "   \n ", "figure.png", "a  b" + " " * 30])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(ValueError, match="too short: say in a sentence") as error:
        figures.as_html(line(), alt)
    assert "\n" not in str(error.value)


def test_words_survive_as_they_are():
    page = BeautifulSoup(figures.as_html(line(), ALT, "1 < 2 & so on"), "html.parser")
    assert page.img["alt"] == ALT and page.img["src"].startswith("data:image/png;base64,")
    assert page.figcaption.text == "1 < 2 & so on"


def test_in_a_notebook_a_figure_shows_once_and_text_as_markdown():
    code = f"""
import matplotlib.pyplot as plt
from dualmech.figures import say, show, use_style
use_style()
fig, ax = plt.subplots()
ax.plot([1, 0])
show(fig, {ALT!r})
say(f"Accuracy is **{{1 / 2}}**.")
assert not plt.get_fignums()
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3").execute()
    figure, sentence = (output["data"] for output in notebook.cells[0].outputs)
    assert BeautifulSoup(figure["text/html"], "html.parser").img["alt"] == ALT
    assert figure["text/plain"] == ALT
    assert sentence["text/markdown"] == "Accuracy is **0.5**."


# --- plots ---------------------------------------------------------------------------


def test_pictures_sets_one_title_over_each_image_and_hides_the_empty_places():
    fig = figures.pictures([[[0, 1]]] * 4, list("abcd"), columns=3)
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == list("abcd") and len(fig.axes) == 6
    with pytest.raises(ValueError, match="2 images but 1 titles"):
        figures.pictures([[[0]]] * 2, ["a"])


def test_shares_draws_each_value_with_the_ends_of_its_interval():
    some = {"left": metrics.share([True] * 9 + [False]), "right": metrics.share([True] * 10)}
    ax = figures.shares({"model": some}, lines={"chance": 0.5}).axes[0]
    (bars,) = [line for c in ax.containers for line in c.lines[2]]
    ends = [(round(low, 6), round(high, 6)) for (_, low), (_, high) in bars.get_segments()]
    assert ends == [(round(s["low"], 6), round(s["high"], 6)) for s in some.values()]
    assert list(ax.containers[0].lines[0].get_ydata()) == [0.9, 1.0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["left", "right"]
    assert ax.get_ylim()[0] < 0 and ax.get_ylim()[1] > 1


def test_bars_tell_each_value_in_the_form_that_is_asked():
    some = {"gain": {"value": 0.125, "low": -0.03, "high": 0.25}}
    for how, words in (({}, "0.12"), ({"form": "+.3f"}, "+0.125")):
        ax = figures.bars(some, **how).axes[0]
        assert [t.get_text() for t in ax.texts] == [words]
        assert (ax.patches[0].get_width(), ax.get_yticklabels()[0].get_text()) == (0.125, "gain")


def test_curves_draw_each_series_with_its_band():
    some = {s: metrics.mean(np.array([0.0, 0.5, 1.0]) * s) for s in (1, 2, 4)}
    fig = figures.curves({"strip": some, "object": some}, lines={"half": 0.5})
    ax = fig.axes[0]
    assert [list(line.get_xdata()) for line in ax.lines[:2]] == [[1, 2, 4]] * 2
    assert list(ax.lines[0].get_ydata()) == [0.5, 1.0, 2.0]
    edges = ax.collections[0].get_paths()[0].vertices
    assert edges[:, 1].max() == some[4]["high"] and edges[:, 1].min() == some[1]["low"]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["strip", "object", "half"]
    assert figures.curves({"strip": some}, ax=ax) is fig and len(fig.legends) == 1


def test_maps_share_one_scale():
    fig = figures.maps([np.zeros((2, 3)), np.ones((2, 3))], ["a", "b"], "p", high=0.5, columns=2)
    shown = [ax for ax in fig.axes if ax.images]
    assert [ax.get_title() for ax in shown] == ["a", "b"]
    assert {ax.images[0].get_clim() for ax in shown} == {(0.0, 0.5)}


def test_table_writes_numbers_and_shares(monkeypatch):
    said = []
    monkeypatch.setattr(figures, "say", said.append)
    half = {"value": 0.5, "low": 0.25, "high": 1}
    figures.table(["what", "value"], [["a", half], ["b", np.float32(0.12345)]])
    assert said == ["| what | value |\n| --- | --- |\n| a | 0.50 [0.25, 1.00] |\n| b | 0.123 |"]
