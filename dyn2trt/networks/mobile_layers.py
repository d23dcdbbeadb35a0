"""What the mobile networks share: the rule for their widths, and a convolution with its BatchNorm."""

from __future__ import annotations

from torch import nn


def multiple_of_8(channels: float) -> int:
    """The multiple of 8 nearest to ``channels``, no more than 10 % below it (the rule of MobileNetV2's authors)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv_bn(
    inplanes: int, planes: int, kernel: int, stride: int = 1, *, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """A static convolution padded to keep the size at stride 1, without bias → BatchNorm → activation, if any."""
    layers: list[nn.Module] = [
        nn.Conv2d(inplanes, planes, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(planes),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation]))
