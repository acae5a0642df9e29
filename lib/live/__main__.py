"""Commands:

python -m live demo OUT [MODEL]   a folder with all explorables
python -m live bench              times an answer in chromium, in plain JavaScript and in PyTorch
python -m live kernel             makes kernel.js from mm.wat
"""

import sys

from . import bench, demo, kernel
from .library import load


def main(args: list[str]) -> str:
    match args:
        case ["demo", out, *name] if len(name) <= 1:
            return f"open {demo(out, load(*(name or ['mini']), device='cpu'))}"
        case ["bench"]:
            return bench.table(bench.measure(load("mini", device="cpu")))
        case ["kernel"]:
            (kernel.ASSETS / "kernel.js").write_text(kernel.source(kernel.assembled()))
            return "kernel.js is written"
    sys.exit(__doc__)


if __name__ == "__main__":
    print(main(sys.argv[1:]))
