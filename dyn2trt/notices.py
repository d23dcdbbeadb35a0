"""What a user should know although nothing failed: a line on stderr, the same one only once."""

from __future__ import annotations

import functools
import logging


@functools.cache
def warn_once(text: str) -> None:
    """Log ``text`` as a warning the first time that it is given; without a handler of its own Python prints that."""
    logging.getLogger("dyn2trt").warning("dyn2trt: warning: %s", text)
