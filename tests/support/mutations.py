"""Takes barriers, waits and fences out of kernels that run on the CPU emulator; see plugins/emulator/mutation.h."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def places(library: ctypes.CDLL, run: Callable[[], object]) -> list[str]:
    """The points of synchronisation that the launches of ``run()`` come by, as "operation file:line"."""
    library.dyn2trt_emulator_forget_places()
    run()
    library.dyn2trt_emulator_places.restype = ctypes.c_char_p
    return library.dyn2trt_emulator_places().decode().splitlines()


@contextmanager
def taken_out(library: ctypes.CDLL, number: int) -> Iterator[None]:
    """While it lasts, launches leave out the point of that number in the last `places`."""
    library.dyn2trt_emulator_take_out(number)
    try:
        yield
    finally:
        library.dyn2trt_emulator_take_out(-1)
