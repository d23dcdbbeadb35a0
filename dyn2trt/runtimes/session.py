"""The interface of every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

Feed = Mapping[str, npt.NDArray[Any]]
"""Inputs by name."""

Outputs = dict[str, npt.NDArray[Any]]
"""Outputs by name."""


@dataclass(frozen=True)
class MemoryUse:
    """Bytes. ``None``: not measured in this runtime."""

    peak_rss: int | None = None
    """Peak resident memory of a fresh process that loads the model and runs it once."""
    runtime_rss: int | None = None
    """Resident memory of that process before it loads the model: Python, numpy and the runtime."""
    device: int | None = None
    """Device memory that loading the engine and making its context and buffers took."""
    activations: int | None = None
    """Device memory that the engine states it needs for activations."""


class Session(Protocol):
    """One model, ready to run.

    Raises:
        Dyn2trtError: from every method, where the runtime refuses the model or the feed.
    """

    def run(self, feed: Feed) -> Outputs:
        """Run once and return all outputs, in arrays of their own."""
        ...

    def time(self, feed: Feed) -> float:
        """Seconds of one run."""
        ...

    def memory(self, feed: Feed) -> MemoryUse:
        """Memory that running ``feed`` takes."""
        ...

    def close(self) -> None:
        """Free what the session holds; it is of no further use."""
        ...


Model = TypeVar("Model", contravariant=True)


class Runtime(Protocol[Model]):
    """What opens sessions.

    Raises:
        MissingDependency: when it is made, where this machine lacks what it needs.
    """

    detail: str
    """Version and device, for people."""

    def open(self, model: Model) -> Session:
        """Load ``model``: an ONNX model for ONNX Runtime, the path of a plan for TensorRT."""
        ...
