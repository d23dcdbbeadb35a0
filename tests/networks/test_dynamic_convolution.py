"""Dynamic convolution: its two executions against a per-image, per-kernel definition in float64."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import (
    CoefficientPredictor,
    DynamicBlock,
    DynamicConv2d,
    convolution,
    dynamic_blocks,
    record_coefficients,
    set_kernel_execution,
)
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.macs import count_macs

# in, out, kernel size, stride, padding, dilation, groups
SHAPES = {
    "dense": (5, 7, 3, 1, 1, 1, 1),
    "grouped": (6, 9, 3, 1, 1, 1, 3),
    "depthwise": (8, 8, 3, 1, 1, 1, 8),
    "depthwise_multiplied": (4, 8, 5, 1, 2, 1, 4),
    "pointwise": (7, 5, 1, 1, 0, 1, 1),
    "pointwise_strided": (7, 5, 1, 2, 0, 1, 1),
    "strided": (5, 6, 3, 2, 1, 1, 1),
    "depthwise_strided": (6, 6, 5, 2, 2, 1, 6),
    "dilated": (4, 6, 3, 1, 2, 2, 1),
    "unpadded": (3, 2, 3, 1, 0, 1, 1),
}
SIZES = [(7, 9), (8, 8)]


def by_definition(
    x: Tensor, convolution: DynamicConv2d, coefficients: Tensor, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Image by image and channel by channel: kernels summed in float64, convolved in ``dtype``."""
    weight = convolution.weight.detach().double()
    bias = None if convolution.bias is None else convolution.bias.detach().to(dtype)
    images = []
    for image, own in zip(x.to(dtype), coefficients.double(), strict=True):
        kernels = []
        for channel in range(convolution.out_channels):
            rows = range(channel * convolution.kernels, (channel + 1) * convolution.kernels)
            kernels.append(sum(own[row] * weight[row] for row in rows))
        geometry = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
        images.append(F.conv2d(image[None], torch.stack(kernels).to(dtype), bias, *geometry))
    return torch.cat(images)


def relative_error(y: Tensor, reference: Tensor) -> float:
    return float((y.double() - reference).norm() / reference.norm())


def make(name: str, *, batch: int, size: tuple[int, int], kernels: int = 6) -> tuple[DynamicConv2d, Tensor, Tensor]:
    torch.manual_seed(0)
    convolution = DynamicConv2d(*SHAPES[name], kernels=kernels, bias=True)
    torch.nn.init.normal_(convolution.bias)
    return convolution, torch.randn(batch, SHAPES[name][0], *size), torch.rand(batch, convolution.coefficients)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_both_executions_follow_the_definition(name: str, size: tuple[int, int], batch: int) -> None:
    convolution, x, coefficients = make(name, batch=batch, size=size)
    expected = by_definition(x, convolution, coefficients)
    for execution in ("feature_maps", "fused"):
        set_kernel_execution(convolution, execution)
        y = convolution(x, coefficients)
        assert y.shape == expected.shape
        assert relative_error(y, expected) < 1e-5, execution


@pytest.mark.parametrize("kernels", [1, 2, 6])
@pytest.mark.parametrize("name", ["dense", "depthwise", "pointwise_strided"])
def test_both_executions_have_one_gradient(name: str, kernels: int) -> None:
    gradients = {}
    for execution in ("feature_maps", "fused"):
        convolution, x, coefficients = make(name, batch=3, size=(7, 9), kernels=kernels)
        convolution.double()
        tensors = [x.double().requires_grad_(), coefficients.double().requires_grad_()]
        set_kernel_execution(convolution, execution)
        y = convolution(*tensors)
        weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        gradients[execution] = torch.autograd.grad((y * weights).sum(), [*tensors, *convolution.parameters()])
    for one, other in zip(*gradients.values(), strict=True):
        assert float(one.abs().max()) > 0
        assert relative_error(one, other) < 1e-12


class Pair(DynamicBlock):
    """Two dynamic convolutions behind one predictor, each with a BatchNorm."""

    def __init__(self, channels: int, kernels: int, hidden: int | None = None) -> None:
        super().__init__()
        self.conv1 = convolution(channels, 6, 3, kernels=kernels)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = convolution(6, 6, 3, 2, groups=6, kernels=kernels)
        self.bn2 = nn.BatchNorm2d(6)
        self.add_predictor(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        coefficients = self.predict(x)
        x = F.relu(self.bn1(self.convolve(self.conv1, x, coefficients)))
        return self.bn2(self.convolve(self.conv2, x, coefficients))


def make_pair(kernels: int = 6, hidden: int | None = None) -> Pair:
    torch.manual_seed(0)
    pair = Pair(8, kernels, hidden)
    for module in pair.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return pair.eval()


def test_the_predictor_is_pooling_linear_layers_and_a_sigmoid() -> None:
    x = torch.randn(3, 8, 5, 7)
    one, two = CoefficientPredictor(8, 10), CoefficientPredictor(8, 10, hidden=2)
    pooled = x.mean(dim=(2, 3))
    assert torch.allclose(one(x), torch.sigmoid(one.linear[0](pooled)))
    assert torch.allclose(two(x), torch.sigmoid(two.linear[1](two.linear[0](pooled))))


@torch.no_grad()
def test_a_block_splits_the_coefficients_in_the_order_of_its_convolutions() -> None:
    pair, x = make_pair(kernels=2), torch.randn(2, 8, 5, 7)
    with record_coefficients(pair) as recorded:
        y = pair(x)
    assert [(c.predictor, c.coefficients.shape) for c in recorded] == [("predictor", (2, 24))]
    first, second = recorded[0].coefficients.split([12, 12], dim=1)
    hidden = F.relu(pair.bn1(by_definition(x, pair.conv1, first).float()))
    assert relative_error(y, pair.bn2(by_definition(hidden, pair.conv2, second).float())) < 1e-5


@torch.no_grad()
def test_coefficients_differ_between_images() -> None:
    pair = make_pair()
    with record_coefficients(pair) as recorded:
        pair(torch.randn(2, 8, 5, 7))
    one, other = recorded[0].coefficients
    assert float((one - other).abs().max()) > 1e-3


@pytest.mark.parametrize("execution", ["feature_maps", "fused"])
@torch.no_grad()
def test_batchnorm_folds_into_all_kernels_of_a_channel(execution: Literal["feature_maps", "fused"]) -> None:
    pair, x = make_pair().double(), torch.randn(4, 8, 7, 9, dtype=torch.float64)
    folded = fold_batchnorm(pair, x.shape)
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    set_kernel_execution(folded, execution)
    assert relative_error(folded(x), pair(x)) < 1e-12


def test_no_kernels_make_an_ordinary_block() -> None:
    pair = make_pair(kernels=0)
    assert pair.predictor is None
    assert isinstance(pair.conv1, nn.Conv2d)
    assert list(dynamic_blocks(pair)) == []
    assert pair(torch.randn(2, 8, 5, 7)).shape == (2, 6, 3, 4)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_fp16_errs_no_more_than_twice_as_far_as_torch(name: str, batch: int) -> None:
    """Torch's own error is that of its fp16 convolution with the exact kernels, rounded."""
    convolution, x, coefficients = make(name, batch=batch, size=(14, 14))
    convolution, x = convolution.half(), x.half()
    expected = by_definition(x, convolution, coefficients)
    own = by_definition(x, convolution, coefficients, dtype=torch.float16)
    for execution in ("feature_maps", "fused"):
        set_kernel_execution(convolution, execution)
        y = convolution(x, coefficients)
        assert y.dtype == torch.float16
        assert relative_error(y, expected) <= 2 * relative_error(own, expected), execution


@torch.no_grad()
def test_fp16_predicts_in_fp32_and_pools_without_overflow() -> None:
    pair = make_pair()
    half = to_precision(pair, "fp16")
    assert half.predictor.linear[0].weight.dtype == torch.float32
    assert half.conv1.weight.dtype == torch.float16
    x = torch.full((1, 8, 64, 64), 100.0)  # The sum of the positions is beyond fp16's 65504.
    with record_coefficients(half) as recorded:
        half(x)
    assert recorded[0].coefficients.dtype == torch.float32
    assert torch.allclose(recorded[0].coefficients, pair.predictor(x))


def test_macs_of_the_deployed_form() -> None:
    pair, static = (count_macs(make_pair(kernels=kernels, hidden=2), (1, 8, 8, 10)) for kernels in (6, 0))
    convolutions = 80 * 6 * 8 * 9 + 20 * 6 * 9
    assert (static.macs_dense, static.macs_generation, static.kernels) == (convolutions, 0, ())
    (kernels,) = pair.kernels
    assert (kernels.name, kernels.convolutions) == ("predictor", ("conv1", "conv2"))
    assert kernels.macs_prediction == 8 * 2 + 2 * 12 * 6
    assert kernels.macs_weighing == 6 * (6 * 8 * 9 + 6 * 9)
    assert kernels.macs_convolutions == convolutions
    assert pair.macs_generation == kernels.macs_prediction + kernels.macs_weighing
    assert pair.macs_dense == convolutions + pair.macs_generation


def test_mistakes_are_told() -> None:
    with pytest.raises(Dyn2trtError, match="1 or more kernels a channel, not 0"):
        DynamicConv2d(4, 4, 3, kernels=0)
    with pytest.raises(Dyn2trtError, match="3 groups do not divide 4 input"):
        DynamicConv2d(4, 6, 3, groups=3)
    with pytest.raises(Dyn2trtError, match=r"\[2, 8\], not \[2, 4\]"):
        DynamicConv2d(3, 4, 1, kernels=2)(torch.randn(2, 3, 5, 5), torch.rand(2, 4))
    with pytest.raises(Dyn2trtError, match="one of auto, feature_maps, fused, not 'dense'"):
        set_kernel_execution(make_pair(), "dense")  # type: ignore[arg-type]
