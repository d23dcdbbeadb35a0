"""A process whose output lines are read as they come, and which is ended when none comes for too long."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

from dyn2trt.errors import Dyn2trtError


class watched_lines(Iterator[str]):
    """The lines of a process's standard output.

    Args:
        patience: seconds to wait for the next line; then the process is killed and ``hung`` becomes True.
        seconds: of all of it; then it is killed and the lines end.

    Raises:
        Dyn2trtError: the process ended by itself with an exit code other than 0.
    """

    def __init__(self, command: Sequence[str], *, patience: float, seconds: float) -> None:
        self._patience, self._end, self._start = patience, time.perf_counter() + seconds, time.perf_counter()
        self.hung = False
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    def __next__(self) -> str:
        left = self._end - time.perf_counter()
        try:
            line = self._lines.get(timeout=max(0.0, min(self._patience, left)))
        except queue.Empty:
            self.hung = left > self._patience
            self._process.kill()
            self._process.wait()
            raise StopIteration from None
        if line is None:
            if code := self._process.wait():
                raise Dyn2trtError(f"measuring ended with exit code {code}; what it printed stands above")
            raise StopIteration
        return line

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)
