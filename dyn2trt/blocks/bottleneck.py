"""ResNet's bottleneck, gated."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks.base import GatedBlock
from dyn2trt.blocks.convolution import conv1x1, conv3x3, projection
from dyn2trt.contract.blocks import BOTTLENECK
from dyn2trt.gates.kinds import make_mask_unit


class Bottleneck(GatedBlock):
    """1×1 → 3×3 (strided) → 1×1, added to the input or its projection, ReLU (He et al., CVPR 2016, figure 5 right).

    The stride sits on the 3×3, so the first convolution runs at the halo of the active set at the resolution of the
    input; the other two run at the active set.

    Args:
        inplanes: input channels.
        planes: channels inside; the output has ``4 * planes``.
        stride: 1 or 2.
        mask_unit: ``squeeze``, ``pointwise`` or ``layer``; ``none`` or None for a block without a gate.
    """

    kind = BOTTLENECK
    expansion = 4
    branch_modules = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, inplanes: int, planes: int, stride: int = 1, *, mask_unit: str | None = "squeeze") -> None:
        super().__init__()
        outplanes = planes * self.expansion
        self.stride = stride
        self.conv1 = conv1x1(inplanes, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, outplanes)
        self.bn3 = nn.BatchNorm2d(outplanes)
        self.downsample = projection(inplanes, outplanes, stride)
        self.masker = make_mask_unit(mask_unit, inplanes, stride)

    def identity(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)
