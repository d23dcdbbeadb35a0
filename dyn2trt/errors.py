"""Errors that a user meets: the command line prints their message alone; anything else is a bug, with its traceback."""


class Dyn2trtError(Exception):
    """A user's mistake or a failed comparison: says what was expected, what came and what to do."""

    exit_code = 1


class Interrupted(Dyn2trtError):
    """Ctrl-C, at a moment from which the same command goes on."""

    exit_code = 130


class MissingDependency(Dyn2trtError):
    """Something the command needs is not on this machine."""

    exit_code = 3
