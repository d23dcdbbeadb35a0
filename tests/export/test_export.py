"""The exporter, held to the DynConv authors' checkpoints and to torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from official import FOLDER, load_official
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock, InvertedResidual, set_execution
from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.export.metadata import ExportMetadata, read_metadata
from dyn2trt.export.surgery import with_forced_masks
from dyn2trt.gates import forced_masks, record_decisions
from dyn2trt.networks.zoo import build_network

SIZES = {
    "hourglass_f32_s2": (128, 128),
    "cifar_resnet8": (32, 32),
    "imagenet_resnet18_w025": (96, 96),
    "imagenet_resnet50_w0125": (96, 96),
}
FLOATS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def official(name: str) -> nn.Module:
    return load_official(name).network


def run(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def gated(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.domain == DOMAIN]


@pytest.mark.parametrize(
    ("name", "ops"),
    [
        *((name, "composite") for name in SIZES),
        ("cifar_resnet8", "primitive"),
        ("imagenet_resnet50_w0125", "primitive"),
    ],
)
def test_official_outputs_and_masks_come_out_of_onnx_runtime(tmp_path: Path, name: str, ops: Any) -> None:
    path = tmp_path / "model.onnx"
    case = load_official(name)
    export_network(
        case.network, input_shape=(1, 3, *SIZES[name]), path=path, ops=ops, dynamic_batch=True, with_decisions=True
    )
    got = run(path, case.x.numpy())
    outputs, masks = range(len(case.outputs)), range(len(case.masks))
    assert list(got) == [*(f"out{i}" for i in outputs), *(f"mask{i}" for i in masks)]
    for i in outputs:
        assert error(got[f"out{i}"], case.outputs[i].numpy()) <= 1e-5
    for i in masks:
        assert np.array_equal(got[f"mask{i}"], case.masks[i].numpy())


def test_metadata_names_what_is_in_the_file(tmp_path: Path) -> None:
    name, path = "imagenet_resnet50_w0125", tmp_path / "model.onnx"
    network = official(name)
    metadata = export_network(
        network,
        input_shape=(1, 3, 96, 96),
        path=path,
        name="resnet",
        options={"depth": 50},
        checkpoint=FOLDER / f"{name}.pth",
        task="classification",
    )
    assert metadata == read_metadata(path)
    assert metadata.checkpoint is not None
    assert metadata.checkpoint.name == f"{name}.pth"
    assert len(metadata.checkpoint.sha256) == 64
    model = onnx.load(path)
    nodes = gated(model)
    with record_decisions(network) as decisions, torch.no_grad():
        network(torch.zeros(1, 3, 96, 96))
    assert [node.name for node in nodes] == [d.block for d in decisions] == [b.name for b in metadata.blocks]
    assert [f"Gated{SCHEMAS[node.op_type].block.name}" for node in nodes] == [b.op for b in metadata.blocks]
    assert (
        [node.output[1] for node in nodes] == [f"logits{i}" for i in range(16)] == [b.logits for b in metadata.blocks]
    )
    assert [tuple(d.logits.shape[2:]) for d in decisions] == [b.grid for b in metadata.blocks]
    assert sum(b.macs_total for b in metadata.blocks) == metadata.macs_gated


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_gated_node_says_everything_and_reads_plain_initializers(tmp_path: Path, precision: Any) -> None:
    path = tmp_path / "model.onnx"
    export_network(official("cifar_resnet8"), input_shape=(1, 3, 32, 32), path=path, precision=precision)
    model = onnx.load(path)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in gated(model):
        schema = SCHEMAS[node.op_type]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        wanted = [*(a.name for a in schema.attributes), "plugin_namespace", "plugin_version"]
        assert list(attributes)[: len(wanted)] == wanted  # What may follow are hints to the body.
        assert (attributes["plugin_namespace"], attributes["plugin_version"]) == (b"dyn2trt", b"2")
        assert schema.owns_gate
        for tensor, name in zip(schema.inputs[2:], node.input[2:], strict=True):
            of_gate = tensor in schema.gate.parameters
            assert name == f"{node.name}.{'masker.' if of_gate else ''}{tensor.name}"
            assert initializers[name].data_type == (TensorProto.FLOAT if of_gate else FLOATS[precision])
            assert len(initializers[name].dims) == len(tensor.shape)
    assert not [node.name for node in model.graph.node if node.op_type in ("Transpose", "BatchNormalization")]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_low_precision_keeps_gates_and_borders_in_float32(tmp_path: Path, precision: Any) -> None:
    path = tmp_path / "model.onnx"
    network = build_network("hourglass", {"stacks": 1, "features": 16}).eval()
    export_network(network, input_shape=(1, 3, 64, 64), path=path, precision=precision)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    gates = {name for name in types if ".masker." in name}
    assert len(gates) == 2 * len(gated(model))
    assert {types[name] for name in gates} == {TensorProto.FLOAT}
    weights = {name for name in types if name.endswith(("weight", "bias"))} - gates
    assert {types[name] for name in weights} == {FLOATS[precision]}
    logits = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info if v.name.startswith("logits")}
    assert set(logits.values()) == {TensorProto.FLOAT}
    assert len(logits) == len(gated(model))


def test_the_dense_network_is_the_ungated_one(tmp_path: Path) -> None:
    case, path = load_official("imagenet_resnet18_w025"), tmp_path / "model.onnx"
    network, x = case.network, case.x
    metadata = export_network(network, input_shape=(2, 3, 96, 96), path=path, ops="dense")
    set_execution(network, "dense")
    with torch.no_grad():
        wanted = network(x).numpy()
    assert error(run(path, x.numpy())["out0"], wanted) <= 1e-5
    model = onnx.load(path)
    assert not gated(model)
    assert not model.functions
    assert (metadata.ops, metadata.blocks, metadata.macs_gated) == ("dense", (), 0)


@pytest.mark.parametrize("ops", ["composite", "primitive"])
@pytest.mark.parametrize(
    ("name", "options", "size"),
    [("cifar_resnet", {"depth": 8}, 32), ("hourglass", {"stacks": 1, "features": 16}, 64)],
)
def test_float16_under_forced_masks_is_the_network_in_float32(
    tmp_path: Path, name: str, options: Any, size: int, ops: Any
) -> None:
    torch.manual_seed(0)
    network, path = build_network(name, options).eval(), tmp_path / "model.onnx"
    metadata = export_network(network, input_shape=(1, 3, size, size), path=path, ops=ops, precision="fp16")
    forced = with_forced_masks(onnx.load(path))
    onnx.save(forced, path)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((1, 3, size, size)).astype(np.float32))
    masks = [torch.from_numpy(rng.random((1, 1, *block.grid)) < 0.3) for block in metadata.blocks]
    with torch.no_grad(), forced_masks(network, masks):
        wanted = network(x)
    logits = {f"logits{i}": np.where(mask.numpy(), 1, -1).astype(np.float32) for i, mask in enumerate(masks)}
    (got, *_) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        ["out0"], {"x": x.numpy(), **logits}
    )
    assert error(got, (wanted[0] if isinstance(wanted, tuple) else wanted).numpy()) <= 1e-2


@pytest.mark.parametrize("size", [64, 128])
def test_a_dynamic_size_serves_other_sizes(tmp_path: Path, size: int) -> None:
    torch.manual_seed(0)
    network, path = build_network("hourglass", {"stacks": 1, "features": 16}).eval(), tmp_path / "model.onnx"
    metadata = export_network(
        network, input_shape=(1, 3, size, size), path=path, dynamic_batch=True, dynamic_size=True, with_decisions=True
    )
    assert metadata.dynamic_axes == (0, 2, 3)
    assert metadata.size_multiple == 64
    dimensions = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dimensions] == ["N", 3, "64*H", "64*W"]
    x = np.random.default_rng(0).normal(size=(3, 3, 64, 192)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x))
    got = run(path, x)
    assert got["mask0"].shape == (3, 1, 16, 48)
    assert error(got["out0"], wanted[0].numpy()) <= 1e-5


def test_a_dynamic_size_that_needs_no_multiple_takes_odd_ones(tmp_path: Path) -> None:
    network, path = official("cifar_resnet8"), tmp_path / "model.onnx"
    export_network(network, input_shape=(1, 3, 32, 32), path=path, dynamic_size=True)
    x = np.random.default_rng(1).normal(size=(1, 3, 37, 22)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    assert error(run(path, x)["out0"], wanted) <= 1e-5


def test_the_same_network_gives_the_same_bytes_without_local_paths(tmp_path: Path) -> None:
    script = (
        "import sys, torch; from dyn2trt.export import export_network; from dyn2trt.networks.zoo import build_network\n"
        "torch.manual_seed(0); network = build_network('cifar_resnet', {'depth': 8}).eval()\n"
        "export_network(network, input_shape=(1, 3, 32, 32), path=sys.argv[1], dynamic_batch=True, with_decisions=True)"
    )
    paths = [tmp_path / "here.onnx", tmp_path / "there.onnx"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", script, str(paths[1])], check=True, env=environment, cwd=tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network("cifar_resnet", {"depth": 8}).eval()
    export_network(network, input_shape=(1, 3, 32, 32), path=paths[0], dynamic_batch=True, with_decisions=True)
    here, there = (path.read_bytes() for path in paths)
    assert here == there
    assert str(Path(__file__).parents[2]).encode() not in here
    assert sys.prefix.encode() not in here


class Twisted(nn.Module):
    """What a user may do: run a block twice, give an output twice, return the input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.block = InvertedResidual(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.block(self.block(self.stem(x)))
        return y, y, x


def test_a_network_of_the_users_own_may_be_twisted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = Twisted().eval(), tmp_path / "model.onnx"
    metadata = export_network(network, input_shape=(1, 3, 9, 7), path=path, with_decisions=True)
    assert [b.name for b in metadata.blocks] == ["block", "block_2"]
    assert metadata.outputs == ("out0", "out1", "out2")
    x = np.random.default_rng(0).normal(size=(1, 3, 9, 7)).astype(np.float32)
    with record_decisions(network) as decisions, torch.no_grad():
        wanted = network(torch.from_numpy(x))
    got = run(path, x)
    for index, value in enumerate(wanted):
        assert error(got[f"out{index}"], value.numpy()) <= 1e-5
    for index, decision in enumerate(decisions):
        assert np.array_equal(got[f"mask{index}"], decision.mask.numpy() > 0)


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("cifar_resnet", {"depth": 8})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export_network(network, input_shape=(1, 3, 32, 32), path=tmp_path / "m.onnx", precision="fp16")
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert {block.execution for block in network.modules() if isinstance(block, BasicBlock)} == {"masked"}


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = InvertedResidual(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return y if y.sum() > 0 else -y


@pytest.mark.parametrize(
    ("build", "arguments", "told"),
    [
        (lambda: official("hourglass_f32_s2"), {"input_shape": (1, 3, 100, 100)}, r"multiples of 64, not 100x100"),
        (lambda: official("cifar_resnet8"), {"input_shape": (1, 4, 32, 32)}, r"refuses an input of 1x4x32x32"),
        (lambda: official("cifar_resnet8"), {"input_shape": (1, 3, 32)}, r"an input shape is \[N, C, H, W\]"),
        (lambda: official("cifar_resnet8"), {"precision": "fp8"}, r"precision is one of fp32, fp16, bf16, not 'fp8'"),
        (lambda: official("cifar_resnet8"), {"ops": "dense", "with_decisions": True}, r"no decisions to give"),
        (lambda: nn.Conv2d(3, 3, 1), {}, r"Conv2d has no gated block"),
        (Branching, {}, r"control flow must not depend on the values"),
    ],
)
def test_what_cannot_be_exported_is_explained(
    tmp_path: Path, build: Callable[[], nn.Module], arguments: dict[str, Any], told: str
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(Dyn2trtError, match=told):
        export_network(build().eval(), **{"input_shape": (1, 3, 32, 32), "path": path, **arguments})
    assert not list(tmp_path.iterdir())


def test_the_full_size_pose_network_exports_in_a_minute_and_4_gb(tmp_path: Path) -> None:
    """4 hourglasses, 96 features, 256x256."""
    path = tmp_path / "pose.onnx"
    code = f"""
import resource
from dyn2trt.export import export_network
from dyn2trt.networks.zoo import build_network
export_network(build_network('hourglass', {{}}).eval(), input_shape=(1, 3, 256, 256), path={str(path)!r})
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    # Time on the processor, which other tests running beside do not lengthen.
    seconds, peak = map(float, done.stdout.split())
    assert seconds < 60
    assert peak < 4e9
    metadata: ExportMetadata = read_metadata(path)
    assert len(metadata.blocks) == 57
    assert metadata.macs_gated == 6157430784
    weights = sum(numpy_helper.to_array(t).nbytes for t in onnx.load(path).graph.initializer)
    assert path.stat().st_size < 1.05 * weights
