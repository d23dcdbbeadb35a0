"""MobileNetV2 with dynamic convolutions (DyNet, Zhang et al. 2020, arXiv 2004.10694)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import DynamicBlock, convolution
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.mobile_layers import conv_bn, multiple_of_8
from dyn2trt.networks.options import Classes, Kernels, Width
from dyn2trt.networks.registry import network

# Output channels, number of blocks, stride of the first (Sandler et al., CVPR 2018, table 2; the expansion is unused).
_STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))

_GROUP = 6
"""Channels in a group of the 3×3: with no expansion, as many multiply-accumulates as MobileNetV2's depthwise one."""


class DyMobileBlock(DynamicBlock):
    """1×1 → 3×3 (strided, grouped) → 1×1, all three dynamic and of the block's output width (paper, section 3.3).

    From the text: one predictor, fed by the block's input, for the three convolutions; no expansion inside; output
    channels / 6 groups in the 3×3. As in MobileNetV2 (the text is silent): BatchNorm behind each convolution, ReLU6
    behind the first two, and the input is added where the shape stays.

    Args:
        in_channels: of the input.
        channels: of the output, a multiple of 6.
        stride: 1 or 2, of the 3×3.
        kernels: fixed kernels per channel; 0 for ordinary convolutions.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, kernels: int) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == channels
        self.conv1 = convolution(in_channels, channels, 1, kernels=kernels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = convolution(channels, channels, 3, stride, groups=channels // _GROUP, kernels=kernels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = convolution(channels, channels, 1, kernels=kernels)
        self.bn3 = nn.BatchNorm2d(channels)
        self.add_predictor(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] → [N, channels, Ho, Wo]."""
        coefficients = self.predict(x)
        y = F.relu6(self.bn1(self.convolve(self.conv1, x, coefficients)))
        y = F.relu6(self.bn2(self.convolve(self.conv2, y, coefficients)))
        y = self.bn3(self.convolve(self.conv3, y, coefficients))
        return x + y if self.residual else y


class DyMobileNetV2(nn.Module):
    """Dy-MobileNetV2 (the paper's Dy-mobile), [N, 3, H, W] → class scores [N, classes].

    From the text: every block of MobileNetV2 is a `DyMobileBlock`, and a width that is not a multiple of 6 is enlarged
    to one. Chosen here, where the text is silent: MobileNetV2's first block, which does not expand, is such a block
    too; the stem, the last 1×1 and the classifier are MobileNetV2's own, static and of its widths.

    Table 1 counts 129 M multiply-accumulates for the convolutions alone, since the table of the ablation gives the same
    for every number of kernels and for fixed ones. The abstract's 54.7 % less than 298 M are 135 M, which these
    convolutions come to with prediction and generation (all at width 1.0 and 224×224).
    """

    def __init__(self, width: float, classes: int, kernels: int) -> None:
        super().__init__()
        channels = multiple_of_8(32 * width)
        features: list[nn.Module] = [conv_bn(3, channels, 3, stride=2, activation=nn.ReLU6())]
        for base, blocks, stride in _STAGES:
            planes = -(-multiple_of_8(base * width) // _GROUP) * _GROUP
            for index in range(blocks):
                features.append(DyMobileBlock(channels, planes, stride if index == 0 else 1, kernels))
                channels = planes
        last = multiple_of_8(1280 * max(1.0, width))
        features.append(conv_bn(channels, last, 1, activation=nn.ReLU6()))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


@network(
    "MobileNetV2 for ImageNet without expansion, dynamic convolutions (DyNet)",
    dynamic="kernels",
    input_shape=(1, 3, 224, 224),
)
def dy_mobilenet_v2(width: Width = 1.0, classes: Classes = 1000, kernels: Kernels = 6) -> DyMobileNetV2:
    """Build Dy-MobileNetV2; ``width`` multiplies the channels, ``kernels`` = 0 builds the paper's Fix-mobile."""
    return DyMobileNetV2(width, classes, kernels)
