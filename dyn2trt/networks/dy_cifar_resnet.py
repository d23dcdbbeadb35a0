"""ResNet for 32×32 images, of dynamic convolutions."""

from __future__ import annotations

from torch import nn

from dyn2trt.blocks.dynamic_residual import DynamicBasicBlock
from dyn2trt.networks.cifar_resnet import CifarResNet
from dyn2trt.networks.options import CifarDepth, Classes, Kernels, StageWidth, StemStride
from dyn2trt.networks.registry import network


@network("ResNet for 32x32 images, dynamic convolutions", dynamic="kernels", input_shape=(1, 3, 32, 32))
def dy_cifar_resnet(
    depth: CifarDepth = 20,
    classes: Classes = 10,
    width: StageWidth = 0.5,
    stem_stride: StemStride = 1,
    kernels: Kernels = 6,
) -> CifarResNet:
    """Build the ResNet of `cifar_resnet`, with every 3×3 convolution of its blocks dynamic.

    It has ``depth`` = 6·n + 2 weighted layers, predictors not counted. ``width`` multiplies the channels of the stem
    and of every stage; ``stem_stride`` 2 suits images of 64×64; ``kernels`` is the number of fixed kernels per
    channel, 0 for a static network of the same width.

    DyNet's paper has no network of this size; its recipe for ResNets is to halve the channels of what is dynamic, here
    ``width`` 0.5. A block's predictor is one linear layer: the paper's two, with a quarter of the channels between
    them, save weights in wide networks, but a quarter of 8 channels could tell few images apart.
    """
    blocks = (depth - 2) // 6

    def stage(inplanes: int, planes: int, stride: int) -> nn.Sequential:
        first = DynamicBasicBlock(inplanes, planes, stride, kernels=kernels)
        return nn.Sequential(first, *(DynamicBasicBlock(planes, planes, kernels=kernels) for _ in range(blocks - 1)))

    return CifarResNet(stage, classes, width, stem_stride)
