"""The scripts of assets/ as one: browsers load no ES modules from file://, and a worker no file."""

from __future__ import annotations

import json
import re
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
IMPORT = re.compile(r'^import\s(?:[^;]*?\sfrom\s)?"\./([\w-]+\.js)";\n', re.M)


def bundle(entry: str) -> str:
    """An ES module of assets/ and all that it imports, in order, as one script's text."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        text = (ASSETS / name).read_text()
        done[name] = ""  # a circle would end here, and fail where a name is missing
        for needed in IMPORT.findall(text):
            add(needed)
        del done[name]  # behind what it needs
        done[name] = re.sub(r"^export (default )?", "", IMPORT.sub("", text), flags=re.M)

    add(entry)
    return "\n".join(f"// --- {name} ---\n{text}" for name, text in done.items())


def page_script() -> str:
    """live.js: the page's code, with the worker's code and the style inside it."""
    return (
        "(() => {\n'use strict';\n"
        f"const WORKER = {_quoted(bundle('worker.js'))};\n"
        f"const STYLE = {_quoted((ASSETS / 'live.css').read_text())};\n"
        f"{bundle('page.js')}\n}})();\n"
    )


def _quoted(text: str) -> str:
    """A text as a JavaScript literal that may also stand inside an HTML script element."""
    return json.dumps(text).replace("</", "<\\/")
