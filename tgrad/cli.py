"""The ``tgrad`` command: what is installed, which ops there are, and a network that learns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import tgrad
from tgrad.commands import Failure, demo, info, ops, tune


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a failure in one line, 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="tgrad", description=tgrad.__doc__)
    parser.add_argument("--version", action="version", version=f"tgrad {tgrad.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (info, ops, demo, tune):
        summary = (module.__doc__ or "").split("\n")[0]
        sub = commands.add_parser(module.NAME, help=summary, description=summary)
        module.arguments(sub)
        sub.set_defaults(run=module.run)
    options = parser.parse_args(argv)
    try:
        options.run(options)
    except Failure as e:
        print(f"tgrad {options.command}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"tgrad {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
