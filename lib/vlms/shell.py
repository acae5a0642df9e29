"""What a command says to a shell, in every package that has commands."""

import sys


def status(command, args) -> int:
    """command(args); or, where what was given cannot be used, one line on stderr and 2."""
    try:
        return command(args)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
