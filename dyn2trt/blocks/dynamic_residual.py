"""ResNet's blocks with dynamic convolutions (DyNet, Zhang et al. 2020, arXiv 2004.10694, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.convolution import projection
from dyn2trt.blocks.dynamic import DynamicBlock, convolution


class DynamicBasicBlock(DynamicBlock):
    """3×3 (strided) → 3×3, both dynamic, added to the input or its projection, ReLU.

    The projection of a shortcut is an ordinary convolution; the paper does not tell.

    Args:
        inplanes: input channels.
        planes: output channels.
        stride: 1 or 2.
        kernels: fixed kernels a channel; 0 makes the convolutions ordinary ones.
        hidden: features between the predictor's two linear layers, None for one layer.
    """

    expansion = 1

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


class DynamicBottleneck(DynamicBlock):
    """1×1 (strided) → 3×3 → 1×1, all dynamic, added to the input or its projection, ReLU.

    The stride is on the first convolution, as He et al., CVPR 2016, have it, for that comes to the paper's count of
    multiply-accumulates; the gated `dyn2trt.blocks.Bottleneck` has it on the second. The projection of a shortcut is an
    ordinary convolution; the paper does not tell.

    Args:
        inplanes: input channels.
        planes: channels inside; the output has ``4 * planes``.
        stride: 1 or 2.
        dilation: of the 3×3.
        kernels: fixed kernels a channel; 0 makes the convolutions ordinary ones.
        hidden: features between the predictor's two linear layers, None for one layer.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        kernels: int = 6,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        outplanes = planes * self.expansion
        self.conv1 = convolution(inplanes, planes, 1, stride, kernels=kernels)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = convolution(planes, planes, 3, dilation=dilation, kernels=kernels)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = convolution(planes, outplanes, 1, kernels=kernels)
        self.bn3 = nn.BatchNorm2d(outplanes)
        self.downsample = projection(inplanes, outplanes, stride)
        self.add_predictor(inplanes, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inplanes, H, W] → [N, 4·planes, Ho, Wo]."""
        coefficients = self.predict(x)
        y = F.relu(self.bn1(self.convolve(self.conv1, x, coefficients)))
        y = F.relu(self.bn2(self.convolve(self.conv2, y, coefficients)))
        y = self.bn3(self.convolve(self.conv3, y, coefficients))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
