"""The commands of ``tgrad``, one file each: a NAME, ``arguments(parser)`` and ``run(options)``."""


class Failure(Exception):
    """Ends a command with one line on standard error and exit code 1."""
