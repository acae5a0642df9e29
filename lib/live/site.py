"""Writes the page's scripts, embeds explorables, shows them in notebooks."""

from __future__ import annotations

import html
import json
from pathlib import Path

from . import library as lib
from . import pack
from .bundle import page_script

EXPLORABLES = {
    "erase-ask": "Erase and ask",
    "layer-scrubber": "Layer scrubber",
    "strip-lab": "Strip lab",
    "two-roads": "Two roads",
    "turn-it-up": "Turn it up",
    "heat-map": "Probe heat map",
}


def files(vlm: lib.VLM) -> dict[str, str]:
    """The scripts that run a model in a page, by name.

    A page names `live.js` alone; it asks for `model.js` at once, which is small, and for the
    weights and the extras when somebody touches an explorable.
    """
    data = pack.weights(vlm)
    digest = pack.sha256(data)
    parts = {f"weights-{digest[:8]}-{k}.js": part for k, part in enumerate(pack.pieces(data))}
    extras = json.dumps(pack.extras(vlm))
    more = f"extras-{pack.sha256(extras.encode())[:8]}.js"
    manifest = {
        "kit": pack.kit(vlm),
        "model": pack.model(vlm),
        "weights": {"pieces": list(parts), "bytes": len(data), "sha256": digest},
        "extras": more,
    }
    out = {name: _arrived(name, json.dumps(part)) for name, part in parts.items()}
    out[more] = _arrived(more, extras)
    out["model.js"] = _arrived("model.js", json.dumps(manifest))
    out["live.js"] = page_script()
    return out


def _arrived(name: str, data: str) -> str:
    return f"dualmechLive.arrived({json.dumps(name)}, {data});\n"


def build(out: str | Path, vlm: lib.VLM | None = None) -> list[Path]:
    """Write all scripts into a folder (made if need be) and return their paths.

    vlm: the model to ship, `mini` by default.  Raises ModelError for one that the engine cannot
    run or that is not a local checkpoint.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    written = files(vlm or lib.load("mini", device="cpu"))
    for name, text in written.items():
        (out / name).write_text(text)
    return [out / name for name in written]


def embed(name: str, still: str = "") -> str:
    """The HTML of an explorable for a page that has `<script defer src=".../live.js">`.

    still: HTML that stands there where scripts are off.  Raises ValueError for an unknown name.
    """
    if name not in EXPLORABLES:
        raise ValueError(f"no explorable {name!r}; known: {', '.join(EXPLORABLES)}")
    return f'<div class="explorable" data-explorable="{name}">{still}</div>'


def document(body: str, scripts: str) -> str:
    """A whole HTML page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>Explorables</title><link rel=\"icon\" href=\"data:,\"></head>\n"
        f'<body style="font-family: sans-serif; margin: 1rem auto; max-width: 60rem; padding: 0 .5rem">'
        f"<main>{body}</main>\n{scripts}</body>\n</html>\n"
    )


def demo(out: str | Path, vlm: lib.VLM | None = None) -> Path:
    """Write a folder whose index.html has all explorables, without the book."""
    build(out, vlm)
    body = "<h1>Explorables</h1>" + "".join(
        f"<h2>{title}</h2>{embed(name)}" for name, title in EXPLORABLES.items()
    )
    page = Path(out) / "index.html"
    page.write_text(document(body, '<script defer src="live.js"></script>'))
    return page


def show(name: str, vlm: lib.VLM | None = None, height: int = 900):
    """An explorable in a notebook, with the model inside it: works offline, and in a saved notebook.

    Raises ValueError for an unknown name and ModelError as `build`.
    """
    from IPython.display import HTML

    scripts = files(vlm or lib.load("mini", device="cpu"))
    first = scripts.pop("live.js")
    body = embed(name)
    inside = "".join(f"<script>{text}</script>" for text in [first, *scripts.values()])
    page = html.escape(document(body, inside))
    return HTML(
        f'<iframe srcdoc="{page}" title="{EXPLORABLES[name]}" style="width: 100%; border: 0" '
        f'height="{height}"></iframe>'
    )
