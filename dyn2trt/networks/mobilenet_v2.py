"""MobileNetV2 with gated identity blocks."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks import InvertedResidual
from dyn2trt.networks.initialise import kaiming
from dyn2trt.networks.mobile_layers import conv_bn, multiple_of_8
from dyn2trt.networks.options import Classes, MaskUnit, Width
from dyn2trt.networks.registry import network

# Expansion, output channels, number of blocks, stride of the first (Sandler et al., CVPR 2018, table 2).
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018) whose identity blocks have gates.

    [N, 3, H, W] → class scores [N, classes]. Parameter names are torchvision's, with ``masker`` added.
    """

    def __init__(self, width: float, classes: int, mask_unit: str) -> None:
        super().__init__()
        channels = multiple_of_8(32 * width)
        features: list[nn.Module] = [conv_bn(3, channels, 3, stride=2, activation=nn.ReLU6())]
        for expand_ratio, base, blocks, stride in _STAGES:
            planes = multiple_of_8(base * width)
            for index in range(blocks):
                block_stride = stride if index == 0 else 1
                block = InvertedResidual(
                    channels, planes, block_stride, expand_ratio, mask_unit=mask_unit, grouped=True
                )
                features.append(block)
                channels = planes
        last = multiple_of_8(1280 * max(1.0, width))
        features.append(conv_bn(channels, last, 1, activation=nn.ReLU6()))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


@network("MobileNetV2 for ImageNet, gated identity blocks", dynamic="positions", input_shape=(1, 3, 224, 224))
def mobilenet_v2(width: Width = 1.0, classes: Classes = 1000, mask_unit: MaskUnit = "squeeze") -> MobileNetV2:
    """Build MobileNetV2; ``width`` multiplies the channels, rounded to multiples of 8."""
    return MobileNetV2(width, classes, mask_unit)
