"""TensorRT plans on the GPU, run and timed by CUDA events through pycuda.

Not run on a GPU yet: it is written against the documented interfaces of pycuda, TensorRT and the CUDA driver, and the
tests drive it with stand-ins for the three.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.runtimes.bindings import Binding, resolve_bindings
from dyn2trt.runtimes.cuda_graph import CudaGraph, load_driver
from dyn2trt.runtimes.session import Feed, MemoryUse, Outputs


def import_pycuda() -> ModuleType:
    """Return ``pycuda.driver``, initialised.

    Raises:
        MissingDependency: pycuda is not installed, does not load, or finds no GPU.
    """
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise MissingDependency(
            f"engines run through pycuda, which is missing ({error}); install it with pip install 'dyn2trt[gpu]' on a "
            "machine with an NVIDIA GPU, or use ONNX Runtime (--backend onnxruntime)"
        ) from error
    try:
        cuda.init()
        count = cuda.Device.count()
    except cuda.Error as error:
        raise MissingDependency(f"engines need an NVIDIA GPU and its driver: {error}") from error
    if not count:
        raise MissingDependency("engines need an NVIDIA GPU; the driver sees none")
    return cuda


class CudaDevice:
    """The first GPU's primary context (the one that TensorRT's runtime uses), current between enter and exit."""

    def __init__(self, cuda: ModuleType | None = None) -> None:
        self.cuda: Any = cuda or import_pycuda()

    def __enter__(self) -> Self:
        self._context = self.cuda.Device(0).retain_primary_context()
        self._context.push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cuda.Context.pop()

    def free_memory(self) -> int:
        """Free device memory in bytes, as the driver states it for the whole GPU."""
        free, _total = self.cuda.mem_get_info()
        return int(free)


def tensorrt_and_gpu() -> tuple[str, str]:
    """Module and version of TensorRT, and the GPU, that engines run with on this machine.

    Raises:
        MissingDependency: TensorRT is not installed or too old, or there is no GPU.
    """
    from dyn2trt.engine.device import this_machine
    from dyn2trt.engine.trt import flavour, import_tensorrt

    trt = import_tensorrt()
    gpu = this_machine().gpu
    if gpu is None:
        raise MissingDependency(f"{flavour(trt)} {trt.__version__} is installed, but there is no NVIDIA GPU")
    return f"{flavour(trt)} {trt.__version__}", str(gpu)


class TensorRt:
    """Opens plans on the first GPU.

    Args:
        graphs, transfers: of every session, see `TensorRtSession`.

    Raises:
        MissingDependency: TensorRT, a GPU or pycuda is missing.
    """

    def __init__(self, *, graphs: bool = True, transfers: bool = False) -> None:
        self.version, gpu = tensorrt_and_gpu()
        self.detail = f"{self.version} on {gpu}"
        self.graphs, self.transfers = graphs, transfers
        self._device = CudaDevice()

    def open(self, model: Path) -> TensorRtSession:
        return TensorRtSession(self._device, model, graphs=self.graphs, transfers=self.transfers)


class TensorRtSession:
    """A plan with buffers on its own stream, made for the shapes of the first feed; `run` alone may change them.

    Args:
        device: stays current until the session is closed.
        plan: path of the plan; its passport is checked before it is deserialised.
        graphs: replay one captured CUDA graph per run instead of enqueueing the engine's kernels one by one.
        transfers: let the time include the copies host → device of all inputs and device → host of all outputs
            (pinned memory, inside the graph where there is one). Otherwise inputs are copied before the clock starts.
    """

    def __init__(self, device: CudaDevice, plan: Path, *, graphs: bool = True, transfers: bool = False) -> None:
        from dyn2trt.engine.plan import load_plan
        from dyn2trt.engine.trt import import_tensorrt

        self._cuda, self._plan, self._graphs, self._transfers = device.cuda, plan, graphs, transfers
        self._trt = import_tensorrt()
        with ExitStack() as current:
            current.enter_context(device)
            self._free_before = device.free_memory()
            self._loaded = load_plan(plan)
            self._engine = self._loaded.engine
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise Dyn2trtError(f"{plan}: TensorRT could not make an execution context; is the GPU's memory full?")
            self._stream = self._cuda.Stream()
            self._start, self._stop = self._cuda.Event(), self._cuda.Event()
            self._current = current.pop_all()
        self._bindings: list[Binding] = []
        self._host: dict[str, npt.NDArray[Any]] = {}
        self._buffers: dict[str, Any] = {}
        self._graph: CudaGraph | None = None
        self._device = device
        self._taken: int | None = None

    def memory(self, feed: Feed) -> MemoryUse:
        """What free device memory fell by from before loading to after the first run, and what the engine states."""
        self._feed(feed)
        # The name changed in TensorRT 10.1 and the old one went in 11.
        stated = getattr(self._engine, "device_memory_size_v2", None)
        activations = int(self._engine.device_memory_size if stated is None else stated)
        return MemoryUse(device=self._taken, activations=activations)

    def run(self, feed: Feed) -> Outputs:
        """Run once and return copies of all outputs."""
        if any(binding.is_input and feed[binding.name].shape != binding.shape for binding in self._bindings):
            self._release()
        self._feed(feed)
        self._upload()
        self._launch()
        if not self._transfers:
            self._download()
        self._stream.synchronize()
        return {b.name: self._host[b.name].copy() for b in self._bindings if not b.is_input}

    def time(self, feed: Feed) -> float:
        """Seconds of one run between two events on the stream, around one graph launch or one enqueue."""
        self._feed(feed)
        self._upload()
        self._stream.synchronize()
        self._start.record(self._stream)
        self._launch()
        self._stop.record(self._stream)
        self._stop.synchronize()
        return float(self._stop.time_since(self._start)) * 1e-3

    def close(self) -> None:
        """Free the graph and the buffers."""
        self._release()
        # The context goes before its engine.
        self._context = None
        self._current.close()

    def _release(self) -> None:
        self._stream.synchronize()
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers.clear()
        self._bindings = []

    def _feed(self, feed: Feed) -> None:
        """Put the inputs into pinned memory; on the first call, make everything that depends on shapes."""
        if not self._bindings:
            self._prepare(feed)
        for binding in self._bindings:
            if binding.is_input:
                if feed[binding.name].shape != binding.shape:
                    raise Dyn2trtError(
                        f"{self._plan}: this session runs input {binding.name} as {binding.shape}, not "
                        f"{feed[binding.name].shape}; open another session for it"
                    )
                np.copyto(self._host[binding.name], feed[binding.name])

    def _prepare(self, feed: Feed) -> None:
        bindings = resolve_bindings(self._trt, self._engine, self._context, feed, self._plan.name)
        for binding in bindings:
            self._host[binding.name] = self._cuda.pagelocked_empty(binding.shape, binding.dtype)
            # An empty tensor needs an address too.
            self._buffers[binding.name] = self._cuda.mem_alloc(max(binding.bytes, 1))
            if not self._context.set_tensor_address(binding.name, int(self._buffers[binding.name])):
                raise Dyn2trtError(f"{self._plan}: TensorRT refused the address of {binding.name}")
        self._bindings = bindings
        for binding in bindings:
            if binding.is_input:
                np.copyto(self._host[binding.name], feed[binding.name])
        # Once outside a graph: TensorRT sets up on the first enqueue after a change of shapes, which no graph captures.
        self._upload(always=True)
        self._enqueue()
        self._stream.synchronize()
        if self._graphs:
            self._graph = CudaGraph(load_driver(), int(self._stream.handle), self._work)
            self._graph.launch()
            self._stream.synchronize()
        self._taken = self._free_before - self._device.free_memory()

    def _upload(self, always: bool = False) -> None:
        """Copy inputs before the clock starts, unless the copies are part of the timed work."""
        if always or not self._transfers:
            for binding in self._bindings:
                if binding.is_input:
                    self._cuda.memcpy_htod_async(self._buffers[binding.name], self._host[binding.name], self._stream)

    def _download(self) -> None:
        for binding in self._bindings:
            if not binding.is_input:
                self._cuda.memcpy_dtoh_async(self._host[binding.name], self._buffers[binding.name], self._stream)

    def _launch(self) -> None:
        if self._graph is not None:
            self._graph.launch()
        else:
            self._work()

    def _work(self) -> None:
        """What a timed run consists of, enqueued on the stream."""
        if self._transfers:
            self._upload(always=True)
        self._enqueue()
        if self._transfers:
            self._download()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise Dyn2trtError(f"{self._plan}: TensorRT could not enqueue the engine; its log above says why")
