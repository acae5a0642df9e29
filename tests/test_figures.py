import nbformat
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbclient import NotebookClient

from dualmech.figures import Shown

ALT = 'A line falls from "left" < right to zero.'


def line() -> Figure:
    fig = Figure()
    fig.subplots().plot([1, 0])
    return fig


@pytest.mark.parametrize("alt", ["", "   \n ", "figure.png", "a  b" + " " * 30])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(ValueError, match="too short: say in a sentence") as error:
        Shown(line(), alt)
    assert "\n" not in str(error.value)


def test_a_name_that_cannot_be_an_anchor_is_refused():
    with pytest.raises(ValueError, match="figure name"):
        Shown(line(), ALT, name="two words")


def test_words_survive_as_they_are():
    page = BeautifulSoup(Shown(line(), ALT, "1 < 2 & so on", "fig-a")._repr_html_(), "html.parser")
    assert page.img["alt"] == ALT
    assert page.img["src"].startswith("data:image/png;base64,")
    assert page.figcaption.text == "1 < 2 & so on"
    assert page.figure["id"] == "fig-a"


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
