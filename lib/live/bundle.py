"""The scripts of assets/ as one: browsers load no ES modules from file://, and a worker no file."""

from __future__ import annotations

import json
import re
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.M)


def bundle(entry: str) -> str:
    """An ES module of assets/ and all that it imports, in order, as one script's text: each module
    is a function that returns what it exports."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        text = (ASSETS / f"{name}.js").read_text()
        for _, needed in IMPORT.findall(text):
            if needed not in done:
                add(needed)
        names = ", ".join(EXPORT.findall(text))
        text = EXPORT.sub("", IMPORT.sub(r"const {\1} = from_\2;\n", text))
        done[name] = f"const from_{name} = (() => {{\n{text}return {{ {names} }};\n}})();\n"

    add(entry)
    return "\n".join(done.values())


def page_script() -> str:
    """live.js: the page's code, with the worker's code and the style inside it."""
    return (
        "(() => {\n'use strict';\n"
        f"const WORKER = {_quoted(bundle('worker'))};\n"
        f"const STYLE = {_quoted((ASSETS / 'live.css').read_text())};\n"
        f"{bundle('page')}\n}})();\n"
    )


def _quoted(text: str) -> str:
    """A text as a JavaScript literal that may also stand inside an HTML script element."""
    return json.dumps(text).replace("</", "<\\/")
