"""MobileNetV3 with dynamic convolutions (DyNet, Zhang et al. 2020, arXiv 2004.10694)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import DynamicBlock, convolution
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.mobile_layers import conv_bn, multiple_of_8
from dyn2trt.networks.options import Classes, Kernels, Meaning, Width
from dyn2trt.networks.registry import network


@dataclass(frozen=True)
class _Row:
    """One block of Howard et al., ICCV 2019, tables 1 and 2: kernel, expanded and output channels, SE, hard swish."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


_BLOCKS = {
    "small": (
        _Row(3, 16, 16, True, False, 2),
        _Row(3, 72, 24, False, False, 2),
        _Row(3, 88, 24, False, False, 1),
        _Row(5, 96, 40, True, True, 2),
        _Row(5, 240, 40, True, True, 1),
        _Row(5, 240, 40, True, True, 1),
        _Row(5, 120, 48, True, True, 1),
        _Row(5, 144, 48, True, True, 1),
        _Row(5, 288, 96, True, True, 2),
        _Row(5, 576, 96, True, True, 1),
        _Row(5, 576, 96, True, True, 1),
    ),
    "large": (
        _Row(3, 16, 16, False, False, 1),
        _Row(3, 64, 24, False, False, 2),
        _Row(3, 72, 24, False, False, 1),
        _Row(5, 72, 40, True, False, 2),
        _Row(5, 120, 40, True, False, 1),
        _Row(5, 120, 40, True, False, 1),
        _Row(3, 240, 80, False, True, 2),
        _Row(3, 200, 80, False, True, 1),
        _Row(3, 184, 80, False, True, 1),
        _Row(3, 184, 80, False, True, 1),
        _Row(3, 480, 112, True, True, 1),
        _Row(3, 672, 112, True, True, 1),
        _Row(5, 672, 160, True, True, 2),
        _Row(5, 960, 160, True, True, 1),
        _Row(5, 960, 160, True, True, 1),
    ),
}
_HEAD = {"small": 1024, "large": 1280}


class SqueezeExcite(nn.Module):
    """Scale the channels by what their means say (Hu et al., CVPR 2018), with MobileNetV3's hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = multiple_of_8(channels / 4)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class DyBottleneck(DynamicBlock):
    """MobileNetV3's block, 1×1 → depthwise (strided) → squeeze and excite → 1×1, its three convolutions dynamic.

    As elsewhere in the paper, one predictor fed by the block's input serves all of them. An expansion that would change
    no width is left out, as in MobileNetV3.

    Args:
        in_channels: of the input.
        row: the block's row of the table, its widths already multiplied.
        kernels: fixed kernels per channel; 0 for ordinary convolutions.
    """

    def __init__(self, in_channels: int, row: _Row, kernels: int) -> None:
        super().__init__()
        self.residual = row.stride == 1 and in_channels == row.channels
        expanded = row.expanded
        expands = expanded != in_channels
        self.expand = convolution(in_channels, expanded, 1, kernels=kernels) if expands else nn.Identity()
        self.bn1 = nn.BatchNorm2d(expanded) if expands else nn.Identity()
        self.depthwise = convolution(expanded, expanded, row.kernel, row.stride, groups=expanded, kernels=kernels)
        self.bn2 = nn.BatchNorm2d(expanded)
        self.excite = SqueezeExcite(expanded) if row.squeeze else nn.Identity()
        self.project = convolution(expanded, row.channels, 1, kernels=kernels)
        self.bn3 = nn.BatchNorm2d(row.channels)
        self.activation = nn.Hardswish() if row.hard_swish else nn.ReLU()
        self.expands = expands
        self.add_predictor(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] → [N, row.channels, Ho, Wo]."""
        coefficients = self.predict(x)
        y = self.activation(self.bn1(self.convolve(self.expand, x, coefficients))) if self.expands else x
        y = self.activation(self.bn2(self.convolve(self.depthwise, y, coefficients)))
        y = self.bn3(self.convolve(self.project, self.excite(y), coefficients))
        return x + y if self.residual else y


class DyMobileNetV3(nn.Module):
    """Dy-MobileNetV3-Small or Large, [N, 3, H, W] → class scores [N, classes].

    The public text names these networks only by their accuracy "if the computation cost is maintained" (abstract). So
    all else is chosen here: the widths and kernel sizes are MobileNetV3's own, squeeze and excitation included, and the
    convolutions of every block are dynamic (see `DyBottleneck`), which leaves their multiply-accumulates as they were
    (219 M and 56 M in MobileNetV3's tables). Prediction and generation come on top, see `dyn2trt.macs`.
    """

    def __init__(self, variant: str, width: float, classes: int, kernels: int) -> None:
        super().__init__()

        def wide(channels: int) -> int:
            return multiple_of_8(channels * width)

        channels = wide(16)
        features: list[nn.Module] = [conv_bn(3, channels, 3, stride=2, activation=nn.Hardswish())]
        for row in _BLOCKS[variant]:
            row = _Row(row.kernel, wide(row.expanded), wide(row.channels), row.squeeze, row.hard_swish, row.stride)
            features.append(DyBottleneck(channels, row, kernels))
            channels = row.channels
        features.append(conv_bn(channels, 6 * channels, 1, activation=nn.Hardswish()))
        self.features = nn.Sequential(*features)
        head = wide(_HEAD[variant])
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, head), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(head, classes)
        )
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


@network("MobileNetV3 for ImageNet, dynamic convolutions (DyNet)", dynamic="kernels", input_shape=(1, 3, 224, 224))
def dy_mobilenet_v3(
    variant: Annotated[str, Meaning("which of the two tables", choices=("small", "large"))] = "large",
    width: Width = 1.0,
    classes: Classes = 1000,
    kernels: Kernels = 6,
) -> DyMobileNetV3:
    """Build Dy-MobileNetV3-``small`` or ``large``; ``width`` multiplies the channels, 0 ``kernels`` makes it static."""
    return DyMobileNetV3(variant, width, classes, kernels)
