"""Dynamic convolution: its two executions against a per-image, per-kernel definition in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import DynamicConv2d, set_kernel_execution

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


def by_definition(x: Tensor, convolution: DynamicConv2d, coefficients: Tensor) -> Tensor:
    """Image by image and channel by channel, in float64."""
    weight = convolution.weight.detach().double()
    images = []
    for image, own in zip(x.double(), coefficients.double(), strict=True):
        kernels = []
        for channel in range(convolution.out_channels):
            rows = range(channel * convolution.kernels, (channel + 1) * convolution.kernels)
            kernels.append(sum(own[row] * weight[row] for row in rows))
        bias = None if convolution.bias is None else convolution.bias.detach().double()
        geometry = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
        images.append(F.conv2d(image[None], torch.stack(kernels), bias, *geometry))
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
