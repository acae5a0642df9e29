"""How a figure reaches the reader (all chapters): one look, and words for who cannot see it."""

import base64
import html
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's colours, safe for colour-blind readers; without yellow, which fades on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"


def use_style() -> None:
    """Matplotlib's defaults for the book, from `book.mplstyle`."""
    plt.style.use(Path(__file__).with_name("book.mplstyle"))


def show(fig, alt: str, caption: str | None = None, gate: str | None = None) -> None:
    """Display a figure with its alt text, in Jupyter, on Colab and in the book; then close it.

    `alt` says what a reader would see, in a sentence or two. With a `gate`, a question, the figure
    stays shut until the reader opens it.
    """
    from IPython.display import display

    told = {"text/html": as_html(fig, alt, caption, gate), "text/plain": " ".join(alt.split())}
    plt.close(fig)
    display(told, raw=True)


def say(markdown: str) -> None:
    """Display a sentence built from results, so that no number in the text is typed by hand."""
    from IPython.display import Markdown, display

    display(Markdown(markdown))


def plain(text) -> str:
    """Words from a file as Markdown that shows them letter by letter: never a link or a markup."""
    return re.sub(r"[^A-Za-z0-9 ]", lambda c: f"&#{ord(c[0])};", " ".join(str(text).split()))


def as_html(fig, alt: str, caption: str | None = None, gate: str | None = None) -> str:
    """A figure as HTML with its words inside, since the book drops the alt text of plain images.

    Raises ValueError for an alt text of less than 20 characters.
    """
    if len(alt := " ".join(alt.split())) < 20:
        raise ValueError(f"alt text {alt!r} is too short: say in a sentence what it shows")
    fig.savefig(png := io.BytesIO(), format="png")
    # Inherited colour and weight: the book's theme would print captions thin and grey.
    plain = "color:inherit;font:inherit;text-align:left"
    words = f'<figcaption style="{plain}">{html.escape(caption)}</figcaption>' if caption else ""
    # The white card keeps black ink readable on dark pages; `dark-light` stops the book's theme
    # from dimming it.
    style = "max-width:100%;height:auto;background:#fff;border-radius:6px"
    figure = (
        f'<figure style="margin:1em 0"><img class="dark-light" '
        f'width="{round(fig.get_figwidth() * 96)}" style="{style}" alt="{html.escape(alt)}" '
        f'src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">{words}</figure>'
    )
    if gate is None:
        return figure
    question = f"<summary><strong>Predict.</strong> {html.escape(gate)}</summary>"
    return f'<details class="predict">{question}{figure}</details>'


def bare(ax, title: str = "") -> None:
    """Axes for an image: a thin frame, no ticks, a short title."""
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=13)
    ax.spines[:].set(visible=True, color="0.6")


def pictures(images, titles, columns: int = 3):
    """Images enlarged without smoothing, each in a frame and under a short title."""
    wide = min(2.8, 5.6 / columns)
    return _tiles(images, titles, columns, (columns * wide, wide + 0.35, 0))[0]


def maps(grids, titles, label: str, low: float = 0.0, high: float = 1.0, columns: int = 3):
    """Heat maps over the token grid, (rows, cols) each, with one colour bar."""
    size = (6.0, 6.0 / columns + 0.3, 0.9)
    fig, axes, drawn = _tiles(grids, titles, columns, size, vmin=low, vmax=high)
    fig.colorbar(drawn, ax=axes, orientation="horizontal", label=label, fraction=0.06, pad=0.03)
    return fig


def _tiles(images, titles, columns: int, size: tuple, **how):
    """Figure, axes and the last image; size: width, height of a row and of the rest, in inches."""
    if len(images) != len(titles):
        raise ValueError(f"{len(images)} images but {len(titles)} titles")
    rows = -(-len(images) // columns)
    whole = (size[0], rows * size[1] + size[2])
    fig, axes = plt.subplots(rows, columns, figsize=whole, squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.set_visible(False)
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        drawn = ax.imshow(image, **how)
        bare(ax, title)
    return fig, axes, drawn


def _reference(ax, lines: dict | None) -> list:
    """Dashed lines across axes, {words: height}; returns their handles."""
    look = {"color": "0.35", "linewidth": 1.5, "zorder": 1}
    return [ax.axhline(height, label=words, linestyle=("--", ":", "-.")[k % 3], **look)
            for k, (words, height) in enumerate((lines or {}).items())]  # fmt: skip


def shares(series: dict, xlabel: str = "", ylabel: str = "accuracy", lines: dict | None = None):
    """Shares as dots with their intervals: {series: {place on the x axis: a `metrics.share`}}.

    lines: {words: height}, drawn dashed across the figure.
    """
    places = list(dict.fromkeys(place for one in series.values() for place in one))
    fig, ax = plt.subplots(figsize=(5.6, 4.2))
    handles = []
    for k, (name, one) in enumerate(series.items()):
        aside = (k - (len(series) - 1) / 2) * 0.5 / len(series)
        x = [places.index(place) + aside for place in one]
        value, low, high = (np.array([s[key] for s in one.values()])
                            for key in ("value", "low", "high"))  # fmt: skip
        reach = np.maximum(0, (value - low, high - value))
        look = {"fmt": MARKERS[k % 7], "color": COLOURS[k % 7], "markersize": 8, "capsize": 4}
        handles.append(ax.errorbar(x, value, reach, label=name, **look))
    handles += _reference(ax, lines)
    ax.set(ylim=(-0.04, 1.04), xlim=(-0.5, len(places) - 0.5), xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(range(len(places)), [str(place) for place in places])
    if len(handles) > 1:
        fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return fig


def curves(
    series: dict, xlabel: str = "slot", ylabel: str = "effect", lines: dict | None = None, ax=None,
    direct: bool = False,
):  # fmt: skip
    """Numbers over slots (or alphas), with bands: {series: {x: {"value", "low", "high"}}}.

    lines: {words: height}, drawn dashed.  ax: draw here, without a legend, instead of on a
    new figure.  direct: the names stand on the curves, not in a legend.  Returns the figure.
    """
    alone = ax is None
    fig, ax = plt.subplots(figsize=(5.6, 4.2)) if alone else (ax.figure, ax)
    for k, (name, one) in enumerate(series.items()):
        x, colour = list(one), COLOURS[k % 7]
        value, low, high = ([s[key] for s in one.values()] for key in ("value", "low", "high"))
        ax.plot(x, value, label=name, color=colour, marker=MARKERS[k % 7], markersize=6)
        ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    _reference(ax, lines)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if direct:
        _name_curves(ax, series)
    elif alone and len(series) + len(lines or {}) > 1:
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def bars(shares: dict, label: str = "", lines: dict | None = None, form: str = ".2f"):
    """Named shares as bars with their intervals, {name: {"value", "low", "high"}}, from the top."""
    fig, ax = plt.subplots(figsize=(5.6, 0.6 * len(shares) + 1.3))
    for k, s in enumerate(shares.values()):
        error = [[max(0, s["value"] - s["low"])], [max(0, s["high"] - s["value"])]]
        ax.barh(k, s["value"], 0.6, color=COLOURS[k % len(COLOURS)], xerr=error, capsize=4)
        ax.text(min(s["high"], 1) + 0.03, k, f"{s['value']:{form}}", va="center")
    for words, x in (lines or {}).items():
        ax.axvline(x, color="0.35", linestyle="--", linewidth=1.5)
        ax.text(x, -0.62, words, ha="center", va="bottom", fontsize=12)
    ax.set(xlim=(0, 1.15), ylim=(len(shares) - 0.4, -0.6), xlabel=label)
    ax.set_yticks(range(len(shares)), list(shares))
    return fig


def _name_curves(ax, series: dict) -> None:
    """Each curve's name in its colour, over the point where it is farthest above the others."""
    low, high = ax.get_ylim()
    for k, (name, one) in enumerate(series.items()):
        rest = [other for other in series.values() if other is not one]
        lead = {x: s["value"] - max((o[x]["value"] for o in rest if x in o), default=0)
                for x, s in one.items()}  # fmt: skip
        x = max(lead, key=lead.get)
        side = "right" if x > np.mean(list(one)) else "left"  # so that no name leaves the axes
        look = {"color": COLOURS[k % len(COLOURS)], "weight": "bold", "fontsize": 13, "ha": side}
        ax.annotate(name, (x, one[x]["high"]), (0, 6), textcoords="offset points", **look)
    ax.set_ylim(low, high + 0.12 * (high - low))


def interval(s: dict) -> str:
    """A share or a mean with its interval, {"value", "low", "high"}, in two decimals."""
    return f"{s['value']:.2f} [{s['low']:.2f}, {s['high']:.2f}]"


def table(head, rows, words: bool = False, fold: str = "") -> None:
    """Display a Markdown table, behind a fold with these words, if any; cells are Markdown (plain
    words, if `words`), numbers (three decimals) or shares with their intervals ({"value", ...})."""

    def cell(x):
        x = f"{x:.3f}" if isinstance(x, float | np.floating) else x
        told = interval(x) if isinstance(x, dict) else str(x)
        return plain(told) if words else told

    lines = [head, ["---"] * len(head), *([cell(x) for x in row] for row in rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    say(f"<details>\n<summary>{fold}</summary>\n\n{text}\n\n</details>" if fold else text)
