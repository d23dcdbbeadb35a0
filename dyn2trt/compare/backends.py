"""Backends: what can run a model, as Polygraphy runners, and the reason where one cannot.

A backend makes a runner for each of the runs of a comparison: as it is, with forced masks, with blocks tapped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import onnx
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from torch import nn

from dyn2trt.blocks.base import Execution
from dyn2trt.compare.graphs import observed
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata

TORCH, ONNXRUNTIME, TENSORRT = "torch", "onnxruntime", "tensorrt"
NAMES = (TORCH, ONNXRUNTIME, TENSORRT)

Feed = Mapping[str, NDArray[Any]]


class NotRun(Exception):
    """A backend cannot run the model here; the message says why."""


class Backend(Protocol):
    """One way to run the model."""

    name: str
    detail: str
    """Version and device, for the report."""

    def runner(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> BaseRunner:
        """Make a runner for feeds shaped like ``feed``; see `dyn2trt.compare.names` for what it takes and gives.

        Raises:
            NotRun: the backend lacks what this model, or this run, needs.
        """


def is_onnxruntime_error(error: Exception) -> bool:
    """Whether ONNX Runtime raised it; its exceptions have no class of their own in common."""
    return type(error).__module__.startswith("onnxruntime")


class TorchBackend:
    """A network in torch on the CPU, masked dense (`dyn2trt.compare.torch_runner`)."""

    def __init__(
        self, network: nn.Module, metadata: ExportMetadata, name: str = TORCH, precision: str = "fp32"
    ) -> None:
        import torch

        self.name = name
        self._network = network
        self._execution: Execution = "dense" if metadata.ops == "dense" else "masked"
        kind = "ungated" if metadata.ops == "dense" else "masked dense"
        self.detail = f"torch {torch.__version__} on the CPU, {kind}, {precision}"

    def runner(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> BaseRunner:
        from dyn2trt.compare.torch_runner import TorchRunner

        gates = len(feed) - 1 if forced else 0
        return TorchRunner(self._network, name=self.name, gates=gates, taps=taps, execution=self._execution)


class OnnxRuntimeBackend:
    """The exported file in ONNX Runtime.

    Args:
        providers: execution providers in order of preference.

    Raises:
        NotRun: onnxruntime is not installed, or was built without a provider.
    """

    name = ONNXRUNTIME

    def __init__(
        self, model: onnx.ModelProto, metadata: ExportMetadata, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise NotRun("onnxruntime is not installed; pip install 'dyn2trt[cpu]'") from error
        if absent := [name for name in providers if name not in onnxruntime.get_available_providers()]:
            raise NotRun(f"this onnxruntime was built without {', '.join(absent)}; pip install 'dyn2trt[gpu]'")
        self._model, self._metadata, self._providers = model, metadata, list(providers)
        self.detail = f"onnxruntime {onnxruntime.__version__}, {', '.join(providers)}"

    def runner(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> BaseRunner:
        import onnxruntime
        from polygraphy.backend.onnxrt import OnnxrtRunner

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it logs as an error it also raises
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        graph = observed(self._model, forced=forced, taps=taps)
        try:
            session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=self._providers)
        except Exception as error:
            if not is_onnxruntime_error(error):
                raise
            # In fp32 every op that the exporter writes has a kernel everywhere, so a missing one is a fault.
            if type(error).__name__ != "NotImplemented" or self._metadata.precision == "fp32":
                raise Dyn2trtError(f"onnxruntime refuses the model: {error}") from error
            missing = str(error).partition("implementation for ")[2] or str(error)
            raise NotRun(
                f"it has no {self._metadata.precision} kernel for {missing}; export fp32 to compare there"
            ) from error
        return OnnxrtRunner(session, name=self.name)
