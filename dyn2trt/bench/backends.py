"""Where the sessions of a benchmark come from: ONNX Runtime from ONNX models, TensorRT from plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import onnx

from dyn2trt.bench.memory_probe import probe_memory
from dyn2trt.bench.onnxruntime_session import OnnxRuntimeSession, import_onnxruntime
from dyn2trt.bench.record import Memory, Mode
from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops.bodies.hints import computed_whole

OWN, DENSE, FORCED, STATIC = "own", "dense", "forced", "static"
"""Roles of the graphs: the network itself; its dense twin, and itself with overruled gates, where it has gates; its
twin with fixed kernels, where it has dynamic ones."""

Feed = Mapping[str, npt.NDArray[Any]]


class Session(Protocol):
    def time(self, feed: Feed) -> float:
        """Seconds of one run."""
        ...


class Backend(Protocol):
    """Context manager; its sessions end with it."""

    mode: Mode

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def session(self, role: str, batch: int) -> Session:
        """A session of the graph for batches of that size."""
        ...

    def why_not(self, role: str) -> str | None:
        """Why there is no session of that role, None when there is one."""
        ...

    def memory(self, role: str, x: npt.NDArray[np.float32]) -> Memory: ...


@dataclass
class OnnxRuntimeBackend:
    """The CPU execution provider; one session a role, whatever the batch size."""

    models: Mapping[str, onnx.ModelProto]
    threads: int
    _sessions: dict[str, OnnxRuntimeSession] = field(default_factory=dict, init=False)

    def __enter__(self) -> Self:
        import_onnxruntime()
        clock, whole = "wall clock around the call", computed_whole(self.models[OWN])
        self.mode = Mode("onnxruntime", "CPUExecutionProvider", self.threads, None, None, clock, whole)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sessions.clear()

    def session(self, role: str, batch: int) -> Session:
        if role not in self._sessions:
            self._sessions[role] = OnnxRuntimeSession(self.models[role], self.threads)
        return self._sessions[role]

    def why_not(self, role: str) -> str | None:
        return None

    def memory(self, role: str, x: npt.NDArray[np.float32]) -> Memory:
        runtime, peak = probe_memory(self.models[role], {"x": x}, self.threads)
        return Memory(role, peak_rss=peak, runtime_rss=runtime, device=None, activations=None)


@dataclass
class TensorRtBackend:
    """Plans on the first GPU; a session a role and batch size, since a CUDA graph holds for one shape."""

    plans: Mapping[str, Path]
    graphs: bool
    transfers: bool
    _sessions: dict[tuple[str, int], Any] = field(default_factory=dict, init=False)

    def __enter__(self) -> Self:
        from dyn2trt.bench.tensorrt_session import CudaDevice
        from dyn2trt.engine.trt import flavour, import_tensorrt

        trt = import_tensorrt()
        self._device = CudaDevice()
        self._device.__enter__()
        provider = f"{flavour(trt)} {trt.__version__}"
        self.mode = Mode("tensorrt", provider, None, self.graphs, self.transfers, "CUDA events on the stream")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._device.__exit__(kind, value, traceback)

    def session(self, role: str, batch: int) -> Session:
        from dyn2trt.bench.tensorrt_session import TensorRtSession

        if (role, batch) not in self._sessions:
            if role not in self.plans:
                raise Dyn2trtError(self.why_not(role) or role)
            self._sessions[role, batch] = TensorRtSession(
                self._device, self.plans[role], graphs=self.graphs, transfers=self.transfers
            )
        return self._sessions[role, batch]

    def why_not(self, role: str) -> str | None:
        if role in self.plans:
            return None
        option = {OWN: "--plan", DENSE: "--dense-plan", FORCED: "--forced-plan", STATIC: "--static-plan"}[role]
        return f"there is no plan of the {role} graph; pass {option}"

    def memory(self, role: str, x: npt.NDArray[np.float32]) -> Memory:
        session: Any = self.session(role, len(x))
        session.run({"x": x})
        return Memory(
            role, peak_rss=None, runtime_rss=None, device=session.memory, activations=session.activation_memory
        )
