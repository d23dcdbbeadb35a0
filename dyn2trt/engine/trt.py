"""TensorRT's Python module: which one is installed, its log, and what differs between its versions."""

from __future__ import annotations

import functools
import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from dyn2trt.errors import MissingDependency

log = logging.getLogger("dyn2trt.tensorrt")

OLDEST = (10, 3)
"""The first TensorRT whose IPluginV3 and strongly typed networks this package is written for."""


def import_tensorrt() -> ModuleType:
    """Return the module ``tensorrt``, or ``tensorrt_rtx`` where only that is installed.

    Raises:
        MissingDependency: neither imports, or TensorRT is older than `OLDEST`.
    """
    failures = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            trt = importlib.import_module(name)
        except ImportError as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == name):
                failures.append(f"{name} is installed but does not load: {error}")
            continue
        # A folder of that name on the path imports as an empty namespace package.
        if not hasattr(trt, "Builder"):
            continue
        if flavour(trt) == "tensorrt" and version_tuple(trt.__version__) < OLDEST:
            raise MissingDependency(
                f"TensorRT {trt.__version__} is too old, dyn2trt needs {OLDEST[0]}.{OLDEST[1]} or later: "
                "pip install --upgrade 'dyn2trt[gpu]'"
            )
        return trt
    reason = "; ".join(failures) or "TensorRT is not installed"
    raise MissingDependency(f"{reason}: pip install dyn2trt[gpu] (on a machine with an NVIDIA GPU)")


def flavour(trt: ModuleType) -> str:
    """``tensorrt`` or ``tensorrt_rtx``: their plans and version numbers are not interchangeable."""
    return "tensorrt_rtx" if trt.__name__.partition(".")[0] == "tensorrt_rtx" else "tensorrt"


def version_tuple(version: str) -> tuple[int, ...]:
    """``"10.3.0.26"`` → ``(10, 3, 0, 26)``; what follows the numbers is dropped."""
    return tuple(int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0]))  # type: ignore[index]


def create_network(trt: ModuleType, builder: Any) -> Any:
    """Return an empty strongly typed network: the types in the ONNX file are the types that run.

    10.x has a flag for it. In 11 every network is one and the flag, where it is still there, changes nothing.
    Explicit batch is all that these versions know.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return builder.create_network(0 if flag is None else 1 << int(flag))


class _Capture:
    """Where the process's one logger puts errors while somebody collects them."""

    lines: list[str] | None = None


@functools.cache
def logger(trt: ModuleType) -> Any:
    """Return the process's TensorRT logger. TensorRT keeps the first one it is given, so there is only one.

    Warnings go to Python's logging under ``dyn2trt.tensorrt``, errors too unless `captured` collects them.
    """

    class Logger(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            # Every attribute that a node leaves at its default is a warning to the parser, hundreds in a model.
            if severity > trt.ILogger.WARNING or "not found in plugin node" in message:
                log.debug(message)
            elif severity == trt.ILogger.WARNING:
                log.warning(message)
            elif _Capture.lines is not None:
                _Capture.lines.append(message.strip())
            else:
                log.error(message)

    return Logger()


@contextmanager
def captured() -> Iterator[list[str]]:
    """Collect TensorRT's error lines for an exception's message; without an exception they are logged as warnings."""
    outer, _Capture.lines = _Capture.lines, []
    lines = _Capture.lines
    try:
        yield lines
        for line in lines:
            log.warning(line)
    finally:
        _Capture.lines = outer


_SOURCE_POSITION = re.compile(r"\s*\bIn \S+ at \S+?\.(?:cpp|h):\d+")


def reasons(lines: list[str]) -> str:
    """Indent TensorRT's error lines to go under a message; positions in TensorRT's sources are dropped."""
    return "".join(f"\n  TensorRT: {line}" for line in dict.fromkeys(_SOURCE_POSITION.sub("", line) for line in lines))
