"""ResNet for ImageNet-sized images, of gated basic blocks or bottlenecks."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock, Bottleneck
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.options import Classes, MaskUnit, ResNetDepth, Ungated, Width
from dyn2trt.networks.registry import network
from dyn2trt.networks.stages import HALTING, residual_stage
from dyn2trt.networks.ungated import NO_BLOCK, ungate

_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """ResNet (He et al., CVPR 2016, table 1) with its width multiplied throughout, stem included.

    [N, 3, H, W] → class scores [N, classes]. Parameter names are those of torchvision and of the DynConv authors.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        width: float,
        classes: int,
        mask_unit: str,
    ) -> None:
        super().__init__()
        planes = [int(base * width) for base in (64, 128, 256, 512)]
        if planes[0] == 0:
            raise Dyn2trtError(f"a width of {width} leaves the stem no channels; it has int(64 * width) of them")
        self.conv1 = nn.Conv2d(3, planes[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        inplanes = planes[0]
        stages = []
        for index in range(4):
            stage = residual_stage(block, inplanes, planes[index], blocks[index], 1 if index == 0 else 2, mask_unit)
            inplanes = planes[index] * block.expansion
            stages.append(stage)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inplanes, classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


@network(
    "ResNet for ImageNet, gated basic blocks (18, 34) or bottlenecks", dynamic="positions", input_shape=(1, 3, 224, 224)
)
def resnet(
    depth: ResNetDepth = 50,
    width: Width = 1.0,
    classes: Classes = 1000,
    mask_unit: MaskUnit = "squeeze",
    ungated: Ungated = NO_BLOCK,
) -> ResNet:
    """Build ResNet-18, 34, 50, 101 or 152.

    ``width`` multiplies the channels of the stem and of every stage; ``ungated`` are blocks without a gate (`ungate`).
    """
    network = ResNet(*_DEPTHS[depth], width, classes, mask_unit)
    ungate(network, ungated)
    return network


@network(
    "ConvNet-AIG for ImageNet: ResNet that skips whole layers, image by image",
    dynamic="layers",
    input_shape=(1, 3, 224, 224),
)
def convnet_aig(
    depth: ResNetDepth = 50, width: Width = 1.0, classes: Classes = 1000, ungated: Ungated = NO_BLOCK
) -> ResNet:
    """Build ConvNet-AIG (Veit & Belongie, ECCV 2018): the same ResNet, whose gates skip whole layers."""
    return resnet(depth, width, classes, "layer", ungated)


@network("SACT for ImageNet: ResNet whose positions halt one by one", dynamic="positions", input_shape=(1, 3, 224, 224))
def sact(depth: ResNetDepth = 50, width: Width = 1.0, classes: Classes = 1000) -> ResNet:
    """Build SACT (Figurnov et al., CVPR 2017): the same ResNet, whose positions halt, see `HaltingStage`."""
    return resnet(depth, width, classes, HALTING)
