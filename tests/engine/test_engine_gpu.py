"""Engines with the plugins on a GPU, against ONNX Runtime on the CPU: ``pytest -m gpu tests/engine``.

With TensorRT where it is installed, otherwise with the TensorRT-RTX core of tests/tensorrt_on_cpu, whose engines may
or may not load. The plugin library has to be built. Masks are forced, so that no flipped gate is read as an error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from official import load_official
from tensorrt_on_cpu import harness

from dyn2trt.engine import BuildOptions, LoadedPlan, build_engine, load_plan
from dyn2trt.engine.device import this_machine
from dyn2trt.engine.plugin_library import BUILD_COMMAND, find_plugin_library
from dyn2trt.engine.trt import flavour, import_tensorrt, version_tuple
from dyn2trt.errors import MissingDependency
from dyn2trt.export import export_network
from dyn2trt.export.surgery import inline_composites, with_forced_masks

pytestmark = pytest.mark.gpu

MAX_BATCH = 4
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}
Feed = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if this_machine().gpu is None or not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU, or torch without CUDA")
    try:
        import_tensorrt()
    except MissingDependency:
        if reason := harness.why_not():
            pytest.skip(f"no TensorRT, and {reason}")
        monkeypatch.setitem(sys.modules, "tensorrt", harness.load())
    trt = import_tensorrt()
    # TensorRT-RTX counts its versions apart; its plugin interfaces are those of TensorRT 11.
    if find_plugin_library(version_tuple(trt.__version__)[0] if flavour(trt) == "tensorrt" else 11) is None:
        pytest.skip(f"the plugin library is not built: {BUILD_COMMAND}")


class Context:
    """An execution context with buffers in torch and a stream of its own."""

    def __init__(self, loaded: LoadedPlan) -> None:
        self.loaded, self.stream, self.buffers = loaded, torch.cuda.Stream(), {}
        self.context = loaded.engine.create_execution_context()

    def load(self, feed: Feed) -> None:
        """Take the shapes of ``feed``, and copy it into the buffers."""
        for name, array in feed.items():
            assert self.context.set_input_shape(name, array.shape)
            if name not in self.buffers or self.buffers[name].shape != array.shape:
                self.buffers[name] = torch.empty(array.shape, device="cuda")
            self.buffers[name].copy_(torch.from_numpy(array))
        for name in self.loaded.passport.outputs:
            self.buffers[name] = torch.full(tuple(self.context.get_tensor_shape(name)), torch.nan, device="cuda")
        for name, buffer in self.buffers.items():
            assert self.context.set_tensor_address(name, buffer.data_ptr())
        torch.cuda.synchronize()

    def enqueue(self) -> None:
        assert self.context.execute_async_v3(self.stream.cuda_stream)

    def outputs(self) -> Feed:
        torch.cuda.synchronize()
        return {name: self.buffers[name].cpu().numpy() for name in self.loaded.passport.outputs}


def feed_of(model: onnx.ModelProto, batch: int, seed: int) -> Feed:
    """Noise for x, and masks that are active in blobs of about a quarter of the positions."""
    random = np.random.default_rng(seed)
    feed = {}
    for value in model.graph.input:
        _, *chw = (d.dim_value for d in value.type.tensor_type.shape.dim)
        noise = random.standard_normal((batch, *chw)).astype(np.float32)
        if value.name != "x":
            smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(noise), 3, 1, 1).numpy()
            noise = np.where(smooth > np.quantile(smooth, 0.75), 1, -1).astype(np.float32)
        feed[value.name] = noise
    return feed


def expected(path: Path, feed: Feed) -> Feed:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def assert_close(came: Feed, wanted: Feed, precision: str) -> None:
    for name, reference in wanted.items():
        assert np.linalg.norm(came[name] - reference) <= TOLERANCE[precision] * np.linalg.norm(reference), name


def built(folder: Path, name: str, precision: str, primitive: bool = False) -> tuple[LoadedPlan, onnx.ModelProto, Path]:
    """An engine with forced masks, its model, and an fp32 model of the same network for reference."""
    official = load_official(name)
    shape = (1, *official.x.shape[1:])
    for kind in {"fp32", precision}:
        export_network(official.network, input_shape=shape, path=folder / kind, precision=kind, dynamic_batch=True)
        model = with_forced_masks(onnx.load(folder / kind))
        onnx.save(model, folder / f"{kind}.onnx")
    model = onnx.load(folder / f"{precision}.onnx")
    if primitive:
        model = inline_composites(model)
    onnx.save(model, folder / "model.onnx")
    sizes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)[1:] for v in model.graph.input}
    low, high = ({n: (batch, *chw) for n, chw in sizes.items()} for batch in (1, MAX_BATCH))
    options = BuildOptions(min_shapes=low, opt_shapes=low, max_shapes=high)
    passport = build_engine(folder / "model.onnx", folder / "model.plan", options)
    assert passport.gated_blocks.as_plugins == passport.gated_blocks.expected != ()
    return load_plan(folder / "model.plan"), model, folder / "fp32.onnx"


@pytest.mark.parametrize("primitive", [False, True], ids=["composite", "primitive"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["cifar_resnet8", "imagenet_resnet50_w0125", "hourglass_f32_s2"])
def test_outputs_at_every_batch_of_one_context(tmp_path, name, precision, primitive):
    loaded, model, reference = built(tmp_path, name, precision, primitive)
    context = Context(loaded)
    for batch in (1, MAX_BATCH, 2):
        feed = feed_of(model, batch, seed=batch)
        context.load(feed)
        context.enqueue()
        assert_close(context.outputs(), expected(reference, feed), precision)


def test_cuda_graph_with_changing_masks(tmp_path):
    loaded, model, reference = built(tmp_path, "hourglass_f32_s2", "fp16")
    context = Context(loaded)
    context.load(feed_of(model, 1, seed=0))
    context.enqueue()  # TensorRT asks for a run before a capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=context.stream):
        context.enqueue()
    for seed in (1, 2):
        feed = feed_of(model, 1, seed)
        for name, array in feed.items():
            context.buffers[name].copy_(torch.from_numpy(array))
        graph.replay()
        assert_close(context.outputs(), expected(reference, feed), "fp16")


def test_two_contexts_on_two_streams(tmp_path):
    loaded, model, reference = built(tmp_path, "cifar_resnet8", "fp16")
    feeds = [feed_of(model, batch, seed=batch) for batch in (1, MAX_BATCH)]
    contexts = [Context(loaded), Context(loaded)]
    for context, feed in zip(contexts, feeds, strict=True):
        context.load(feed)
    for _ in range(50):
        for context in contexts:
            context.enqueue()
    for context, feed in zip(contexts, feeds, strict=True):
        assert_close(context.outputs(), expected(reference, feed), "fp16")
