"""Networks with dynamic kernels in ONNX: standard ops, equal to torch in ONNX Runtime, described in the metadata."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from dynet_cases import CASES, build_dynet
from torch import Tensor, nn

from dyn2trt.blocks import InvertedResidual
from dyn2trt.blocks.dynamic import CoefficientPredictor, DynamicBlock, DynamicConv2d, record_coefficients
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.export.metadata import parse_metadata, read_metadata
from dyn2trt.export.surgery import dense_twin, static_twin, with_decision_outputs, without_decision_outputs

Export = Callable[..., Path]
STATIC_AND_DYNAMIC: list[tuple[int, dict[str, bool]]] = [(4, {}), (1, {"dynamic_batch": True})]
"""Batch and options of exports that serve a batch of 4; those of test_build_dynet.py too."""


def run(model: Path | onnx.ModelProto, x: Tensor) -> dict[str, np.ndarray]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x.numpy()}), strict=True))


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got.astype(np.float64) - wanted) / np.linalg.norm(wanted))


def in_double(network: nn.Module, x: Tensor) -> np.ndarray:
    """The network's output in float64: [N, ...]."""
    with torch.no_grad():
        return copy.deepcopy(network).double()(x.double()).numpy()


def allowed(network: nn.Module, x: Tensor) -> float:
    """How far fp32 may be from float64: 1e-5 or, in a deep network of random weights, twice as far as torch is."""
    with torch.no_grad():
        return max(1e-5, 2 * error(network(x).numpy(), in_double(network, x)))


def noise(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", CASES)
def test_one_file_serves_every_batch(dynet_export: Export, case: str) -> None:
    network, shape = build_dynet(case)
    model = onnx.load(dynet_export(case, 1, precision="fp32", dynamic_batch=True))
    metadata = read_metadata(model)
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert [entry.domain for entry in model.opset_import] == [""]
    assert (metadata.ops, metadata.blocks) == ("dense", ())
    modules = dict(network.named_modules())
    convolutions = [convolution for predictor in metadata.kernels for convolution in predictor.convolutions]
    assert {c.name for c in convolutions} == {n for n, m in modules.items() if isinstance(m, DynamicConv2d)}
    for convolution in convolutions:
        module = modules[convolution.name]
        assert (convolution.in_channels, convolution.out_channels) == (module.in_channels, module.out_channels)
        assert (convolution.groups, convolution.kernels) == (module.groups, module.kernels)
    assert 0 < sum(predictor.macs_generation for predictor in metadata.kernels) == metadata.macs_generation
    assert metadata.macs_generation < metadata.macs_ungated
    tapped = with_decision_outputs(model)
    onnx.checker.check_model(tapped, full_check=True)
    for n in (1, 3):
        x = noise(n, shape)
        got = run(tapped, x)
        with record_coefficients(network) as recorded, torch.no_grad():
            network(x)
        assert error(got["out0"], in_double(network, x)) <= allowed(network, x)
        assert [name for name in got if name != "out0"] == [predictor.coefficients for predictor in metadata.kernels]
        assert [predictor.name for predictor in metadata.kernels] == [one.predictor for one in recorded]
        for predictor, one in zip(metadata.kernels, recorded, strict=True):
            assert got[predictor.coefficients].shape == (n, predictor.size)
            assert error(got[predictor.coefficients], one.coefficients.numpy()) <= 1e-5


@pytest.mark.parametrize("batch", STATIC_AND_DYNAMIC)
@pytest.mark.parametrize("case", ["dy_cifar_resnet", "dy_shufflenet_v2", "dy_mobilenet_v3_small"])
def test_fp16_errs_no_more_than_twice_as_far_as_torch(
    dynet_export: Export, case: str, batch: tuple[int, dict[str, bool]]
) -> None:
    network, shape = build_dynet(case)
    path = dynet_export(case, batch[0], precision="fp16", **batch[1])
    x = noise(4, shape)
    wanted = in_double(network, x)
    with torch.no_grad():
        torch_error = error(to_precision(fold_batchnorm(network, x.shape), "fp16")(x).numpy(), wanted)
    assert error(run(path, x)["out0"], wanted) <= 2 * torch_error
    model = onnx.load(path)
    floats = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    predictors = {name for name in floats if ".predictor." in name}
    assert predictors
    assert {floats[name] for name in predictors} == {onnx.TensorProto.FLOAT}
    for predictor in read_metadata(model).kernels:
        assert {floats[c.weight] for c in predictor.convolutions} == {onnx.TensorProto.FLOAT16}


def test_fp16_survives_a_map_whose_sum_fp16_cannot_hold(tmp_path: Path) -> None:
    network, _ = build_dynet("dy_cifar_resnet")
    path = tmp_path / "model.onnx"
    export_network(network, input_shape=(1, 3, 128, 128), path=path, precision="fp16")
    x = noise(1, (3, 128, 128)).abs() * 30
    wanted = in_double(network, x)
    with torch.no_grad():
        assert network.get_submodule("conv1")(x).relu().sum(dim=(2, 3)).max() > 65504
        torch_error = error(to_precision(fold_batchnorm(network, x.shape), "fp16")(x).numpy(), wanted)
    assert error(run(path, x)["out0"], wanted) <= 2 * torch_error


class Odd(DynamicBlock):
    """Convolutions of every awkward geometry, chained, with a bias; a predictor and the block may run twice."""

    def __init__(self) -> None:
        super().__init__()
        make: dict[str, Any] = {"kernels": 3, "bias": True}
        self.convolutions = nn.ModuleList(
            [
                DynamicConv2d(3, 6, 3, stride=2, padding=2, dilation=2, **make),
                DynamicConv2d(6, 9, 1, stride=2, groups=3, **make),
                DynamicConv2d(9, 9, 5, padding=2, groups=9, **make),
                DynamicConv2d(9, 12, 3, padding=1, groups=3, **make),
                DynamicConv2d(12, 12, 3, stride=2, padding=0, groups=12, **make),
                DynamicConv2d(12, 3, 1, padding=1, **make),
            ]
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter)
        self.add_predictor(3, hidden=2)

    def forward(self, x: Tensor) -> Tensor:
        coefficients = self.predict(x)
        for convolution in self.convolutions:
            x = self.convolve(convolution, x, coefficients)
        return x


@pytest.mark.parametrize("dynamic_size", [False, True])
@pytest.mark.parametrize(("n", "dynamic_batch"), [(1, False), (3, False), (2, True)])
def test_awkward_geometries(tmp_path: Path, n: int, dynamic_batch: bool, dynamic_size: bool) -> None:
    torch.manual_seed(0)
    network, path = Odd().eval(), tmp_path / "model.onnx"
    metadata = export_network(
        network, input_shape=(n, 3, 37, 29), path=path, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size
    )
    forms = [c.form for c in metadata.kernels[0].convolutions]
    dynamic = ["unfold", "matmul", "feature_maps", "unfold", "feature_maps", "unfold"]
    assert forms == (dynamic if dynamic_batch else ["grouped"] * 6)
    sizes = [(37, 29), (52, 33)] if dynamic_size else [(37, 29)]
    for batch in (1, 4) if dynamic_batch else (n,):
        for size in sizes:
            x = noise(batch, (3, *size))
            assert error(run(path, x)["out0"], in_double(network, x)) <= 1e-5


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_bf16_is_a_valid_file(tmp_path: Path, dynamic_batch: bool) -> None:
    """ONNX Runtime's CPU kernels have no bfloat16 convolution, so it is checked and not run."""
    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    export_network(Odd().eval(), input_shape=(2, 3, 16, 16), path=path, precision="bf16", dynamic_batch=dynamic_batch)
    types = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT} <= types


class Twice(nn.Module):
    """A block that runs twice, a gated block behind it, and coefficients that are an output too."""

    def __init__(self) -> None:
        super().__init__()
        self.predictor = CoefficientPredictor(4, 8)
        self.convolution = DynamicConv2d(4, 4, 3, padding=1, kernels=2)
        self.stem = nn.Conv2d(3, 4, 1)
        self.gated = InvertedResidual(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        first = self.predictor(x)
        x = self.gated(self.convolution(x, first).relu())
        return self.convolution(x, self.predictor(x)), first


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_kernels_and_gates_in_one_network_of_the_users_own(tmp_path: Path, dynamic_batch: bool) -> None:
    torch.manual_seed(0)
    network, path = Twice().eval(), tmp_path / "model.onnx"
    metadata = export_network(network, input_shape=(2, 3, 9, 7), path=path, dynamic_batch=dynamic_batch)
    assert (metadata.ops, [block.name for block in metadata.blocks]) == ("composite", ["gated"])
    assert [predictor.name for predictor in metadata.kernels] == ["predictor", "predictor_2"]
    names = [convolution.name for predictor in metadata.kernels for convolution in predictor.convolutions]
    assert names == ["convolution", "convolution_2"]
    x = noise(2, (3, 9, 7))
    with torch.no_grad():
        wanted = network(x)
    model = onnx.load(path)
    assert [output.name for output in model.graph.output] == ["out0", "out1"]
    for got in (run(model, x), run(with_decision_outputs(model), x)):
        assert error(got["out0"], wanted[0].numpy()) <= 1e-5
        assert error(got["out1"], wanted[1].numpy()) <= 1e-5
    dense = dense_twin(model)
    assert read_metadata(dense).kernels == metadata.kernels
    both = static_twin(dense)
    onnx.checker.check_model(both, full_check=True)
    assert read_metadata(both).kernels == ()


@pytest.mark.parametrize("batch", STATIC_AND_DYNAMIC)
@pytest.mark.parametrize("case", ["dy_cifar_resnet", "dy_mobilenet_v3_small"])
def test_the_static_twin_is_the_network_with_one_set_of_kernels(
    dynet_export: Export, case: str, batch: tuple[int, dict[str, bool]]
) -> None:
    model = with_decision_outputs(onnx.load(dynet_export(case, batch[0], precision="fp32", **batch[1])))
    metadata = read_metadata(model)
    _, *shape = metadata.input_shape
    same = noise(1, tuple(shape)).expand(4, *shape).contiguous()
    got = run(model, same)
    twin = static_twin(model, [got[predictor.coefficients][0] for predictor in metadata.kernels])
    onnx.checker.check_model(twin, full_check=True)
    after = run(twin, same)
    assert list(after) == ["out0"]
    assert error(after["out0"], got["out0"]) <= 1e-5
    assert not {node.op_type for node in twin.graph.node} & {"MatMul", "Split", "Sigmoid"}
    assert not [node.name for node in twin.graph.node if "predictor" in node.name]
    described = read_metadata(twin)
    assert (described.kernels, described.macs_generation) == ((), 0)
    assert described.macs_ungated == metadata.macs_ungated - metadata.macs_generation
    middle = run(static_twin(model), same)["out0"]
    assert np.isfinite(middle).all()
    assert error(middle, got["out0"]) > 1e-5


class Reshaping(nn.Module):
    """Coefficients that pass through shapes which hold the batch, as a literal or as the input's own."""

    def __init__(self) -> None:
        super().__init__()
        self.predictor = CoefficientPredictor(3, 12)
        self.convolutions = nn.ModuleList(DynamicConv2d(3, 3, 3, padding=1, kernels=2) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        each = self.predictor(x).reshape(x.shape[0], 2, 3, 2)
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x, each[:, index].reshape(x.shape[0], 6))
        return x


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_the_static_twin_of_a_network_that_reshapes_its_coefficients(tmp_path: Path, dynamic_batch: bool) -> None:
    torch.manual_seed(0)
    network, path = Reshaping().eval(), tmp_path / "model.onnx"
    export_network(network, input_shape=(3, 3, 8, 6), path=path, dynamic_batch=dynamic_batch)
    model = with_decision_outputs(onnx.load(path))
    same = noise(1, (3, 8, 6)).expand(3, 3, 8, 6).contiguous()
    got = run(model, same)
    after = run(static_twin(model, [got["coefficients0"][0]]), same)
    assert error(after["out0"], got["out0"]) <= 1e-5


def test_what_static_twin_refuses(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    metadata = export_network(Odd().eval(), input_shape=(1, 3, 16, 16), path=path)
    model = onnx.load(path)
    with pytest.raises(Dyn2trtError, match=r"expected coefficients of the shapes \[\(153,\)\]"):
        static_twin(model, [np.zeros(7)])
    assert metadata.kernels[0].size == 153
    with pytest.raises(Dyn2trtError, match="has no dynamic kernels"):
        static_twin(static_twin(model))


class Unpredicted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.predictor = CoefficientPredictor(3, 6)
        self.convolution = DynamicConv2d(3, 3, 1, kernels=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x, self.predictor(x).square())


def test_coefficients_of_no_predictor_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match="convolution come from no CoefficientPredictor"):
        export_network(Unpredicted().eval(), input_shape=(1, 3, 8, 8), path=tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_decisions_of_a_file_are_what_it_was_exported_with(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = Twice().eval(), tmp_path / "model.onnx"
    shown = {"composite": ["mask0", "coefficients0", "coefficients1"], "dense": ["coefficients0", "coefficients1"]}
    for ops, decisions in shown.items():
        arguments: dict[str, Any] = {"input_shape": (2, 3, 9, 7), "path": path, "ops": ops}
        metadata = export_network(network, with_decisions=True, **arguments)
        assert [*metadata.masks, *metadata.coefficients] == list(metadata.decisions) == decisions
        given = onnx.load(path)
        assert [output.name for output in given.graph.output] == ["out0", "out1", *decisions]
        taken_back = without_decision_outputs(given)
        export_network(network, **arguments)
        plain = onnx.load(path)
        assert [(n.op_type, n.name) for n in taken_back.graph.node] == [(n.op_type, n.name) for n in plain.graph.node]
        assert read_metadata(taken_back) == read_metadata(plain)
        x = noise(2, (3, 9, 7))
        assert np.array_equal(run(taken_back, x)["out0"], run(plain, x)["out0"])
    assert read_metadata(static_twin(given)).decisions == ()


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        torch.manual_seed(0)
        export_network(Odd().eval(), input_shape=(1, 3, 16, 16), path=path, dynamic_batch=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_metadata_of_before_dynamic_kernels_still_reads(tmp_path: Path) -> None:
    metadata: Any = export_network(Odd().eval(), input_shape=(1, 3, 16, 16), path=tmp_path / "model.onnx")
    document = json.loads(metadata.to_json())
    for field in ("kernels", "macs_generation"):
        del document[field]
    read = parse_metadata(json.dumps(document))
    assert (read.kernels, read.macs_generation) == ((), 0)
    assert parse_metadata(metadata.to_json()) == metadata
