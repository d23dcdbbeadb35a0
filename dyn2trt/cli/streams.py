"""What a command prints is its result; what a user's network prints is not."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, redirect_stdout


def prints_to_stderr() -> AbstractContextManager[object]:
    """A context in which ``print`` of the user's modules goes to stderr, so that stdout holds the result alone."""
    return redirect_stdout(sys.stderr)
