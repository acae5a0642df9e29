"""The shell's way in: `python -m dualmech answer|report|check-result`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from vlms import shell


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
    if argv[:1] == ["train"]:  # it moved; for one more release it works from here, too
        print("`python -m dualmech train` is now `python -m organism train`", file=sys.stderr)
        return import_module("organism.__main__").main(argv)
    args = parser.parse_args(argv)
    return shell.status(COMMANDS[args.command], args)


def _answer(args) -> int:
    from vlms.loading import load
    from vlms.pictures import opened

    image = opened(args.image)
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
            record.check_sent(one := record.read(path), path)
            told = f"ok: {path}, for data/results/{(at := record.place(one)).as_posix()}"
            told += ", its verdicts as reported" * (at.parts[0] not in record.OWN)
        except ValueError as error:
            told, bad = f"bad: {error}", 1
        print("".join(c if c.isprintable() else "?" for c in told))
    return bad


COMMANDS = {"answer": _answer, "report": _report, "check-result": _check_result}

if __name__ == "__main__":
    sys.exit(main())
