"""The shape of a convolution whose kernels depend on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ConvGeometry:
    """What of such a convolution does not depend on the image."""

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    """Rows above and below, columns left and right."""
    dilations: tuple[int, int]

    @property
    def kernel_numbers(self) -> int:
        """Elements of one kernel, C/G·kh·kw."""
        return self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]

    @property
    def is_pointwise(self) -> bool:
        return self.kernel_size == (1, 1) and self.pads == (0, 0)

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.in_channels == self.out_channels

    def conv_attributes(self, images: int = 1) -> dict[str, Any]:
        """Attributes of a Conv of this geometry over ``images`` side by side."""
        return {
            "dilations": list(self.dilations),
            "group": images * self.groups,
            "kernel_shape": list(self.kernel_size),
            "pads": [*self.pads, *self.pads],
            "strides": list(self.strides),
        }


@dataclass(frozen=True)
class Geometry(ConvGeometry):
    """Of a dynamic convolution of ours, whose kernels are sums of fixed ones."""

    kernels: int
    """Fixed kernels a channel, the paper's g_t."""
