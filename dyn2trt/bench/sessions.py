"""The graphs that a benchmark runs, by role, and their sessions in the runtime that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import onnx

from dyn2trt.bench.options import BenchOptions
from dyn2trt.bench.record import Mode
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.surgery import dense_twin, static_twin, without_decision_outputs
from dyn2trt.export.surgery.overruled import with_overruled_gates
from dyn2trt.ops.bodies.hints import computed_whole
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntime
from dyn2trt.runtimes.session import Runtime, Session

OWN, DENSE, FORCED, STATIC = "own", "dense", "forced", "static"
"""Roles of the graphs: the network itself; its dense counterpart, and itself with forced masks, where it has gates; the
same network with fixed kernels, where it has dynamic ones."""

_PLAN_OPTIONS = {OWN: "--plan", DENSE: "--dense-plan", FORCED: "--forced-plan", STATIC: "--static-plan"}


def graphs_of(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """The graphs that a benchmark runs, by role: the model and the counterparts that what is dynamic in it calls for.

    Decisions that the file gives as outputs are left out, so that no time holds what writing them costs.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, or nothing in it is dynamic.
    """
    metadata = read_metadata(model)
    if metadata.decisions:
        model = without_decision_outputs(model)
    graphs = {OWN: model}
    if metadata.blocks:
        graphs |= {DENSE: dense_twin(model), FORCED: with_overruled_gates(model)}
    if metadata.kernels or metadata.image_kernels:
        graphs[STATIC] = static_twin(model)
    if len(graphs) == 1:
        raise Dyn2trtError(
            f"the model has no gated blocks (exported with --ops {metadata.ops}) and no dynamic kernels, so there is "
            "no counterpart to compare it with; export a gated network with --ops composite"
        )
    return graphs


class Sessions:
    """Sessions by role, each opened when it is first asked for and closed when the ``with`` block ends.

    Args:
        runtime: opens them.
        models: what it opens, by role.
        fixed_shapes: whether a session serves one batch size only, as a CUDA graph does.
        mode: for the record.
    """

    def __init__(self, runtime: Runtime[Any], models: Mapping[str, Any], mode: Mode, *, fixed_shapes: bool) -> None:
        self._runtime, self._models, self.mode, self._fixed_shapes = runtime, models, mode, fixed_shapes
        self._open: dict[tuple[str, int], Session] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
        self._open.clear()

    def get(self, role: str, batch: int) -> Session:
        """The session of a role for batches of that size."""
        key = (role, batch if self._fixed_shapes else 0)
        if key not in self._open:
            if why := self.why_not(role):
                raise Dyn2trtError(why)
            self._open[key] = self._runtime.open(self._models[role])
            self._stack.callback(self._open[key].close)
        return self._open[key]

    def why_not(self, role: str) -> str | None:
        """Why there is no session of that role, None when there is one."""
        if role in self._models:
            return None
        return f"there is no plan of the {role} graph; pass {_PLAN_OPTIONS[role]}"


def sessions_for(options: BenchOptions, graphs: Mapping[str, onnx.ModelProto], threads: int) -> Sessions:
    """Prepare the runtime that ``options`` measures.

    Raises:
        MissingDependency: this machine lacks what it needs.
    """
    if options.backend == "onnxruntime":
        runtime, clock = OnnxRuntime(threads), "wall clock around the call"
        mode = Mode("onnxruntime", runtime.provider, threads, None, None, clock, computed_whole(graphs[OWN]))
        return Sessions(runtime, graphs, mode, fixed_shapes=False)
    from dyn2trt.runtimes.tensorrt_session import TensorRt

    engines, clock = TensorRt(graphs=options.cuda_graphs, transfers=options.transfers), "CUDA events on the stream"
    mode = Mode("tensorrt", engines.version, None, options.cuda_graphs, options.transfers, clock)
    return Sessions(engines, options.plans, mode, fixed_shapes=True)
