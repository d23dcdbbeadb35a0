"""The convolutions of residual networks: no bias, because a BatchNorm follows."""

from __future__ import annotations

from torch import nn


def conv3x3(inplanes: int, planes: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """3×3 with a padding of 1."""
    return nn.Conv2d(inplanes, planes, kernel_size=3, stride=stride, padding=1, groups=groups, bias=False)


def conv1x1(inplanes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    """1×1 without padding."""
    return nn.Conv2d(inplanes, planes, kernel_size=1, stride=stride, bias=False)


def projection(inplanes: int, planes: int, stride: int) -> nn.Sequential | None:
    """A residual block's shortcut where its shape changes (He et al., option B), None where it does not."""
    if stride == 1 and inplanes == planes:
        return None
    return nn.Sequential(conv1x1(inplanes, planes, stride), nn.BatchNorm2d(planes))
