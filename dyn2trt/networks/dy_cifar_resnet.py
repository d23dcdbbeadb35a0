"""ResNet for 32×32 images, of dynamic convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks.convolution import conv3x3
from dyn2trt.blocks.dynamic_residual import DynamicBasicBlock
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.initialise import kaiming


class DyCifarResNet(nn.Module):
    """The ResNet of `cifar_resnet`, with every 3×3 convolution of its blocks dynamic.

    [N, 3, H, W] → class scores [N, classes]. DyNet's paper has no network of this size; its recipe for ResNets is to
    halve the channels of what is dynamic, here ``width`` 0.5. A block's predictor is one linear layer: the paper's two,
    with a quarter of the channels between them, save weights in wide networks, but a quarter of 8 channels could tell
    few images apart.
    """

    batchnorm_pairs = (("conv1", "bn1"),)

    def __init__(self, blocks_per_stage: int, classes: int, width: float, stem_stride: int, kernels: int) -> None:
        super().__init__()
        planes = int(16 * width)
        if planes == 0:
            raise Dyn2trtError(f"a width of {width} leaves the stem no channels; it has int(16 * width) of them")
        self.conv1 = conv3x3(3, planes, stem_stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.layer1 = _stage(planes, planes, blocks_per_stage, 1, kernels)
        self.layer2 = _stage(planes, 2 * planes, blocks_per_stage, 2, kernels)
        self.layer3 = _stage(2 * planes, 4 * planes, blocks_per_stage, 2, kernels)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * planes, classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(inplanes: int, planes: int, blocks: int, stride: int, kernels: int) -> nn.Sequential:
    first = DynamicBasicBlock(inplanes, planes, stride, kernels=kernels)
    return nn.Sequential(first, *(DynamicBasicBlock(planes, planes, kernels=kernels) for _ in range(blocks - 1)))


def dy_cifar_resnet(
    depth: int = 20, classes: int = 10, width: float = 0.5, stem_stride: int = 1, kernels: int = 6
) -> DyCifarResNet:
    """Build the ResNet with ``depth`` = 6·n + 2 weighted layers, predictors not counted.

    ``width`` multiplies the channels of the stem and of every stage; ``stem_stride`` 2 suits images of 64×64;
    ``kernels`` is the number of fixed kernels a channel, 0 for a static network of the same width.
    """
    return DyCifarResNet((depth - 2) // 6, classes, width, stem_stride, kernels)
