"""The model in the page: an engine in plain JavaScript, and explorables that run on it.

A page holds `<div class="explorable" data-explorable="strip-lab"></div>` (`embed` writes it; in a
chapter, words inside are for those who read it as a notebook) and, once, the script live.js.
`build` writes that script, the weights and still pictures into a folder; `fill` puts pictures and
script into the HTML of a page.  A notebook uses `show`.

assets/ is read from engine.js down to matrix.js and mm.wat for the model, from lab.js for the
edits, and from erase.js or strip.js for an explorable.  `bundle` makes one script of it all.
"""

from .site import EXPLORABLES, build, demo, embed, fill, show

__all__ = ["EXPLORABLES", "build", "demo", "embed", "fill", "show"]
