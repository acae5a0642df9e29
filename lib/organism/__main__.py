"""Train models like the shipped ones, and measure them: `python -m organism COMMAND ...`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vlms import shell

from .recipe import OBJECTIVES


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m organism", description=__doc__)
    command = parser.add_subparsers(dest="command", required=True)
    trained = command.add_parser("train", help="train a shipped model from its seed")
    trained.add_argument("out", type=Path)
    trained.add_argument("--objective", choices=OBJECTIVES, default="caption")
    trained.add_argument("--seed", type=int, default=0)
    trained.add_argument("--device", default="auto")
    trained.add_argument("--ship", type=Path, help="then copy it here with card and hashes")
    trained.add_argument("--toy", action="store_true", help="a few steps, to see that it runs")
    planned = command.add_parser("grid", help="train and measure the runs of a plan")
    planned.add_argument("plan", type=Path, help="JSON: {run: {setting: value}}")
    planned.add_argument("out", type=Path)
    planned.add_argument("--jobs", type=int, default=1, help="runs side by side, a thread each")
    planned.add_argument("--parts", default="ahefi", help="what to measure, as in `measure`")
    planned.add_argument("--toy", action="store_true", help="a few steps, to see that it runs")
    measured = command.add_parser("measure", help="who leads, and what an encoder spread")
    measured.add_argument("folders", type=Path, nargs="+", metavar="FOLDER",
                          help="a checkpoint, or a run amid stage 2, which is written out first; "
                          "for part h alone, a run that has a tower")  # fmt: skip
    measured.add_argument("--parts", default="ahefi", help="letters of `report`; h: the spread")
    measured.add_argument("--pairs", type=int, default=40, help="a direction, in e, f and i")
    measured.add_argument("--save", type=Path, help="also write the rows to this JSON file")
    seeded = command.add_parser("seeds", help="train and measure runs beside the shipped ones")
    seeded.add_argument("out", type=Path)
    seeded.add_argument("--only", help="train this run and measure nothing")
    spread = command.add_parser("towers", help="what each objective's encoder spread")
    spread.add_argument("towers", nargs="+", metavar="NAME=WHERE[=SEED]",
                        help="WHERE: rows that `measure --parts h --save` wrote; or a checkpoint, "
                        "a run, a tower, or 'random', measured now")  # fmt: skip
    compared = command.add_parser("compare", help="compare training runs")
    compared.add_argument("runs", nargs="+", metavar="NAME=FOLDER[=NOTE]")
    args = parser.parse_args(argv)
    return shell.status(COMMANDS[args.command], args)


def _train(args) -> int:
    from . import Recipe, ship, toy, train

    recipe = Recipe.of(args.objective, args.seed)
    folder = train(toy(recipe) if args.toy else recipe, args.out, args.device, not args.toy)
    print("wrote", ship(args.out, args.ship) if args.ship else folder)
    return 0


def _seeds(args) -> int:
    from . import seeds

    return seeds.main(args.out, args.only)


def _compare(args) -> int:
    from . import comparison

    return comparison.main(args.runs)


def _towers(args) -> int:
    from . import towers

    return towers.main(args.towers)


def _grid(args) -> int:
    from .grid import grid

    print(grid(args.plan, args.out, args.jobs, args.parts, args.toy))
    return 0


def _measure(args) -> int:
    from .measure import columns, measure, save

    found = {folder.name: measure(folder, args.parts, args.pairs) for folder in args.folders}
    print(columns(found))
    if args.save:
        save(args.save, found)
    return 0


COMMANDS = {"train": _train, "grid": _grid, "measure": _measure, "seeds": _seeds,
            "towers": _towers, "compare": _compare}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
