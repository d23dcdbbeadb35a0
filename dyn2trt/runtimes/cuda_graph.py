"""Capture of a stream into a CUDA graph, through the driver's own library: pycuda has no graphs (as of 2026.1).

Signatures are those of ``cuda.h``: handles are pointers, results are `CUresult` (0 is success).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from dyn2trt.errors import Dyn2trtError, MissingDependency

_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on using the device meanwhile."""

_POINTER = ctypes.c_void_p
_OUT = ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuStreamBeginCapture_v2": (_POINTER, ctypes.c_int),
    "cuStreamEndCapture": (_POINTER, _OUT),
    "cuGraphInstantiateWithFlags": (_OUT, _POINTER, ctypes.c_ulonglong),
    "cuGraphLaunch": (_POINTER, _POINTER),
    "cuGraphExecDestroy": (_POINTER,),
    "cuGraphDestroy": (_POINTER,),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}


def load_driver() -> Any:
    """Return the CUDA driver library with the signatures used here declared.

    Raises:
        MissingDependency: there is no driver, or it is older than CUDA 11.4.
    """
    name = "nvcuda.dll" if hasattr(ctypes, "WinDLL") else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        for function, arguments in _SIGNATURES.items():
            getattr(driver, function).argtypes = arguments
            getattr(driver, function).restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        raise MissingDependency(
            f"CUDA graphs need the NVIDIA driver's {name} of CUDA 11.4 or later ({error}); "
            "install the driver, or benchmark with --no-cuda-graphs"
        ) from error
    return driver


class CudaGraph:
    """Work captured from ``stream`` (a CUstream handle), to be launched on it again and again.

    Args:
        driver: of `load_driver`.
        enqueue: puts the work on the stream. It must allocate nothing and wait for nothing, and it has run on this
            stream before, so that what a runtime does once has been done.

    Raises:
        Dyn2trtError: something that ``enqueue`` did cannot be captured.
    """

    def __init__(self, driver: Any, stream: int, enqueue: Callable[[], None]) -> None:
        self._driver, self._stream = driver, stream
        self._graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
        try:
            enqueue()
        finally:
            # Ends the capture in any case: a stream left capturing is of no use to anybody.
            ended = driver.cuStreamEndCapture(stream, ctypes.byref(self._graph))
        self._check("cuStreamEndCapture", ended)
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), self._graph, 0)

    def launch(self) -> None:
        """Enqueue the captured work on the stream; does not wait."""
        self._call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free the graph. The stream has to be idle."""
        for function, handle in (("cuGraphExecDestroy", self._executable), ("cuGraphDestroy", self._graph)):
            if handle:
                self._call(function, handle)
                handle.value = None

    def _call(self, function: str, *arguments: Any) -> None:
        self._check(function, getattr(self._driver, function)(*arguments))

    def _check(self, function: str, result: int) -> None:
        if not result:
            return
        name = ctypes.c_char_p()
        self._driver.cuGetErrorName(result, ctypes.byref(name))
        reason = name.value.decode() if name.value else f"error {result}"
        raise Dyn2trtError(
            f"CUDA graph: {function} failed with {reason}; run with --no-cuda-graphs to measure without a graph"
        )
