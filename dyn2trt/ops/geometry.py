"""Convolution geometry: grid sizes, and the receptive field of stacked convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Geometry:
    """What a convolution reads: kernel, strides, dilations as (height, width); pads as (top, left, bottom, right)."""

    kernel_shape: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    @classmethod
    def checked(
        cls, kernel_shape: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
    ) -> Geometry:
        """Build from an op's attributes.

        Raises:
            ValueError: a list of the wrong length, or a value out of range.
        """
        for name, values, length, least in (
            ("kernel_shape", kernel_shape, 2, 1),
            ("strides", strides, 2, 1),
            ("pads", pads, 4, 0),
            ("dilations", dilations, 2, 1),
        ):
            if len(values) != length or min(values) < least:
                raise ValueError(f"{name} is {length} integers of at least {least}, not {list(values)}")
        return cls(*(tuple(values) for values in (kernel_shape, strides, pads, dilations)))  # type: ignore[arg-type]

    @property
    def is_pointwise(self) -> bool:
        """Whether the convolution maps every site onto itself: 1×1, stride 1, no padding."""
        return self.kernel_shape == (1, 1) and self.strides == (1, 1) and not any(self.pads)

    @property
    def attributes(self) -> dict[str, Any]:
        """The op attributes that state this geometry."""
        return {
            "kernel_shape": self.kernel_shape,
            "strides": self.strides,
            "pads": self.pads,
            "dilations": self.dilations,
        }

    def output_size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """The output grid for an input grid (integers, or torch symbolic ones)."""
        (kh, kw), (sh, sw), (top, left, bottom, right), (dh, dw) = self._parts
        return (
            (height + top + bottom - dh * (kh - 1) - 1) // sh + 1,
            (width + left + right - dw * (kw - 1) - 1) // sw + 1,
        )

    def smallest_input(self, height: Any, width: Any) -> tuple[Any, Any]:
        """The smallest input grid that yields an output grid; exact for stride 1."""
        (kh, kw), (sh, sw), (top, left, bottom, right), (dh, dw) = self._parts
        return (
            (height - 1) * sh + dh * (kh - 1) + 1 - top - bottom,
            (width - 1) * sw + dw * (kw - 1) + 1 - left - right,
        )

    def stacked_on(self, first: Geometry) -> Geometry:
        """The receptive field of this convolution applied after ``first``, both without dilation."""
        axes = [
            (s1 * s2, k1 + (k2 - 1) * s1, [p + q * s1 for p, q in zip(pads1, pads2, strict=True)])
            for k1, s1, pads1, k2, s2, pads2 in (
                (
                    first.kernel_shape[axis],
                    first.strides[axis],
                    first.pads[axis::2],
                    self.kernel_shape[axis],
                    self.strides[axis],
                    self.pads[axis::2],
                )
                for axis in (0, 1)
            )
        ]
        (sh, kh, (top, bottom)), (sw, kw, (left, right)) = axes
        return Geometry((kh, kw), (sh, sw), (top, left, bottom, right))

    @property
    def _parts(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
        return self.kernel_shape, self.strides, self.pads, self.dilations


POINTWISE = Geometry()


def same(kernel: int, strides: Sequence[int] = (1, 1)) -> Geometry:
    """A square convolution whose padding keeps the grid, but for the stride."""
    return Geometry((kernel, kernel), (strides[0], strides[1]), (kernel // 2,) * 4)


def same3x3(strides: Sequence[int] = (1, 1)) -> Geometry:
    """A 3×3 with one position of zero padding on every side."""
    return same(3, strides)
