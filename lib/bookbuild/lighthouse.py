"""What Lighthouse says of some pages on phone settings: `make lighthouse` (needs Node's npx).

A measurement, not a check: its figures move with what else the machine does.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bookbuild import browser, served

PAGES = ("00-start-here", "01-the-binding-problem", "07-swapping-strips", "scoreboard")
TOOL = "lighthouse@12"
KINDS = ("performance", "accessibility", "best-practices", "seo")


def score(address: str) -> dict[str, int]:
    """{kind: score of 100} of the page at an address.

    Raises CalledProcessError where Lighthouse fails.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = ["npx", "--yes", TOOL, address, "--quiet", "--output=json"]
        command += [f"--output-path={out.name}", f"--only-categories={','.join(KINDS)}"]
        command += ["--chrome-flags=--headless --no-sandbox"]
        subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": browser.found()})
        told = json.loads(Path(out.name).read_text())["categories"]
    return {kind: round(100 * told[kind]["score"]) for kind in KINDS}


def main(root: Path) -> None:
    if shutil.which("npx") is None or browser.found() is None:
        sys.exit(f"Lighthouse needs Node (https://nodejs.org) and a browser ({browser.INSTALL})")
    print(f"{'':28}" + "".join(f"{kind:>16}" for kind in KINDS))
    with served.folder(root / "_build" / "html") as address:
        for page in PAGES:
            scores = score(f"{address}/chapters/{page}.html")
            print(f"{page:28}" + "".join(f"{scores[kind]:16}" for kind in KINDS), flush=True)


if __name__ == "__main__":
    main(Path.cwd())
