"""The shell's way in: `python -m dualmech answer|report|check-result|train`."""

from __future__ import annotations

import argparse
import re
import sys
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
    trained = command.add_parser("train", help="train a shipped model from its seed")
    trained.add_argument("out", type=Path)
    trained.add_argument("--objective", choices=("layout", "local"), default="layout")
    trained.add_argument("--seed", type=int, default=0)
    trained.add_argument("--device", default="auto")
    trained.add_argument("--ship", type=Path, help="then copy it here with card and hashes")
    trained.add_argument("--toy", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _answer(args) -> int:
    from PIL import Image, UnidentifiedImageError

    from .loading import load

    if not args.image.is_file():
        raise FileNotFoundError(f"no image at {args.image}: check the path")
    try:
        image = Image.open(args.image)
        image.load()
    except (UnidentifiedImageError, OSError):
        raise ValueError(
            f"{args.image} is not an image that can be read: use PNG or JPEG"
        ) from None
    print(load(args.model).answer([image], [args.question])[0])
    return 0


def _report(args) -> int:
    from . import results
    from .loading import load
    from .report import report, table

    vlm = load(args.model)
    with results.timer() as clock:
        rows = report(vlm, args.parts)
    print(table(rows))
    if args.save:
        source = results.provenance(vlm, clock.seconds)
        print("saved", results.save(args.save, "report", {"rows": rows}, source))
    return 0


def _check_result(args) -> int:
    from . import results

    bad = 0
    for path in args.files:
        try:
            place = results.place(results.read(path))
            if not re.fullmatch(r"\w[\w.-]*", place.parent.name):
                raise ValueError(
                    f"{path}: provenance.model is a folder: use a hub id, which others can load"
                )
            print(f"ok: {path}, for data/results/{place.as_posix()}")
        except ValueError as error:
            print("bad:", error)
            bad += 1
    return 1 if bad else 0


def _train(args) -> int:
    from .train import Recipe, ship, toy, train

    recipe = Recipe(objective=args.objective, seed=args.seed)
    folder = train(toy(recipe) if args.toy else recipe, args.out, args.device, not args.toy)
    print("wrote", ship(args.out, args.ship) if args.ship else folder)
    return 0


COMMANDS = {"answer": _answer, "report": _report, "check-result": _check_result, "train": _train}

if __name__ == "__main__":
    sys.exit(main())
