"""The timing cache: kernel timings that a build leaves for the next one, in a file that several builds may share."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import replacing

log = logging.getLogger("dyn2trt.engine")

LOCK_SECONDS = 60.0


def load_timing_cache(config: Any, path: Path) -> None:
    """Give a builder configuration the cache at ``path``; an absent, foreign or damaged one counts as empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise Dyn2trtError(f"cannot read the timing cache {path}: {error.strerror}; choose another file") from error
    cache = config.create_timing_cache(content)
    # TensorRT refuses timings of another GPU or version.
    if cache is None or not config.set_timing_cache(cache, False):
        log.warning("the timing cache %s is of another GPU or TensorRT, or damaged: starting an empty one", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def save_timing_cache(config: Any, path: Path, *, lock_seconds: float = LOCK_SECONDS) -> None:
    """Merge the configuration's timings into the file at ``path``, which is always whole for other readers.

    Raises:
        Dyn2trtError: the file cannot be written, or another build holds it for longer than ``lock_seconds``.
    """
    cache = config.get_timing_cache()
    with _locked(path, lock_seconds):
        if path.exists():
            theirs = config.create_timing_cache(path.read_bytes())
            if theirs is not None:
                cache.combine(theirs, False)
        with replacing(path) as temporary:
            temporary.write_bytes(cache.serialize())


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock beside ``path``. A lock file, for the file itself is replaced under its readers."""
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise Dyn2trtError(f"cannot write the timing cache {path}: {error.strerror}; choose another file") from error
    with file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Dyn2trtError(
                        f"another build has held {lock} for {seconds:g} s; wait for it, or choose another timing cache"
                    ) from None
                time.sleep(0.05)
        yield
