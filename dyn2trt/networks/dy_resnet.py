"""ResNet with dynamic convolutions (DyNet, Zhang et al. 2020, arXiv 2004.10694)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from dyn2trt.blocks.dynamic_residual import DynamicBasicBlock, DynamicBottleneck
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.options import Classes, Kernels, Meaning, StageWidth, Stem
from dyn2trt.networks.registry import network

_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}

STEM = 54
"""Channels of the stem that come nearest to the paper's counts; see `DyResNet`."""


class DyResNetTrunk(nn.Module):
    """Stem and four stages of ResNet-18 or 50, every convolution of their blocks dynamic.

    [N, 3, H, W] → [N, ``channels``, H/32, W/32], or H/8, W/8 if ``dilated``.

    Args:
        depth: 18 (basic blocks) or 50 (bottlenecks).
        width: multiplier of the channels of the four stages; the paper halves them.
        stem: channels of the first convolution, which is static.
        kernels: fixed kernels per channel; 0 makes a static network of the same width.
        dilated: stages 3 and 4 have dilations 2 and 4 in place of their strides, their first blocks half of that (Yu et
            al., CVPR 2017, without its degridding layers); depth 50 only.
    """

    def __init__(self, depth: int, width: float, stem: int, kernels: int, *, dilated: bool = False) -> None:
        super().__init__()
        planes = [int(base * width) for base in (64, 128, 256, 512)]
        if planes[0] == 0:
            raise Dyn2trtError(f"a width of {width} leaves the first stage no channels; it has int(64 * width) of them")
        if dilated and depth != 50:
            raise Dyn2trtError(f"only depth 50 can be dilated, not {depth}")
        self.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.channels = stem
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._stage(depth, index, planes[index], kernels, dilated) for index in range(4)
        )

    def _stage(self, depth: int, index: int, planes: int, kernels: int, dilated: bool) -> nn.Sequential:
        dilation = 2 ** (index - 1) if dilated and index > 1 else 1
        stage = nn.Sequential()
        for number in range(_BLOCKS[depth][index]):
            first = number == 0
            stride = 2 if first and index > 0 and dilation == 1 else 1
            # A quarter of the block's input channels between the predictor's linear layers (paper, section 3.3).
            hidden = max(1, self.channels // 4)
            block: DynamicBasicBlock | DynamicBottleneck
            if depth == 18:
                block = DynamicBasicBlock(self.channels, planes, stride, kernels=kernels, hidden=hidden)
            else:
                own = max(1, dilation // 2) if first else dilation
                block = DynamicBottleneck(self.channels, planes, stride, dilation=own, kernels=kernels, hidden=hidden)
            stage.append(block)
            self.channels = planes * block.expansion
        return stage

    def initialise_branches(self) -> None:
        """Begin with residual branches of a quarter of their size, by the last BatchNorm of each block.

        Goyal et al., 2017, section 5.1, begin with 0. A little more than that, and an untrained network still shows
        what every one of its kernels does; with 1 the 16 blocks of depth 50 add up to more than fp16 holds.
        """
        for module in self.modules():
            if isinstance(module, DynamicBasicBlock):
                nn.init.constant_(module.bn2.weight, 0.25)
            elif isinstance(module, DynamicBottleneck):
                nn.init.constant_(module.bn3.weight, 0.25)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class DyResNet(DyResNetTrunk):
    """Dy-ResNet18 and Dy-ResNet50, [N, 3, H, W] → class scores [N, classes].

    From the text: ResNet with half of the output channels in the dynamic convolutions of each block, 6 kernels a
    channel, one predictor a block with two linear layers and a quarter of the block's input channels between them.
    Chosen here, where the text is silent: all convolutions of a block are dynamic but its shortcut's projection; the
    stride of a bottleneck is on its first 1×1; the stem is static and has 54 channels. ResNet's 64 would come to 578 M
    in Dy-ResNet18 where the paper has 550 M; 54 is right for both depths.

    Multiply-accumulates at 224×224: table 1 has 550 M and 1075 M, for the convolutions alone, since the ablation gives
    Dy-ResNet18 the same count with 1 kernel and with 6; here 549 M and 1046 M. The abstract's 67.2 % less than 1730 M
    and 71.3 % less than 3890 M are 567 M and 1116 M, which count prediction and generation too; here 566 M and 1088 M.
    """

    def __init__(self, depth: int, width: float, stem: int, classes: int, kernels: int) -> None:
        super().__init__(depth, width, stem, kernels)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.channels, classes)
        kaiming(self)
        self.initialise_branches()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(super().forward(x)).flatten(1))


@network(
    "ResNet for ImageNet, dynamic convolutions at half the width (DyNet)",
    dynamic="kernels",
    input_shape=(1, 3, 224, 224),
)
def dy_resnet(
    depth: Annotated[int, Meaning("weighted layers", choices=(18, 50))] = 18,
    width: StageWidth = 0.5,
    stem: Stem = STEM,
    classes: Classes = 1000,
    kernels: Kernels = 6,
) -> DyResNet:
    """Build Dy-ResNet18 or 50; ``width`` multiplies ResNet's channels in the stages, ``stem`` are those of the stem.

    ``kernels`` is the number of fixed kernels per channel, 0 for a static network of the same width; width 1 with a
    stem of 64 and 0 kernels is ResNet.
    """
    return DyResNet(depth, width, stem, classes, kernels)
