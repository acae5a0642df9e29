"""The two plots that several chapters share."""

import matplotlib
import pytest

from dualmech import figures, metrics

matplotlib.use("Agg")


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
