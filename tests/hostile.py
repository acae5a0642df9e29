"""What a stranger may write into a result to reach the reader of the scoreboard."""

import json
import re
from pathlib import Path

from vlms._paths import data_dir

SECRET = "a line of the building machine"
PAYLOADS = (
    "<script>window.pwned = 1; alert(1)</script>",
    '<img src=x onerror="window.pwned = 1; alert(1)">',
    '"><img src=x onerror=alert(1)>',
    "<svg onload=alert(1)>",
    '<iframe src="https://evil.example/"></iframe>',
    '<object data="https://evil.example/x"></object>',
    '<embed src="https://evil.example/x">',
    '<style>@import "https://evil.example/x.css"; * {display: none}</style>',
    '<link rel="stylesheet" href="https://evil.example/x.css">',
    '<base href="https://evil.example/">',
    '<meta http-equiv="refresh" content="0; url=https://evil.example/">',
    '<a href="javascript:alert(1)">here</a>',
    '<form action="https://evil.example/"><button>send</button></form>',
    '<video src="https://evil.example/x" autoplay onerror=alert(1)>',
    "</td></tr></table><h1>Winner</h1>",
    "<!-- the rest of the page",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "[here](javascript:alert(1))",
    "[here](https://evil.example/)",
    "![here](https://evil.example/x.png)",
    "<https://evil.example/>",
    "https://evil.example/ www.evil.com evil.com",
    "somebody@evil.example.com",
    "[here]: https://evil.example/",
    "\n\n```{{raw}} html\n:file: {secret}\n```\n",
    "\n\n```{{include}} {secret}\n```\n",
    "\n\n```{{literalinclude}} {secret}\n```\n",
    "\n\n:::{{include}} {secret}\n:::\n",
    "{{download}}`here <{secret}>`",
    "{raw-html}`<script>alert(1)</script>` {eval-rst}`x`",
    "\n\n```{code-cell}\nprint(1)\n```\n",
    "$\\href{javascript:alert(1)}{x}$ {math}`\\href{javascript:alert(1)}{x}`",
    "$\\unknown{",
    "{{ substitution }} {term}`strip` {ref}`x`",
    "# Winner\n\n## Winner",
    "| a | b |\n| --- | --- |\n| **best** | `model` |",
    "a \\| b \\\\| c | d",
    "[^1] and\n\n[^1]: a note\n\n(target)=\n\n% a comment\n\n+++ {}",
    "Qw\u0435n \u202egnp.exe \u2028 \u0000 \x1b[31m",
    "***_~~`x`~~_***\n\n- [ ] task\n\n1. item\n\n> quote\n\n---",
)


def payloads(secret: Path) -> list[str]:
    """The strings, with the path of a file that they try to publish."""
    return [p.format(secret=secret) if "{secret}" in p else p for p in PAYLOADS]


def sent(model: str = "owner/Made-Up-2B", experiment: str = "strips") -> dict:
    """A sound result of a made-up model: a part of a shipped one."""
    one = json.loads((data_dir() / f"results/mini/{experiment}.json").read_text())
    one["provenance"] |= {"model": model, "weights": "0123456789abcdef", "revision": "0" * 40}
    one["claims"] = [c for c in one["claims"] if len(c["measured"]) < 20]
    asked = {name for c in one["claims"] for name in c["measured"]}
    rest = re.compile("slot|own|other|one|shuffled|minus|half|whole|few|same|middle|object tokens")
    kept = [name for name in one["values"] if name in asked or not rest.search(name)]
    one["values"] = {name: one["values"][name] for name in kept}
    return one


def poisoned(words: str) -> dict:
    """A result with the words wherever a string may stand, and else as it should be."""
    one = sent()
    one["provenance"] |= {"model": f"owner/{words}"}
    for key in ("weights", "dualmech", "torch", "transformers", "device", "revision", "date",
                "precision", "quantised", "other", "other_weights"):  # fmt: skip
        one["provenance"][key] = words
    first = one["claims"][0]
    first["claim"] = words
    first["checks"] = {words: True, f"{words} again": False}
    first["verdict"] = "partly"
    one["values"][words] = one["values"][first["measured"][0]]
    first["measured"] = [words]
    return one
