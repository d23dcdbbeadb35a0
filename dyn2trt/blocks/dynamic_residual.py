"""ResNet's blocks with dynamic convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.convolution import projection
from dyn2trt.blocks.dynamic import DynamicBlock, convolution


class DynamicBasicBlock(DynamicBlock):
    """3×3 (strided) → 3×3, both dynamic, added to the input or its projection, ReLU.

    The projection of a shortcut is an ordinary convolution.

    Args:
        inplanes: input channels.
        planes: output channels.
        stride: 1 or 2.
        kernels: fixed kernels a channel; 0 makes both convolutions ordinary ones.
        hidden: features between the predictor's two linear layers, None for one layer.
    """

    expansion = 1
    batchnorm_pairs = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, *, kernels: int = 6, hidden: int | None = None
    ) -> None:
        super().__init__()
        self.conv1 = convolution(inplanes, planes, 3, stride, kernels=kernels)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = convolution(planes, planes, 3, kernels=kernels)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = projection(inplanes, planes, stride)
        self.add_predictor(inplanes, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inplanes, H, W] → [N, planes, Ho, Wo]."""
        coefficients = self.predict(x)
        y = F.relu(self.bn1(self.convolve(self.conv1, x, coefficients)))
        y = self.bn2(self.convolve(self.conv2, y, coefficients))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
