"""The TensorRT side of the benchmark without a GPU: bindings, buffers, streams and graphs against stand-ins."""

from __future__ import annotations

import builtins
import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.recipe import BuildSection
from dyn2trt.runtimes import tensorrt_session
from dyn2trt.runtimes.bindings import Binding, resolve_bindings
from dyn2trt.runtimes.cuda_graph import CudaGraph

INPUT, OUTPUT = "input", "output"
TRT = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT=INPUT, OUTPUT=OUTPUT), nptype=lambda dtype: dtype)


class FakeEngine:
    """``y`` is ``x`` doubled; batches of 1 to 4."""

    device_memory_size_v2 = 1234
    num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return ("y", "x")[index]

    def get_tensor_mode(self, name: str) -> str:
        return INPUT if name == "x" else OUTPUT

    def get_tensor_dtype(self, _: str) -> type:
        return np.float32

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [(1, 3), (2, 3), (4, 3)]

    def create_execution_context(self) -> FakeContext:
        return FakeContext()


class FakeContext:
    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, _: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return 1 <= shape[0] <= 4

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, _: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        cuda = FakeCuda.now
        x, y = (cuda.memory[self.addresses[name]] for name in ("x", "y"))
        cuda.submit(stream, "enqueue", lambda: np.copyto(y, 2 * x))
        return True


class FakeCuda:
    """Device memory, one stream that may be captured, and a clock that advances by a millisecond a task."""

    now: FakeCuda

    def __init__(self) -> None:
        FakeCuda.now = self
        self.memory: dict[int, np.ndarray] = {}
        self.freed: list[int] = []
        self.log: list[str] = []
        self.clock = 0.0
        self.contexts: list[str] = []
        self.capturing: list[tuple[str, Any]] | None = None
        self.graphs: list[list[tuple[str, Any]]] = []

    def submit(self, _stream: int, name: str, task: Any) -> None:
        if self.capturing is not None:
            self.capturing.append((name, task))
            return
        self.clock += 1.0
        self.log.append(name)
        task()

    # pycuda.driver

    def Stream(self) -> Any:
        return SimpleNamespace(handle=7, synchronize=lambda: self.log.append("wait"))

    def Event(self) -> Any:
        event = SimpleNamespace(time=0.0, synchronize=lambda: None)
        event.record = lambda _stream: setattr(event, "time", self.clock)
        event.time_since = lambda other: event.time - other.time
        return event

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.full(shape, 99, dtype)

    def mem_alloc(self, size: int) -> Any:
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = np.zeros(size // 4, np.float32)
        return FakeBuffer(address, self)

    def memcpy_htod_async(self, buffer: FakeBuffer, array: np.ndarray, stream: Any) -> None:
        self.submit(stream.handle, "upload", lambda: np.copyto(self.memory[int(buffer)], array.ravel()))

    def memcpy_dtoh_async(self, array: np.ndarray, buffer: FakeBuffer, stream: Any) -> None:
        self.submit(stream.handle, "download", lambda: np.copyto(array, self.memory[int(buffer)].reshape(array.shape)))

    def Device(self, _number: int) -> Any:
        context = SimpleNamespace(push=lambda: self.contexts.append("primary"))
        return SimpleNamespace(retain_primary_context=lambda: context)

    @property
    def Context(self) -> Any:
        return SimpleNamespace(pop=self.contexts.pop)

    def mem_get_info(self) -> tuple[int, int]:
        return 10**9 - 100 * len(self.memory), 2 * 10**9

    # The driver's graph functions

    def cuStreamBeginCapture_v2(self, _stream: int, _mode: int) -> int:
        self.capturing = []
        return 0

    def cuStreamEndCapture(self, _stream: int, out: Any) -> int:
        assert self.capturing is not None
        self.graphs.append(self.capturing)
        self.capturing = None
        out._obj.value = len(self.graphs)
        return 0

    def cuGraphInstantiateWithFlags(self, out: Any, graph: ctypes.c_void_p, _flags: int) -> int:
        out._obj.value = graph.value
        return 0

    def cuGraphLaunch(self, executable: ctypes.c_void_p, stream: int) -> int:
        assert executable.value
        for name, task in self.graphs[executable.value - 1]:
            self.submit(stream, f"graph {name}", task)
        return 0

    def cuGraphExecDestroy(self, _: Any) -> int:
        self.log.append("destroy executable")
        return 0

    def cuGraphDestroy(self, _: Any) -> int:
        self.log.append("destroy graph")
        return 0


class FakeBuffer:
    def __init__(self, address: int, cuda: FakeCuda) -> None:
        self.address, self.cuda = address, cuda

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        self.cuda.freed.append(self.address)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr("dyn2trt.engine.trt.import_tensorrt", lambda: TRT)
    monkeypatch.setattr("dyn2trt.engine.plan.load_plan", lambda _plan: SimpleNamespace(engine=FakeEngine()))
    monkeypatch.setattr(tensorrt_session, "load_driver", lambda: fake)
    return fake


def session(cuda: FakeCuda, **modes: bool) -> tensorrt_session.TensorRtSession:
    return tensorrt_session.TensorRtSession(tensorrt_session.CudaDevice(cuda), Path("m.plan"), **modes)  # type: ignore[arg-type]


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def resolve(**inputs: np.ndarray) -> list[Binding]:
    return resolve_bindings(TRT, FakeEngine(), FakeContext(), inputs, "m.plan")


def test_bindings_state_shape_type_and_bytes_inputs_first() -> None:
    bindings = resolve(x=X)
    assert [(b.name, b.is_input, b.shape, b.dtype, b.bytes) for b in bindings] == [
        ("x", True, (2, 3), np.float32, 24),
        ("y", False, (2, 3), np.float32, 24),
    ]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": np.zeros((6, 3), np.float32)}, r"shape 6x3 outside \[1x3, 4x3\]; rebuild with --min-shapes"),
        ({"x": np.zeros((2, 3))}, "input x is float32, the benchmark feeds float64"),
        ({"x": X, "forced0": X}, "has inputs x, the benchmark feeds x, forced0"),
    ],
)
def test_bindings_refuse_what_the_engine_does_not_take(inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(Dyn2trtError, match=message):
        resolve(**inputs)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("transfers", [True, False])
def test_every_mode_computes_the_same(cuda: FakeCuda, graphs: bool, transfers: bool) -> None:
    runner = session(cuda, graphs=graphs, transfers=transfers)
    for feed in (X, X + 1):
        assert np.array_equal(runner.run({"x": feed})["y"], 2 * feed)


@pytest.mark.parametrize(
    ("modes", "timed"),
    [
        ({"graphs": True, "transfers": False}, ["graph enqueue"]),
        ({"graphs": False, "transfers": False}, ["enqueue"]),
        ({"graphs": True, "transfers": True}, ["graph upload", "graph enqueue", "graph download"]),
        ({"graphs": False, "transfers": True}, ["upload", "enqueue", "download"]),
    ],
)
def test_the_time_holds_what_the_mode_says(cuda: FakeCuda, modes: dict[str, bool], timed: list[str]) -> None:
    runner = session(cuda, **modes)
    runner.run({"x": X})
    cuda.log.clear()
    assert runner.time({"x": X}) == pytest.approx(1e-3 * len(timed))
    before = [] if modes["transfers"] else ["upload"]
    assert cuda.log == [*before, "wait", *timed]


def test_memory_is_what_the_session_took(cuda: FakeCuda) -> None:
    runner = session(cuda)
    runner.run({"x": X})
    memory = runner.memory({"x": X})
    assert memory.device == 200  # two buffers in the stand-in's books
    assert memory.activations == 1234


def test_a_session_keeps_to_its_first_shape_and_frees_everything(cuda: FakeCuda) -> None:
    runner = session(cuda)
    runner.run({"x": X})
    with pytest.raises(Dyn2trtError, match="open another session"):
        runner.time({"x": X[:1]})
    assert cuda.contexts == ["primary"]
    runner.close()
    assert not cuda.contexts
    assert sorted(cuda.freed) == sorted(cuda.memory)
    assert cuda.log[-2:] == ["destroy executable", "destroy graph"]


def test_a_run_of_another_shape_gets_buffers_of_its_own(cuda: FakeCuda) -> None:
    runner = session(cuda)
    runner.run({"x": X})
    assert np.array_equal(runner.run({"x": X[:1]})["y"], 2 * X[:1])
    assert len(cuda.freed) == 2
    runner.close()
    assert sorted(cuda.freed) == sorted(cuda.memory)


def test_a_failed_capture_ends_the_capture_and_names_the_error(cuda: FakeCuda) -> None:
    def name(_code: int, out: Any) -> int:
        out._obj.value = b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
        return 0

    def end(_stream: int, _out: Any) -> int:
        cuda.capturing = None
        return 901

    driver = SimpleNamespace(
        cuStreamBeginCapture_v2=cuda.cuStreamBeginCapture_v2, cuStreamEndCapture=end, cuGetErrorName=name
    )
    with pytest.raises(Dyn2trtError, match=r"CAPTURE_INVALIDATED; run with --no-cuda-graphs"):
        CudaGraph(driver, 7, lambda: None)
    assert cuda.capturing is None


def test_an_exception_inside_a_capture_ends_the_capture(cuda: FakeCuda) -> None:
    def fail() -> None:
        raise Dyn2trtError("could not enqueue")

    with pytest.raises(Dyn2trtError, match="could not enqueue"):
        CudaGraph(cuda, 7, fail)
    assert cuda.capturing is None


def test_without_pycuda_the_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("pycuda"):
            raise ModuleNotFoundError("No module named 'pycuda'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependency, match=r"pip install 'dyn2trt\[gpu\]'"):
        tensorrt_session.import_pycuda()


@pytest.mark.gpu
def test_a_dense_twin_on_the_gpu_computes_what_onnx_runtime_computes(tmp_path: Path) -> None:
    pytest.importorskip("pycuda.driver", reason="needs pycuda and a CUDA GPU")
    pytest.importorskip("tensorrt", reason="needs TensorRT")
    import onnx
    from handmade_model import SHAPE, Handmade, noise

    from dyn2trt.engine import BuildOptions, build_engine
    from dyn2trt.export.surgery import dense_twin
    from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession

    twin = dense_twin(Handmade().proto())
    onnx.save(twin, tmp_path / "dense.onnx")
    shapes = {"x": SHAPE}
    build_engine(
        tmp_path / "dense.onnx",
        tmp_path / "dense.plan",
        BuildOptions(min_shapes=shapes, opt_shapes=shapes, max_shapes=shapes),
    )
    x = noise()
    wanted = OnnxRuntimeSession(twin, 1).run({"x": x})
    with tensorrt_session.CudaDevice() as device:
        for graphs, transfers in ((True, False), (False, False), (True, True), (False, True)):
            runner = tensorrt_session.TensorRtSession(
                device, tmp_path / "dense.plan", graphs=graphs, transfers=transfers
            )
            for name, value in runner.run({"x": x}).items():
                assert np.linalg.norm(value - wanted[name]) <= 1e-5 * np.linalg.norm(wanted[name])
            assert 0 < runner.time({"x": x}) < 1
            runner.close()


@pytest.mark.tensorrt
@pytest.mark.usefixtures("tensorrt_on_cpu")
def test_plans_that_are_missing_are_built_for_the_batches_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the dense twin, which needs no plugin library."""
    import onnx
    from handmade_model import Handmade

    from dyn2trt.bench.options import BenchOptions
    from dyn2trt.bench.plans import with_plans
    from dyn2trt.engine import BuildOptions
    from dyn2trt.engine.passport import read_passport
    from dyn2trt.ops.bodies import attach_bodies

    monkeypatch.setattr(tensorrt_session, "import_pycuda", lambda: None)
    path = tmp_path / "model.onnx"
    onnx.save(attach_bodies(Handmade().proto()), path)
    given = {"own": tmp_path / "own.plan", "dense": None, "forced": None}
    lines: list[str] = []
    options = with_plans(
        BenchOptions(batch_sizes=(1, 4), active_ratios=()), path, given, tmp_path / "plans", (12, 10), lines.append
    )
    plans = dict(options.plans)
    assert plans == {"own": tmp_path / "own.plan", "dense": tmp_path / "plans" / "dense.plan"}
    assert lines == ["building the dense plan"]
    profile = read_passport(plans["dense"]).profiles["x"]
    assert (profile.min, profile.opt, profile.max) == ((1, 3, 12, 10), (4, 3, 12, 10), (4, 3, 12, 10))

    section = BuildSection(
        min_shapes="x:1x3x12x10", opt_shapes="x:2x3x12x10", max_shapes="x:8x3x12x10", optimization_level=1
    )
    build = BuildOptions.parse(**section.model_dump())
    with_plans(BenchOptions(active_ratios=()), path, given, tmp_path / "plans", (12, 10), lines.append, build)
    passport = read_passport(plans["dense"])
    profile = passport.profiles["x"]
    assert (profile.min, profile.opt, profile.max) == ((1, 3, 12, 10), (2, 3, 12, 10), (8, 3, 12, 10))
    assert "--optimization-level 1" in passport.command, "as the recipe has the model built, so its rivals"


@pytest.mark.tensorrt
@pytest.mark.usefixtures("tensorrt_on_cpu")
def test_a_plan_that_writes_decisions_is_said_to_be_timed_so(tmp_path: Path) -> None:
    from dynamic_models import export_dynamic

    from dyn2trt.bench.measure import timed_decisions
    from dyn2trt.engine import build_engine
    from dyn2trt.export.metadata import read_metadata

    for decisions in (False, True):
        path = export_dynamic("dy_cifar_resnet", with_decisions=decisions)
        passport = build_engine(path, tmp_path / "own.plan")
        assert tuple(passport.outputs) == ("out0", *(f"coefficients{i}" for i in range(3) if decisions))
        said = timed_decisions(read_metadata(path), tmp_path / "own.plan")
        assert len(said) == decisions
    assert "own.plan gives coefficients0, ... too, and its times hold what that costs; leave --plan out" in said[0].why
