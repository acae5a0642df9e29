"""Writes the page's scripts, embeds explorables, shows them in notebooks."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import library as lib
from . import pack
from .bundle import page_script
from .stills import all_stills

EXPLORABLES = {
    "erase-ask": "Erase and ask",
    "layer-scrubber": "Layer scrubber",
    "strip-lab": "Strip lab",
    "two-roads": "Two roads",
    "turn-it-up": "Turn it up",
    "heat-map": "Probe heat map",
}


NEED_EXTRAS = ("turn-it-up", "heat-map")
UNTRUSTED = "Run this cell to see it: nothing runs in a notebook that is not trusted."
PLACE = re.compile(r'<div class="explorable" data-explorable="([\w-]+)">.*?</div>')


def files(vlm: lib.VLM, extras: dict) -> dict[str, str]:
    """The scripts that run a model in a page, by name; extras: `pack.extras(vlm)`.

    A page names `live.js` alone; it asks for `model.js` at once, which is small, and for the
    weights and the extras when somebody touches an explorable.
    """
    data, told = pack.weights(vlm), json.dumps(extras)
    digest = pack.sha256(data)
    parts = {f"weights-{digest[:8]}-{k}.js": part for k, part in enumerate(pack.pieces(data))}
    more = f"extras-{pack.sha256(told.encode())[:8]}.js"
    manifest = {
        "kit": pack.kit(vlm),
        "model": pack.model(vlm),
        "weights": {"pieces": list(parts), "bytes": len(data), "sha256": digest},
        "extras": more,
    }
    out = {name: _arrived(name, json.dumps(part)) for name, part in parts.items()}
    out[more] = _arrived(more, told)
    out["model.js"] = _arrived("model.js", json.dumps(manifest))
    out["live.js"] = page_script()
    return out


def _arrived(name: str, data: str) -> str:
    return f"dualmechLive.arrived({json.dumps(name)}, {data});\n"


def build(out: str | Path, vlm: lib.VLM | None = None) -> list[Path]:
    """Write scripts, still pictures and `stills.json` (their words) into a folder, made if need be.

    vlm: the model to ship, `mini` by default.  Returns the paths.  Raises ModelError for a model
    that is not a local checkpoint.
    """
    vlm = vlm or lib.load("mini", device="cpu")
    pack.checkpoint(vlm)  # says no at once
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    extras = pack.extras(vlm)
    stills = all_stills(vlm, extras)
    written = {name: text.encode() for name, text in files(vlm, extras).items()}
    written |= {f"{name}.png": png for name, (png, _) in stills.items()}
    words = {name: words for name, (_, words) in stills.items()}
    written["stills.json"] = json.dumps(words).encode()
    for old in [*out.glob("weights-*.js"), *out.glob("extras-*.js")]:
        old.unlink()  # of another model: their names hold hashes
    for name, content in written.items():
        (out / name).write_bytes(content)
    return [out / name for name in written]


def embed(name: str) -> str:
    """The HTML of an explorable for a page that `fill` completes.

    Raises ValueError for an unknown name.
    """
    if name not in EXPLORABLES:
        raise ValueError(f"no explorable {name!r}; known: {', '.join(EXPLORABLES)}")
    return f'<div class="explorable" data-explorable="{name}"></div>'


def fill(page: str, folder: str | Path, src: str) -> str:
    """A page's HTML with a still picture in every explorable, for readers without scripts, and
    the script that makes them alive; unchanged if there are none.  Words in an explorable's place
    are for those who read the source as a notebook, and go.

    folder: what `build` wrote; src: its address as seen from the page, such as "_static/live".
    Raises ValueError for an explorable that does not exist.
    """
    words = json.loads((Path(folder) / "stills.json").read_text())

    def still(found: re.Match) -> str:
        name = found[1]
        empty = embed(name).removesuffix("</div>")
        alt = html.escape(words[name])
        return (
            f'{empty}<noscript><figure><img src="{src}/{name}.png" alt="{alt}" loading="lazy" '
            f'style="max-width: 100%"><figcaption>{alt} (With scripts on, you can change this '
            "yourself.)</figcaption></figure></noscript></div>"
        )

    filled = PLACE.sub(still, page)
    script = f'<script defer src="{src}/live.js"></script>'
    return filled.replace("</body>", f"{script}</body>", 1) if filled != page else page


def document(body: str) -> str:
    """A whole HTML page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>Explorables</title><link rel="icon" href="data:,"></head>\n'
        '<body style="font-family: sans-serif; margin: 1rem auto; max-width: 60rem; '
        f'padding: 0 .5rem">\n<main>{body}</main>\n</body>\n</html>\n'
    )


def demo(out: str | Path, vlm: lib.VLM | None = None) -> Path:
    """Write a folder whose index.html has all explorables, without the book; returns its path."""
    build(out, vlm)
    body = "<h1>Explorables</h1>" + "".join(
        f"<h2>{title}</h2>{embed(name)}" for name, title in EXPLORABLES.items()
    )
    page = Path(out) / "index.html"
    page.write_text(fill(document(body), out, "."))
    return page


@dataclass(frozen=True)
class Frame:
    """HTML that a notebook shows; as text, its title alone."""

    title: str
    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html


def show(name: str, vlm: lib.VLM | None = None, height: int = 900) -> Frame:
    """An explorable in a notebook, with the model inside it: works offline, and in a saved notebook
    (which grows by some 6 MB; by 8 with turn-it-up or heat-map).

    Raises ValueError for an unknown name and ModelError as `build`.
    """
    vlm = vlm or lib.load("mini", device="cpu")
    pack.checkpoint(vlm)
    scripts = files(vlm, pack.extras(vlm) if name in NEED_EXTRAS else {})
    first = scripts.pop("live.js")
    inside = "".join(f"<script>{text}</script>" for text in [first, *scripts.values()])
    page, title = html.escape(document(embed(name) + inside)), EXPLORABLES[name]
    return Frame(
        title,
        f'<iframe srcdoc="{page}" title="{title}" style="width: 100%; border: 0" '
        f'height="{height}">{UNTRUSTED}</iframe>',  # the words stay where the frame is taken away
    )
