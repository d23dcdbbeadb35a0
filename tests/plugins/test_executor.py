"""Exported files in the executor against ONNX Runtime on the CPU: every node by a plugin or by torch.

On the CPU over the emulated plugins, on the smallest networks; on a GPU every recipe, in every precision.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import emulated_plugins
import gated_baselines
import numpy as np
import onnx
import pytest
import torch
from gpu_plugins import gpu_driver, why_no_gpu_plugins
from onnx_executor import Executor
from plugin_driver import Driver

from dyn2trt.compare.gates import compare_gates
from dyn2trt.compare.graphs import observed
from dyn2trt.compare.metrics import relative_error
from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.recipe_export import export_recipe
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import load_recipe
from dyn2trt.runtimes.names import FORCED, INPUT, LOGITS
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntime

_REASON = why_no_gpu_plugins()
needs_gpu_plugins = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}
"""Of outputs under forced masks, against the file in fp32: through a whole network roundings add up."""
MARGIN = {"fp32": 1e-3, "fp16": 5e-2, "bf16": 3e-1}
"""A gate may decide otherwise where its logit is nearer to the threshold than this share of the logits' scale."""
SMALL: dict[str, tuple[Callable[[], torch.nn.Module], int]] = {
    "digits": (lambda: build_network("cifar_resnet", {"depth": 8, "stem_stride": 2, "width": 0.5}), 16),
    "hourglass": (lambda: build_network("hourglass", {"stacks": 1, "features": 8}), 64),
    "mobilenet_v2": (lambda: build_network("mobilenet_v2", {"width": 0.1, "classes": 10}), 32),
    "cifar_sact": (lambda: gated_baselines.build("cifar_sact"), 16),
    "cifar_convnet_aig": (lambda: gated_baselines.build("cifar_convnet_aig"), 16),
}
RECIPES = sorted((Path(__file__).resolve().parents[2] / "export").glob("*.toml"))
LARGEST_IMAGE = 128
"""Height and width that recipes are run on: attributes, layouts and optional inputs are the same at every size."""


@pytest.fixture(scope="module")
def emulated(plugins_path) -> Driver:
    return Driver(emulated_plugins.build_driver(), plugins_path)


def small_model(name: str, precision: str, folder: Path) -> onnx.ModelProto:
    torch.manual_seed(0)
    make, size = SMALL[name]
    path = folder / f"{precision}.onnx"
    export_network(make().eval(), input_shape=(1, 3, size, size), path=path, precision=precision, dynamic_batch=True)
    return onnx.load(path)


def recipe_model(path: Path, precision: str, folder: Path) -> onnx.ModelProto:
    recipe = load_recipe(path)
    n, c, *size = recipe.export.input_shape
    shape = (n, c, *(min(length, LARGEST_IMAGE) for length in size))
    wanted = recipe.export.model_copy(update={"precision": precision, "input_shape": shape})
    export_recipe(recipe.network, wanted, folder / f"{precision}.onnx")
    return onnx.load(folder / f"{precision}.onnx")


def images(model: onnx.ModelProto) -> np.ndarray:
    """Two where the batch is dynamic."""
    metadata = read_metadata(model)
    n, *shape = metadata.input_shape
    dynamic = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    return np.random.default_rng(0).normal(size=(2 * n if dynamic else n, *shape)).astype(np.float32)


def reference(model: onnx.ModelProto, feed: dict[str, np.ndarray], *, forced: bool) -> dict[str, np.ndarray]:
    """Outputs and logits by ONNX Runtime on the CPU, through the bodies."""
    session = OnnxRuntime(threads=1).open(observed(model, forced=forced))
    try:
        return session.run(feed)
    finally:
        session.close()


def run(model: onnx.ModelProto, driver: Driver, feed: dict[str, np.ndarray], device: str) -> dict[str, np.ndarray]:
    """Outputs by the executor: on a GPU by a CUDA graph, replayed on the feed after it was captured on zeros."""
    given = {name: torch.from_numpy(array).to(device) for name, array in feed.items()}
    executor = Executor(model, driver, given)
    assert len(executor.layers) == sum(node.domain == DOMAIN for node in model.graph.node)
    if device == "cpu":
        outputs = executor.run(given)
    else:
        static = {name: torch.zeros_like(tensor) for name, tensor in given.items()}
        captured = executor.captured(static)
        for name, tensor in given.items():
            static[name].copy_(tensor)
        captured.replay()
        torch.cuda.synchronize()
        outputs = captured.outputs
    assert executor.guards_are_whole()
    return {name: tensor.float().cpu().numpy() for name, tensor in outputs.items()}


def check(model: onnx.ModelProto, exact: onnx.ModelProto, precision: str, driver: Driver, device: str) -> None:
    """Decisions as they fall, then outputs under the reference's masks.

    Args:
        exact: the same network in fp32, for ONNX Runtime.
    """
    metadata, feed = read_metadata(model), {INPUT: images(model)}
    wanted = reference(exact, feed, forced=False)
    came = run(observed(model), driver, feed, device)
    for index, block in enumerate(metadata.blocks):
        gate = compare_gates(block.name, wanted[f"{LOGITS}{index}"], logits=came[f"{LOGITS}{index}"])
        if gate.flipped:  # of blocks behind it the input is another
            assert gate.largest_flipped_margin <= MARGIN[precision] * gate.logit_scale, gate
            break
    if metadata.blocks:
        masks = {
            f"{FORCED}{i}": np.where(wanted[f"{LOGITS}{i}"] >= 0, 1, -1).astype(np.float32)
            for i in range(len(metadata.blocks))
        }
        feed |= masks
        wanted = reference(exact, feed, forced=True)
        came = run(observed(model, forced=True), driver, feed, device)
    for name in metadata.outputs:
        assert came[name].shape == wanted[name].shape
        assert relative_error(came[name], wanted[name]) <= TOLERANCE[precision], name


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_over_the_emulated_plugins(emulated, tmp_path, name, precision):
    exact = small_model(name, "fp32", tmp_path)
    model = exact if precision == "fp32" else small_model(name, precision, tmp_path)
    assert any(node.domain == DOMAIN for node in model.graph.node)
    check(model, exact, precision, emulated, "cpu")


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("name", ["hourglass", "cifar_sact", "cifar_convnet_aig"])
def test_the_host_reads_nothing_of_the_device(monkeypatch, tmp_path, name, forced):
    """On tensors without data: whatever a CUDA graph could not capture, a value read or a mix of devices, raises."""

    def shapes_alone(_: Executor, _index: int, node: onnx.NodeProto, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        given = dict(zip((spec.name for spec in SCHEMAS[node.op_type].inputs), inputs, strict=True))
        y = torch.empty_like(given.get("identity", given["x"]))
        return [y, y.new_empty((y.shape[0], 1, *y.shape[2:]), dtype=torch.float32)]

    monkeypatch.setattr(Executor, "_plugin", shapes_alone)
    model = small_model(name, "fp16", tmp_path)
    feed = {INPUT: torch.from_numpy(images(model)).to("meta")}
    for index, block in enumerate(read_metadata(model).blocks if forced else ()):
        feed[f"{FORCED}{index}"] = torch.empty(2, 1, *block.grid, device="meta")
    executor = Executor(observed(model, forced=forced), None, feed)
    assert all(tensor.is_meta for tensor in executor.run(feed).values())


@pytest.mark.gpu
@needs_gpu_plugins
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_on_a_gpu(tmp_path, recipe):
    """In fp32, fp16 and bf16; one test, so that the reference is exported and run once."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    driver = gpu_driver()
    exact = recipe_model(recipe, "fp32", tmp_path)
    for precision in ("fp32", "fp16", "bf16"):
        model = exact if precision == "fp32" else recipe_model(recipe, precision, tmp_path)
        check(model, exact, precision, driver, "cuda")


def changed(model: onnx.ModelProto, change: Callable[[onnx.NodeProto], None]) -> onnx.ModelProto:
    """A copy whose first gated block is another."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    change(next(node for node in other.graph.node if node.domain == DOMAIN))
    return other


def rename(node: onnx.NodeProto) -> None:
    node.op_type = "GatedGuess"


def ask_for_another(node: onnx.NodeProto) -> None:
    next(a for a in node.attribute if a.name == "plugin_version").s = b"99"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, r"the executor has no dyn2trt::GatedGuess \(layer1.0\)"),
        (ask_for_another, "plugin_version is '99', expected"),
    ],
)
def test_a_node_that_nobody_runs_is_named(emulated, tmp_path, change, said):
    model = small_model("digits", "fp32", tmp_path)
    with pytest.raises(Dyn2trtError, match=said):
        Executor(changed(model, change), emulated, {INPUT: torch.from_numpy(images(model))})


def test_another_attribute_is_seen(emulated, tmp_path):
    """As if the plugin had not been given the threshold: a gate behind the block decides on other data."""
    model = small_model("digits", "fp32", tmp_path)

    def raise_threshold(node: onnx.NodeProto) -> None:
        kept = [a for a in node.attribute if a.name != "threshold"]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("threshold", 0.25)])

    with pytest.raises(AssertionError, match=r"layer2\.0"):
        check(changed(model, raise_threshold), model, "fp32", emulated, "cpu")


def test_wrong_feeds(emulated, tmp_path):
    model = small_model("digits", "fp32", tmp_path)
    x = torch.from_numpy(images(model))
    executor = Executor(model, emulated, {INPUT: x})
    assert torch.allclose(executor.run({INPUT: x[:1]})["out0"], executor.run({INPUT: x})["out0"][:1], atol=1e-5)
    for feed, said in (
        ({}, "input x is torch.float32, came nothing"),
        ({INPUT: x.half()}, "input x is torch.float32, came torch.float16"),
        ({INPUT: torch.cat([x, x])}, r"input x is at most \[2, 3, 16, 16\], came \[4, 3, 16, 16\]"),
    ):
        with pytest.raises(Dyn2trtError, match=said):
            executor.run(feed)
