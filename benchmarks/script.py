"""How the scripts here are run: arguments from the command line, a mistake of the user's told in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from dyn2trt.errors import Dyn2trtError


def run_script(main: Callable[..., None]) -> None:
    """Call ``main`` with the command line's arguments and leave with its exit code."""
    try:
        typer.run(main)
    except Dyn2trtError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
