"""ONNX models in ONNX Runtime, timed by the wall clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import onnx

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export.model_file import loadable
from dyn2trt.runtimes.memory_probe import probe_memory
from dyn2trt.runtimes.session import Feed, MemoryUse, Outputs

CPU = "CPUExecutionProvider"


class Refused(Dyn2trtError):
    """ONNX Runtime does not load or run a model.

    Attributes:
        reason: in its words.
        kernel: the kernel that it lacks, where it knows an op of the model but not for its type.
    """

    def __init__(self, step: str, error: Exception) -> None:
        self.reason = str(error).strip().splitlines()[0]
        missing = type(error).__name__ == "NotImplemented"
        self.kernel = (self.reason.partition("implementation for ")[2] or self.reason) if missing else None
        super().__init__(f"ONNX Runtime does not {step} the model: {self.reason}")


def import_onnxruntime() -> ModuleType:
    """Return the module.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("onnxruntime is not installed; pip install 'dyn2trt[cpu]'") from error
    return onnxruntime


def usable_cores() -> int:
    """Cores this process may use (its CPU affinity where the system has one)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_provider(text: str) -> str:
    """``cpu``, ``cuda`` or the full name of an execution provider of ONNX Runtime → its full name."""
    return {"cpu": CPU, "cuda": "CUDAExecutionProvider"}.get(text.lower(), text)


class OnnxRuntime:
    """Opens ONNX models.

    Args:
        threads: of one session; None takes every usable core.
        provider: execution provider; nodes that it does not take run on the CPU.

    Raises:
        MissingDependency: onnxruntime is not installed, or was built without the provider.
    """

    def __init__(self, threads: int | None = None, provider: str = CPU) -> None:
        runtime = import_onnxruntime()
        available = runtime.get_available_providers()
        if provider not in available:
            raise MissingDependency(f"this onnxruntime has no {provider}; it has {', '.join(available)}")
        self.threads, self.provider = threads or usable_cores(), provider
        self.detail = f"onnxruntime {runtime.__version__}, {provider}"

    def open(self, model: onnx.ModelProto) -> OnnxRuntimeSession:
        return OnnxRuntimeSession(model, self.threads, self.provider)


class OnnxRuntimeSession:
    """A model ready to run, all graph optimisations on.

    Args:
        model: the ONNX model; its functions travel with it.
        threads: intra-op threads. Nodes run one after the other.
        provider: see `OnnxRuntime`.

    Raises:
        Refused: ONNX Runtime does not load the model.
        MissingDependency: the provider did not start.
    """

    def __init__(self, model: onnx.ModelProto, threads: int, provider: str = CPU) -> None:
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it logs as an error it also raises
        # Idle workers of one session spin for a while after a run, on the cores that the next contender needs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._model, self._threads = model, threads
        providers = list(dict.fromkeys((provider, CPU)))
        with _explained("load"), loadable(model) as source:
            self._session = runtime.InferenceSession(source, options, providers=providers)
        if provider not in self._session.get_providers():
            raise MissingDependency(f"{provider} did not start; the log of onnxruntime says what it lacks")

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(value.name for value in self._session.get_inputs())

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> Outputs:
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

    def memory(self, feed: Feed) -> MemoryUse:
        """Of a process of its own."""
        runtime, peak = probe_memory(self._model, dict(feed), self._threads)
        return MemoryUse(peak_rss=peak, runtime_rss=runtime)

    def close(self) -> None:
        self._session = None


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """Turn ONNX Runtime's refusals (an op or type that its kernels lack, say) into an error for the user."""
    try:
        yield
    except Exception as error:
        # Its exceptions have no class of their own in common.
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise Refused(step, error) from error
