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
from dyn2trt.export.dynamic import dynamic_parts
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.export.surgery.bodiless import without_body

TORCH, ONNXRUNTIME, TENSORRT = "torch", "onnxruntime", "tensorrt"
NAMES = (TORCH, ONNXRUNTIME, TENSORRT)

CPU = "CPUExecutionProvider"

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
        kind = "masked dense" if metadata.blocks else "dynamic kernels" if dynamic_parts(metadata) else "ungated"
        self._dynamic_kernels = bool(metadata.kernels)
        self.detail = f"torch {torch.__version__} on the CPU, {kind}, {precision}"

    def runner(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> BaseRunner:
        from dyn2trt.compare.torch_runner import TorchRunner

        gates = len(feed) - 1 if forced else 0
        network = self._network
        if taps and self._dynamic_kernels:
            from dyn2trt.blocks.fold import fold_batchnorm

            network = fold_batchnorm(network)  # an exported convolution holds the BatchNorm behind it
        return TorchRunner(network, name=self.name, gates=gates, taps=taps, execution=self._execution)


def parse_provider(text: str) -> str:
    """``cpu``, ``cuda`` or the full name of an execution provider of ONNX Runtime → its full name."""
    return {"cpu": CPU, "cuda": "CUDAExecutionProvider"}.get(text.lower(), text)


class OnnxRuntimeBackend:
    """The exported file in ONNX Runtime.

    Args:
        provider: execution provider; nodes that it does not take run on the CPU.

    Raises:
        NotRun: onnxruntime is not installed, or was built without the provider.
    """

    name = ONNXRUNTIME

    def __init__(self, model: onnx.ModelProto, metadata: ExportMetadata, provider: str = CPU) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise NotRun("onnxruntime is not installed; pip install 'dyn2trt[cpu]'") from error
        if why := without_body(model):
            raise NotRun(why)
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise NotRun(f"this onnxruntime has no {provider}; it has {', '.join(available)}")
        self._model, self._metadata, self._providers = model, metadata, list(dict.fromkeys((provider, CPU)))
        self.detail = f"onnxruntime {onnxruntime.__version__}, {provider}"

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
        if self._providers[0] not in session.get_providers():
            raise NotRun(f"{self._providers[0]} did not start; the log of onnxruntime says what it lacks")
        return OnnxrtRunner(session, name=self.name)
