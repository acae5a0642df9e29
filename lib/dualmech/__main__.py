"""The shell's way in: `python -m dualmech answer|report|check-result`."""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dualmech", description=__doc__)
    command = parser.add_subparsers(dest="command", required=True)
    answer = command.add_parser("answer", help="answer a question about an image")
    answer.add_argument("image", type=Path)
    answer.add_argument("question")
    answer.add_argument("--model", default="mini")
    told = command.add_parser("report", help="print what a model can do, with intervals")
    told.add_argument("model", nargs="?", default="mini")
    told.add_argument("--parts", default="abdefhij", help="letters of the rows to measure")
    told.add_argument("--save", type=Path, help="also write the rows to this JSON file")
    checked = command.add_parser("check-result", help="check result files before you send them")
    checked.add_argument("files", type=Path, nargs="+", metavar="FILE")
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        return _moved(argv)
    args = parser.parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _answer(args) -> int:
    from PIL import Image

    from vlms.loading import load

    if not args.image.is_file():
        raise FileNotFoundError(f"no image at {args.image}: check the path")
    try:
        image = Image.open(args.image)
        image.load()
    except OSError:
        raise ValueError(
            f"{args.image} is not an image that can be read: use PNG or JPEG"
        ) from None
    print(load(args.model).answer([image], [args.question])[0])
    return 0


def _report(args) -> int:
    from vlms.loading import load

    from . import record
    from .report import report, table

    vlm = load(args.model)
    with record.timer() as clock:
        rows = report(vlm, args.parts)
    print(table(rows))
    if args.save:
        source = record.provenance(vlm, clock.seconds)
        print("saved", record.save(args.save, "report", {"rows": rows}, source))
    return 0


def _check_result(args) -> int:
    from . import record

    bad = 0
    for path in args.files:
        try:
            place = record.place(record.read(path))
            if not re.fullmatch(r"\w[\w.-]*", place.parent.name):
                raise ValueError(
                    f"{path}: provenance.model is a folder: use a hub id, which others can load"
                )
            print(f"ok: {path}, for data/results/{place.as_posix()}")
        except ValueError as error:
            print("bad:", error)
            bad += 1
    return 1 if bad else 0


def _moved(argv: list[str]) -> int:
    """`train` moved to another package; for one more release it works from here, too."""
    package = "organism"  # by name: this package imports none of the others
    print(f"`python -m dualmech train` is now `python -m {package} train`", file=sys.stderr)
    return import_module(f"{package}.__main__").main(argv)


COMMANDS = {"answer": _answer, "report": _report, "check-result": _check_result}

if __name__ == "__main__":
    sys.exit(main())
