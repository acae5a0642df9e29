"""The form of the pages as a browser shows them on a desk, everything folded left shut.

`python -m bookbuild.form` prints a table: screens, words, open code and raw outputs of each page.
"""

import ast
import sys
from pathlib import Path

import yaml

from bookbuild import browser
from bookbuild.printing import order

DESK = {"width": 1280, "height": 900}  # CSS pixels; one screen
MEASURE = """() => {
  const seen = query => [...document.querySelectorAll(query)].filter(e => e.checkVisibility());
  const code = seen('.cell_input pre'), height = document.documentElement.scrollHeight;
  const high = code.reduce((sum, e) => sum + e.getBoundingClientRect().height, 0);
  const told = seen('article :is(p, li, h1, h2, h3, h4, dt, dd, td, th)')
    .filter(e => !e.closest('.explorable') && !e.querySelector('p, li'))
    .map(e => e.innerText).join(' ');
  return {
    screens: height / innerHeight,
    words: told.split(/\\s+/).filter(word => /\\p{L}/u.test(word)).length,
    lines: code.reduce((sum, e) => sum + e.textContent.trimEnd().split('\\n').length, 0),
    code: high / height,
    outputs: [...document.querySelectorAll('.output.text_plain pre')].map(e => e.textContent),
  };
}"""


def is_raw(text: str) -> bool:
    """Whether an output is a bare value that tells a reader nothing: True, 12, a tuple, an array.

    A string in words is told to a reader, and is not raw.
    """
    text = text.strip()
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text.startswith(("tensor(", "array(", "<", "torch.Size("))
    return not (isinstance(value, str) and " " in value)


def measure(tab) -> dict:
    """The form of the page that is open in a tab.

    {"screens": of 1280 x 900 px, "words": without those in code, "lines": of open code, "code": its
    share of the page's height, "raw": bare values among the outputs}.
    """
    before = tab.viewport_size
    tab.set_viewport_size(DESK)
    found = tab.evaluate(MEASURE)
    tab.set_viewport_size(before)
    found["raw"] = [text for text in found.pop("outputs") if is_raw(text)]
    return found


def main(root: Path) -> None:
    print(f"{'page':44} screens  words  open lines  code  raw outputs")
    with browser.opened() as chromium, chromium.new_context(offline=True) as context:
        tab = context.new_page()
        for page in order(yaml.safe_load((root / "_toc.yml").read_text())):
            tab.goto((root / "_build" / "html" / f"{page}.html").as_uri())
            form = measure(tab)
            print(f"{page.removeprefix('chapters/'):44} {form['screens']:7.1f} {form['words']:6} "
                  f"{form['lines']:11} {form['code']:5.0%} {len(form['raw']):12}")  # fmt: skip


if __name__ == "__main__":
    try:
        main(Path.cwd())
    except FileNotFoundError as error:
        sys.exit(str(error))
