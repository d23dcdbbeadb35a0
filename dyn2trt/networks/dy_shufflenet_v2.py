"""ShuffleNetV2 with dynamic convolutions (DyNet, Zhang et al. 2020, arXiv 2004.10694)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import DynamicBlock, convolution
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.mobile_layers import conv_bn
from dyn2trt.networks.options import Classes, Kernels, Meaning
from dyn2trt.networks.registry import network

# Channels of the three stages and of the last convolution (Ma et al., ECCV 2018, table 5).
_WIDTHS = {
    0.5: ((48, 96, 192), 1024),
    1.0: ((116, 232, 464), 1024),
    1.5: ((176, 352, 704), 1024),
    2.0: ((244, 488, 976), 2048),
}
_UNITS = (4, 8, 4)
_STEM = 24


class DyShuffleUnit(DynamicBlock):
    """A unit of ShuffleNetV2 (Ma et al., figure 3 c and d) whose right branch is dynamic (paper, section 3.3).

    Stride 1: the channels are split; the left ones pass, the right ones go through 1×1 → 3×3 → 1×1. Stride 2: both
    branches see the whole input; the left one is a static depthwise 3×3 → 1×1. The branches are concatenated and their
    channels shuffled.

    From the text: one predictor, fed by the input of the right branch, for its three convolutions; left and right are
    3 : 1; the groups of the 3×3 are such that it keeps the multiply-accumulates that it has in ShuffleNetV2. As in
    ShuffleNetV2 (the text is silent): BatchNorm behind each convolution, ReLU behind each 1×1. Chosen here: at stride 2
    the right branch stays as wide as its input up to its last 1×1, where the width falls; the 3×3 is then depthwise,
    since it is as wide as ShuffleNetV2's. The shuffle has as many groups as the right branch fits into the whole (4, as
    ShuffleNetV2 has 2 for halves), so that each unit's right branch sees channels of every quarter.

    Args:
        in_channels: of the input.
        channels: of the output, equal to ``in_channels`` at stride 1.
        right: output channels of the right branch.
        stride: 1 or 2.
        kernels: fixed kernels per channel; 0 for ordinary convolutions.
    """

    def __init__(self, in_channels: int, channels: int, right: int, stride: int, kernels: int) -> None:
        super().__init__()
        self.left = channels - right
        self.shuffle_groups = round(channels / right)
        self.projection = None
        seen, middle, groups = right, right, right // (self.shuffle_groups // 2)
        if stride == 2:
            self.projection = nn.Sequential(
                *conv_bn(in_channels, in_channels, 3, stride, groups=in_channels),
                *conv_bn(in_channels, self.left, 1, activation=nn.ReLU()),
            )
            seen, middle = in_channels, max(in_channels, right)
            groups = middle
        self.conv1 = convolution(seen, middle, 1, kernels=kernels)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = convolution(middle, middle, 3, stride, groups=groups, kernels=kernels)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = convolution(middle, right, 1, kernels=kernels)
        self.bn3 = nn.BatchNorm2d(right)
        self.add_predictor(seen)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] → [N, channels, Ho, Wo]."""
        if self.projection is None:
            left, right = x[:, : self.left], x[:, self.left :]
        else:
            left, right = self.projection(x), x
        coefficients = self.predict(right)
        y = F.relu(self.bn1(self.convolve(self.conv1, right, coefficients)))
        y = self.bn2(self.convolve(self.conv2, y, coefficients))
        y = F.relu(self.bn3(self.convolve(self.conv3, y, coefficients)))
        return _shuffle(torch.cat((left, y), dim=1), self.shuffle_groups)


class DyShuffleNetV2(nn.Module):
    """Dy-ShuffleNetV2 (the paper's Dy-shuffle), [N, 3, H, W] → class scores [N, classes].

    The stem, the max pooling, the last 1×1 and the classifier are ShuffleNetV2's own. A quarter of 116 or of 244
    channels is odd, which the grouped 3×3 cannot be: such a right branch is one channel narrower (chosen here).

    Table 1 counts 88 M multiply-accumulates at width 1.0 and table 4 counts 171 M at 1.5, both for the convolutions
    alone (as for fixed kernels). The abstract's 37.0 % less than 146 M are 92 M, which these convolutions come to with
    prediction and generation. All at 224×224.

    Args:
        width: 0.5, 1.0, 1.5 or 2.0.
        classes: number of classes.
        kernels: fixed kernels per channel; 0 for ordinary convolutions.
        share: the right branch has one ``share``-th of the channels: 4 in the paper; 2 with 0 kernels is ShuffleNetV2.
    """

    def __init__(self, width: float, classes: int, kernels: int, share: int = 4) -> None:
        super().__init__()
        stages, last = _WIDTHS[width]
        self.stem = conv_bn(3, _STEM, 3, stride=2, activation=nn.ReLU())
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = _STEM
        units: list[nn.Module] = []
        for planes, repeats in zip(stages, _UNITS, strict=True):
            group = share // 2
            right = planes // share // group * group
            for index in range(repeats):
                units.append(DyShuffleUnit(channels, planes, right, 2 if index == 0 else 1, kernels))
                channels = planes
        self.units = nn.Sequential(*units)
        self.last = conv_bn(channels, last, 1, activation=nn.ReLU())
        self.fc = nn.Linear(last, classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.units(self.maxpool(self.stem(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of ``groups`` equal parts out in turn (Zhang et al., CVPR 2018, section 3.1)."""
    n, c, height, width = x.shape
    return x.reshape(n, groups, c // groups, height, width).transpose(1, 2).reshape(n, c, height, width)


@network(
    "ShuffleNetV2 for ImageNet, dynamic convolutions in the right branches (DyNet)",
    dynamic="kernels",
    input_shape=(1, 3, 224, 224),
)
def dy_shufflenet_v2(
    width: Annotated[float, Meaning("width of ShuffleNetV2's table", choices=(0.5, 1.0, 1.5, 2.0))] = 1.0,
    classes: Classes = 1000,
    kernels: Kernels = 6,
) -> DyShuffleNetV2:
    """Build Dy-ShuffleNetV2, ``width`` one of ShuffleNetV2's table; ``kernels`` = 0 builds the paper's Fix-shuffle."""
    return DyShuffleNetV2(width, classes, kernels)
