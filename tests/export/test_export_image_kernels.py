"""Networks of other people's layers that make kernels for every image: one file serves every batch, equal to torch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from image_kernels import LAYERS, network_of
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.export.dynamic import describe_dynamic, dynamic_parts
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.surgery import static_twin

SIDE_BY_SIDE = ("condconv_same", "unparted")
"""Layers that do more than convolve while the images lie side by side, so that they have to."""


def run(path: Path, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["out0"], {"x": x.numpy()})[0]


def images(n: int, height: int = 20, width: int = 16) -> Tensor:
    """Noise of another contrast an image, so that kernels differ too."""
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 3, height, width, generator=generator) * torch.linspace(0.5, 2, n).reshape(-1, 1, 1, 1)


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def hold_twin_to(path: Path, x: Tensor, shape: tuple[int, ...]) -> None:
    """The twin with fixed kernels gives outputs of the same shape by ordinary convolutions alone."""
    twin = static_twin(onnx.load(path))
    assert read_metadata(twin).image_kernels == ()
    onnx.checker.check_model(twin, full_check=True)
    onnx.save(twin, path.with_name("twin.onnx"))
    assert run(path.with_name("twin.onnx"), x).shape == shape
    constants = {tensor.name for tensor in twin.graph.initializer}
    convolutions = [node for node in twin.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert all(node.input[1] in constants for node in convolutions)
    assert not [name for name in constants if name.startswith("one_hot")]


@pytest.mark.parametrize("layer", LAYERS)
def test_one_file_serves_every_batch(tmp_path: Path, layer: str) -> None:
    network = network_of(layer)
    metadata = export_network(network, input_shape=(1, 3, 20, 16), path=tmp_path / "m.onnx", dynamic_batch=True)
    assert dynamic_parts(metadata) == ("kernels",)
    assert {kernels.form for kernels in metadata.image_kernels} <= {"matmul", "unfold"}
    for n in (1, 2, 5):
        x = images(n)
        with torch.no_grad():
            wanted = copy.deepcopy(network).double()(x.double()).numpy()
        assert error(run(tmp_path / "m.onnx", x), wanted) <= 1e-5
    hold_twin_to(tmp_path / "m.onnx", images(3), wanted[:3].shape)
    if layer not in SIDE_BY_SIDE:
        model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "m.onnx"))
        assert not [node for node in model.graph.node if node.op_type == "Shape"]
        maps = [v.type.tensor_type.shape.dim for v in model.graph.value_info if len(v.type.tensor_type.shape.dim) == 4]
        of_one = [(dims[2].dim_value, dims[3].dim_value) for dims in maps if dims[0].dim_value == 1]
        assert all(size <= (5, 5) for size in of_one)  # Kernels at most.


@pytest.mark.parametrize("layer", ["condconv", "condconv_pointwise", "odconv_in_groups", "modulated_up"])
def test_one_file_serves_every_size_too(tmp_path: Path, layer: str) -> None:
    network = network_of(layer)
    path = tmp_path / "m.onnx"
    export_network(network, input_shape=(1, 3, 20, 16), path=path, dynamic_batch=True, dynamic_size=True)
    for n, height, width in ((1, 20, 16), (3, 9, 31)):
        x = images(n, height, width)
        with torch.no_grad():
            assert error(run(path, x), network(x).numpy()) <= 1e-5


@pytest.mark.parametrize("layer", ["condconv", "condconv_depthwise", "odconv", "modulated_up"])
def test_fp16_errs_no_more_than_twice_as_far_as_torch(tmp_path: Path, layer: str) -> None:
    network, x = network_of(layer), images(4)
    export_network(network, input_shape=(1, 3, 20, 16), path=tmp_path / "m.onnx", precision="fp16", dynamic_batch=True)
    with torch.no_grad():
        wanted = copy.deepcopy(network).double()(x.double()).numpy()
        torch_error = error(to_precision(fold_batchnorm(network, tuple(x.shape)), "fp16")(x).numpy(), wanted)
    assert error(run(tmp_path / "m.onnx", x), wanted) <= 2 * torch_error


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layer", ["odconv", "condconv_same", "modulated_up"])
def test_a_static_batch_keeps_the_grouped_convolution(tmp_path: Path, layer: str, batch: int) -> None:
    network, x = network_of(layer), images(batch)
    metadata = export_network(network, input_shape=(batch, 3, 20, 16), path=tmp_path / "m.onnx")
    assert [(kernels.name, kernels.form) for kernels in metadata.image_kernels] == [("1", "grouped")]
    assert metadata.image_kernels[0].in_channels == 8
    assert describe_dynamic(metadata) == "kernels of 1 convolution"
    with torch.no_grad():
        wanted = network(x).numpy()
    assert error(run(tmp_path / "m.onnx", x), wanted) <= 1e-5
    hold_twin_to(tmp_path / "m.onnx", x, wanted.shape)


def test_computed_weights_that_no_image_makes_are_no_dynamic_kernels(tmp_path: Path) -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
            return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    with pytest.raises(Dyn2trtError, match="nothing dynamic"):
        export_network(nn.Sequential(Standardised(3, 8, 3)), input_shape=(1, 3, 8, 8), path=tmp_path / "m.onnx")


class OneDimensional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        kernels = x.mean(dim=(2, 3)).reshape(n * c, 1, 1)
        return F.conv1d(x.reshape(1, n * c, h * w), kernels, groups=n * c).reshape(n, c, h, w)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        kernels = x.mean(dim=(2, 3)).reshape(n * c, 1, 1, 1).repeat(n, 1, 1, 1)
        y = F.conv2d(x.reshape(1, n * c, h, w).repeat(1, n, 1, 1), kernels, groups=n * n * c)
        return y.reshape(n, n, c, h, w).mean(dim=0)


@pytest.mark.parametrize("layer", [OneDimensional, Squared])
def test_what_is_not_of_the_pattern_is_named_with_its_mend(tmp_path: Path, layer: type[nn.Module]) -> None:
    network = nn.Sequential(nn.Identity(), nn.Sequential(layer()))
    with pytest.raises(Dyn2trtError, match=r"module 1\.0.*static batch"):
        export_network(network, input_shape=(1, 3, 8, 8), path=tmp_path / "m.onnx", dynamic_batch=True)
