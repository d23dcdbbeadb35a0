"""One model in ONNX Runtime on the CPU, timed by the wall clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.model_file import loadable

Feed = Mapping[str, npt.NDArray[Any]]


def import_onnxruntime() -> ModuleType:
    """Return the module.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency(
            "the backend onnxruntime needs the package onnxruntime; install it with pip install 'dyn2trt[cpu]'"
        ) from error
    return onnxruntime


class OnnxRuntimeSession:
    """A model ready to run on the CPU execution provider, all graph optimisations on.

    Args:
        model: the ONNX model; its functions travel with it.
        threads: intra-op threads. Nodes run one after the other.
    """

    def __init__(self, model: onnx.ModelProto, threads: int) -> None:
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle workers of one session spin for a while after a run, on the cores that the next contender needs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        with _explained("load"), loadable(model) as source:
            self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(value.name for value in self._session.get_inputs())

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Run once and return the named outputs (all when None)."""
        names = [value.name for value in self._session.get_outputs()] if outputs is None else list(outputs)
        with _explained("run"):
            return dict(zip(names, self._session.run(names, dict(feed)), strict=True))

    def time(self, feed: Feed) -> float:
        """Seconds of one run, from the call to all outputs in host memory."""
        arrays = {name: np.ascontiguousarray(value) for name, value in feed.items()}
        start = time.perf_counter()
        self._session.run(None, arrays)
        return time.perf_counter() - start


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """Turn ONNX Runtime's refusals (an op or type that its CPU kernels lack, say) into an error for the user."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        reason = str(error).strip().splitlines()[0]
        raise Dyn2trtError(f"ONNX Runtime does not {step} the model: {reason}") from error
