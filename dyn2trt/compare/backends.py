"""Backends: the runtimes of a comparison, with the graphs that its runs need, or the reason where one cannot run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import onnx
from torch import nn

from dyn2trt.blocks.base import Execution
from dyn2trt.compare.graphs import observed
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.dynamic import dynamic_parts
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.export.model_file import save_model
from dyn2trt.export.surgery.bodiless import without_body
from dyn2trt.files import sha256
from dyn2trt.runtimes.names import INPUT
from dyn2trt.runtimes.onnxruntime_session import CPU, OnnxRuntime, Refused
from dyn2trt.runtimes.session import Feed, Session

TORCH, ONNXRUNTIME, TENSORRT = "torch", "onnxruntime", "tensorrt"
NAMES = (TORCH, ONNXRUNTIME, TENSORRT)


class Backend(Protocol):
    """One way to run the model.

    Raises:
        MissingDependency: when it is made, where it cannot run here.
    """

    name: str
    detail: str
    """Version and device, for the report."""

    def session(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> Session:
        """Open a session for feeds shaped like ``feed``; see `dyn2trt.runtimes.names` for what it takes and gives.

        Args:
            forced: take the masks from the feed.
            taps: gated blocks or dynamic convolutions whose input and output are given too.

        Raises:
            MissingDependency: the backend lacks what this model, or this run, needs.
        """
        ...


class TorchBackend:
    """A network in torch on the CPU, masked dense (`dyn2trt.runtimes.torch_session`)."""

    def __init__(
        self, network: nn.Module, metadata: ExportMetadata, name: str = TORCH, precision: str = "fp32"
    ) -> None:
        import torch

        self.name = name
        self._network, self._outputs = network, metadata.outputs
        self._execution: Execution = "dense" if metadata.ops == "dense" else "masked"
        kind = "masked dense" if metadata.blocks else "dynamic kernels" if dynamic_parts(metadata) else "ungated"
        self._dynamic_kernels = bool(metadata.kernels)
        self.detail = f"torch {torch.__version__} on the CPU, {kind}, {precision}"

    def session(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> Session:
        from dyn2trt.runtimes.torch_session import TorchSession

        network = self._network
        if taps and self._dynamic_kernels:
            from dyn2trt.blocks.fold import fold_batchnorm

            # An exported convolution holds the BatchNorm behind it.
            network = fold_batchnorm(network, tuple(feed[INPUT].shape))
        return TorchSession(
            network,
            outputs=self._outputs,
            gates=len(feed) - 1 if forced else 0,
            taps=taps,
            execution=self._execution,
        )


class OnnxRuntimeBackend:
    """The exported file in ONNX Runtime.

    Args:
        provider: see `dyn2trt.runtimes.onnxruntime_session.OnnxRuntime`.
    """

    name = ONNXRUNTIME

    def __init__(self, model: onnx.ModelProto, metadata: ExportMetadata, provider: str = CPU) -> None:
        if why := without_body(model):
            raise MissingDependency(why)
        self._runtime = OnnxRuntime(provider=provider)
        self._model, self._precision = model, metadata.precision
        self.detail = self._runtime.detail

    def session(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> Session:
        try:
            return self._runtime.open(observed(self._model, forced=forced, taps=taps))
        except Refused as error:
            # In fp32 every op that the exporter writes has a kernel everywhere, so a missing one is a fault.
            if error.kernel is None or self._precision == "fp32":
                raise Dyn2trtError(f"onnxruntime refuses the model: {error.reason}") from error
            raise MissingDependency(
                f"it has no {self._precision} kernel for {error.kernel}; export fp32 to compare there"
            ) from error


class TensorRtBackend:
    """A plan in TensorRT; for forced masks and tapped blocks further engines are built from the same ONNX file.

    Raises:
        MissingDependency: no plan was given, or TensorRT, a GPU or pycuda is missing.
        Dyn2trtError: the plan is not of this model, or does not fit this machine.
    """

    name = TENSORRT

    def __init__(self, model_path: Path, model: onnx.ModelProto, plan: Path | None) -> None:
        if plan is None:
            raise MissingDependency(
                f"no plan was given; dyn2trt build {model_path} -o model.plan, then --plan model.plan"
            )
        from dyn2trt.engine import read_passport
        from dyn2trt.runtimes.tensorrt_session import TensorRt

        self._passport = read_passport(plan)
        if self._passport.onnx_sha256 != sha256(model_path):
            raise Dyn2trtError(
                f"{plan} was built from another file than {model_path} ({self._passport.onnx}); build it again: "
                f"dyn2trt build {model_path} -o {plan}"
            )
        self._runtime = TensorRt(graphs=False)
        self._model, self._plan = model, plan
        self.detail = self._runtime.detail

    def session(self, feed: Feed, *, forced: bool = False, taps: Sequence[str] = ()) -> Session:
        if not forced and not taps:
            for name, array in feed.items():
                self._passport.check_shape(name, tuple(array.shape))
            return self._runtime.open(self._plan)
        with tempfile.TemporaryDirectory(prefix="dyn2trt-compare-") as folder:
            return self._runtime.open(self._build(observed(self._model, forced=forced, taps=taps), feed, Path(folder)))

    def _build(self, model: onnx.ModelProto, feed: Feed, folder: Path) -> Path:
        """Build an engine for the shapes of ``feed``, and smaller batches of them, else with the plan's settings."""
        from dyn2trt.engine import BuildOptions, build_engine

        shapes = {name: tuple(array.shape) for name, array in feed.items()}
        dynamic = {value.name: _dynamic_axes(value) for value in model.graph.input}
        most = {name: shape for name, shape in shapes.items() if dynamic[name]}
        least = {name: (1, *shape[1:]) if 0 in dynamic[name] else shape for name, shape in most.items()}
        options = BuildOptions(
            min_shapes=least,
            opt_shapes=most,
            max_shapes=most,
            workspace=self._passport.workspace,
            optimization_level=self._passport.optimization_level,
            tf32=self._passport.tf32,
            allow_dense_fallback=True,  # decided when the plan was built
        )
        save_model(model, folder / "observed.onnx")
        build_engine(folder / "observed.onnx", folder / "observed.plan", options)
        return folder / "observed.plan"


def _dynamic_axes(value: onnx.ValueInfoProto) -> set[int]:
    return {axis for axis, size in enumerate(value.type.tensor_type.shape.dim) if not size.HasField("dim_value")}
