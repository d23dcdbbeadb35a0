"""ResNet for 32×32 images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock
from dyn2trt.blocks.convolution import conv3x3
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.options import CifarDepth, Classes, MaskUnit, Meaning, StemStride, Ungated, Width
from dyn2trt.networks.registry import network
from dyn2trt.networks.stages import HALTING, residual_stage
from dyn2trt.networks.ungated import NO_BLOCK, ungate


class CifarResNet(nn.Module):
    """ResNet of three stages with 16, 32 and 64 channels (He et al., CVPR 2016, section 4.2), times the width.

    [N, 3, H, W] → class scores [N, classes]. Parameter names are those of the DynConv authors' ``ResNet_32x32``.

    Args:
        stage: makes a stage from its input channels, output channels and stride.
    """

    def __init__(
        self, stage: Callable[[int, int, int], nn.Module], classes: int, width: float, stem_stride: int
    ) -> None:
        super().__init__()
        planes = int(16 * width)
        if planes == 0:
            raise Dyn2trtError(f"a width of {width} leaves the stem no channels; it has int(16 * width) of them")
        self.conv1 = conv3x3(3, planes, stem_stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.layer1 = stage(planes, planes, 1)
        self.layer2 = stage(planes, 2 * planes, 2)
        self.layer3 = stage(2 * planes, 4 * planes, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * planes, classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


@network("ResNet for 32x32 images, gated basic blocks", dynamic="positions", input_shape=(1, 3, 32, 32))
def cifar_resnet(
    depth: CifarDepth = 20,
    classes: Classes = 10,
    width: Width = 1.0,
    stem_stride: StemStride = 1,
    mask_unit: MaskUnit = "squeeze",
    ungated: Ungated = NO_BLOCK,
) -> CifarResNet:
    """Build the ResNet with ``depth`` = 6·n + 2 weighted layers.

    ``width`` multiplies the channels of the stem and of every stage; ``stem_stride`` 2 suits images of 64×64;
    ``ungated`` are blocks without a gate (`ungate`).
    """
    blocks = (depth - 2) // 6

    def stage(inplanes: int, planes: int, stride: int) -> nn.Module:
        return residual_stage(BasicBlock, inplanes, planes, blocks, stride, mask_unit)

    network = CifarResNet(stage, classes, width, stem_stride)
    ungate(network, ungated)
    return network


@network(
    "ConvNet-AIG for 32x32 images: ResNet that skips whole layers, image by image",
    dynamic="layers",
    input_shape=(1, 3, 32, 32),
)
def cifar_convnet_aig(
    depth: CifarDepth = 20,
    classes: Classes = 10,
    width: Width = 1.0,
    stem_stride: StemStride = 1,
    ungated: Ungated = NO_BLOCK,
) -> CifarResNet:
    """Build ConvNet-AIG (Veit & Belongie, ECCV 2018): the same ResNet, whose gates skip whole layers."""
    return cifar_resnet(depth, classes, width, stem_stride, "layer", ungated)


@network(
    "SACT for 32x32 images: ResNet whose positions halt one by one", dynamic="positions", input_shape=(1, 3, 32, 32)
)
def cifar_sact(
    depth: Annotated[int, Meaning("weighted layers", choices=(14, 20, 26, 32, 110))] = 20,
    classes: Classes = 10,
    width: Width = 1.0,
    stem_stride: StemStride = 1,
) -> CifarResNet:
    """Build SACT (Figurnov et al., CVPR 2017): the same ResNet, whose positions halt, see `HaltingStage`."""
    return cifar_resnet(depth, classes, width, stem_stride, HALTING)
