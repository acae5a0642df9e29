"""Commands:

python -m live demo OUT [MODEL]   a folder with all explorables
python -m live bench [FILE]       times an answer in chromium, in plain JavaScript and in PyTorch
python -m live kernel             makes kernel.js from mm.wat
"""

import json
import sys
from pathlib import Path

from . import bench, demo, kernel
from .library import load


def main(args: list[str]) -> str:
    match args:
        case ["demo", out, *name] if len(name) <= 1:
            return f"open {demo(out, load(*(name or ['mini']), device='cpu'))}"
        case ["bench", *file] if len(file) <= 1:
            found = bench.measure(load("mini", device="cpu"))
            for path in file:
                Path(path).write_text(json.dumps(found, indent=1) + "\n")
            return bench.table(found)
        case ["kernel"]:
            (kernel.ASSETS / "kernel.js").write_text(kernel.source(kernel.assembled()))
            return "kernel.js is written"
    sys.exit(__doc__)


if __name__ == "__main__":
    print(main(sys.argv[1:]))
