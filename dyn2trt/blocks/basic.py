"""ResNet's basic block, gated."""

from __future__ import annotations

from torch import Tensor, nn

from dyn2trt.blocks.base import GatedBlock
from dyn2trt.blocks.convolution import conv3x3, projection
from dyn2trt.contract.blocks import BASIC_BLOCK
from dyn2trt.gates.kinds import make_mask_unit


class BasicBlock(GatedBlock):
    """3×3 (strided) → 3×3, added to the input or its projection, ReLU (He et al., CVPR 2016, figure 5 left).

    The first convolution runs at the halo of the active set, at the resolution of the output; the second at the
    active set.

    Args:
        inplanes: input channels.
        planes: output channels.
        stride: 1 or 2.
        mask_unit: ``squeeze``, ``pointwise`` or ``layer``; ``none`` or None for a block without a gate.
    """

    kind = BASIC_BLOCK
    expansion = 1
    branch_modules = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, inplanes: int, planes: int, stride: int = 1, *, mask_unit: str | None = "squeeze") -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = projection(inplanes, planes, stride)
        self.masker = make_mask_unit(mask_unit, inplanes, stride)

    def identity(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)
