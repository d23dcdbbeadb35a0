"""Mean and standard deviation that pictures are normalised by, in units of rgb / 255."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dyn2trt.errors import Dyn2trtError

_LARGEST_STD = 10.0
"""Far above any of numbers between 0 and 1, far below those of numbers up to 255."""


def check_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Check numbers for ``(rgb / 255 - mean) / std``.

    Raises:
        Dyn2trtError: one is not finite, std is not above zero, or they are of pixels from 0 to 255, which would make
            every image nearly the same.
    """
    for name, values in (("mean", mean), ("std", std)):
        if not values or not all(map(math.isfinite, values)):
            raise Dyn2trtError(f"{name} has one finite number a channel, not {list(values)}")
    if min(std) <= 0:
        raise Dyn2trtError(f"std is above zero, not {list(std)}")
    if max(map(abs, mean)) > 1:
        raise Dyn2trtError(
            f"mean is in units of rgb / 255, from 0 to 1, and {list(mean)} is of pixels from 0 to 255; divide mean and "
            f"std by 255: mean {_divided(mean)}, std {_divided(std)}"
        )
    if max(std) > _LARGEST_STD:
        raise Dyn2trtError(
            f"std is in units of rgb / 255, and {list(std)} is of pixels from 0 to 255; divide it by 255: std "
            f"{_divided(std)}"
        )


def of_channels(name: str, values: Sequence[float], channels: int) -> Sequence[float]:
    """``values`` with one number for each of ``channels``; for one channel, three equal ones are that one.

    Raises:
        Dyn2trtError: another number of them.
    """
    if channels == 1 and len(values) == 3 and len(set(values)) == 1:
        return values[:1]
    if len(values) != channels:
        raise Dyn2trtError(f"{name} has one number a channel ({channels}), not {list(values)}")
    return values


def _divided(values: Sequence[float]) -> list[float]:
    return [float(f"{value / 255:.4g}") for value in values]
